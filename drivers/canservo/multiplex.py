"""The "multiplex" protocol of mjbots on CAN FD: frames ↔ subframes of registers, and of the text stream tunnelled beside them.

Source: mjbots/moteus, docs/protocol/can.md (identifier, subframes, padding); the tunnelled stream: mjbots/mjlib,
mjlib/multiplex/format.h. A frame is a row of subframes, each a few consecutive registers of one type. What the registers mean
is in `drivers.canservo.moteus`. The example is the one of can.md:

>>> pack((Write(0x000, Kind.INT8, (10,)), Read(0x000, Kind.INT16, 4), Read(0x00D, Kind.INT8, 3))).hex()
'01000a140400130d'
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from drivers.bus.frame import FdFrame, fd_length

#: 127 is everybody (format.h).
LAST_ID = 126
#: Our own id as a source: 0 can be no servo's (docs/protocol/registers.md, 0x110).
HOST = 0
#: Channel of the text console (docs/protocol/diagnostic.md).
CONSOLE = 1
#: So many bytes of text fit into one frame.
MOST_TEXT = 61
NOP = 0x50
_REPLY_WANTED = 0x80
_LARGEST = 0xFFFF_FFFF


class Kind(IntEnum):
    """How a value travels; the value is its place in the subframe's type."""

    INT8 = 0
    INT16 = 1
    INT32 = 2
    FLOAT = 3

    @property
    def largest(self) -> int:
        """Of an integer type; one below its negative is no value."""
        return (0x7F, 0x7FFF, 0x7FFF_FFFF, 0)[self]


@dataclass(frozen=True, slots=True)
class Write:
    """Raw values, of an integer type in digits."""

    start: int
    kind: Kind
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Read:
    start: int
    kind: Kind
    count: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """As `Write`."""

    start: int
    kind: Kind
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The device cannot write (`written`) or read this register; 1: unknown to it, 2: not writeable."""

    written: bool
    register: int
    code: int


@dataclass(frozen=True, slots=True)
class ToDevice:
    """Text for a stream."""

    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FromDevice:
    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Poll:
    """Asks for at most so many bytes of a stream."""

    channel: int
    most: int


Subframe = Write | Read | Reply | Refused | ToDevice | FromDevice | Poll
_WRITE, _READ, _REPLY = 0x00, 0x10, 0x20
_WRITE_ERROR, _READ_ERROR = 0x30, 0x31
_TO_DEVICE, _FROM_DEVICE, _POLL = 0x40, 0x41, 0x42
_FORMATS = ("b", "h", "i", "f")
_SIZES = (1, 2, 4, 4)


# ── identifiers and frames ──


def can_id(source: int, destination: int, *, reply: bool = False, prefix: int = 0) -> int:
    """`reply`: one is wanted. `prefix`: the setting ``can.prefix``, the upper 13 bits. Raises ValueError."""
    if not (0 <= source <= 0x7F and 0 <= destination <= 0x7F and 0 <= prefix <= 0x1FFF):
        raise ValueError(f"ids {source}, {destination} and prefix {prefix} do not fit into 7, 7 and 13 bits")
    return prefix << 16 | (source | _REPLY_WANTED * reply) << 8 | destination


def split_id(identifier: int) -> tuple[int, int, bool, int]:
    """Source, destination, whether a reply is wanted, prefix."""
    source = identifier >> 8 & 0xFF
    return source & 0x7F, identifier & 0xFF, bool(source & _REPLY_WANTED), identifier >> 16


def frame(identifier: int, payload: bytes) -> FdFrame:
    """Filled up with NOP to a length that CAN FD has; extended where 11 bits are too few. Raises ValueError."""
    return FdFrame(
        identifier, payload.ljust(fd_length(len(payload)), bytes((NOP,))), extended=identifier > 0x7FF
    )


def request(device: int, subframes: Iterable[Subframe], *, reply: bool = True) -> FdFrame:
    """From us to a device."""
    return frame(can_id(HOST, device, reply=reply), pack(subframes))


# ── subframes ──


def pack(subframes: Iterable[Subframe]) -> bytes:
    """One after the other, not filled up. Raises ValueError for values that their type does not hold."""
    out = bytearray()
    for subframe in subframes:
        match subframe:
            case Write() | Reply():
                base = _WRITE if isinstance(subframe, Write) else _REPLY
                out += _head(base, subframe.kind, subframe.start, len(subframe.values))
                try:
                    out += struct.pack(f"<{len(subframe.values)}{_FORMATS[subframe.kind]}", *subframe.values)
                except (struct.error, OverflowError) as error:
                    raise ValueError(f"{subframe} does not fit its type ({error})") from None
            case Read():
                out += _head(_READ, subframe.kind, subframe.start, subframe.count)
            case Refused():
                out.append(_WRITE_ERROR if subframe.written else _READ_ERROR)
                out += _varuint(subframe.register) + _varuint(subframe.code)
            case ToDevice() | FromDevice():
                out.append(_TO_DEVICE if isinstance(subframe, ToDevice) else _FROM_DEVICE)
                out += _varuint(subframe.channel) + _varuint(len(subframe.data)) + subframe.data
            case Poll():
                out.append(_POLL)
                out += _varuint(subframe.channel) + _varuint(subframe.most)
    return bytes(out)


def parse(data: bytes) -> list[Subframe]:
    """Inverse of `pack`, NOPs left out. Raises ValueError for anything that is cut short or unknown."""
    found: list[Subframe] = []
    at = 0
    while at < len(data):
        code = data[at]
        at += 1
        if code == NOP:
            continue
        if code < 0x30:
            subframe, at = _registers(data, code, at)
            found.append(subframe)
            continue
        if code not in (_WRITE_ERROR, _READ_ERROR, _TO_DEVICE, _FROM_DEVICE, _POLL):
            raise ValueError(f"subframe {code:02X}h is unknown")
        first, at = _read_varuint(data, at)
        second, at = _read_varuint(data, at)
        if code in (_WRITE_ERROR, _READ_ERROR):
            found.append(Refused(code == _WRITE_ERROR, first, second))
        elif code == _POLL:
            found.append(Poll(first, second))
        else:
            text, at = data[at : at + second], at + second
            if at > len(data):
                raise ValueError(f"{len(text)} of {second} bytes of text")
            found.append((ToDevice if code == _TO_DEVICE else FromDevice)(first, text))
    return found


def _registers(data: bytes, code: int, at: int) -> tuple[Subframe, int]:
    kind, count = Kind(code >> 2 & 3), code & 3
    if not count:
        count, at = _read_varuint(data, at)
    start, at = _read_varuint(data, at)
    if not 1 <= count <= len(data) * 4:
        raise ValueError(f"a subframe of {count} registers")
    if code & 0x30 == _READ:
        return Read(start, kind, count), at
    end = at + count * _SIZES[kind]
    if end > len(data):
        raise ValueError(f"a frame ends within the values of registers {start:03X}h …")
    values = struct.unpack_from(f"<{count}{_FORMATS[kind]}", data, at)
    return (Write if code & 0x30 == _WRITE else Reply)(start, kind, values), end


def _head(base: int, kind: Kind, start: int, count: int) -> bytes:
    if count < 1:
        raise ValueError("a subframe of no registers")
    code = base | kind << 2
    head = bytes((code | count,)) if count <= 3 else bytes((code,)) + _varuint(count)
    return head + _varuint(start)


def _varuint(value: int) -> bytes:
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"{value} does not fit into 32 bits")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varuint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(5):
        if at + place >= len(data):
            raise ValueError("a frame ends within a number")
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            if value > _LARGEST:
                break
            return value, at + place + 1
    raise ValueError("a number of more than 32 bits")
