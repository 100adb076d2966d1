"""One CAN frame as a value, and its 16 bytes on a socket.

The wire format of the emulated bus is Linux's ``struct can_frame``: 32-bit identifier with flags, length,
three bytes of padding, eight bytes of data. A recording of such bytes can be replayed into SocketCAN
unchanged.

>>> Frame(0x601, bytes.fromhex("4000100000000000")).pack().hex()
'01060000080000004000100000000000'
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FRAME_BYTES = 16
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

_FRAME = struct.Struct("=IB3x8s")


@dataclass(frozen=True, slots=True)
class Frame:
    """A classic CAN frame. `stamp_s` is the host's monotonic time of reception, 0 when it was never
    received.
    """

    can_id: int
    data: bytes = b""
    extended: bool = False
    remote: bool = False
    error: bool = False
    stamp_s: float = 0.0

    def pack(self) -> bytes:
        """The 16 bytes of ``struct can_frame``. Raises ValueError for an impossible identifier or length."""
        if len(self.data) > 8 or not 0 <= self.can_id <= (
            EXTENDED_MASK if self.extended or self.error else STANDARD_MASK
        ):
            raise ValueError(f"not a classic CAN frame: {self}")
        flags = (EXTENDED_FLAG * self.extended) | (REMOTE_FLAG * self.remote) | (ERROR_FLAG * self.error)
        return _FRAME.pack(self.can_id | flags, len(self.data), self.data)

    @classmethod
    def unpack(cls, wire: bytes, stamp_s: float = 0.0) -> Frame:
        """Raises ValueError for anything that is not 16 bytes with a length of at most 8."""
        if len(wire) != FRAME_BYTES or wire[4] > 8:
            raise ValueError(f"not a struct can_frame: {wire.hex()}")
        word, length, data = _FRAME.unpack(wire)
        extended = bool(word & EXTENDED_FLAG)
        mask = EXTENDED_MASK if extended or word & ERROR_FLAG else STANDARD_MASK
        return cls(
            word & mask, data[:length], extended, bool(word & REMOTE_FLAG), bool(word & ERROR_FLAG), stamp_s
        )

    def __str__(self) -> str:
        return f"{self.can_id:03X}#{'R' if self.remote else ''}{self.data.hex().upper()}"


def wire_bits(length: int, extended: bool = False, remote: bool = False) -> int:
    """Longest time on the wire in bit times, worst-case bit stuffing and the three bits between frames
    included.

    Davis et al., "Controller Area Network (CAN) schedulability analysis", Real-Time Systems 35 (2007), eq.
    (1): g + 8s + 13 + ⌊(g + 8s − 1)/4⌋ with g = 34 (11-bit identifier) or 54 (29-bit).
    """
    stuffed = (54 if extended else 34) + (0 if remote else 8 * length)
    return stuffed + 13 + (stuffed - 1) // 4
