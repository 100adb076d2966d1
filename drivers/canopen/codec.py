"""CANopen on the wire: bytes ↔ values, no I/O and no clock (CiA 301).

SDO transfers are generators: they yield the next request and are sent the response, so that the same code
runs under a blocking client, in the spare time of a cycle, and against an emulated server in a unit test::

    transfer = sdo_upload("AX1", 0x1018, 1)
    request = next(transfer)
    while True: request = transfer.send(ask(request))   # StopIteration.value is the data
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from drivers.bus.frame import Frame
from drivers.canopen.error_codes import error_text
from drivers.device import DriverError, ProtocolViolation

SYNC_ID = 0x080
EMCY_BASE = 0x080
TPDO_BASE = (0x180, 0x280, 0x380, 0x480)
RPDO_BASE = (0x200, 0x300, 0x400, 0x500)
SDO_SERVER_BASE = 0x580  # server → client
SDO_CLIENT_BASE = 0x600  # client → server
HEARTBEAT_BASE = 0x700

SYNC = Frame(SYNC_ID)


class NmtCommand(IntEnum):
    START = 0x01
    STOP = 0x02
    PRE_OPERATIONAL = 0x80
    RESET_NODE = 0x81
    RESET_COMMUNICATION = 0x82


class NmtState(IntEnum):
    BOOT_UP = 0x00
    STOPPED = 0x04
    OPERATIONAL = 0x05
    PRE_OPERATIONAL = 0x7F


def nmt(command: NmtCommand, node: int = 0) -> Frame:
    """NMT service; node 0 addresses all."""
    return Frame(0x000, bytes((command, node)))


def heartbeat(node: int, state: NmtState) -> Frame:
    return Frame(HEARTBEAT_BASE + node, bytes((state,)))


# ── EMCY ──


@dataclass(frozen=True, slots=True)
class Emergency:
    """An EMCY object: error code, error register (1001h), five manufacturer bytes."""

    code: int
    register: int
    detail: bytes = bytes(5)

    def pack(self) -> bytes:
        return struct.pack("<HB5s", self.code, self.register, self.detail)

    @classmethod
    def unpack(cls, data: bytes) -> Emergency:
        """Raises ValueError unless there are eight bytes."""
        if len(data) != 8:
            raise ValueError(f"an EMCY has 8 bytes, not {len(data)}")
        return cls(*struct.unpack("<HB5s", data))

    @property
    def text(self) -> str:
        return error_text(self.code)


# ── SDO ──

ABORT_TEXTS = {
    0x05030000: "toggle bit not alternated",
    0x05040000: "SDO protocol timed out",
    0x05040001: "command specifier unknown",
    0x05040005: "out of memory",
    0x06010000: "unsupported access",
    0x06010001: "write-only object",
    0x06010002: "read-only object",
    0x06020000: "object does not exist",
    0x06040041: "object cannot be mapped to a PDO",
    0x06040042: "PDO would exceed its length",
    0x06040043: "parameter incompatible",
    0x06040047: "internal incompatibility",
    0x06060000: "hardware error",
    0x06070010: "data type or length does not match",
    0x06070012: "data too long",
    0x06070013: "data too short",
    0x06090011: "subindex does not exist",
    0x06090030: "value out of range",
    0x06090031: "value too high",
    0x06090032: "value too low",
    0x08000000: "general error",
    0x08000020: "data cannot be stored",
    0x08000021: "data cannot be stored because of local control",
    0x08000022: "data cannot be stored in the present device state",
}


class SdoAbort(DriverError):
    """The device refused an access to its object dictionary; `code` says why (CiA 301, table 22)."""

    def __init__(self, device: str, index: int, subindex: int, code: int) -> None:
        self.index, self.subindex, self.code = index, subindex, code
        text = ABORT_TEXTS.get(code, "unknown reason")
        super().__init__(device, f"refuses object {index:04X}h:{subindex:02X} — {text} (abort 0x{code:08X})")


SdoTransfer = Generator[bytes, bytes, bytes]


def sdo_abort(index: int, subindex: int, code: int) -> bytes:
    return struct.pack("<BHBI", 0x80, index, subindex, code)


def sdo_upload(device: str, index: int, subindex: int) -> SdoTransfer:
    """Read an object: yields requests, is sent responses, returns the data. Raises SdoAbort,
    ProtocolViolation.
    """
    response = yield struct.pack("<BHBI", 0x40, index, subindex, 0)
    command = _checked(device, response, index, subindex, (0x40,))
    if command & 0x02:  # expedited
        size = 4 - (command >> 2 & 3) if command & 0x01 else 4
        return response[4 : 4 + size]
    announced = int.from_bytes(response[4:8], "little") if command & 0x01 else None
    data, toggle = bytearray(), 0
    while True:
        response = yield bytes((0x60 | toggle,)) + bytes(7)
        command = _checked(device, response, index, subindex, (0x00, 0x10))
        if command & 0x10 != toggle:
            raise ProtocolViolation(
                device, f"toggle bit of object {index:04X}h:{subindex:02X} not alternated"
            )
        data += response[1 : 8 - (command >> 1 & 7)]
        if command & 0x01:
            break
        toggle ^= 0x10
    if announced is not None and announced != len(data):
        raise ProtocolViolation(
            device, f"announced {announced} bytes of {index:04X}h:{subindex:02X}, sent {len(data)}"
        )
    return bytes(data)


def sdo_download(device: str, index: int, subindex: int, data: bytes) -> SdoTransfer:
    """Write an object: expedited up to four bytes, segmented beyond. Returns b"". Raises SdoAbort,
    ProtocolViolation.
    """
    if 1 <= len(data) <= 4:
        request = struct.pack("<BHB", 0x23 | (4 - len(data)) << 2, index, subindex) + data.ljust(4, b"\0")
        _checked(device, (yield request), index, subindex, (0x60,))
        return b""
    _checked(device, (yield struct.pack("<BHBI", 0x21, index, subindex, len(data))), index, subindex, (0x60,))
    toggle = 0
    for start in range(0, max(len(data), 1), 7):
        part = data[start : start + 7]
        last = start + 7 >= len(data)
        response = yield bytes((toggle | (7 - len(part)) << 1 | last,)) + part.ljust(7, b"\0")
        command = _checked(device, response, index, subindex, (0x20, 0x30))
        if command & 0x10 != toggle:
            raise ProtocolViolation(
                device, f"toggle bit of object {index:04X}h:{subindex:02X} not alternated"
            )
        toggle ^= 0x10
    return b""


def _checked(device: str, response: bytes, index: int, subindex: int, expected: Sequence[int]) -> int:
    """Command byte of a response that answers this transfer."""
    if len(response) != 8:
        raise ProtocolViolation(device, f"SDO response of {len(response)} bytes")
    command = response[0]
    if command == 0x80:
        raise SdoAbort(device, index, subindex, int.from_bytes(response[4:8], "little"))
    specifier = command & 0xE0 if expected[0] in (0x40, 0x60) else command & 0xF0
    if expected[0] in (0x40, 0x60):
        found = struct.unpack_from("<HB", response, 1)
        if found != (index, subindex):
            raise ProtocolViolation(
                device, f"answered object {found[0]:04X}h:{found[1]:02X}, asked {index:04X}h:{subindex:02X}"
            )
    if specifier not in expected:
        raise ProtocolViolation(
            device, f"unexpected SDO command 0x{command:02X} for {index:04X}h:{subindex:02X}"
        )
    return command


# ── Data types and PDO ──

#: Basic data types by the short names of the model tables.
TYPES = {
    name: struct.Struct("<" + letter)
    for name, letter in zip(("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"), "BHIQbhiq", strict=True)
}


def bits_of(type_name: str) -> int:
    return TYPES[type_name].size * 8


@dataclass(frozen=True, slots=True)
class MappedObject:
    """One entry of a PDO mapping (1600h/1A00h): object and length."""

    index: int
    subindex: int
    bits: int

    def pack(self) -> int:
        return self.index << 16 | self.subindex << 8 | self.bits

    @classmethod
    def unpack(cls, word: int) -> MappedObject:
        return cls(word >> 16, word >> 8 & 0xFF, word & 0xFF)


class PdoLayout:
    """Where the objects of one PDO lie in its bytes. All types are whole bytes, little-endian (CiA 301,
    7.4.7).
    """

    __slots__ = ("_struct", "names", "pack", "size", "unpack_from")

    def __init__(self, entries: Sequence[tuple[str, str]]) -> None:
        self.names = tuple(name for name, _ in entries)
        self._struct = struct.Struct("<" + "".join(TYPES[kind].format[-1] for _, kind in entries))
        self.size = self._struct.size
        #: Values in the order of the names → bytes; the struct's own method, for the hot path.
        self.pack = self._struct.pack
        #: The values at the beginning of bytes that are known to be enough.
        self.unpack_from = self._struct.unpack_from
        if self.size > 8:
            raise ValueError(f"a PDO of {self.size} bytes: at most 8 are possible")

    def unpack(self, data: bytes) -> tuple[int, ...]:
        """Raises ValueError when the length is another."""
        if len(data) != self.size:
            raise ValueError(f"PDO of {len(data)} bytes, mapped are {self.size}")
        return self._struct.unpack(data)


def wrap_i32(count: int) -> int:
    """The 32 bits of a position that runs on beyond INTEGER32 (607Bh lets it wrap)."""
    return (count + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000


class Unwrap:
    """Turns a counter of `bits` bits into one without an end: the shorter way round is the one that was
    taken.

    Right as long as less than half the counter's range passes between two readings.

    >>> unwrap = Unwrap(8)
    >>> [unwrap(x) for x in (250, 255, 4, 250)]
    [250, 255, 260, 250]
    """

    __slots__ = ("_half", "_last", "_range", "_total")

    def __init__(self, bits: int) -> None:
        self._range, self._half = 1 << bits, 1 << (bits - 1)
        self._last: int | None = None
        self._total = 0

    def restart(self) -> None:
        """The next reading is taken as it is."""
        self._last = None

    def __call__(self, count: int) -> int:
        if self._last is None:
            self._total = count
        else:
            self._total += (count - self._last + self._half) % self._range - self._half
        self._last = count
        return self._total
