"""One MCAP segment, read from disk: its records in order, as far as they are whole.

The `mcap` library writes segments; reading is done here because a recording must be mapped, not loaded, and
because a segment whose writer was killed has no end: it must be read up to its last complete chunk and no
further. Format: MCAP specification, https://mcap.dev/spec (records are opcode, uint64 length, content, all
little endian).
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .errors import RecordingError

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _METADATA = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C
_RECORD = struct.Struct("<BQ")
_UINT16 = struct.Struct("<H")
_UINT32 = struct.Struct("<I")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_FOOTER_BODY = struct.Struct("<QQI")


class Record(NamedTuple):
    """A whole record: content lies in [body, end) of the buffer, the record itself in [start, end)."""

    opcode: int
    start: int
    body: int
    end: int


class Channel(NamedTuple):
    """What a message's channel id stands for."""

    topic: str
    schema: str
    encoding: str
    definition: str


class Message(NamedTuple):
    """A message: its payload is `buffer[start:end]`, and `definition` says what is in it."""

    topic: str
    definition: str
    log_time_ns: int
    buffer: memoryview
    start: int
    end: int


@dataclass(slots=True)
class Segment:
    """What one file holds. `finished` files end in a footer; others are whole up to `whole_bytes`."""

    path: Path
    size: int
    finished: bool = False
    whole_bytes: int = 0
    problem: str = ""
    problem_at: int = 0
    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, tuple[str, str]] = field(default_factory=dict)  # name and definition
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    chunks: list[Record] = field(default_factory=list)


class _MalformedError(Exception):
    """Content of a record is not what its opcode promises."""


def map_file(path: Path) -> memoryview:
    """The file's bytes, mapped. Raises RecordingError when it cannot be read."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise RecordingError(
            f"{path}: cannot be read ({error.strerror}); give an existing MCAP file"
        ) from None


def whole_records(data: memoryview, start: int, end: int) -> Iterator[Record]:
    """Records in data[start:end] that are complete; ends silently at the first that is not."""
    at = start
    while at + _RECORD.size <= end:
        opcode, length = _RECORD.unpack_from(data, at)
        body = at + _RECORD.size
        if (
            opcode == 0 or length > end - body
        ):  # opcode 0 is invalid: a file extended with zeros by a power failure
            return
        yield Record(opcode, at, body, body + length)
        at = body + length


def _text(data: memoryview, at: int, end: int) -> tuple[str, int]:
    (n,) = _UINT32.unpack_from(data, at)
    if at + 4 + n > end:
        raise _MalformedError("a string runs over the end of its record")
    return bytes(data[at + 4 : at + 4 + n]).decode(), at + 4 + n


def _text_map(data: memoryview, at: int, end: int) -> dict[str, str]:
    (n,) = _UINT32.unpack_from(data, at)
    at, stop, found = at + 4, min(at + 4 + n, end), {}
    while at < stop:
        key, at = _text(data, at, stop)
        found[key], at = _text(data, at, stop)
    return found


def chunk_data(data: memoryview, chunk: Record, *, check: bool) -> tuple[memoryview, int, int]:
    """Records of a chunk: (buffer, start, end). Uncompressed chunks stay where they are mapped."""
    _, _, size, crc = _CHUNK_HEAD.unpack_from(data, chunk.body)
    compression, at = _text(data, chunk.body + _CHUNK_HEAD.size, chunk.end)
    (stored,) = struct.unpack_from("<Q", data, at)
    at += 8
    if at + stored != chunk.end:
        raise _MalformedError("chunk length and record length disagree")
    buffer, start, end = data, at, chunk.end
    if compression:
        buffer, start, end = memoryview(_decompress(compression, bytes(data[at : chunk.end]), size)), 0, size
    if end - start != size:
        raise _MalformedError("chunk has another size than it says")
    if check and crc and zlib.crc32(buffer[start:end]) != crc:
        raise _MalformedError("chunk checksum is wrong")
    return buffer, start, end


def _decompress(compression: str, data: bytes, size: int) -> bytes:
    """Segments are written uncompressed; ``mcap compress`` may have been used on them since."""
    if compression == "zstd":
        import zstandard  # both come with the mcap library

        try:
            return zstandard.decompress(data, size)
        except zstandard.ZstdError as error:
            raise _MalformedError(f"zstd: {error}") from None
    if compression == "lz4":
        import lz4.frame  # type: ignore[import-untyped]

        try:
            return bytes(lz4.frame.decompress(data))
        except RuntimeError as error:
            raise _MalformedError(f"lz4: {error}") from None
    raise _MalformedError(f"chunk compression {compression!r} is unknown")


def _take(segment: Segment, data: memoryview, record: Record) -> None:
    """Note what a schema, channel, metadata or message record says."""
    if record.opcode == _MESSAGE:
        channel_id, _, log_time, _ = _MESSAGE_HEAD.unpack_from(data, record.body)
        start = record.body + _MESSAGE_HEAD.size
        channel = segment.channels[channel_id]
        segment.messages.append(Message(channel.topic, channel.definition, log_time, data, start, record.end))
    elif record.opcode == _SCHEMA:
        (schema_id,) = _UINT16.unpack_from(data, record.body)
        name, at = _text(data, record.body + 2, record.end)
        _, at = _text(data, at, record.end)  # its encoding
        definition, _ = _text(data, at, record.end)
        segment.schemas[schema_id] = name, definition
    elif record.opcode == _CHANNEL:
        channel_id, schema_id = struct.unpack_from("<HH", data, record.body)
        topic, at = _text(data, record.body + 4, record.end)
        encoding, _ = _text(data, at, record.end)
        schema, definition = segment.schemas.get(schema_id, ("", ""))
        segment.channels[channel_id] = Channel(topic, schema, encoding, definition)
    elif record.opcode == _METADATA:
        name, at = _text(data, record.body, record.end)
        segment.metadata[name] = _text_map(data, at, record.end)


def _take_chunk(segment: Segment, data: memoryview, chunk: Record, check_crc: bool) -> None:
    """Take all messages of a chunk, or none."""
    before = len(segment.messages)
    try:
        buffer, at, end = chunk_data(data, chunk, check=check_crc)
        for record in whole_records(buffer, at, end):
            _take(segment, buffer, record)
            at = record.end
        if at != end:
            raise _MalformedError("the last record of the chunk is not whole")
    except (_MalformedError, struct.error, UnicodeDecodeError, KeyError):
        del segment.messages[before:]
        raise
    segment.chunks.append(chunk)


def _finished(data: memoryview) -> bool:
    """Does the file end in a whole footer and the magic?"""
    footer = len(data) - len(MAGIC) - _RECORD.size - _FOOTER_BODY.size
    return (
        footer >= len(MAGIC)
        and data[-len(MAGIC) :] == MAGIC
        and _RECORD.unpack_from(data, footer) == (_FOOTER, _FOOTER_BODY.size)
    )


def scan(path: Path, *, check_crc: bool = True) -> Segment:
    """Read a segment up to its last whole record.

    A problem inside the file is not raised but told in `problem` (and `problem_at`, a byte offset), together
    with everything that was whole before it: whoever asks decides whether the rest can be done without.
    Raises RecordingError when the file cannot be opened.
    """
    data = map_file(path)
    segment = Segment(path, len(data), finished=_finished(data))
    if data[: len(MAGIC)] != MAGIC:
        segment.problem = "is not an MCAP file" if len(data) >= len(MAGIC) else "holds nothing"
        return segment
    segment.whole_bytes = len(MAGIC)
    try:
        for record in whole_records(data, len(MAGIC), len(data)):
            segment.problem_at = record.start
            if record.opcode == _FOOTER:
                segment.whole_bytes = record.end + len(MAGIC)
                break
            if record.opcode == _CHUNK:
                _take_chunk(segment, data, record, check_crc)
            else:
                _take(segment, data, record)
            segment.whole_bytes = record.end
    except (_MalformedError, struct.error, UnicodeDecodeError, KeyError) as error:
        what = str(error) if isinstance(error, _MalformedError) else "a record is malformed"
        segment.problem = f"chunk {len(segment.chunks)}, byte {segment.problem_at}: {what}"
        return segment
    if segment.whole_bytes != len(data) or not segment.finished:
        segment.problem_at = segment.whole_bytes
        segment.problem = f"is cut after byte {segment.whole_bytes} of {len(data)}"
        segment.finished = False
    return segment
