"""ODrive CANSimple, firmware 0.5 and 0.6: bytes ↔ values, in the device's own units (turns, turns/s, N·m).

Source: ODrive repository, docs/can-protocol.rst and figures/can-protocol.csv (0.5.6); documentation of 0.6, page
"CAN Protocol". An 11-bit identifier is node << 5 | command, everything is little-endian. **The same command means
different things in 0.5 and 0.6** (04, 05, 06, 15, 19, 1C, 1D), so nothing may be decoded before the version is known.
A value is asked for by a remote frame (the firmware also takes an empty data frame for one).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from drivers.bus.frame import Frame

LAST_NODE = 62  # 63 is everybody, and a 0.6 that has not been given an address yet


class Cmd(IntEnum):
    GET_VERSION = 0x00  # 0.6
    HEARTBEAT = 0x01
    ESTOP = 0x02
    GET_ERROR = 0x03  # 0.5: motor error, u64; 0.6: active errors, disarm reason
    GET_ENCODER_ERROR = 0x04  # 0.5
    RX_SDO = 0x04  # 0.6
    TX_SDO = 0x05  # 0.6
    ADDRESS = 0x06  # 0.6; 0.5: set the node id!
    SET_AXIS_STATE = 0x07
    ENCODER_ESTIMATES = 0x09
    SET_CONTROLLER_MODE = 0x0B
    SET_INPUT_POS = 0x0C
    SET_INPUT_VEL = 0x0D
    SET_INPUT_TORQUE = 0x0E
    SET_LIMITS = 0x0F
    GET_IQ = 0x14
    GET_TEMPERATURE = 0x15  # 0.6; 0.5: sensorless estimates
    GET_BUS = 0x17
    CLEAR_ERRORS = 0x18
    GET_TORQUES = 0x1C  # 0.6; 0.5: ADC voltage


class AxisState(IntEnum):
    UNDEFINED = 0
    IDLE = 1
    CLOSED_LOOP_CONTROL = 8


class ControlMode(IntEnum):
    TORQUE = 1
    VELOCITY = 2
    POSITION = 3


PASSTHROUGH = 1
_TWO_FLOATS = struct.Struct("<ff")
_TWO_WORDS = struct.Struct("<II")
_POSITION = struct.Struct("<fhh")
_SDO = struct.Struct("<BHB4s")
_HEARTBEAT = struct.Struct("<IBBBB")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Axis errors and state; `detail` is motor-error flag (0.5) or procedure result (0.6)."""

    error: int
    state: int
    detail: int
    trajectory_done: bool


@dataclass(frozen=True, slots=True)
class Version:
    """Get_Version of 0.6."""

    protocol: int
    hardware: tuple[int, int, int]
    firmware: tuple[int, int, int]

    def __str__(self) -> str:
        return ".".join(map(str, self.firmware))


def can_id(node: int, command: int) -> int:
    """Raises ValueError for an impossible node or command."""
    if not (0 <= node <= 63 and 0 <= command <= 31):
        raise ValueError(f"node {node}, command {command} do not fit into 6 and 5 bits")
    return node << 5 | command


def split_id(identifier: int) -> tuple[int, int]:
    """Node and command."""
    return identifier >> 5, identifier & 0x1F


def query(node: int, command: int) -> Frame:
    return Frame(can_id(node, command), remote=True)


def set_axis_state(node: int, state: int) -> Frame:
    return Frame(can_id(node, Cmd.SET_AXIS_STATE), struct.pack("<I", state))


def set_controller_mode(node: int, control: int, source: int = PASSTHROUGH) -> Frame:
    return Frame(can_id(node, Cmd.SET_CONTROLLER_MODE), _TWO_WORDS.pack(control, source))


def set_input_pos(node: int, turns: float, feed_turns_s: float = 0.0, feed_torque: float = 0.0) -> Frame:
    """Feed-forward in 1/1000; raises ValueError when it does not fit into 16 bits."""
    feeds = (round(feed_turns_s * 1000), round(feed_torque * 1000))
    if any(not -0x8000 <= feed <= 0x7FFF for feed in feeds):
        raise ValueError(f"feed-forward {feed_turns_s:g} turns/s, {feed_torque:g} N·m exceeds ±32.767")
    return Frame(can_id(node, Cmd.SET_INPUT_POS), _POSITION.pack(turns, *feeds))


def set_input_vel(node: int, turns_s: float, feed_torque: float = 0.0) -> Frame:
    return Frame(can_id(node, Cmd.SET_INPUT_VEL), _TWO_FLOATS.pack(turns_s, feed_torque))


def set_input_torque(node: int, torque: float) -> Frame:
    return Frame(can_id(node, Cmd.SET_INPUT_TORQUE), struct.pack("<f", torque))


def set_limits(node: int, turns_s: float, current_A: float) -> Frame:
    return Frame(can_id(node, Cmd.SET_LIMITS), _TWO_FLOATS.pack(turns_s, current_A))


def clear_errors(node: int) -> Frame:
    return Frame(can_id(node, Cmd.CLEAR_ERRORS), b"\x00")


def padded(frame: Frame) -> Frame:
    """Eight bytes: the firmware reads as many as it needs, programs built from the DBC files want them all."""
    return Frame(frame.can_id, frame.data.ljust(8, b"\0"))


def read_endpoint(node: int, endpoint: int) -> Frame:
    """0.6 only: ask for a property of the device; the number belongs to one firmware version."""
    return Frame(can_id(node, Cmd.RX_SDO), _SDO.pack(0, endpoint, 0, bytes(4)))


def write_endpoint(node: int, endpoint: int, value: bytes) -> Frame:
    return Frame(can_id(node, Cmd.RX_SDO), _SDO.pack(1, endpoint, 0, value.ljust(4, b"\0")))


def parse_endpoint(data: bytes) -> tuple[int, bytes]:
    """Endpoint and the four bytes of its value. Raises ValueError."""
    _exactly(data, 8)
    _, endpoint, _, value = _SDO.unpack(data)
    return endpoint, value


def parse_heartbeat(data: bytes, minor: int) -> Heartbeat:
    """`minor` is 5 or 6. Raises ValueError."""
    _exactly(data, 8)
    error, state, b5, b6, b7 = _HEARTBEAT.unpack(data)
    if minor == 5:
        return Heartbeat(error, state, b5, bool(b7 & 0x80))
    return Heartbeat(error, state, b5, bool(b6 & 0x01))


def parse_floats(data: bytes) -> tuple[float, float]:
    """The pair of encoder estimates, Iq, bus, temperature or torques. Raises ValueError."""
    _exactly(data, 8)
    first, second = _TWO_FLOATS.unpack(data)
    return first, second


def parse_version(data: bytes) -> Version:
    _exactly(data, 8)
    return Version(data[0], (data[1], data[2], data[3]), (data[4], data[5], data[6]))


def parse_serial(data: bytes) -> str:
    """Serial number in an Address message of 0.6, as its tools print it."""
    _exactly(data, 8)
    return f"{int.from_bytes(data[1:7], 'little'):012X}"


def _exactly(data: bytes, count: int) -> None:
    if len(data) != count:
        raise ValueError(f"{len(data)} bytes where CANSimple has {count}")
