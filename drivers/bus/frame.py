"""One CAN frame as a value, and its 16 bytes on a socket; 72 of CAN FD.

The wire format of the emulated bus is Linux's ``struct can_frame``: 32-bit identifier with flags, length,
three bytes of padding, eight bytes of data. A recording of such bytes can be replayed into SocketCAN
unchanged. One message on its socket carries one or more of them: what one side had to say at one time.
A CAN FD frame is a ``struct canfd_frame`` of 72 bytes and travels alone: no number of classic frames is as long.

>>> Frame(0x601, bytes.fromhex("4000100000000000")).pack().hex()
'01060000080000004000100000000000'
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

FRAME_BYTES, FD_FRAME_BYTES = 16, 72
#: At most so many frames travel in one message.
MOST_FRAMES = 64
EXTENDED_FLAG, REMOTE_FLAG, ERROR_FLAG = 0x8000_0000, 0x4000_0000, 0x2000_0000
STANDARD_MASK, EXTENDED_MASK = 0x7FF, 0x1FFF_FFFF

#: Class bits of an error frame (linux/can/error.h).
ERROR_TX_TIMEOUT, ERROR_CONTROLLER, ERROR_PROTOCOL, ERROR_BUS_OFF, ERROR_RESTARTED = (
    0x001,
    0x004,
    0x008,
    0x040,
    0x100,
)

#: What a CAN FD frame can carry (ISO 11898-1:2015, data length code).
FD_LENGTHS: tuple[int, ...] = (*range(9), 12, 16, 20, 24, 32, 48, 64)
#: Flags of ``struct canfd_frame``: the data phase is faster; it is an FD frame.
_BRS, _FDF = 0x01, 0x04

_FRAME = struct.Struct("=IB3x8s")
_tuple = tuple.__new__  # half the time of the named tuple's own, which gives every field a default
_FD_FRAME = struct.Struct("=IBB2x64s")


class Frame(NamedTuple):
    """A classic CAN frame. `stamp_s` is the host's monotonic time of reception, 0 when it was never
    received.

    A tuple, because thousands are made every second: 0.3 µs each, against 1.3 µs of a frozen dataclass.
    """

    can_id: int
    data: bytes = b""
    extended: bool = False
    remote: bool = False
    error: bool = False
    stamp_s: float = 0.0

    @property
    def fd(self) -> bool:
        """See `FdFrame`: a type of its own, so that it costs a classic frame nothing."""
        return False

    def pack(self) -> bytes:
        """The 16 bytes of ``struct can_frame``. Raises ValueError for an impossible identifier or length."""
        can_id, data, extended, remote, error, _ = self
        if 0 <= can_id <= STANDARD_MASK and len(data) <= 8 and not (extended or remote or error):
            return _FRAME.pack(can_id, len(data), data)  # nearly all of them
        if len(data) > 8 or not 0 <= can_id <= (EXTENDED_MASK if extended or error else STANDARD_MASK):
            raise ValueError(f"not a classic CAN frame: {self}")
        flags = (EXTENDED_FLAG * extended) | (REMOTE_FLAG * remote) | (ERROR_FLAG * error)
        return _FRAME.pack(can_id | flags, len(data), data)

    @staticmethod
    def join(frames: Iterable[Frame]) -> bytes:
        """A message of all of them, classic ones: each as `pack` has it. Raises ValueError."""
        pack = _FRAME.pack
        return b"".join(
            [
                pack(can_id, len(data), data)
                if 0 <= can_id <= STANDARD_MASK and len(data) <= 8 and not (extended or remote or error)
                else Frame(can_id, data, extended, remote, error).pack()
                for can_id, data, extended, remote, error, _ in frames
            ]
        )

    @classmethod
    def unpack(cls, wire: bytes, stamp_s: float = 0.0) -> Frame:
        """Raises ValueError for anything that is not 16 bytes with a length of at most 8."""
        frames, garbled = cls.split(wire, stamp_s)
        if garbled or len(frames) != 1:
            raise ValueError(f"not a struct can_frame: {wire.hex()}")
        return frames[0]

    @classmethod
    def split(cls, message: bytes, stamp_s: float = 0.0) -> tuple[list[Frame], int]:
        """The frames of a message, and how many parts of it were none."""
        if len(message) % FRAME_BYTES:
            return _split_fd(message, stamp_s) if len(message) == FD_FRAME_BYTES else ([], 1)
        frames: list[Frame] = []
        garbled = 0
        make = _tuple
        for word, length, data in _FRAME.iter_unpack(message):
            if length > 8:
                garbled += 1
            elif word <= STANDARD_MASK:  # nearly all of them
                frames.append(make(cls, (word, data[:length], False, False, False, stamp_s)))
            else:
                extended, error = bool(word & EXTENDED_FLAG), bool(word & ERROR_FLAG)
                can_id = word & (EXTENDED_MASK if extended or error else STANDARD_MASK)
                remote = bool(word & REMOTE_FLAG)
                frames.append(cls(can_id, data[:length], extended, remote, error, stamp_s))
        return frames, garbled

    def __str__(self) -> str:
        return f"{self.can_id:03X}#{'R' if self.remote else ''}{self.data.hex().upper()}"


def data_frame(can_id: int, data: bytes) -> Frame:
    """`Frame(can_id, data)` in half the time, for those of every cycle."""
    return _tuple(Frame, (can_id, data, False, False, False, 0.0))


class FdFrame(Frame):
    """A CAN FD frame: up to 64 bytes, its data phase at the faster bit rate. No classic frame equals it."""

    __slots__ = ()

    @property
    def fd(self) -> bool:
        return True

    def pack(self) -> bytes:
        """The 72 bytes of ``struct canfd_frame``. Raises ValueError for an impossible identifier or length."""
        can_id, data, extended, remote, error, _ = self
        most = EXTENDED_MASK if extended else STANDARD_MASK
        if len(data) not in FD_LENGTHS or not 0 <= can_id <= most or remote or error:
            raise ValueError(f"not a CAN FD frame: {self}")
        return _FD_FRAME.pack(can_id | EXTENDED_FLAG * extended, len(data), _BRS | _FDF, data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FdFrame) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((tuple(self), True))


def _split_fd(message: bytes, stamp_s: float) -> tuple[list[Frame], int]:
    word, length, _, data = _FD_FRAME.unpack(message)
    if length not in FD_LENGTHS or word & (REMOTE_FLAG | ERROR_FLAG):
        return [], 1
    extended = bool(word & EXTENDED_FLAG)
    can_id = word & (EXTENDED_MASK if extended else STANDARD_MASK)
    return [FdFrame(can_id, data[:length], extended, stamp_s=stamp_s)], 0


def fd_length(least: int) -> int:
    """The shortest length of a CAN FD frame that carries `least` bytes. Raises ValueError beyond 64."""
    for length in FD_LENGTHS:
        if length >= least:
            return length
    raise ValueError(f"{least} bytes do not fit into a CAN FD frame")


@cache
def fd_wire_bits(length: int, extended: bool = False, speedup: float = 5.0) -> int:
    """As `wire_bits`, of a CAN FD frame whose data phase is `speedup` times as fast (moteus: 1 and 5 Mbit/s).

    ISO 11898-1:2015: 17 or 36 bits from the start to BRS, 13 from the CRC delimiter on with the bits between frames; fast
    are ESI, length and data, then stuff count and CRC (4 and 17 or 21 bits) with a fixed stuff bit every four.
    """
    head, fast = 36 if extended else 17, 5 + 8 * length
    check = 27 if length <= 16 else 32
    return head + head // 4 + 13 + math.ceil((fast + fast // 4 + check) / speedup)


@cache
def wire_bits(length: int, extended: bool = False, remote: bool = False) -> int:
    """Longest time on the wire in bit times, worst-case bit stuffing and the three bits between frames
    included.

    Davis et al., "Controller Area Network (CAN) schedulability analysis", Real-Time Systems 35 (2007), eq.
    (1): g + 8s + 13 + ⌊(g + 8s − 1)/4⌋ with g = 34 (11-bit identifier) or 54 (29-bit).
    """
    stuffed = (54 if extended else 34) + (0 if remote else 8 * length)
    return stuffed + 13 + (stuffed - 1) // 4
