"""One ODrive axis on CANSimple, firmware 0.5 or 0.6. The device speaks turns at the motor shaft, this class radians.

Its watchdog is fed by *every* frame to the axis, telemetry requests included, so nothing but the cycle may send one.
"""

from __future__ import annotations

import contextlib
import math

from drivers.bus.frame import Frame, wire_bits
from drivers.canservo import odrive
from drivers.canservo.model import TURN
from drivers.canservo.odrive import AxisState, Cmd, ControlMode
from drivers.canservo.odrive_device import HEARTBEATS_LOST, OdriveDevice
from drivers.canservo.servo import LOST_S, SLOW_S, Question
from drivers.device import Command, DriverError, Mode

_CONTROL = {
    Mode.TORQUE: ControlMode.TORQUE,
    Mode.VELOCITY: ControlMode.VELOCITY,
    Mode.POSITION: ControlMode.POSITION,
}
_POLLS = {"encoder": Cmd.ENCODER_ESTIMATES, "torques": Cmd.GET_TORQUES, "iq": Cmd.GET_IQ}
_BARRIERS = (Cmd.GET_BUS, Cmd.GET_ERROR)
_QUERY, _DATA = wire_bits(0, remote=True), wire_bits(8)
#: A cyclic frame this much too early or late, in periods, does not tell which sample it is.
_EARLY, _LATE = 0.4, 1.6


class OdriveAxis(OdriveDevice):
    """See `CanServo`."""

    def _forget(self) -> None:
        super()._forget()
        self._heard_s: float | None = None
        self._encoder_s = -math.inf
        self._enabling: list[Frame] = []
        self._cleared = False

    def cycle_bits(self) -> float:
        polls = (len(self.model.polled) + 1) * (_QUERY + _DATA)
        cyclic = self.cycle_s / self.model.cyclic_s if self.model.cyclic_s else 0.0
        return polls + _DATA + (cyclic + self.cycle_s / self.model.heartbeat_s) * _DATA

    @property
    def drives(self) -> bool:
        return self.axis_state is not AxisState.IDLE

    def _ready(self) -> bool:
        return self.axis_state is AxisState.CLOSED_LOOP_CONTROL and not self._enabling

    def _begin_enabling(self, mode: Mode) -> None:
        """Controller mode, a set-point that changes nothing, then closed loop: each is sent once."""
        node = self.address
        self._enabling = [
            odrive.set_controller_mode(node, _CONTROL[mode]),
            self._setpoint(mode, self.resting()),
        ]
        if self.axis_state is not AxisState.CLOSED_LOOP_CONTROL:
            self._enabling.append(odrive.set_axis_state(node, AxisState.CLOSED_LOOP_CONTROL))

    def disable(self) -> None:
        super().disable()
        self._enabling = []

    def torque_off(self) -> list[Frame]:
        return [odrive.padded(odrive.set_axis_state(self.address, AxisState.IDLE))]

    def _questions(self, command: Command | None, now_s: float) -> list[Question]:
        asked: list[Question] = []
        if not self._cleared:  # from here on the cycle feeds the watchdog that expired during the start
            self._cleared = True
            asked.append((odrive.padded(odrive.clear_errors(self.address)), None))
        if self.wanted is None:
            if self.drives:
                asked += [(frame, None) for frame in self.torque_off()]
        elif self._enabling:
            asked.append((odrive.padded(self._enabling.pop(0)), None))
        elif self._ready():
            value = command.value if command is not None else self.resting()
            asked.append((odrive.padded(self._setpoint(self.wanted, value)), None))
        for name in self.model.polled:
            asked.append((odrive.query(self.address, _POLLS[name]), _POLLS[name]))
        if "temperature" in self.values and now_s - self._slow_s >= SLOW_S:
            self._slow_s = now_s
            asked.append((odrive.query(self.address, Cmd.GET_TEMPERATURE), Cmd.GET_TEMPERATURE))
        return asked

    def _setpoint(self, mode: Mode, value: float) -> Frame:
        if mode is Mode.POSITION:
            return odrive.set_input_pos(self.address, value / TURN)
        if mode is Mode.VELOCITY:
            return odrive.set_input_vel(self.address, value / TURN)
        return odrive.set_input_torque(self.address, value)

    def _barrier_question(self, number: int) -> Question | None:
        if not self.model.polled:
            return None
        command = _BARRIERS[number % len(_BARRIERS)]
        return odrive.query(self.address, command), command

    def accept(self, frame: Frame, now_s: float) -> None:
        if frame.remote or frame.can_id >> 5 != self.address:
            return
        super().accept(frame, now_s)

    def _kind(self, frame: Frame) -> int | None:
        command = frame.can_id & 0x1F
        if command == Cmd.HEARTBEAT:
            self._on_heartbeat(frame.data)
            return None
        if command == Cmd.ENCODER_ESTIMATES and self.model.cyclic_s:
            self._on_cyclic(frame)
            return None
        return command

    def _take(self, kind: int, frame: Frame, now_s: float) -> None:
        first, second = odrive.parse_floats(frame.data)
        if kind == Cmd.ENCODER_ESTIMATES:
            self.put("position", first * TURN, now_s)
            self.put("velocity", second * TURN, now_s)
        elif kind == Cmd.GET_TORQUES:
            self.put("torque", second, now_s)
        elif kind == Cmd.GET_IQ:
            self.put("torque", second * self.model.torque_constant, now_s)
        elif kind == Cmd.GET_TEMPERATURE:
            self.put("temperature", second + 273.15, now_s)

    def warm_up(self) -> None:
        """Telemetry that comes by itself: from its second frame on it is known to be in step."""
        if self.model.cyclic_s:
            mine = odrive.can_id(self.address, Cmd.ENCODER_ESTIMATES)
            wanted = self._answer(Cmd.ENCODER_ESTIMATES, odrive.parse_floats)
            found = self.listen(
                lambda f: f if f.can_id == mine and wanted(f) is not None else None,
                3.0 * self.model.cyclic_s,
                most=2,
            )
            for frame in found:
                self._on_cyclic(frame)

    def _on_cyclic(self, frame: Frame) -> None:
        """The axis's own telemetry has no number: one that comes out of step may be late, and is not used."""
        first, second = odrive.parse_floats(frame.data)
        gap, self._encoder_s = frame.stamp_s - self._encoder_s, frame.stamp_s
        period = self.model.cyclic_s
        if not _EARLY * period <= gap <= _LATE * period:
            self.counters["late"] += 1
            return
        self.put("position", first * TURN, self._now_s)
        self.put("velocity", second * TURN, self._now_s)

    def begin_cycle(self, command: Command | None, now_s: float) -> list[Frame]:
        self._now_s = now_s
        if self._heard_s is None:
            self._heard_s = now_s
        return super().begin_cycle(command, now_s)

    _now_s = 0.0

    def longest_age_s(self, signal: str) -> float:
        if self.model.cyclic_s and signal in ("position", "velocity"):
            return 2.5 * self.model.cyclic_s
        return super().longest_age_s(signal)

    def _on_heartbeat(self, data: bytes) -> None:
        beat = odrive.parse_heartbeat(data, self.model.minor)
        self._heard_s = self._now_s
        self.axis_state = self._state_of(beat)
        if not beat.error:
            return
        if beat.error == self.model.watchdog_bit and self.wanted is None and self.fault is None:
            # Nobody spoke to it between opening and the first cycle; no torque was wanted.
            with contextlib.suppress(DriverError):
                self._send(odrive.clear_errors(self.address))
            return
        self.fail(
            f"reports: {self.fault_text(beat.error, self.model.faults)}",
            beat.error,
            "remove the cause, then reopen the bench",
        )

    def end_cycle(self, now_s: float) -> None:
        super().end_cycle(now_s)
        silent = now_s - self._heard_s if self._heard_s is not None else 0.0
        if not self.lost and silent > HEARTBEATS_LOST * self.model.heartbeat_s + LOST_S:
            self.lose(f"no heartbeat for {silent:.3f} s")
