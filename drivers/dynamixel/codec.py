"""Dynamixel protocol 2.0 on the wire: bytes ↔ values, no I/O and no clock (ROBOTIS e-manual, "Protocol 2.0").

A packet is header FF FF FD 00, id, length (little-endian, of all that follows), instruction, parameters, CRC-16
(polynomial 8005h, start 0, not reflected, over everything before it). What would look like a header within
instruction and parameters is stuffed: FF FF FD becomes FF FF FD FD, and length and CRC count the stuffed bytes.

A fast answer is one packet of id FEh that several devices write one after another: error, id, data and CRC of
each; the CRCs go on from the beginning of the packet, and nothing in it is stuffed. Whatever stands before the first
CRC that is wrong is sound, whatever stands behind it is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import NamedTuple

HEADER = b"\xff\xff\xfd\x00"
BROADCAST = 0xFE
HIGHEST_ID = 252
#: Header, id, length.
PREFIX_BYTES = 7
#: A status without parameters: prefix, instruction, error, CRC.
STATUS_BYTES = 11
#: Error, id and CRC of one device in a fast answer; and what stands before the first of them.
FAST_BYTES, FAST_PREFIX_BYTES = 4, 8
ALERT = 0x80
_HEAD = struct.Struct("<BHB")
_STUFFED, _PLAIN = b"\xff\xff\xfd\xfd", b"\xff\xff\xfd"


class Instruction(IntEnum):
    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    CLEAR = 0x10
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A
    BULK_READ = 0x92
    BULK_WRITE = 0x93
    FAST_BULK_READ = 0x9A


class Refusal(IntEnum):
    """Error number of a status, bits 0 to 6."""

    NONE = 0
    RESULT = 1
    INSTRUCTION = 2
    CRC = 3
    RANGE = 4
    LENGTH = 5
    LIMIT = 6
    ACCESS = 7


REFUSAL_TEXTS: Mapping[int, str] = {
    Refusal.RESULT: "could not carry out the instruction",
    Refusal.INSTRUCTION: "unknown instruction, or action without a registered write",
    Refusal.CRC: "CRC of the instruction is wrong",
    Refusal.RANGE: "value out of range (or the bus watchdog has tripped)",
    Refusal.LENGTH: "fewer bytes than the register has",
    Refusal.LIMIT: "value beyond its limit",
    Refusal.ACCESS: "no such address, read only, or EEPROM while torque is on",
}

#: Parameters of "clear": reset the count of turns.
CLEAR_TURNS = b"\x01\x44\x58\x4c\x22"


#: The CRC's polynomial is (x + 1)·q(x) with q = x^15 + x + 1.
_Q = 0x8003


@cache
def _folds(count: int) -> tuple[tuple[int, int, int], ...]:
    """Width, shift and mask of the folds for a message of `count` bytes and the 16 bits behind it: each leaves as little as can be."""
    bits, folds = 8 * count + 16, []
    while bits > 15:
        left, k = min((max(15 << k, bits - (14 << k)), k) for k in range(bits.bit_length()))
        folds.append((15 << k, 1 << k, (1 << (15 << k)) - 1))
        bits = left
    return tuple(folds)


def crc16(data: bytes, start: int = 0) -> int:
    """CRC-16/UMTS, going on from `start`.

    The message is one number. Modulo q, x^15 = x + 1, and by squaring x^(15·2^k) = x^(2^k) + 1: so its upper part is folded
    onto the lower one, about half of it at a time. The remainder modulo x + 1 is its parity; both together give the CRC. 8 µs
    for 120 bytes that nobody has touched for a while; with a table for pairs of bytes 32 µs, most of them cache misses.

    >>> hex(crc16(b"123456789"))
    '0xfee8'
    """
    count = len(data)
    rest = int.from_bytes(data, "big") << 16 ^ start << 8 * count
    odd = rest.bit_count() & 1
    for width, shift, mask in _folds(count):
        high = rest >> width
        rest = rest & mask ^ high ^ high << shift
    return rest if rest.bit_count() & 1 == odd else rest ^ _Q


#: What a CRC that is followed by its own two bytes, the low one first, goes on as, by the difference of the two.
_BEHIND = tuple(crc16(bytes((difference, difference))) for difference in range(256))


def crc_behind(crc: int) -> int:
    """What the CRC goes on from behind the place where `crc` itself is written."""
    return _BEHIND[crc >> 8 ^ crc & 0xFF]


def stuff(body: bytes) -> bytes:
    return body.replace(_PLAIN, _STUFFED)


def unstuff(body: bytes) -> bytes:
    return body.replace(_STUFFED, _PLAIN)


@dataclass(frozen=True, slots=True)
class Packet:
    """An instruction or a status, without stuffing."""

    id: int
    instruction: int
    parameters: bytes = b""


class Status(NamedTuple):
    """What one device answered. A tuple, because each device gives one every cycle."""

    id: int
    error: int
    data: bytes = b""

    @property
    def alert(self) -> bool:
        """The device has a hardware error; its register says which."""
        return bool(self.error & ALERT)

    @property
    def refusal(self) -> int:
        return self.error & 0x7F


def pack(device: int, instruction: int, parameters: bytes = b"") -> bytes:
    """The bytes of a packet. Raises ValueError for an impossible id."""
    if not (0 <= device <= HIGHEST_ID or device == BROADCAST):
        raise ValueError(f"id {device} is outside 0…{HIGHEST_ID}")
    body = stuff(bytes((instruction,)) + parameters)
    packet = HEADER + struct.pack("<BH", device, len(body) + 2) + body
    return packet + crc16(packet).to_bytes(2, "little")


def pack_status(device: int, error: int, data: bytes = b"") -> bytes:
    return pack(device, Instruction.STATUS, bytes((error,)) + data)


def unpack(raw: bytes, *, verified: bool = False) -> Packet:
    """Raises ValueError for whatever is no whole packet with a right CRC (unless that is `verified` already)."""
    if not verified:
        _verify(raw)
    fast = raw[4] == BROADCAST and raw[7] == Instruction.STATUS
    body = raw[7:-2] if fast else unstuff(raw[7:-2])
    return Packet(raw[4], body[0], body[1:])


def unpack_status(raw: bytes, *, verified: bool = False) -> Status:
    """Status of one device. Raises ValueError for anything else."""
    if not verified:
        _verify(raw)
    body = unstuff(raw[7:-2])
    if body[0] != Instruction.STATUS or raw[4] == BROADCAST or len(body) < 2:
        raise ValueError(f"{raw.hex(' ')} is no status of one device")
    return Status(raw[4], body[1], body[2:])


def plain_status(raw: bytes, device: int, size: int) -> Status | None:
    """The status of `device` with `size` data bytes when `raw` is that packet and nothing else, with a right CRC and nothing stuffed.

    What is nearly always there, for a third of the time that `Splitter` and `unpack_status` take; None says nothing but that it
    is for them to find out.
    """
    if not raw.startswith(_status_head(device, size)) or _STUFFED in raw:
        return None
    if len(raw) != STATUS_BYTES + size or crc16(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
        return None
    return Status(device, raw[8], raw[9:-2])


@cache
def _status_head(device: int, size: int) -> bytes:
    return HEADER + _HEAD.pack(device, STATUS_BYTES + size - PREFIX_BYTES, Instruction.STATUS)


def _verify(raw: bytes) -> None:
    if len(raw) < 10 or raw[:4] != HEADER:
        raise ValueError(f"{raw.hex(' ')} is no packet")
    if PREFIX_BYTES + int.from_bytes(raw[5:7], "little") != len(raw):
        raise ValueError(f"length of {raw.hex(' ')} is wrong")
    if crc16(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
        raise ValueError(f"CRC of {raw.hex(' ')} is wrong")


# ── fast answers ──


def fast_bytes(sizes: Iterable[int]) -> int:
    """Length of the fast answer that carries so many data bytes of each device."""
    return FAST_PREFIX_BYTES + sum(FAST_BYTES + size for size in sizes)


def fast_head(sizes: Iterable[int]) -> bytes:
    """What stands before the first device's part."""
    return HEADER + _HEAD.pack(BROADCAST, fast_bytes(sizes) - PREFIX_BYTES, Instruction.STATUS)


def fast_segments(statuses: Sequence[Status], sizes: Sequence[int]) -> Iterator[bytes]:
    """What each device adds in its turn; `sizes` are those of all devices asked, so that the length is right even
    when the answer ends early.
    """
    head, crc = fast_head(sizes), 0
    for status in statuses:
        segment = head + bytes((status.error, status.id)) + status.data
        crc = crc16(segment, crc)
        yield segment + crc.to_bytes(2, "little")
        crc = crc_behind(crc)
        head = b""


class FastPiece(NamedTuple):
    """Parts of a fast answer that are read in one go: those of `wanted` (id, bytes), and `head` before them. `begin`: where the
    first of them ends.
    """

    head: bytes
    wanted: tuple[tuple[int, int], ...]
    begin: int
    size: int


@cache
def fast_pieces(wanted: tuple[tuple[int, int], ...]) -> tuple[FastPiece, ...]:
    """All parts but the last, and the last: it is all that is left to do when the last byte comes."""
    pieces, head = list[FastPiece](), fast_head(size for _, size in wanted)
    for parts in filter(None, (wanted[:-1], wanted[-1:])):
        sizes = [FAST_BYTES + size for _, size in parts]
        pieces.append(FastPiece(head, parts, len(head) + sizes[0], len(head) + sum(sizes)))
        head = b""
    return tuple(pieces)


def unpack_fast(
    raw: bytes, wanted: Sequence[tuple[int, int]], head: bytes | None = None, crc: int = 0
) -> list[Status]:
    """The sound beginning of a fast answer to a request for `wanted` (id, bytes), in order.

    For one that is read piece by piece (see `fast_pieces`): `head` stands before the first piece, nothing before the others, and
    `crc` goes on behind the piece before (see `crc_behind`).
    """
    head = fast_head(size for _, size in wanted) if head is None else head
    at, found = len(head), list[Status]()
    if not raw.startswith(head):
        return found
    # The last CRC speaks for the whole; only when it does not are those of the parts looked at.
    length = at + sum([FAST_BYTES + size for _, size in wanted])
    whole = len(raw) == length and crc16(raw[:-2], crc) == int.from_bytes(raw[-2:], "little")
    if not whole:
        crc = crc16(head, crc)
    for device, size in wanted:
        end = at + 2 + size
        if len(raw) < end + 2 or raw[at + 1] != device:
            break
        if not whole:
            crc = crc16(raw[at:end], crc)
            if crc.to_bytes(2, "little") != raw[end : end + 2]:
                break
            crc = crc_behind(crc)
        found.append(Status(device, raw[at], raw[at + 2 : end]))
        at = end + 2
    return found


# ── instructions ──


def ping(device: int) -> bytes:
    return pack(device, Instruction.PING)


def read(device: int, address: int, size: int) -> bytes:
    return pack(device, Instruction.READ, struct.pack("<HH", address, size))


def write(device: int, address: int, data: bytes) -> bytes:
    return pack(device, Instruction.WRITE, struct.pack("<H", address) + data)


def reg_write(device: int, address: int, data: bytes) -> bytes:
    return pack(device, Instruction.REG_WRITE, struct.pack("<H", address) + data)


def sync_read(address: int, size: int, devices: Sequence[int], *, fast: bool = False) -> bytes:
    instruction = Instruction.FAST_SYNC_READ if fast else Instruction.SYNC_READ
    return pack(BROADCAST, instruction, struct.pack("<HH", address, size) + bytes(devices))


def bulk_read(blocks: Sequence[tuple[int, int, int]], *, fast: bool = False) -> bytes:
    """`blocks` of (id, address, size), each id once."""
    instruction = Instruction.FAST_BULK_READ if fast else Instruction.BULK_READ
    return pack(BROADCAST, instruction, b"".join(struct.pack("<BHH", *block) for block in blocks))


def sync_write(address: int, size: int, values: Mapping[int, bytes]) -> bytes:
    parts = [bytes((device,)) + data for device, data in values.items()]
    return pack(BROADCAST, Instruction.SYNC_WRITE, struct.pack("<HH", address, size) + b"".join(parts))


def bulk_write(values: Mapping[int, tuple[int, bytes]]) -> bytes:
    """`values` by id: address and data."""
    parts = [struct.pack("<BHH", d, address, len(data)) + data for d, (address, data) in values.items()]
    return pack(BROADCAST, Instruction.BULK_WRITE, b"".join(parts))


def write_all(values: Mapping[int, tuple[int, bytes]]) -> bytes:
    """One packet for all: sync write where address and length are the same, else bulk write."""
    places = {(address, len(data)) for address, data in values.values()}
    if len(places) == 1:
        address, size = places.pop()
        return sync_write(address, size, {device: data for device, (_, data) in values.items()})
    return bulk_write(values)
