"""CyberGear and RobStride private protocol: bytes ↔ values.

Source: Xiaomi CyberGear manual (English: belovictor/cybergear-docs, instructionmanual.md, §4) and the RobStride manuals.
A 29-bit identifier is type << 24 | data16 << 8 | target. Operation control and feedback are big-endian digits over the
model's ranges; parameters are little-endian. The manual's table says ±4π rad, its sample code ±12.5: hence a table.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from drivers.bus.frame import Frame
from drivers.canservo.ranges import Ranges

LAST_ID = 127
#: What the answer to "who are you" is addressed to.
EVERYBODY = 0xFE


class Type(IntEnum):
    GET_ID = 0
    OPERATION = 1
    FEEDBACK = 2
    ENABLE = 3
    STOP = 4
    SET_ZERO = 6
    SET_ID = 7
    READ = 17
    WRITE = 18
    FAULT = 21
    ACTIVE_REPORT = 24


class Run(IntEnum):
    """Bits 22–23 of a feedback."""

    RESET = 0
    CALIBRATION = 1
    RUN = 2


@dataclass(frozen=True, slots=True)
class Feedback:
    """SI; `faults` are the bits 16–21 of the identifier, `saturated` when velocity or torque are at their range's end."""

    motor: int
    faults: int
    run: int
    position: float
    velocity: float
    torque: float
    temperature_K: float
    saturated: bool


_FOUR = struct.Struct(">HHHH")
_PARAMETER = struct.Struct("<HH4s")


def can_id(kind: int, data16: int, target: int) -> int:
    if not (0 <= kind <= 31 and 0 <= data16 <= 0xFFFF and 0 <= target <= 0xFF):
        raise ValueError(f"type {kind}, data {data16}, target {target} do not fit into 5, 16 and 8 bits")
    return kind << 24 | data16 << 8 | target


def split_id(identifier: int) -> tuple[int, int, int]:
    """Type, data16, target."""
    return identifier >> 24, identifier >> 8 & 0xFFFF, identifier & 0xFF


def _frame(kind: int, data16: int, target: int, data: bytes = b"") -> Frame:
    return Frame(can_id(kind, data16, target), data, extended=True)


def get_id(host: int, motor: int) -> Frame:
    return _frame(Type.GET_ID, host, motor, bytes(8))


def enable(host: int, motor: int) -> Frame:
    """The host's id stands in the identifier: the manual's sample code sends 0 and so moves the motor to another master."""
    return _frame(Type.ENABLE, host, motor)


def stop(host: int, motor: int, *, clear_fault: bool = False) -> Frame:
    return _frame(Type.STOP, host, motor, bytes((clear_fault,)) + bytes(7))


def read_version(host: int, motor: int) -> Frame:
    """RobStride: a stop that asks for the firmware's version."""
    return _frame(Type.STOP, host, motor, b"\x00\xc4" + bytes(6))


def parse_version(data: bytes) -> str | None:
    """The version, when a feedback frame carries one instead of a feedback."""
    if len(data) != 8 or data[:3] != b"\x00\xc4\x56":
        return None
    return ".".join(map(str, data[3:7]))


def operation(
    ranges: Ranges, motor: int, position: float, velocity: float, kp: float, kd: float, torque: float
) -> Frame:
    """Raises ValueError outside the ranges."""
    data = _FOUR.pack(
        ranges.position.pack(position), ranges.velocity.pack(velocity), ranges.kp.pack(kp), ranges.kd.pack(kd)
    )
    return _frame(Type.OPERATION, ranges.torque.pack(torque), motor, data)


def read_parameter(host: int, motor: int, index: int) -> Frame:
    return _frame(Type.READ, host, motor, _PARAMETER.pack(index, 0, bytes(4)))


def write_parameter(host: int, motor: int, index: int, value: bytes) -> Frame:
    """`value` little-endian, at most four bytes. Volatile: lost with the supply."""
    return _frame(Type.WRITE, host, motor, _PARAMETER.pack(index, 0, value.ljust(4, b"\0")))


def parse_parameter(frame: Frame) -> tuple[int, int, bytes, bool]:
    """Motor, index, four bytes, whether the motor has such a parameter. Raises ValueError."""
    kind, data16, _ = split_id(frame.can_id)
    if kind != Type.READ or len(frame.data) != 8:
        raise ValueError(f"no parameter: {frame}")
    index, _, value = _PARAMETER.unpack(frame.data)
    return data16 & 0xFF, index, value, data16 >> 8 == 0


def parse_feedback(frame: Frame, ranges: Ranges) -> Feedback:
    """Raises ValueError."""
    kind, data16, _ = split_id(frame.can_id)
    if kind not in (Type.FEEDBACK, Type.ACTIVE_REPORT) or len(frame.data) != 8:
        raise ValueError(f"no feedback: {frame}")
    position, velocity, torque, tenths = _FOUR.unpack(frame.data)
    return Feedback(
        motor=data16 & 0xFF,
        faults=data16 >> 8 & 0x3F,
        run=data16 >> 14 & 0x3,
        position=ranges.position.unpack(position),
        velocity=ranges.velocity.unpack(velocity),
        torque=ranges.torque.unpack(torque),
        temperature_K=tenths / 10.0 + 273.15,
        saturated=ranges.velocity.saturated(velocity) or ranges.torque.saturated(torque),
    )


def parse_fault(data: bytes) -> tuple[int, int]:
    """Fault and warning bits of a type 21 frame. Raises ValueError."""
    if len(data) != 8:
        raise ValueError(f"{len(data)} bytes where a fault report has 8")
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
