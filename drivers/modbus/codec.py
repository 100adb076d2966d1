"""Modbus RTU on the wire: bytes ↔ values, no I/O and no clock (Modbus over serial line V1.02, application
protocol V1.1b3).

An ADU is unit, PDU, CRC-16 with the low byte first; a PDU is function code and data, big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum


class Function(IntEnum):
    READ_COILS = 0x01
    READ_HOLDING = 0x03
    READ_INPUT = 0x04
    WRITE_COIL = 0x05
    WRITE_REGISTER = 0x06
    WRITE_REGISTERS = 0x10
    READ_WRITE_REGISTERS = 0x17


#: Functions that may be repeated without doing anything twice.
READS = frozenset((Function.READ_COILS, Function.READ_HOLDING, Function.READ_INPUT))
#: Shortest ADU: an exception response.
EXCEPTION_BYTES = 5
MOST_REGISTERS = 125
#: Most registers that one request writes: with function 10h, with function 17h (V1.1b3, 6.12 and 6.17).
MOST_WRITTEN = {0x06: 1, 0x10: 123, 0x17: 121}

EXCEPTION_TEXTS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, still working",
    6: "device busy",
    8: "memory parity error",
}


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 8005h reflected, start FFFFh.

    >>> hex(crc16(b"123456789"))
    '0x4b37'
    """
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def pack_adu(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def unpack_adu(adu: bytes) -> tuple[int, bytes]:
    """(unit, PDU). Raises ValueError for a wrong CRC or an impossible length."""
    if not 4 <= len(adu) <= 256:
        raise ValueError(f"an RTU frame has 4 to 256 bytes, not {len(adu)}")
    if crc16(adu[:-2]) != int.from_bytes(adu[-2:], "little"):
        raise ValueError(f"CRC of {adu.hex(' ')} is wrong")
    return adu[0], adu[1:-2]


def read_request(function: Function, address: int, count: int) -> bytes:
    return struct.pack(">BHH", function, address, count)


def read_response(function: Function, registers: bytes) -> bytes:
    return struct.pack(">BB", function, len(registers)) + registers


def write_register(address: int, value: int) -> bytes:
    """Request and response are alike."""
    return struct.pack(">BHH", Function.WRITE_REGISTER, address, value)


def write_registers(address: int, data: bytes) -> bytes:
    return struct.pack(">BHHB", Function.WRITE_REGISTERS, address, len(data) // 2, len(data)) + data


def read_write_registers(read_address: int, count: int, write_address: int, data: bytes) -> bytes:
    """Write, then read, in one transaction; the response is that of a read."""
    head = struct.pack(
        ">BHHHHB",
        Function.READ_WRITE_REGISTERS,
        read_address,
        count,
        write_address,
        len(data) // 2,
        len(data),
    )
    return head + data


def echo(request: bytes) -> bytes:
    """What the response to the request PDU must begin with: a write is confirmed in its own words."""
    match request[0]:
        case Function.WRITE_COIL | Function.WRITE_REGISTER | Function.WRITE_REGISTERS:
            return request[:5]
        case Function.READ_COILS:
            return bytes((request[0], (int.from_bytes(request[3:5], "big") + 7) // 8))
        case function:
            return bytes((function, 2 * int.from_bytes(request[3:5], "big")))


def exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def response_bytes(request: bytes) -> int:
    """Length of the ADU that answers the request PDU. Raises ValueError for a function this master does not
    use.
    """
    match request[0]:
        case Function.READ_HOLDING | Function.READ_INPUT | Function.READ_WRITE_REGISTERS:
            return 5 + 2 * int.from_bytes(request[3:5], "big")
        case Function.READ_COILS:
            return 5 + (int.from_bytes(request[3:5], "big") + 7) // 8
        case Function.WRITE_COIL | Function.WRITE_REGISTER | Function.WRITE_REGISTERS:
            return 8
        case function:
            raise ValueError(f"function {function:#04x} is not used")


def request_bytes(start: bytes) -> int | None:
    """Length of the request ADU that begins with `start`; None while that cannot be said. Raises ValueError
    if unknown.
    """
    if len(start) < 2:
        return None
    match start[1]:
        case (
            Function.READ_COILS
            | Function.READ_HOLDING
            | Function.READ_INPUT
            | Function.WRITE_COIL
            | Function.WRITE_REGISTER
        ):
            return 8
        case Function.WRITE_REGISTERS:
            return 9 + start[6] if len(start) > 6 else None
        case Function.READ_WRITE_REGISTERS:
            return 13 + start[10] if len(start) > 10 else None
        case function:
            raise ValueError(f"function {function:#04x} is not used")


_FORMATS = {"uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "float32": ">f"}


@dataclass(frozen=True, slots=True)
class Number:
    """How a number lies in registers. `word_order` is "AB" (most significant register first) or "BA"."""

    format: str
    word_order: str = "AB"

    def __post_init__(self) -> None:
        if self.format not in _FORMATS or self.word_order not in ("AB", "BA"):
            raise ValueError(f"unknown register format {self.format} {self.word_order}")

    @property
    def size(self) -> int:
        return struct.calcsize(_FORMATS[self.format])

    @property
    def registers(self) -> int:
        return self.size // 2

    def unpack(self, data: bytes) -> float:
        return float(struct.unpack(_FORMATS[self.format], self._ordered(data))[0])

    def pack(self, value: float) -> bytes:
        """Raises ValueError for a number that the format cannot carry."""
        try:
            return self._packed(value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{value:g} does not fit into {self.format}") from error

    def _packed(self, value: float) -> bytes:
        return self._ordered(
            struct.pack(_FORMATS[self.format], value if self.format == "float32" else round(value))
        )

    def _ordered(self, data: bytes) -> bytes:
        return data[2:4] + data[0:2] if self.word_order == "BA" and len(data) == 4 else data


def silence_s(baudrate: int) -> float:
    """t3.5: silence between two frames; fixed at 1.75 ms above 19 200 Bd (serial line V1.02, 2.5.1.1)."""
    return 1.75e-3 if baudrate > 19_200 else 3.5 * 11.0 / baudrate
