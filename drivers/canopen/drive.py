"""CiA 402 servo drive: the state machine is walked one step a cycle by process data.

A set-point is sent as the operation that the model table names for its mode: cyclic synchronous (CSP, CSV, CST), or
profile (PP, PV, PT) for drives that have nothing else (6502h is read at start). In PV and PT the drive follows a
set-point that moves a little every cycle, its own ramps set steeper; in PP each new one is handed over (`handshake`).

Torque is refused until the drive's own watchdog stands: consumer heartbeat time 1016h on the master's
heartbeat, and abort connection option 6007h, both written and read back. When the master dies the drive
switches off by itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from drivers.bus.frame import Frame, data_frame
from drivers.canopen.cia402 import (
    Control,
    Operation,
    State,
    Status,
    controlword_towards,
    device_state,
    state_of,
)
from drivers.canopen.codec import RPDO_BASE, SdoAbort
from drivers.canopen.drive_setup import DriveSetup
from drivers.canopen.error_codes import error_text
from drivers.canopen.handshake import Handshake
from drivers.canopen.model import CanopenModel
from drivers.canopen.node import CanopenNode
from drivers.canopen.targets import Targets
from drivers.device import (
    Command,
    CommandRefused,
    DeviceState,
    Mode,
    ProtocolViolation,
    WatchdogRefused,
)
from drivers.enabling import check_mode, check_sound, check_watchdog

log = logging.getLogger(__name__)

#: A drive with a fault is given so long to say which one, by EMCY or 603Fh, before it is reported without.
_CAUSE_S = 0.005
#: Cycles after its start in which homing may still show the outcome of the last one.
_HOMING_CYCLES = 4
_FAULTS = (State.FAULT, State.FAULT_REACTION_ACTIVE)
# For the hot path: looking a member up in its enumeration takes 0.2 µs, some 200 times a cycle.
_ENABLED, _NOT_READY, _MAY_FLOW = State.OPERATION_ENABLED, State.NOT_READY, DeviceState.ENABLED
_PP, _HM, _QUICK_STOP, _HALT, _START_HOMING = (
    Operation.PP,
    Operation.HM,
    int(Control.QUICK_STOP),
    int(Control.HALT),
    int(Control.START_HOMING),
)
_TORQUE = Mode.TORQUE


class Cia402Drive(CanopenNode):
    """`limits` (rad/s and N·m) may only tighten those of the model; the tighter ones are also written to the
    drive.
    """

    def __init__(
        self,
        name: str,
        node: int,
        model: CanopenModel,
        serial: str | None = None,
        *,
        limits: Mapping[Mode, float] | None = None,
        enable_timeout_s: float = 1.0,
    ) -> None:
        super().__init__(name, node, model, serial)
        self._targets = Targets(name, model, limits or {})
        self.limits = self._targets.limits
        self.armed = False
        self.power_state: State | None = None
        self.mode_display = 0
        self._wanted: Mode | None = None  # what is to be commanded
        self._operation: Operation | None = None  # and in which operation mode; homing has only this
        self._was_enabled = False
        self._enable_timeout_s, self._enable_until_s = enable_timeout_s, math.inf
        self.wants_cause = False  # 603Fh is to be asked for
        self._fault_since_s: float | None = None
        self._statusword = 0
        self._told: int | None = None  # the statusword that `power_state` is of
        self._handshake = Handshake()  # PP
        self._quick_stopping = self._halted = False
        self._homing_cycles: int | None = None  # since homing was started; None: no homing
        # By mode: the set-point's identifier, how it is packed, and in which operation mode it is sent.
        self._rpdos = {
            mode: (RPDO_BASE[n] + node, model.layout(names).pack, model.operations[mode])
            for n, (mode, names) in enumerate(model.rpdos.items())
            if mode in model.operations
        }
        self._send_as(Mode.VELOCITY)
        # By TPDO, where in it: mode display, statusword.
        self._places = tuple(
            (_place(names, "mode_display"), _place(names, "statusword")) for names in model.tpdos
        )

    # ── capabilities ──

    @property
    def state(self) -> DeviceState:
        if self.lost or self.power_state is None:
            return DeviceState.LOST
        if self.fault is not None:
            return DeviceState.FAULT
        found = device_state(self.power_state)
        if found is _MAY_FLOW and self._wanted is not None and self.mode_display != self._operation:
            return DeviceState.READY  # the mode is still being changed
        return found

    def arm_watchdog(self, timeout_s: float, master: int = 127) -> None:
        """Let the drive watch the master's heartbeat. Raises WatchdogRefused when it cannot be set and read
        back.
        """
        milliseconds = round(timeout_s * 1000)
        self.armed = False
        if self.model.abort_option == 0 or not 1 <= milliseconds <= 0xFFFF:
            raise WatchdogRefused(
                self.name, f"no watchdog of {milliseconds} ms with abort option {self.model.abort_option}"
            )
        try:
            self.sdo.set(self.model.objects["abort_option"], self.model.abort_option)
            self.sdo.write_verified(0x1016, 1, "u32", master << 16 | milliseconds)
        except (SdoAbort, ProtocolViolation) as error:
            raise WatchdogRefused(
                self.name, f"its watchdog cannot be set ({error.what})", "torque stays refused"
            ) from error
        self.armed = True

    def disarm_watchdog(self) -> None:
        """At an orderly end only, torque off: so that closing the bench is no fault."""
        self.armed = False
        self.sdo.write_verified(0x1016, 1, "u32", 0)

    def enable(self, mode: Mode) -> None:
        """Ask for torque in `mode`; `state` becomes ENABLED some cycles later. Raises WatchdogRefused,
        CommandRefused.
        """
        check_watchdog(self.name, self.armed)
        check_sound(self.name, self.fault, lost=self.lost)
        check_mode(self.name, self.model.name, mode, self.model.targets)
        if self._wanted is not mode:
            self._want(mode)
            self._send_as(mode)
            self._begin_walk()

    def _want(self, mode: Mode | None) -> None:
        self._wanted = mode
        self._operation = None if mode is None else self.model.operations[mode]

    def _send_as(self, mode: Mode) -> None:
        """Whose set-point object is sent."""
        self._mode, self._quantity, self._rpdo = mode, mode.value, self._rpdos[mode]

    def _begin_walk(self) -> None:
        self._was_enabled = False
        self._targets.restart()
        self._handshake.restart()
        self._halted = self._quick_stopping = False
        self._enable_until_s = math.inf  # set by the next cycle: only the cycle knows the time

    def disable(self) -> None:
        self._want(None)
        self._targets.restart()

    def halt(self, on: bool) -> None:
        """Profile modes and homing: stop on the drive's ramp and stay enabled, or go on (controlword bit 8)."""
        self._halted = on

    def begin_quick_stop(self) -> bool:
        """With the next cycles; False when the model has none or no torque flows."""
        self._quick_stopping = self.model.quick_stop is not None and self.power_state in (
            State.OPERATION_ENABLED,
            State.QUICK_STOP_ACTIVE,
        )
        return self._quick_stopping

    def end_quick_stop(self) -> None:
        self._quick_stopping = False

    @property
    def at_rest(self) -> bool:
        """Whether a quick stop is done: power stage off already, or hardly any speed left."""
        slow = abs(self.values["velocity"]) <= 0.005 * self.model.max_speed_rad_s
        return not self.torque_may_flow or (self.power_state is State.QUICK_STOP_ACTIVE and slow)

    # ── homing: only on explicit request, never repeated ──

    def begin_homing(self) -> None:
        """Walk to operation enabled in mode HM and start. Raises WatchdogRefused, CommandRefused."""
        if self.model.homing is None:
            raise CommandRefused(self.name, f"model {self.model.name} has no homing")
        check_watchdog(self.name, self.armed)
        check_sound(self.name, self.fault, lost=self.lost)
        if self._wanted is not None:
            raise CommandRefused(self.name, "homing needs a drive with torque off")
        self._operation, self._homing_cycles = _HM, None
        self._begin_walk()

    @property
    def homed(self) -> bool:
        """The homing under way has come to its end. Raises CommandRefused when the drive reports a homing error."""
        if self._homing_cycles is None or self._homing_cycles < _HOMING_CYCLES:
            return False
        if self._statusword & Status.HOMING_ERROR:
            raise CommandRefused(
                self.name, "homing failed (statusword bit 13)", "look at its switch or index, then ask again"
            )
        done = Status.HOMING_ATTAINED | Status.TARGET_REACHED
        return self._statusword & done == done

    def end_homing(self) -> None:
        """Torque off; the position begins anew at what the drive counts now."""
        self.disable()
        self._homing_cycles = None
        self.restart_counters()

    # ── start-up ──

    def prepare(self, cycle_s: float) -> None:
        """As every node, and what is in `drive_setup`. Raises DeviceFault if it stays faulty."""
        super().prepare(cycle_s)
        self._targets.cycle_s = cycle_s
        self._told = None
        self.power_state = DriveSetup(self.name, self.model, self.sdo).run(cycle_s, self.limits)
        self._want(None)
        self._fault_since_s = None
        self.wants_cause = self._quick_stopping = self._halted = False

    # ── hot path ──

    def rpdo(self, command: Command | None, now_s: float) -> Frame:
        """This cycle's set-point frame. Raises CommandRefused for a set-point outside the limits or of
        another mode.
        """
        state = self.power_state or _NOT_READY
        wanted = self._operation
        if wanted is not None and self._enable_until_s == math.inf:
            self._enable_until_s = now_s + self._enable_timeout_s
        enabled = state is _ENABLED and wanted is not None and self.mode_display == wanted
        moves = enabled and command is not None and wanted is not _HM
        if moves and command is not None:
            digits = self._targets.checked(command, self._wanted, self.values["position"])
        elif self._mode is _TORQUE and state is not _ENABLED:
            digits = 0
        else:
            digits = self._targets.resting(self._mode, self.values[self._quantity])
        word = controlword_towards(state, wanted is not None)
        if self._quick_stopping and self.torque_may_flow:
            word = _QUICK_STOP
        elif enabled and wanted is _PP:
            bits, digits = self._handshake.step(digits if moves else None, self._statusword, now_s)
            word |= bits
        elif enabled and wanted is _HM:
            word |= _START_HOMING
            self._homing_cycles = (self._homing_cycles or 0) + 1
        if self._halted:
            word |= _HALT
        can_id, pack, operation = self._rpdo
        return data_frame(can_id, pack(word, wanted or operation, digits))

    def _take(self, number: int, digits: tuple[int, ...]) -> None:
        mode_at, status_at = self._places[number]
        if mode_at is not None:
            self.mode_display = digits[mode_at]
        if status_at is None:
            return
        word = digits[status_at]
        if word == self._told:
            return
        self._statusword = word
        try:
            self.power_state = state_of(word)
        except ValueError:
            self.counters["nak"] += 1
            self._told = None
        else:
            self._told = word

    def check(self, now_s: float) -> None:
        """As every node, and: has the drive a fault, or left operation enabled by itself, or never got there?"""
        super().check(now_s)
        state, wanted = self.power_state, self._operation
        if state in _FAULTS and self.fault is None:
            self._await_cause(now_s)
        if wanted is None or self.lost or state in _FAULTS:
            return
        if state is _ENABLED and self.mode_display == wanted:
            self._was_enabled = True
            if now_s - self._handshake.offered_s > self._enable_timeout_s:
                self.fail(
                    "does not acknowledge a set-point", 0xFF03, "see its display, then reopen the bench"
                )
        elif self._was_enabled and state is not _ENABLED:
            self.fail(
                f"switched off by itself ({state.value if state else 'unknown state'})",
                0xFF01,
                "see its error history",
            )
        elif not self._was_enabled and now_s > self._enable_until_s and state is _ENABLED:
            self.fail(
                f"refuses operation mode {wanted.name} (6061h stays {self.mode_display})",
                0xFF04,
                "compare its mode settings with the model table",
            )
        elif not self._was_enabled and now_s > self._enable_until_s:
            self.fail(
                f"does not reach operation enabled (stands at {state.value if state else 'unknown'})",
                0xFF02,
                "check its power supply, STO and brake",
            )

    def _await_cause(self, now_s: float) -> None:
        """An EMCY has usually told already; if not, 603Fh is asked for, and waited for a moment."""
        if self._fault_since_s is None:
            self._fault_since_s, self.wants_cause = now_s, True
        elif now_s - self._fault_since_s > _CAUSE_S:
            self.fail("reports a fault", 0xFF00, "see its display or error code 603Fh, then reopen the bench")

    def on_error_code(self, code: int) -> None:
        """603Fh as asked for."""
        if self._fault_since_s is not None:
            self.fail(f"reports a fault: {error_text(code)}", code, "remove the cause, then reopen the bench")

    @property
    def torque_may_flow(self) -> bool:
        """True unless the drive is known to have its power stage off."""
        return self.power_state is None or device_state(self.power_state) is _MAY_FLOW


def _place(names: tuple[str, ...], name: str) -> int | None:
    return names.index(name) if name in names else None
