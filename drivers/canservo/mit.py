"""The MIT mini-cheetah frame, as many joint modules speak it: bytes ↔ values.

Source: Ben Katz, motorcontrol, CAN_com.cpp. Command of 8 bytes: position 16 | velocity 12 | kp 12 | kd 12 | torque 12,
big-endian. Reply of 6 bytes: id 8 | position 16 | velocity 12 | torque 12; later firmware appends temperature and error.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.bus.frame import Frame
from drivers.canservo.ranges import Ranges

LAST_ID = 0x7F
ENTER, EXIT, ZERO = b"\xff" * 7 + b"\xfc", b"\xff" * 7 + b"\xfd", b"\xff" * 7 + b"\xfe"
SPECIAL = (ENTER, EXIT, ZERO)


@dataclass(frozen=True, slots=True)
class Command:
    position: float
    velocity: float
    kp: float
    kd: float
    torque: float


@dataclass(frozen=True, slots=True)
class Reply:
    """SI; temperature and error None in the short form; `saturated` when a quantity is at its range's end."""

    motor: int
    position: float
    velocity: float
    torque: float
    temperature_K: float | None
    error: int | None
    saturated: bool


def pack_command(ranges: Ranges, command: Command) -> bytes:
    """Raises ValueError outside the ranges."""
    word = ranges.position.pack(command.position)
    for scale, value in (
        (ranges.velocity, command.velocity),
        (ranges.kp, command.kp),
        (ranges.kd, command.kd),
        (ranges.torque, command.torque),
    ):
        word = word << 12 | scale.pack(value)
    data = word.to_bytes(8, "big")
    if data in SPECIAL:
        raise ValueError("these set-points together are the code of a special command")
    return data


def unpack_command(ranges: Ranges, data: bytes) -> Command:
    if len(data) != 8:
        raise ValueError(f"{len(data)} bytes where a command has 8")
    word = int.from_bytes(data, "big")
    return Command(
        ranges.position.unpack(word >> 48),
        ranges.velocity.unpack(word >> 36 & 0xFFF),
        ranges.kp.unpack(word >> 24 & 0xFFF),
        ranges.kd.unpack(word >> 12 & 0xFFF),
        ranges.torque.unpack(word & 0xFFF),
    )


def parse_reply(ranges: Ranges, data: bytes, length: int) -> Reply:
    """`length` is 6 or 8, as the model has it. Raises ValueError."""
    if len(data) != length:
        raise ValueError(f"{len(data)} bytes where this model replies with {length}")
    position = int.from_bytes(data[1:3], "big")
    velocity, torque = data[3] << 4 | data[4] >> 4, (data[4] & 0xF) << 8 | data[5]
    return Reply(
        motor=data[0],
        position=ranges.position.unpack(position),
        velocity=ranges.velocity.unpack(velocity),
        torque=ranges.torque.unpack(torque),
        temperature_K=data[6] + 273.15 if length == 8 else None,
        error=data[7] if length == 8 else None,
        saturated=ranges.position.saturated(position)
        or ranges.velocity.saturated(velocity)
        or ranges.torque.saturated(torque),
    )


def frame(motor: int, data: bytes) -> Frame:
    return Frame(motor, data)
