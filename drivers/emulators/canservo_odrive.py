"""An emulated ODrive axis: heartbeat, cyclic encoder estimates, queries, endpoints (0.6), and a watchdog fed by any frame.

As in the firmware, a query is a remote frame or an empty one; the watchdog runs whether torque is on or not; an expired
one is an error of the axis, which goes idle and stays so until the errors are cleared.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from drivers.bus.frame import Frame
from drivers.canservo.model import TURN, OdriveModel
from drivers.device import Mode
from drivers.emulators.canservo_node import EmulatedCanServo
from drivers.emulators.host import Surroundings

_IDLE, _CLOSED_LOOP = 1, 8
_MODES = {1: Mode.TORQUE, 2: Mode.VELOCITY, 3: Mode.POSITION}
_ESTOP_5, _ESTOP_6 = 0x4000, 0x0200_0000
_INVALID_STATE = 0x01
_AMBIENT_C = 31.5


@dataclass(frozen=True, slots=True)
class OdrivePlan:
    """`hand_set_watchdog_s` is what somebody has set over USB: the only way with firmware 0.5."""

    name: str
    node: int
    model: OdriveModel
    serial: int = 1
    hand_set_watchdog_s: float = 0.0

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedOdrive:
        return EmulatedOdrive(self, around, send)


class EmulatedOdrive(EmulatedCanServo):
    """See the module."""

    def __init__(self, plan: OdrivePlan, around: Surroundings, send: Callable[[Frame], None]) -> None:
        super().__init__(plan.name, around, send)
        self.node, self.model, self._serial = plan.node, plan.model, plan.serial
        self.firmware = tuple(int(n) for n in (plan.model.firmware or "0.5.6").split("."))
        self.state, self.error, self.disarm_reason = _IDLE, 0, 0
        self.calibrated = True
        self._mode, self._target = Mode.POSITION, 0.0
        self._limit_turns_s, self._limit_A = float("inf"), float("inf")
        self.watchdog_s = plan.hand_set_watchdog_s
        self._next_beat_s = self._next_encoder_s = float("inf")
        endpoints = plan.model.endpoints
        usual = {
            "axis_node": struct.pack("<I", plan.node),
            "torque_constant": struct.pack("<f", plan.model.torque_constant),
            "heartbeat_rate_ms": struct.pack("<I", round(plan.model.heartbeat_s * 1000)),
            "encoder_rate_ms": struct.pack("<I", 10),
        }
        self.endpoints = {number: usual.get(name, bytes(4)) for name, number in endpoints.items()}
        self._names = {number: name for name, number in endpoints.items()}
        self._encoder_s = 0.01 if plan.model.minor == 6 else plan.model.cyclic_s

    # ── time ──

    def start(self, now_s: float) -> None:
        self._next_beat_s = now_s
        self._next_encoder_s = now_s + self._encoder_s if self._encoder_s else float("inf")
        if self.watchdog_s:
            self.feed(now_s)

    def next_due(self) -> float:
        return min(super().next_due(), self._next_beat_s, self._next_encoder_s)

    def tick(self, now_s: float) -> None:
        super().tick(now_s)
        if now_s >= self._next_beat_s:
            self._beat()
            self._next_beat_s = max(self._next_beat_s + self.model.heartbeat_s, now_s)
        if now_s >= self._next_encoder_s:
            self._send_encoder(now_s)
            self._next_encoder_s = max(self._next_encoder_s + self._encoder_s, now_s)

    def excuse(self, frozen_s: float) -> None:
        super().excuse(frozen_s)
        self._next_beat_s += frozen_s
        self._next_encoder_s += frozen_s

    def expired(self, now_s: float) -> None:
        self.fail(self.model.watchdog_bit, "watchdog", now_s)

    def fail(self, bits: int, reason: str, now_s: float) -> None:
        """Fault injection and the axis's own errors: torque off, idle until cleared."""
        self.error |= bits
        self.disarm_reason = self.disarm_reason or bits
        self.state = _IDLE
        self.power(False, reason, now_s)

    # ── frames ──

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.extended or frame.error or frame.can_id >> 5 != self.node:
            return
        self.feed(now_s)
        command = frame.can_id & 0x1F
        if frame.remote or not frame.data:
            if command == 0x02:
                self.fail(_ESTOP_5 if self.model.minor == 5 else _ESTOP_6, "estop", now_s)
            elif command == 0x18:
                self._clear(now_s)
            else:
                self._reply(command, now_s)
            return
        handlers: dict[int, Callable[[bytes, float], None]] = {
            0x07: self._set_state,
            0x0B: self._set_mode,
            0x0C: partial(self._input, Mode.POSITION),
            0x0D: partial(self._input, Mode.VELOCITY),
            0x0E: partial(self._input, Mode.TORQUE),
            0x0F: self._set_limits,
            0x18: lambda _data, at: self._clear(at),
        }
        if self.model.minor == 6:
            handlers[0x04] = self._sdo
        handler = handlers.get(command)
        if handler is not None:
            try:
                handler(frame.data, now_s)
            except struct.error:
                return  # too short: the firmware would read rubbish, the emulator nothing

    def _say(self, command: int, data: bytes) -> None:
        self.send(Frame(self.node << 5 | command, data))

    def _beat(self) -> None:
        tail = bytes((self.state, 0, 0, 0x80)) if self.model.minor == 5 else bytes((self.state, 0, 1, 0))
        self._say(0x01, struct.pack("<I", self.error) + tail)

    def _send_encoder(self, now_s: float) -> None:
        step = self.model.digits["position"] / TURN
        turns = round(self.read("position", now_s) / TURN / step) * step
        self._say(0x09, struct.pack("<ff", turns, self.read("velocity", now_s) / TURN))

    def _reply(self, command: int, now_s: float) -> None:
        if command == 0x01:
            self._beat()
        elif command == 0x09:
            self._send_encoder(now_s)
        elif command == 0x14:
            current = self.read("torque", now_s) / self.model.torque_constant
            self._say(command, struct.pack("<ff", current, current))
        elif command == 0x17:
            self._say(command, struct.pack("<ff", 48.0, 0.5))
        elif command == 0x03:
            data = struct.pack("<II", self.error, self.disarm_reason)
            self._say(command, data if self.model.minor == 6 else bytes(8))
        elif self.model.minor == 5:
            if command in (0x04, 0x05):
                self._say(command, bytes(8))
        elif command == 0x00:
            self._say(command, bytes((2, 5, 2, 0, *self.firmware, 0)))
        elif command == 0x06:
            self._say(command, bytes((self.node,)) + self._serial.to_bytes(6, "little") + b"\0")
        elif command == 0x15:
            self._say(command, struct.pack("<ff", _AMBIENT_C + 5.0, _AMBIENT_C))
        elif command == 0x1C:
            torque = self.read("torque", now_s)
            self._say(command, struct.pack("<ff", torque, torque))

    def _set_state(self, data: bytes, now_s: float) -> None:
        (wanted,) = struct.unpack_from("<I", data)
        if wanted == _IDLE:
            self.state = _IDLE
            self.power(False, "axis state idle", now_s)
        elif wanted == _CLOSED_LOOP and self.calibrated and not self.error:
            self.state = _CLOSED_LOOP
            self.power(True, "axis state closed loop", now_s)
            self._apply(now_s)
        else:
            self.error |= _INVALID_STATE if self.model.minor == 5 else 0
        self._beat()  # as later 0.6 do; the earlier ones tell it with the next one

    def _set_mode(self, data: bytes, now_s: float) -> None:
        control, _ = struct.unpack_from("<II", data)
        if control in _MODES and _MODES[control] is not self._mode:
            self._mode = _MODES[control]
            self._target = self.read(self._mode.value, now_s) if self._mode is not Mode.TORQUE else 0.0

    def _set_limits(self, data: bytes, now_s: float) -> None:
        self._limit_turns_s, self._limit_A = struct.unpack_from("<ff", data)

    def _input(self, mode: Mode, data: bytes, now_s: float) -> None:
        (value,) = struct.unpack_from("<f", data)
        if mode is self._mode:
            self._target = value if mode is Mode.TORQUE else value * TURN
            self._apply(now_s)

    def _apply(self, now_s: float) -> None:
        if self.state != _CLOSED_LOOP:
            return
        target = self._target
        if self._mode is not Mode.POSITION:
            torque = self._limit_A * self.model.torque_constant
            limit = torque if self._mode is Mode.TORQUE else self._limit_turns_s * TURN
            target = max(-limit, min(limit, target))
        self.drive(self._mode, target, now_s)

    def _clear(self, now_s: float) -> None:
        self.error = self.disarm_reason = 0

    def _sdo(self, data: bytes, now_s: float) -> None:
        opcode, endpoint, _, value = struct.unpack(
            "<BHB4s", data.ljust(8, b"\0")
        )  # a value may come at its own length
        if endpoint not in self.endpoints:
            return
        if opcode == 1:
            self.endpoints[endpoint] = value
            self._written(self._names[endpoint], value, now_s)
        else:
            self._say(0x05, struct.pack("<BHB4s", 0, endpoint, 0, self.endpoints[endpoint]))

    def _written(self, name: str, value: bytes, now_s: float) -> None:
        number = int.from_bytes(value, "little")
        if name in ("watchdog_timeout", "enable_watchdog"):
            by_name = {self._names[n]: v for n, v in self.endpoints.items()}
            enabled = by_name["enable_watchdog"] != bytes(4)
            self.watchdog_s = struct.unpack("<f", by_name["watchdog_timeout"])[0] if enabled else 0.0
            self.feed(now_s)
        elif name == "encoder_rate_ms":
            self._encoder_s = number / 1000.0
            self._next_encoder_s = now_s + self._encoder_s if number else float("inf")
