"""An emulated CyberGear or RobStride motor: private protocol, parameters in RAM, CAN timeout (off at power-up)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from drivers.bus.frame import Frame
from drivers.canservo.model import CybergearModel
from drivers.device import Mode
from drivers.emulators.canservo_node import EmulatedCanServo, digits_of, value_of
from drivers.emulators.host import Surroundings

_RESET, _RUN = 0, 2
_VERSION = bytes((0, 3, 1, 41))
_WINDING_C = 33.0


@dataclass(frozen=True, slots=True)
class CybergearPlan:
    name: str
    motor: int
    model: CybergearModel
    serial: int = 1

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedCybergear:
        return EmulatedCybergear(self, around, send)


class EmulatedCybergear(EmulatedCanServo):
    """See the module. `faults` are the bits of a feedback; fault injection sets them through `fail`."""

    def __init__(self, plan: CybergearPlan, around: Surroundings, send: Callable[[Frame], None]) -> None:
        super().__init__(plan.name, around, send)
        self.motor, self.model = plan.motor, plan.model
        self.unique_id = plan.serial.to_bytes(8, "big")
        self.run, self.faults, self.host = _RESET, 0, 0
        self.forgetful: set[int] = set()  # fault injection: parameters that are not taken over
        index, model = plan.model.parameters, plan.model
        self._timeout = model.watchdog.index
        self.parameters: dict[int, bytes] = {
            index["run_mode"]: bytes(4),
            index["spd_ref"]: bytes(4),
            index["loc_ref"]: bytes(4),
            index["limit_torque"]: struct.pack("<f", model.max_torque),
            index["limit_spd"]: struct.pack("<f", 2.0),
            self._timeout: bytes(4),
        }
        self._modes = {number: mode for mode, number in model.run_modes.items()}

    def expired(self, now_s: float) -> None:
        self._stop("CAN timeout", now_s)

    def fail(self, bits: int, now_s: float) -> None:
        """Fault injection: torque off, a report without being asked, bits in every feedback."""
        self.faults |= bits
        self._stop(f"fault {bits:02X}h", now_s)
        self._say(21, self.motor, self.host, struct.pack("<II", bits, 0))

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if not frame.extended or frame.error or frame.remote or frame.can_id & 0xFF != self.motor:
            return
        kind, data16 = frame.can_id >> 24, frame.can_id >> 8 & 0xFFFF
        if kind in (0, 3, 4, 17, 18):
            self.host = data16 & 0xFF
        self.feed(now_s)
        if kind == 0:
            self._say(0, self.motor, 0xFE, self.unique_id)
        elif kind == 1 and len(frame.data) == 8:
            self._operate(data16, frame.data, now_s)
        elif kind == 3:
            if not self.faults:
                self.run = _RUN
                self.power(True, "enable", now_s)
                self._apply(now_s)
            self._feedback(now_s)
        elif kind == 4:
            self._stopped(frame.data, now_s)
        elif kind == 17 and len(frame.data) == 8:
            self._read_parameter(frame.data, now_s)
        elif kind == 18 and len(frame.data) == 8:
            self._write_parameter(frame.data, now_s)

    def _say(self, kind: int, data16: int, target: int, data: bytes) -> None:
        self.send(Frame(kind << 24 | data16 << 8 | target, data, extended=True))

    def _stopped(self, data: bytes, now_s: float) -> None:
        if data[:1] == b"\x01":
            self.faults = 0
        self._stop("stop", now_s)
        if data[:2] == b"\x00\xc4" and self.model.tells_version:
            self._say(2, self.faults << 8 | self.motor, self.host, b"\x00\xc4\x56" + _VERSION + b"\0")
        else:
            self._feedback(now_s)

    def _stop(self, reason: str, now_s: float) -> None:
        self.run = _RESET
        self.power(False, reason, now_s)

    def _feedback(self, now_s: float) -> None:
        ranges = self.model.ranges
        position = self.read("position", now_s)
        reach = 2.0 * ranges.position.high
        wrapped = math.fmod(position + math.copysign(ranges.position.high, position), reach)
        wrapped -= math.copysign(ranges.position.high, position)
        data = struct.pack(
            ">HHHH",
            digits_of(ranges.position, wrapped),
            digits_of(ranges.velocity, self.read("velocity", now_s)),
            digits_of(ranges.torque, self.read("torque", now_s)),
            round(_WINDING_C * 10),
        )
        self._say(2, self.run << 14 | self.faults << 8 | self.motor, self.host, data)

    def _read_parameter(self, data: bytes, now_s: float) -> None:
        index = int.from_bytes(data[:2], "little")
        names = self.model.parameters
        measured = {
            names["mechPos"]: lambda: self.read("position", now_s),
            names["iqf"]: lambda: self.read("torque", now_s) / 0.87,
            names["VBUS"]: lambda: 24.0,
        }
        if index in measured:
            value = struct.pack("<f", measured[index]())
        elif index in self.parameters:
            value = self.parameters[index]
        else:
            self._say(17, 1 << 8 | self.motor, self.host, data[:4] + bytes(4))
            return
        self._say(17, self.motor, self.host, data[:4] + value)

    def _write_parameter(self, data: bytes, now_s: float) -> None:
        index, value = int.from_bytes(data[:2], "little"), data[4:]
        names = self.model.parameters
        if index in self.parameters and index not in self.forgetful:
            self.parameters[index] = value
            if index == self._timeout:
                self.watchdog_s = int.from_bytes(value, "little") * self.model.watchdog.digit_s
            elif index in (names["spd_ref"], names["loc_ref"]):
                self._apply(now_s)
        self._feedback(now_s)

    def _mode(self) -> Mode | None:
        return self._modes.get(self.parameters[self.model.parameters["run_mode"]][0])

    def _float(self, name: str) -> float:
        value: float = struct.unpack("<f", self.parameters[self.model.parameters[name]])[0]
        return value

    def _apply(self, now_s: float) -> None:
        mode = self._mode()
        if mode is Mode.VELOCITY:
            self.drive(mode, self._float("spd_ref"), now_s)
        elif mode is Mode.POSITION:
            self.drive(mode, self._float("loc_ref"), now_s)
        elif mode is Mode.TORQUE:
            self.drive(mode, 0.0, now_s)

    def _operate(self, torque16: int, data: bytes, now_s: float) -> None:
        ranges = self.model.ranges
        position, velocity, kp, kd = struct.unpack(">HHHH", data)
        if self.run == _RUN and self._mode() is Mode.TORQUE:
            effort = value_of(ranges.torque, torque16)
            effort += value_of(ranges.kp, kp) * (
                value_of(ranges.position, position) - self.read("position", now_s)
            )
            effort += value_of(ranges.kd, kd) * (
                value_of(ranges.velocity, velocity) - self.read("velocity", now_s)
            )
            limit = self._float("limit_torque")
            self.drive(Mode.TORQUE, max(-limit, min(limit, effort)), now_s)
        self._feedback(now_s)
