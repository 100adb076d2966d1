"""An emulated CiA 402 servo drive in front of a plant: state machine, cyclic modes, watchdog, quick stop."""

from __future__ import annotations

import math
from collections.abc import Callable

from drivers.bus.frame import Frame
from drivers.canopen.cia402 import (
    ABORT_DISABLE_VOLTAGE,
    ABORT_FAULT,
    ABORT_QUICK_STOP,
    CYCLIC_MODES,
    State,
    transition,
)
from drivers.canopen.codec import wrap_i32
from drivers.canopen.model import CanopenModel
from drivers.device import Command, Mode
from drivers.emulators.canopen_node import EmulatedNode
from drivers.emulators.object_dictionary import BAD_VALUE, ObjectDictionary, Refused
from drivers.emulators.plant import Plant

#: statusword bits of each state, with "voltage enabled" (bit 4) and "quick stop not active" (bit 5) as drives
#: show them.
_STATUS = {
    State.NOT_READY: 0x0000,
    State.SWITCH_ON_DISABLED: 0x0040,
    State.READY_TO_SWITCH_ON: 0x0021,
    State.SWITCHED_ON: 0x0033,
    State.OPERATION_ENABLED: 0x0037,
    State.QUICK_STOP_ACTIVE: 0x0017,
    State.FAULT_REACTION_ACTIVE: 0x001F,
    State.FAULT: 0x0008,
}
_REMOTE, _FOLLOWS = 0x0200, 0x1000
_MODES = {int(code): mode for mode, code in CYCLIC_MODES.items()}
_RPM = 2.0 * math.pi / 60.0

PowerEvent = Callable[[str, bool, str, float], None]


def _nobody(_device: str, _on: bool, _reason: str, _now_s: float) -> None:
    return


class EmulatedServo(EmulatedNode):
    """`on_power(device, on, reason, now_s)` is told whenever torque is switched on or off."""

    def __init__(
        self,
        name: str,
        node: int,
        model: CanopenModel,
        plant: Plant,
        send: Callable[[Frame], None],
        serial: int = 1,
        on_power: PowerEvent = _nobody,
    ) -> None:
        self._on_power = on_power
        self.power_state = State.NOT_READY
        self._torque_on = False
        super().__init__(name, node, model, plant, send, serial)

    def _power_up(self) -> None:
        super()._power_up()
        self._controlword = 0
        self._stop_speed = 0.0
        self._stop_s = 0.0
        self._position_digits = 0
        self._set_state(State.SWITCH_ON_DISABLED, "power-up")

    def _dictionary(self) -> ObjectDictionary:
        objects = super()._dictionary()
        slots = {name: objects.slots[e.index, e.subindex] for name, e in self.model.objects.items()}
        self._slots = slots
        slots["controlword"].written = self._control
        slots["mode"].check = self._supported_mode
        slots["mode"].written = self._select_mode
        slots["abort_option"].check = self._supported_abort
        return objects

    # ── process data ──

    def sample(self) -> None:
        for name, scaled in self.model.signals.items():
            digits = round(self.plant.read(self.name, name) / scaled.digit)
            if name == "position":
                self._position_digits = digits
                digits = wrap_i32(digits)
            else:
                half = 1 << (scaled.object.bits - 1)
                digits = max(-half, min(half - 1, digits))
            self._put(scaled.object.name, digits)

    def actuate(self) -> None:
        if self.power_state is State.QUICK_STOP_ACTIVE:
            self._ramp_down()
        elif self.power_state is State.OPERATION_ENABLED:
            mode = _MODES.get(self._get("mode_display"))
            if mode is not None:
                self.plant.command(self.name, Command(mode, self._target(mode)))

    def _target(self, mode: Mode) -> float:
        scaled = self.model.targets[mode]
        digits = self._get(scaled.object.name)
        if mode is Mode.POSITION:  # the shorter way round, as with 607Bh at its full range
            return (self._position_digits + wrap_i32(digits - self._position_digits)) * scaled.digit
        fastest, strongest = self._get("max_motor_speed") * _RPM, self._get("max_torque") * scaled.digit
        limit = fastest if mode is Mode.VELOCITY else strongest
        return max(-limit, min(limit, digits * scaled.digit))

    def _ramp_down(self) -> None:
        step = (
            self._get("quick_stop_deceleration")
            * self.model.signals["velocity"].digit
            * (self.now_s - self._stop_s)
        )
        self._stop_s = self.now_s
        self._stop_speed -= math.copysign(min(step, abs(self._stop_speed)), self._stop_speed)
        if self._stop_speed == 0.0 and self._get("quick_stop_option") == 2:  # transition 12
            self._set_state(State.SWITCH_ON_DISABLED, "quick stop done")
        else:
            self.plant.command(self.name, Command(Mode.VELOCITY, self._stop_speed))

    # ── state machine ──

    def fail(self, code: int, now_s: float) -> None:
        """Fault injection and the drive's own faults: torque off, EMCY, state FAULT."""
        self.now_s = now_s
        self._put("error_code", code)
        self._set_state(State.FAULT, f"fault {code:04X}h")
        self.emergency(code, 0x01)

    def on_abort(self, reason: str, now_s: float) -> None:
        self.now_s = now_s
        if self.power_state not in (State.OPERATION_ENABLED, State.QUICK_STOP_ACTIVE):
            return
        match self._get("abort_option"):
            case option if option == ABORT_DISABLE_VOLTAGE or reason == "power lost":
                self._set_state(State.SWITCH_ON_DISABLED, reason)
            case option if option == ABORT_FAULT:
                self._set_state(State.FAULT, reason)
            case option if option == ABORT_QUICK_STOP:
                # Outside OPERATIONAL no SYNC drives the ramp: the emulated drive stops without it and
                # switches off.
                self._set_state(State.SWITCH_ON_DISABLED, reason)
            case _:
                pass  # option 0: no action, the hazard that the driver must not accept

    def _control(self, word: int) -> None:
        edge = bool(word & 0x80 and not self._controlword & 0x80)
        self._controlword = word
        old, new = self.power_state, transition(self.power_state, word, reset_edge=edge)
        if new is State.QUICK_STOP_ACTIVE and old is not new:
            self._stop_speed, self._stop_s = self.plant.read(self.name, "velocity"), self.now_s
        if old is State.FAULT and new is not old:
            self._put("error_code", 0)
            self.emergency(0, 0)
        if new is not old:
            self._set_state(new, f"controlword {word:04X}h")

    def _set_state(self, state: State, reason: str) -> None:
        self.power_state = state
        follows = _FOLLOWS if state is State.OPERATION_ENABLED else 0
        self._put("statusword", _STATUS[state] | _REMOTE | follows)
        torque = state in (State.OPERATION_ENABLED, State.QUICK_STOP_ACTIVE)
        if torque != self._torque_on:
            self._torque_on = torque
            self._on_power(self.name, torque, reason, self.now_s)
        if not torque:
            self.plant.command(self.name, None)

    def _supported_mode(self, code: int) -> None:
        if code not in _MODES:
            raise Refused(BAD_VALUE)

    def _select_mode(self, code: int) -> None:
        if code in _MODES:
            self._put("mode_display", code)

    def _supported_abort(self, option: int) -> None:
        if option not in (0, ABORT_FAULT, ABORT_DISABLE_VOLTAGE, ABORT_QUICK_STOP):
            raise Refused(BAD_VALUE)

    def _get(self, name: str) -> int:
        return self._slots[name].number

    def _put(self, name: str, value: int) -> None:
        self._slots[name].number = value
