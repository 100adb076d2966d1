"""Signals of a DBC database as shifts and masks, compiled once; and the checksum of end-to-end protection.

cantools reads the database and decides what is where; its general decoder costs tens of microseconds a frame, which a
bus thread does not have. What is compiled here is held against it, bit by bit, in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """Where a signal lies in a frame, and what its digits mean: physical = raw × `scale` + `offset`.

    `shift` counts from the least significant bit of the frame read as one number, little- or big-endian.
    `selector` is the multiplexer value with which the signal is there; None: always.
    """

    name: str
    big_endian: bool
    shift: int
    length: int
    signed: bool
    real: bool  # IEEE 754
    scale: float
    offset: float
    minimum: float | None
    maximum: float | None
    selector: frozenset[int] | None

    def raw(self, little: int, big: int) -> float:
        """Digits of the signal in a frame given as both numbers."""
        word = (big if self.big_endian else little) >> self.shift & (1 << self.length) - 1
        if self.real:
            kind = "f" if self.length == 32 else "d"
            return float(struct.unpack("<" + kind, word.to_bytes(self.length // 8, "little"))[0])
        if self.signed and word >> self.length - 1:
            word -= 1 << self.length
        return word


def compile_field(signal: Any, frame_bytes: int) -> Field:
    """From a cantools signal. Raises ValueError for what a table may not use: nested multiplexers."""
    shift = signal.start
    big = signal.byte_order == "big_endian"
    if big:  # DBC names the most significant bit, in sawtooth order
        from_left = 8 * (signal.start // 8) + 7 - signal.start % 8
        shift = 8 * frame_bytes - from_left - signal.length
    if signal.is_multiplexer and signal.multiplexer_ids is not None:
        raise ValueError(f"signal {signal.name} is a multiplexer within a multiplexer")
    return Field(
        signal.name,
        big,
        shift,
        signal.length,
        signal.is_signed,
        signal.is_float,
        float(signal.scale),
        float(signal.offset),
        None if signal.minimum is None else float(signal.minimum),
        None if signal.maximum is None else float(signal.maximum),
        None if signal.multiplexer_ids is None else frozenset(signal.multiplexer_ids),
    )


def numbers(data: bytes) -> tuple[int, int]:
    """A frame's data as one number: little-endian, big-endian."""
    return int.from_bytes(data, "little"), int.from_bytes(data, "big")


def _table(polynomial: int) -> tuple[int, ...]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte << 1 ^ (polynomial if byte & 0x80 else 0)) & 0xFF
        found.append(byte)
    return tuple(found)


_J1850 = _table(0x1D)


def crc8_j1850(data: Iterable[int]) -> int:
    """CRC-8/SAE-J1850: polynomial 1Dh, start and final XOR FFh; of "123456789" 4Bh.

    >>> hex(crc8_j1850(b"123456789"))
    '0x4b'
    """
    crc = 0xFF
    for byte in data:
        crc = _J1850[crc ^ byte]
    return crc ^ 0xFF


def protected(data: bytes, crc_byte: int, data_id: int | None) -> int:
    """Checksum over the data identifier, if there is one, and all bytes but that of the checksum."""
    head = b"" if data_id is None else data_id.to_bytes(2, "little")
    return crc8_j1850(head + data[:crc_byte] + data[crc_byte + 1 :])
