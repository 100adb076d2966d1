"""An emulated CiA 402 servo drive in front of a plant: state machine, cyclic and profile modes, homing, quick stop,
watchdog. Which of the modes it has, its model table says (6502h).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from drivers.bus.frame import Frame
from drivers.canopen.cia402 import (
    ABORT_DISABLE_VOLTAGE,
    ABORT_FAULT,
    ABORT_QUICK_STOP,
    OPERATIONS,
    Control,
    Operation,
    State,
    automatic,
    transition,
)
from drivers.canopen.codec import wrap_i32
from drivers.canopen.model import CanopenModel, Scaled
from drivers.device import Command, Mode
from drivers.emulators.canopen_node import EmulatedNode
from drivers.emulators.object_dictionary import BAD_VALUE, ObjectDictionary, Refused, one_of
from drivers.emulators.plant import Plant
from drivers.emulators.profile402 import Positioner, approach, index_ahead
from drivers.emulators.statusword402 import statusword

_QUANTITY = {int(code): mode for mode, codes in OPERATIONS.items() for code in codes}
#: By cyclic operation, what is commanded.
_CYCLIC = {int(code): _QUANTITY[code] for code in (Operation.CSP, Operation.CSV, Operation.CST)}
#: Homing methods: towards the index pulse in negative and positive direction, and on the spot.
_INDEX_METHODS, _HERE_METHODS = {33: -1, 34: 1}, (35, 37)
#: Quick stop option codes (605Ah): switch off at once; on the slow-down ramp; on the quick-stop ramp; the same, staying in
#: QUICK STOP ACTIVE.
_OFF_AT_ONCE, _SLOW_DOWN, _STAYS = 0, (1, 5), (5, 6)
_QUICK_STOP_OPTIONS = (0, 1, 2, 5, 6)
_CLOSED = 0.5
# For the hot path: looking a member up in its enumeration takes 0.2 µs.
_ENABLED, _STOPPING, _FAULT = State.OPERATION_ENABLED, State.QUICK_STOP_ACTIVE, State.FAULT
_POSITION, _VELOCITY, _NEW_SET_POINT = Mode.POSITION, Mode.VELOCITY, int(Control.NEW_SET_POINT)
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
        self._resting: State | None = (
            None  # the state that this controlword, heard once more, does not change
        )
        self._stop_speed = 0.0
        self._position_digits = 0
        self._contacts_of: object = None  # the process data for which `_shown` was looked up
        self._shown: tuple[tuple[str, Scaled], ...] = ()
        self._zero = 0.0  # rad of the plant at which it counts 0: moved by homing
        self._acted_s = self.now_s
        self._running: int | None = None  # operation mode whose set-point generator is under way
        self._set_point = 0.0  # of the drive's own ramp
        self._positioner = Positioner(0.0, 0.0, 0.0)
        self._edge = False  # new set-point, or start of homing, not taken up yet
        self._acknowledged = False
        self._homing = False
        self._homed = False
        self.refuses_mode = False  # fault injection: 6061h no longer follows 6060h
        self.ignores_set_points = False  # fault injection: PP, no acknowledge
        self.homing_fails = False
        self.power_state = State.NOT_READY
        self._set_state(automatic(automatic(None)), "power-up")

    def _dictionary(self) -> ObjectDictionary:
        objects = super()._dictionary()
        slots = {name: objects.slots[e.index, e.subindex] for name, e in self.model.objects.items()}
        self._slots, self._mode_display = slots, slots["mode_display"]
        self._targets = {
            mode: (slots[scaled.object.name], scaled.digit) for mode, scaled in self.model.targets.items()
        }
        slots["controlword"].written = self._control
        slots["mode"].check = self._supported_mode
        slots["quick_stop_option"].check = one_of(_QUICK_STOP_OPTIONS)
        slots["homing_method"].check = one_of((0, *_INDEX_METHODS, *_HERE_METHODS))
        slots["mode"].written = self._select_mode
        slots["abort_option"].check = self._supported_abort
        self._sampled = tuple(
            (name, scaled.digit, 1 << (scaled.object.bits - 1), slots[scaled.object.name])
            for name, scaled in self.model.signals.items()
            if scaled.bit is None and name != "position"
        )
        position = self.model.signals["position"]
        self._position = position.digit, slots[position.object.name]
        self._contacts = tuple(
            (name, scaled) for name, scaled in self.model.signals.items() if scaled.bit is not None
        )
        return objects

    # ── process data ──

    def sample(self) -> None:
        read, drive = self.plant.read, self.name
        digit, slot = self._position
        self._position_digits = counted = round((read(drive, "position") - self._zero) / digit)
        slot.number = wrap_i32(counted)
        for name, digit, half, slot in self._sampled:
            digits = round(read(drive, name) / digit)
            slot.number = digits if -half <= digits < half else max(-half, min(half - 1, digits))
        if self._contacts:
            for name, scaled in self._sent_contacts():
                self._show_contact(scaled, closed=read(drive, name) > _CLOSED)

    def _sent_contacts(self) -> tuple[tuple[str, Scaled], ...]:
        """Those in process data that answer SYNC; looked up once for each configuration."""
        sent = self._sent()
        if sent is not self._contacts_of:
            self._contacts_of = sent
            self._shown = tuple((n, scaled) for n, scaled in self._contacts if self.sends(scaled.object.name))
        return self._shown

    def _show_contact(self, scaled: Scaled, *, closed: bool) -> None:
        mask = 1 << (scaled.bit or 0)
        others = self._get(scaled.object.name) & ~mask
        self._put(scaled.object.name, others | mask if closed else others)

    def actuate(self) -> None:
        dt_s, self._acted_s = min(self.now_s - self._acted_s, 0.1), self.now_s
        if self.power_state is _STOPPING:
            self._ramp_down(dt_s)
        elif self.power_state is _ENABLED:
            operation = self._mode_display.number
            cyclic = _CYCLIC.get(operation)
            if cyclic is not None:
                self.plant.command(self.name, Command(cyclic, self._target(cyclic)))
            elif operation in (Operation.PP, Operation.PV, Operation.PT, Operation.HM):
                if operation != self._running:
                    self._begin(operation)
                self._profiles[operation](dt_s)
                self._show()

    # ── the drive's own set-point generators ──

    def _begin(self, operation: int) -> None:
        """From where the shaft is and how it moves."""
        self._running = operation
        here, speed = self.plant.read(self.name, "position"), self.plant.read(self.name, "velocity")
        self._positioner = Positioner(here, speed, here)
        self._set_point = speed if operation == Operation.PV else 0.0
        self._acknowledged = self._homing = self._homed = False

    def _run_velocity(self, dt_s: float) -> None:
        target = 0.0 if self._halted else self._target(Mode.VELOCITY)
        slower = abs(target) < abs(self._set_point)
        ramp = self._speed("profile_deceleration" if slower else "profile_acceleration")
        self._set_point = approach(self._set_point, target, ramp * dt_s)
        self.plant.command(self.name, Command(Mode.VELOCITY, self._set_point))

    def _run_torque(self, dt_s: float) -> None:
        target = 0.0 if self._halted else self._target(Mode.TORQUE)
        slope = self._get("torque_slope") * self.model.targets[Mode.TORQUE].digit
        self._set_point = approach(self._set_point, target, slope * dt_s)
        self.plant.command(self.name, Command(Mode.TORQUE, self._set_point))

    def _run_position(self, dt_s: float) -> None:
        if self._edge and not self._acknowledged and not self.ignores_set_points:
            self._positioner.goal = self._target(Mode.POSITION)
            self._acknowledged = True
        elif not self._controlword & Control.NEW_SET_POINT:
            self._acknowledged = False
        self._edge = False
        self._go(dt_s, self._speed("profile_velocity"), self._speed("profile_acceleration"))

    def _go(self, dt_s: float, fastest: float, acceleration: float) -> None:
        move, deceleration = self._positioner, self._speed("profile_deceleration")
        if self._halted:
            move.speed = approach(move.speed, 0.0, deceleration * dt_s)
            move.position += move.speed * dt_s
        else:
            fastest = min(fastest, self._get("max_motor_speed") * _RPM)
            move.step(dt_s, fastest, acceleration, deceleration)
        self.plant.command(self.name, Command(Mode.POSITION, move.position))

    def _run_homing(self, dt_s: float) -> None:
        move, method = self._positioner, self._get("homing_method")
        if self._edge:
            self._edge, self._homing, self._homed = False, True, False
            move.goal = move.position
            if method in _INDEX_METHODS:
                move.goal = index_ahead(move.position, _INDEX_METHODS[method])
        if not self._homing or self.homing_fails or method == 0:
            return
        self._go(dt_s, self._speed("homing_speed_zero"), self._speed("homing_acceleration"))
        if move.arrived:
            offset = self._get("home_offset") * self.model.signals["position"].digit
            self._zero = move.position - offset
            self._homing, self._homed = False, True

    @property
    def _profiles(self) -> dict[int, Callable[[float], None]]:
        return {
            Operation.PP: self._run_position,
            Operation.PV: self._run_velocity,
            Operation.PT: self._run_torque,
            Operation.HM: self._run_homing,
        }

    @property
    def _halted(self) -> bool:
        return bool(self._controlword & Control.HALT)

    def _speed(self, name: str) -> float:
        """An object in digits of velocity, or of velocity a second."""
        return self._get(name) * self.model.signals["velocity"].digit

    def _target(self, mode: Mode) -> float:
        slot, digit = self._targets[mode]
        if mode is _POSITION:  # the shorter way round, as with 607Bh at its full range
            counted = self._position_digits + wrap_i32(slot.number - self._position_digits)
            return counted * digit + self._zero
        limit = self._get("max_motor_speed") * _RPM if mode is _VELOCITY else self._get("max_torque") * digit
        return max(-limit, min(limit, slot.number * digit))

    def _ramp_down(self, dt_s: float) -> None:
        option = self._get("quick_stop_option")
        ramp = self._speed("profile_deceleration" if option in _SLOW_DOWN else "quick_stop_deceleration")
        self._stop_speed = approach(self._stop_speed, 0.0, ramp * dt_s)
        if self._stop_speed == 0.0 and option not in _STAYS:  # transition 12
            self._set_state(State.SWITCH_ON_DISABLED, "quick stop done")
        else:
            self.plant.command(self.name, Command(Mode.VELOCITY, self._stop_speed))

    # ── state machine ──

    def fail(self, code: int, now_s: float) -> None:
        """Fault injection and the drive's own faults: torque off, EMCY, state FAULT."""
        self.now_s = now_s
        self._put("error_code", code)
        self._set_state(automatic(self.power_state, fault=True), f"fault {code:04X}h")
        self._set_state(automatic(self.power_state), "reaction done")
        self.emergency(code, 0x01)

    def on_abort(self, reason: str, now_s: float) -> None:
        self.now_s = now_s
        if self.power_state not in (State.OPERATION_ENABLED, State.QUICK_STOP_ACTIVE):
            return
        match self._get("abort_option"):
            case option if option == ABORT_DISABLE_VOLTAGE or reason == "power lost":
                self._set_state(State.SWITCH_ON_DISABLED, reason)
            case option if option == ABORT_FAULT:
                self._set_state(automatic(self.power_state, fault=True), reason)
                self._set_state(automatic(self.power_state), reason)
            case option if option == ABORT_QUICK_STOP:
                # Outside OPERATIONAL no SYNC drives the ramp: the emulated drive stops without it and
                # switches off.
                self._set_state(State.SWITCH_ON_DISABLED, reason)
            case _:
                pass  # option 0: no action, the hazard that the driver must not accept

    def _control(self, word: int) -> None:
        if word == self._controlword and self.power_state is self._resting:
            return
        edge = bool(word & 0x80 and not self._controlword & 0x80)
        if word & ~self._controlword & _NEW_SET_POINT:
            self._edge = True
        self._controlword = word
        old, new = self.power_state, transition(self.power_state, word, reset_edge=edge)
        if new is _STOPPING and old is not new:
            self._stop_speed, self._acted_s = self.plant.read(self.name, "velocity"), self.now_s
            if self._get("quick_stop_option") == _OFF_AT_ONCE:
                new = State.SWITCH_ON_DISABLED
        if old is _FAULT and new is not old:
            self._put("error_code", 0)
            self.emergency(0, 0)
        self._resting = old if new is old else None
        if new is not old:
            self._set_state(new, f"controlword {word:04X}h")

    def _set_state(self, state: State, reason: str) -> None:
        self.power_state = state
        if state is not State.OPERATION_ENABLED:
            self._running, self._edge = None, False
        self._show()
        torque = state in (State.OPERATION_ENABLED, State.QUICK_STOP_ACTIVE)
        if torque != self._torque_on:
            self._torque_on = torque
            self._on_power(self.name, torque, reason, self.now_s)
        if not torque:
            self.plant.command(self.name, None)

    def _show(self) -> None:
        operation = self._mode_display.number
        if operation in (Operation.PV, Operation.PT):
            reached = self._set_point == self._target(_QUANTITY[operation])
        else:
            reached = self._positioner.arrived
        word = statusword(
            self.power_state,
            operation,
            acknowledged=self._acknowledged,
            reached=reached,
            homed=self._homed,
            homing_fails=self.homing_fails,
        )
        self._put("statusword", word)

    def _supported_mode(self, code: int) -> None:
        if code < 1 or not self._get("supported_modes") >> (code - 1) & 1:
            raise Refused(BAD_VALUE)

    def _select_mode(self, code: int) -> None:
        """By SDO only what is supported gets here; a process data object may ask for anything."""
        if code == self._mode_display.number:
            return
        if code >= 1 and self._get("supported_modes") >> (code - 1) & 1 and not self.refuses_mode:
            self._running = None
            self._mode_display.number = code

    def _supported_abort(self, option: int) -> None:
        if option not in (0, ABORT_FAULT, ABORT_DISABLE_VOLTAGE, ABORT_QUICK_STOP):
            raise Refused(BAD_VALUE)

    def _get(self, name: str) -> int:
        return self._slots[name].number

    def _put(self, name: str, value: int) -> None:
        self._slots[name].number = value
