"""SampleBlock and SegmentMark as bytes on a ROS 2 wire, without ROS.

The local transport, the importer and the reader must write and read the very bytes that ``rclpy`` writes, on
machines that have no ROS. Both messages are CDR, little endian, in the XCDR1 rules that rmw_fastrtps uses
(OMG DDS-XTypes 1.3, 7.4.3): a four-byte encapsulation header, then members aligned to their own size, counted
from behind that header; strings and sequences are led by a uint32 count; an empty sequence aligns nothing.
Trailing bytes are allowed: rmw_fastrtps returns a buffer of its estimated, not its used size.

Arrays go in and out as whole buffers; nothing here runs once per sample.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.device import Block

from .errors import RecordingError
from .marks import SegmentMark, Tag

Bytes = bytes | bytearray | memoryview

_HEADER = b"\x00\x01\x00\x00"  # CDR, little endian, no options
_UINT32 = struct.Struct("<I")
_UINT64_PAIR = struct.Struct("<QQ")
_TIME = struct.Struct("<iI")
_NS = 1_000_000_000
_NO_AGES = np.empty(0, np.float32)


def _pad(offset: int, size: int) -> int:
    """Bytes from `offset` (counted from behind the encapsulation header) to the next multiple of `size`."""
    return -offset % size


class _Encoder:
    def __init__(self, begun: bytes = _HEADER, offset: int = 0) -> None:
        self.parts: list[bytes | memoryview] = [begun]
        self.offset = offset

    def add(self, data: bytes, align: int) -> None:
        pad = _pad(self.offset, align)
        self.parts.append(bytes(pad) + data)
        self.offset += pad + len(data)

    def text(self, text: str) -> None:
        raw = text.encode() + b"\0"
        self.add(_UINT32.pack(len(raw)) + raw, 4)

    def texts(self, texts: tuple[str, ...]) -> None:
        self.add(_UINT32.pack(len(texts)), 4)
        for text in texts:
            self.text(text)

    def array(self, array: NDArray[np.generic], dtype: str) -> None:
        n = array.size
        start = self.offset + _pad(self.offset, 4) + 4
        if n:
            array = np.ascontiguousarray(array, dtype=dtype)
            pad = _pad(start, array.itemsize)
            self.parts += (bytes(start - 4 - self.offset) + _UINT32.pack(n) + bytes(pad), array.data)
            self.offset = start + pad + array.nbytes
        else:
            self.parts.append(bytes(start - 4 - self.offset) + _UINT32.pack(0))
            self.offset = start

    def finish(self) -> bytes:
        return b"".join(self.parts)


class _Decoder:
    """Walks over one message; every step is checked against its end."""

    def __init__(self, data: Bytes, what: str) -> None:
        self.data, self.what, self.offset = memoryview(data), what, 0
        self.fixed: list[tuple[int, int]] = []  # where texts and counts lie
        if self.data[:2] != _HEADER[:2]:
            raise RecordingError(
                f"{what}: encapsulation {bytes(self.data[:4]).hex()} is not little-endian CDR (0001…)"
            )

    def take(self, size: int, align: int) -> int:
        """Skip `size` aligned bytes; returns where they begin in the message."""
        start = self.offset + _pad(self.offset, align)
        self.offset = start + size
        if self.offset + 4 > len(self.data):
            raise RecordingError(f"{self.what}: message of {len(self.data)} bytes ends too early")
        return start + 4

    def count(self, itemsize: int) -> int:
        start = self.take(4, 4)
        self.fixed.append((start, start + 4))
        n = int(_UINT32.unpack_from(self.data, start)[0])
        if n * itemsize > len(self.data):
            raise RecordingError(
                f"{self.what}: a sequence of {n} elements does not fit into {len(self.data)} bytes"
            )
        return n

    def text(self) -> str:
        n = self.count(1)
        start = self.take(n, 1)
        self.fixed.append((start, start + n))
        try:
            return bytes(self.data[start : start + n - 1]).decode() if n else ""
        except UnicodeDecodeError:
            raise RecordingError(f"{self.what}: a string is not UTF-8") from None

    def texts(self) -> tuple[str, ...]:
        return tuple(self.text() for _ in range(self.count(4)))

    def array_at(self, itemsize: int) -> tuple[int, int]:
        """Position and element count of a primitive sequence."""
        n = self.count(itemsize)
        return (self.take(n * itemsize, itemsize) if n else self.offset + 4), n

    def uint64s(self) -> list[int]:
        start, n = self.array_at(8)
        return [int(x) for x in np.frombuffer(self.data, "<u8", n, start)]


class BlockLayout(NamedTuple):
    """Where the parts of one encoded SampleBlock lie: byte offsets from the start of the message."""

    group: str
    sequence: int
    first_row: int
    channels: tuple[str, ...]
    rows: int
    sequence_at: int
    stamps_at: int
    values_at: int
    quality_at: int
    ages_at: int  # 0: every value is of its row's stamp


@lru_cache(maxsize=64)
def _texts_of(group: str, channels: tuple[str, ...]) -> tuple[bytes, bytes, int]:
    """The bytes between stamp and sequence, those of the channel names, and the offset behind them."""
    encoder = _Encoder(b"", _TIME.size)
    encoder.text(group)
    encoder.add(b"", 8)
    before, start = encoder.finish(), len(encoder.parts)
    encoder.offset += _UINT64_PAIR.size
    encoder.texts(channels)
    return before, b"".join(encoder.parts[start:]), encoder.offset


def encode_block(block: Block, stamp_ns: int = 0) -> bytes:
    """Block → SampleBlock. `stamp_ns` is the UTC of its first row (0 when there is none, as on virtual time).

    Ages that are all 0 are left out. Raises RecordingError when the arrays do not have the shapes (n,), (n, k), (n, k), (n, k).
    """
    shape = (len(block.stamps_s), len(block.channels))
    ages = block.age_s if block.age_s is not None and block.age_s.any() else _NO_AGES
    shapes = {block.values.shape, block.quality.shape, shape if ages is _NO_AGES else ages.shape}
    if shapes != {shape}:
        raise RecordingError(
            f"block {block.sequence} of {block.group}: values, quality and ages of {shapes}, expected {shape}"
        )
    before, after, offset = _texts_of(block.group, block.channels)
    begun = b"".join(
        (
            _HEADER,
            _TIME.pack(*divmod(stamp_ns, _NS)),
            before,
            _UINT64_PAIR.pack(block.sequence, block.first_row),
            after,
        )
    )
    encoder = _Encoder(begun, offset)
    for array, dtype in (
        (block.stamps_s, "<f8"),
        (block.values, "<f8"),
        (block.quality, "u1"),
        (ages, "<f4"),
    ):
        encoder.array(array, dtype)
    return encoder.finish()


def block_layout(data: Bytes, *, ages: bool = True) -> BlockLayout:
    """Find the parts of an encoded SampleBlock; without `ages`, one of a recording whose definition knows none.

    Raises RecordingError when it is none, or its arrays disagree.
    """
    return _layout(_Decoder(data, "SampleBlock"), ages)


def _layout(decoder: _Decoder, ages: bool) -> BlockLayout:
    decoder.take(8, 4)
    group = decoder.text()
    sequence_at = decoder.take(16, 8)
    sequence, first_row = _UINT64_PAIR.unpack_from(decoder.data, sequence_at)
    channels = decoder.texts()
    stamps_at, n = decoder.array_at(8)
    values_at, n_values = decoder.array_at(8)
    quality_at, n_quality = decoder.array_at(1)
    ages_at, n_ages = decoder.array_at(4) if ages else (0, 0)
    if n_values != n * len(channels) or n_quality != n_values or n_ages not in (0, n_values):
        raise RecordingError(
            f"SampleBlock {sequence} of {group}: {n} stamps, {n_values} values, {n_quality} quality flags, "
            f"{n_ages} ages do not fit {len(channels)} channels"
        )
    places = sequence_at, stamps_at, values_at, quality_at, ages_at if n_ages else 0
    return BlockLayout(group, sequence, first_row, channels, n, *places)


class _Seen(NamedTuple):
    """A layout met before, and what must be the same for a message to have it."""

    layout: BlockLayout
    head: bytes  # everything before the stamps
    fixed: list[tuple[int, int]]  # where texts and counts lie; between them is padding, which may be anything
    counts: list[tuple[int, bytes]]  # counts behind the head


class LayoutReader:
    """`block_layout` of many messages in turn: most blocks of a group differ in their numbers only.

    A message of a size seen before has the layout seen then if all its texts and counts are the same.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, bool], _Seen] = {}

    def read(self, data: memoryview, *, ages: bool = True) -> BlockLayout:
        """Layout of an encoded SampleBlock. Raises RecordingError as `block_layout`."""
        key = len(data), ages
        seen = self._seen.get(key)
        if seen is not None and self._same(data, seen):
            sequence, first_row = _UINT64_PAIR.unpack_from(data, seen.layout.sequence_at)
            return BlockLayout(seen.layout.group, sequence, first_row, *seen.layout[3:])
        decoder = _Decoder(data, "SampleBlock")
        layout = _layout(decoder, ages)
        end = layout.stamps_at
        self._seen[key] = _Seen(
            layout,
            bytes(data[:end]),
            [span for span in decoder.fixed if span[1] <= end],
            [(start, bytes(data[start:stop])) for start, stop in decoder.fixed if stop > end],
        )
        return layout

    @staticmethod
    def _same(data: memoryview, seen: _Seen) -> bool:
        head, at = bytes(data[: seen.layout.stamps_at]), seen.layout.sequence_at
        if head[:2] != _HEADER[:2] or any(data[start : start + 4] != count for start, count in seen.counts):
            return False
        if head[12:at] == seen.head[12:at] and head[at + 16 :] == seen.head[at + 16 :]:
            return True
        return all(head[start:stop] == seen.head[start:stop] for start, stop in seen.fixed)


def block_arrays(
    data: Bytes, at: BlockLayout
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Stamps (n,), values (n, k), quality (n, k) as read-only views into the message."""
    n, k = at.rows, len(at.channels)
    return (
        np.frombuffer(data, "<f8", n, at.stamps_at),
        np.frombuffer(data, "<f8", n * k, at.values_at).reshape(n, k),
        np.frombuffer(data, np.uint8, n * k, at.quality_at).reshape(n, k),
    )


def block_ages(data: Bytes, at: BlockLayout) -> NDArray[np.float32] | None:
    """Ages (n, k), s, as a read-only view into the message; None: every value is of its row's stamp."""
    n, k = at.rows, len(at.channels)
    return np.frombuffer(data, "<f4", n * k, at.ages_at).reshape(n, k) if at.ages_at else None


def decode_block(data: Bytes) -> Block:
    """SampleBlock → Block; its arrays are read-only views into `data`. Raises RecordingError."""
    at = block_layout(data)
    return Block(
        at.group, at.sequence, at.first_row, at.channels, *block_arrays(data, at), block_ages(data, at)
    )


def stamp_ns(data: Bytes) -> int:
    """UTC of the first row of an encoded SampleBlock, ns."""
    sec, ns = _TIME.unpack_from(data, 4)
    return int(sec) * _NS + int(ns)


def tag_to_text(tag: Tag) -> str:
    """Tag → the JSON object in ``SegmentMark.tag``; floats keep every bit. Raises RecordingError."""
    try:
        return json.dumps(dict(tag), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"tag {dict(tag)!r}: {error}; a tag holds texts and finite numbers") from None


def tag_from_text(text: str) -> dict[str, str | float | int | bool]:
    """The tag in ``SegmentMark.tag``. Raises RecordingError when the text is not a flat JSON object."""
    try:
        tag = json.loads(text) if text else {}
    except ValueError:
        raise RecordingError(f"SegmentMark: tag {text[:80]!r} is not JSON") from None
    if not isinstance(tag, dict) or not all(isinstance(value, (str, float, int)) for value in tag.values()):
        raise RecordingError(f"SegmentMark: tag {text[:80]!r} is not an object of texts and numbers")
    return tag


def encode_mark(mark: SegmentMark) -> bytes:
    """SegmentMark as ROS writes it."""
    encoder = _Encoder()
    encoder.add(_UINT32.pack(mark.index), 4)
    encoder.text(tag_to_text(mark.tag))
    encoder.texts(tuple(mark.rows))
    for side in (0, 1):
        encoder.array(np.array([rows[side] for rows in mark.rows.values()], dtype="<u8"), "<u8")
    return encoder.finish()


def decode_mark(data: Bytes) -> SegmentMark:
    """ROS SegmentMark → SegmentMark. Raises RecordingError when it is none, or its lists differ in length."""
    decoder = _Decoder(data, "SegmentMark")
    (index,) = _UINT32.unpack_from(decoder.data, decoder.take(4, 4))
    tag = tag_from_text(decoder.text())
    groups, first, last = decoder.texts(), decoder.uint64s(), decoder.uint64s()
    if not len(groups) == len(first) == len(last):
        raise RecordingError(
            f"SegmentMark {index}: {len(groups)} groups, {len(first)} first and {len(last)} last rows"
        )
    return SegmentMark(int(index), tag, dict(zip(groups, zip(first, last, strict=True), strict=True)))
