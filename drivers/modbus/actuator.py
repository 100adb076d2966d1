"""A Modbus servo drive or brake: torque by set-points that are written every cycle.

Its life: torque off and old fault reset → parameters (its own limits) written and read back → watchdog written and
read back → every cycle one write of control word, mode and set-point, and one read, in one transaction where the
device knows function 17h. The sequence to torque is data (`drivers.modbus.actuation`).

A write of motion is never sent twice: what is missing is told, and the next cycle has a set-point of its own. A
device that stays silent is lost, and its torque with it: its own watchdog has acted, and it stays refused until the
bench is reopened, though it may answer again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from drivers import clock
from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    DriverError,
    IdentityMismatch,
    Mode,
    ProtocolViolation,
    TransportTimeout,
    WatchdogRefused,
)
from drivers.enabling import check_mode, check_sound, check_watchdog
from drivers.modbus.actuation import Actuation
from drivers.modbus.codec import Function, Number
from drivers.modbus.device import START_TIMEOUT_S, ModbusDevice
from drivers.modbus.model import ModbusModel
from drivers.modbus.rtu import ModbusException, RtuMaster

#: A set-point may have skipped cycles, but never jumps by more than the way of so many at greatest speed.
_JUMP_CYCLES = 4.0
_BY_ITSELF, _NOT_READY, _REFUSED, _SILENT = 0xFF01, 0xFF02, 0xFF03, 0xFF04


class ModbusActuator(ModbusDevice):
    """`limits` (rad/s, N·m) may only tighten those of the model; `cycle_s` is how often set-points come."""

    def __init__(
        self,
        name: str,
        unit: int,
        model: ModbusModel,
        serial: str | None = None,
        *,
        limits: Mapping[Mode, float] | None = None,
        cycle_s: float = 0.01,
    ) -> None:
        super().__init__(name, unit, model, serial)
        if model.actuation is None:
            raise ValueError(f"{name}: model {model.name} takes no set-points")
        self.table: Actuation = model.actuation
        given = limits or {}
        self.limits = {
            mode: min(limit, given.get(mode, math.inf)) for mode, limit in self.table.limits.items()
        }
        self.armed = False
        self.fault: DeviceFault | None = None
        self.status: int | None = None
        self._cycle_s, self._fault_code = cycle_s, 0
        self._told = True
        self._wanted: Mode | None = None
        self._mode = next(iter(self.table.targets))
        self._last: float | None = None
        self._was_enabled = False
        self._enable_until_s = math.inf

    def requests(self) -> tuple[bytes, ...]:
        write = self._write(bytes(2 * self.table.count))
        return (write,) if write[0] == Function.READ_WRITE_REGISTERS else (write, *super().requests())

    # ── capabilities ──

    @property
    def state(self) -> DeviceState:
        if self.lost or self.status is None:
            return DeviceState.LOST
        if self.fault is not None or self.table.fault.shown_by(self.status):
            return DeviceState.FAULT
        if self.table.enabled.shown_by(self.status):
            return DeviceState.READY if self._wanted is None else DeviceState.ENABLED
        return DeviceState.READY if self.table.ready.shown_by(self.status) else DeviceState.OFF

    @property
    def torque_may_flow(self) -> bool:
        """True unless the device is known to have its torque off."""
        return self.status is None or self.table.enabled.shown_by(self.status)

    def limit(self, mode: Mode) -> float:
        if mode is Mode.POSITION:
            return math.inf if mode in self.table.targets else 0.0
        return self.limits.get(mode, 0.0)  # a brake turns nothing: no speed may be asked of it

    def measured(self, mode: Mode) -> float:
        """NaN for what the device has no signal of."""
        value = self.values.get(mode.value, math.nan)
        return max(value, 0.0) if self.table.unipolar else value

    def arm_watchdog(self, timeout_s: float) -> None:
        """Set the device's time-out of communication, at most `timeout_s`. Raises WatchdogRefused when it cannot be
        set and read back.
        """
        self.armed = False
        dog = self.table.watchdog
        digits = math.floor(timeout_s / dog.unit_s + 1e-9)
        if digits < 1 or digits * dog.unit_s > dog.longest_s:
            raise WatchdogRefused(
                self.name,
                f"no watchdog of {timeout_s * 1e3:g} ms: it takes {dog.unit_s * 1e3:g} ms to {dog.longest_s:g} s",
                "change the interlock's watchdog in the bench file",
            )
        try:
            if dog.reaction_address is not None:
                self._set(dog.reaction_address, Number("uint16"), dog.reaction)
            self._set(dog.address, dog.number, digits)
        except (ModbusException, ProtocolViolation, TransportTimeout) as error:
            raise WatchdogRefused(
                self.name, f"its watchdog cannot be set ({error.what})", "torque stays refused"
            ) from error
        self.armed = True

    def disarm_watchdog(self) -> None:
        """At an orderly end only, torque off: so that closing the bench is no fault."""
        self.armed = False
        self._set(self.table.watchdog.address, self.table.watchdog.number, 0)

    def enable(self, mode: Mode) -> None:
        """Ask for torque in `mode`; `state` becomes ENABLED some cycles later. Raises WatchdogRefused,
        CommandRefused.
        """
        check_watchdog(self.name, self.armed)
        check_sound(self.name, self.fault, lost=self.lost)
        check_mode(self.name, self.model.name, mode, self.table.targets)
        if self._wanted is mode:
            return
        if self._wanted is not None and self.torque_may_flow:
            raise CommandRefused(
                self.name, f"it is enabled for {self._wanted}", "disable it before its mode is changed"
            )
        self._wanted = self._mode = mode
        self._last, self._was_enabled = None, False
        self._enable_until_s = math.inf  # set by the next cycle: only the cycle knows the time

    def disable(self) -> None:
        self._wanted = self._last = None

    # ── start-up ──

    def attach(self, master: RtuMaster) -> None:
        super().attach(master)
        self.armed, self.fault, self._told, self.status = False, None, True, None
        self.disable()

    def prepare(self) -> None:
        """Torque off, old fault reset, parameters set. Raises DeviceFault if it stays faulty."""
        table = self.table
        self._command_once(table.disable)
        self._read_once()
        if self._shows_fault():
            self._command_once(table.reset)
            self._command_once(table.disable)
            self._read_once()
        if self._shows_fault():
            raise DeviceFault(
                self.name,
                f"has a fault that cannot be reset: {self._fault_text()}",
                self._fault_code,
                "remove the cause and switch it off and on",
            )
        if self.torque_may_flow:
            raise CommandRefused(self.name, "its torque does not go off", "switch it off and on")
        for parameter in table.parameters:
            try:
                digits = parameter.digits(self.limits)
                self._set(parameter.address, parameter.number, digits)
            except ModbusException as error:
                raise CommandRefused(
                    self.name, f"parameter {parameter.name} cannot be set ({error.what})"
                ) from error

    def _command_once(self, word: int) -> None:
        self._ask(self._write(self._block(word, None, 0.0)))

    def _read_once(self) -> None:
        answer = self._line.ask(self.name, self.unit, self._request, START_TIMEOUT_S, self.counters, 2)
        self._take(answer, clock.now())

    # ── hot path ──

    def block(self, command: Command | None, now_s: float) -> bytes:
        """This cycle's control block. Raises CommandRefused for a set-point outside the limits or of another mode."""
        if self.status is None:
            return self._block(self.table.disable, None, 0.0)
        if self._wanted is not None and self._enable_until_s == math.inf:
            self._enable_until_s = now_s + self.table.enable_timeout_s
        if command is not None and self.state is DeviceState.ENABLED:
            value = self._checked(command)
        else:
            value = self._resting()
        word = self.table.disable if self._wanted is None else self.table.word_towards_torque(self.status)
        return self._block(word, self._mode, value)

    def exchange(self, block: bytes, now_s: float) -> float | None:
        """Write, then read. Returns when the device began to answer, None when it did not. Raises TransportLost."""
        try:
            if self.lost:
                self._return()
                return None
            answer = self._line.ask(
                self.name, self.unit, self._write(block), self.model.timeout_s, self.counters
            )
            if self.table.function is not Function.READ_WRITE_REGISTERS:
                answer = self._line.ask(
                    self.name, self.unit, self._request, self.model.timeout_s, self.counters
                )
        except ModbusException as error:
            self.fail(f"set-point: {error.what}", _REFUSED, "check the model in the bench file")
            self._miss(now_s)
        except (TransportTimeout, ProtocolViolation, IdentityMismatch):
            self._miss(now_s)
        else:
            return self._take(answer, now_s)
        if self.lost:
            self.armed, self.status = False, None
            self.fail(
                "does not answer any more",
                _SILENT,
                "its own watchdog takes the torque off; check power and wiring",
            )
        return None

    def confirm_off(self) -> bool:
        """One attempt at the end: the word that takes the torque off, and whether the device shows it.

        Of a lost device nothing is expected, but it may still hear. Torque off is the one command that may be repeated.
        """
        off = self._block(self.table.disable, None, 0.0)
        try:
            if self.lost:
                self._line.ask(self.name, self.unit, self._write(off), self.model.timeout_s, self.counters)
                return True
            clock.sleep_until(self.next_poll_s)  # the answer to what was missed may still be on its way
            self.exchange(off, clock.now())
        except DriverError:
            return True  # the wire is gone, or it does not hear: nothing can be done but to be silent
        return self.lost or not self.torque_may_flow

    def check(self, now_s: float) -> None:
        """After a cycle, on the awake clock: a fault, torque gone by itself, or never there?"""
        if self.lost or self.status is None:
            return
        if self._shows_fault():
            self.fail(
                f"reports a fault: {self._fault_text()}",
                self._fault_code,
                "remove the cause, then reopen the bench",
            )
        elif self._wanted is None:
            return
        elif self.table.enabled.shown_by(self.status):
            self._was_enabled = True
        elif self._was_enabled:
            self.fail(
                f"switched off by itself (status {self.status:04X}h)", _BY_ITSELF, "see its error history"
            )
        elif now_s > self._enable_until_s:
            self.fail(
                f"does not give torque (status {self.status:04X}h)",
                _NOT_READY,
                "check its power supply, STO and brake",
            )

    def fail(self, what: str, code: int, hint: str) -> None:
        """The first cause is kept; torque is not asked for any more."""
        if self.fault is None:
            self.fault, self._told = DeviceFault(self.name, what, code, hint), False
        self.disable()

    def take_fault(self) -> DeviceFault | None:
        """The fault, once."""
        if self._told:
            return None
        self._told = True
        return self.fault

    # ── details ──

    def _block(self, word: int, mode: Mode | None, value: float) -> bytes:
        try:
            return self.table.block(word, self._mode if mode is None else mode, value)
        except ValueError as error:
            raise CommandRefused(self.name, f"set-point {value:g}: {error}") from error

    def _write(self, block: bytes) -> bytes:
        return self.table.request(block, self.model.address, self.model.count)

    def _checked(self, command: Command) -> float:
        mode, value = command.mode, command.value
        if mode is not self._wanted:
            raise CommandRefused(self.name, f"a {mode} set-point while it is enabled for {self._wanted}")
        if mode is Mode.POSITION:
            last = self._last if self._last is not None else self.values["position"]
            if not abs(value - last) <= _JUMP_CYCLES * self.limits[Mode.VELOCITY] * self._cycle_s:
                raise CommandRefused(
                    self.name, f"position set-point jumps by {value - last:g} rad in one cycle"
                )
        elif not abs(value) <= self.limit(mode):
            raise CommandRefused(self.name, f"{mode} set-point {value:g} exceeds {self.limit(mode):g}")
        elif self.table.unipolar and value < 0:
            raise CommandRefused(
                self.name, f"{mode} set-point {value:g}: a brake's torque has no sign", "write it positive"
            )
        self._last = value
        return value

    def _resting(self) -> float:
        """What changes nothing: the set-point of the last cycle, or where the shaft is."""
        if self._last is not None:
            return self._last
        if self._mode is Mode.TORQUE:
            return 0.0
        value = self.values[self._mode.value]
        if math.isnan(value):
            return 0.0
        limit = self.limit(self._mode)
        return max(-limit, min(limit, value))

    def _is_bad(self, registers: bytes) -> bool:
        at, code = 2 * self.table.status_register, 2 * self.table.fault_register
        self.status = int.from_bytes(registers[at : at + 2], "big")
        self._fault_code = int.from_bytes(registers[code : code + 2], "big")
        return self.table.bad is not None and self.table.bad.shown_by(self.status)

    def _shows_fault(self) -> bool:
        return self.status is not None and self.table.fault.shown_by(self.status)

    def _fault_text(self) -> str:
        return self.table.fault_texts.get(self._fault_code, "of a code its table does not know")
