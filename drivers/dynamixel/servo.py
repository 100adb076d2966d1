"""One Dynamixel servo on the line: readings, set-points, health.

Torque is refused until the servo's own bus watchdog stands: written, and read back with every sample from then on. When it
has tripped the servo has stopped and takes no goals; nothing clears that but opening the bench again.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping

from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    DriverError,
    Mode,
    ProtocolViolation,
    Quality,
    WatchdogRefused,
)
from drivers.dynamixel.codec import Status
from drivers.dynamixel.device import TRIPPED, DynamixelDevice
from drivers.dynamixel.model import DynamixelModel
from drivers.dynamixel.script import Script, ensure, fetch, store
from drivers.enabling import check_mode, check_sound, check_watchdog

LOST_AFTER = 3
_BACK_OFF_S = 1.0
#: Bit of the hardware error status that puts the readings in doubt.
_ENCODER_FAILS = 0x08


class DynamixelServo(DynamixelDevice):
    """A device that is read and driven in the group's cycle; see `DynamixelDevice` for the arguments."""

    def __init__(
        self,
        name: str,
        number: int,
        model: DynamixelModel,
        *,
        limits: Mapping[Mode, float] | None = None,
        signals: Iterable[str] = (),
        enable_timeout_s: float = 1.0,
    ) -> None:
        self.cycle_s = 0.0  # time between two set-points; the group's
        self._enable_timeout_s = enable_timeout_s
        super().__init__(name, number, model, limits=limits, signals=signals)

    def forget(self) -> None:
        """A line has been opened: everything known so far is forgotten, except who the servo was."""
        super().forget()
        self.values: dict[str, float] = dict.fromkeys(self.model.readings, math.nan)
        self._other_values = dict(self.values)  # those before them, or in the making
        self.standing = Quality.STALE  # of this cycle's values
        self.sampled_s = -math.inf
        self.fault: DeviceFault | None = None
        self.untold: DeviceFault | None = None  # the fault, until somebody has been told of it
        self.off_wanted = False
        self._before = self.sampled_s, self._misses, self.torque_on, self.off_wanted
        self.ask_again_s = -math.inf
        self._wanted: Mode | None = None
        self._was_enabled = False
        self._enable_until_s = math.inf
        self._last_target: float | None = None

    # ── capabilities ──

    @property
    def state(self) -> DeviceState:
        if self.lost or not self.prepared:
            return DeviceState.LOST
        if self.fault is not None:
            return DeviceState.FAULT
        return DeviceState.ENABLED if self.torque_on and self.script is None else DeviceState.READY

    @property
    def enabled(self) -> bool:
        return self._wanted is not None and self.script is None and self.torque_on

    @property
    def polled(self) -> bool:
        return self.prepared and not (self.lost or self.suspect)

    def arm_watchdog(self, timeout_s: float) -> None:
        """The group arms every servo when it opens the line; this says whether that holds for `timeout_s`."""
        if not 0 < self.armed <= self.watchdog_steps(timeout_s):
            raise WatchdogRefused(
                self.name, f"its bus watchdog is not set to {timeout_s:g} s or less", "torque stays refused"
            )

    def enable(self, mode: Mode) -> None:
        """Ask for torque in `mode`; `state` becomes ENABLED some cycles later. Raises WatchdogRefused,
        CommandRefused.
        """
        check_sound(self.name, self.fault, lost=self.lost or not self.prepared)
        check_watchdog(
            self.name, self.armed > 0, "its bus watchdog is not set", "see the warnings of the start"
        )
        check_mode(self.name, self.model.name, mode, self.model.targets)
        if self._wanted is not mode:
            self._wanted, self._was_enabled, self._last_target = mode, False, None
            self.off_wanted = False
            self._enable_until_s = math.inf  # set by the next cycle: only the cycle knows the time
            self.script, self.pending = self._enabling(mode), None

    def disable(self) -> None:
        if self._wanted is not None or self.torque_on:
            self.off_wanted = True
        if self._wanted is not None:
            self.script = self.pending = None
        self._wanted, self._last_target = None, None

    # ── scripts ──

    def script_failed(self, error: DriverError, now_s: float) -> None:
        """Switching on, or coming back, came to nothing."""
        if self._wanted is not None:
            self.fail(f"cannot be switched on ({error.what})", 0xFF07, error.hint)
        elif self.lost:
            self.back_off(now_s)

    def _enabling(self, mode: Mode) -> Script:
        """Torque off, mode (EEPROM, only if it differs), a set-point that moves nothing, torque on."""
        name, number, registers, target = (
            self.name,
            self.number,
            self.model.registers,
            self.model.targets[mode],
        )
        yield from ensure(name, number, registers["torque_enable"], 0)
        yield from ensure(name, number, registers["operating_mode"], target.code)
        resting = 0
        if mode is Mode.POSITION:
            resting = yield from fetch(number, registers["present_position"])
        yield from store(name, number, target.register, resting)
        steps = yield from fetch(number, registers["bus_watchdog"])
        if steps != self.armed:
            raise WatchdogRefused(name, f"its bus watchdog stands at {steps} instead of {self.armed}")
        yield from store(name, number, registers["torque_enable"], 1)

    # ── hot path ──

    def goal(self, command: Command) -> tuple[int, bytes] | None:
        """Address and bytes of this cycle's set-point; None while it carries no torque. Raises CommandRefused."""
        if not self.enabled:
            return None
        target = self.model.targets[command.mode]
        digits = round(self._checked(command) / target.digit)
        return target.register.address, target.register.pack(digits)

    def _checked(self, command: Command) -> float:
        if command.mode is not self._wanted:
            raise CommandRefused(
                self.name, f"a {command.mode} set-point while it is enabled for {self._wanted}"
            )
        limit = self.limits[command.mode]
        if not abs(command.value) <= limit:
            raise CommandRefused(self.name, f"{command.mode} set-point {command.value:g} exceeds {limit:g}")
        if command.mode is Mode.POSITION:
            last = self.values["position"] if self._last_target is None else self._last_target
            step = max(
                4.0 * self.limits[Mode.VELOCITY] * self.cycle_s, 2.0 * self.model.targets[Mode.POSITION].digit
            )
            if (
                not abs(command.value - last) <= step
            ):  # the set-point may have skipped cycles, but never jumps
                raise CommandRefused(
                    self.name, f"position set-point jumps by {command.value - last:g} rad in one cycle"
                )
        self._last_target = command.value
        return command.value

    def accept(self, status: Status, asked_s: float) -> bool:
        """Take this cycle's block, and say so; whatever is not beyond doubt leaves the values as they were."""
        if status.refusal:
            return self._unsound("nak")
        try:
            digits = self.layout.unpack(status.data)
            tick_ms, torque, errors, watchdog, *_ = digits
            self._clock.check(self.name, tick_ms, asked_s)
        except struct.error:
            return self._unsound("nak")
        except ProtocolViolation:
            return self._unsound("late")
        if watchdog not in (self.armed, TRIPPED):
            self._restarted(asked_s)
            return False
        self._before = self.sampled_s, self._misses, self.torque_on, self.off_wanted
        self.layout.values(digits, self._other_values)
        self.values, self._other_values = self._other_values, self.values
        self.sampled_s = asked_s
        self.standing, self._misses = Quality.BAD if errors & _ENCODER_FAILS else Quality.GOOD, 0
        self.torque_on = torque != 0
        if not torque and self.script is None:
            self.off_wanted = False
        if errors or status.alert or watchdog == TRIPPED or not torque:
            self._judge(errors, alert=status.alert, tripped=watchdog == TRIPPED)
        return True

    def doubt(self) -> None:
        """The block just taken may be of an earlier cycle: everything is as it was before, but for a fault it told of."""
        self.values, self._other_values = self._other_values, self.values
        self.sampled_s, self._misses, self.torque_on, off_wanted = self._before
        self.off_wanted = self.off_wanted or off_wanted
        self._unsound("late")

    def _unsound(self, why: str) -> bool:
        self.counters[why] += 1
        self.miss()
        return False

    def _judge(self, errors: int, *, alert: bool, tripped: bool) -> None:
        """What the servo says of itself beside its values."""
        if errors or alert:
            self._latch(self.hardware_fault(errors))
        elif tripped:
            self.fail(
                "has stopped: its bus watchdog heard nobody",
                0xFF03,
                "find out who was silent, reopen the bench",
            )
        elif self._was_enabled and self._wanted is not None and not self.torque_on:
            self.fail("switched torque off by itself", 0xFF01, "see its hardware error status")

    def miss(self) -> None:
        """No sample in this cycle, as far as can be told by this servo's own fault."""
        self.standing, self.suspect = Quality.STALE, True
        self.counters["missed"] += 1
        self._misses += 1

    def trusted(self) -> None:
        """It has just said who it is, and everything older has come before that."""
        self.suspect = False
        self._clock.restart()

    def lose_if_silent(self, now_s: float) -> None:
        if self._misses >= LOST_AFTER and not self.lost:
            if self._wanted is not None:
                self.fail(
                    f"does not answer ({self._misses} times)",
                    0xFF04,
                    "check power and cable, reopen the bench",
                )
            self.lost = True
            self.script = self.pending = None
            self.back_off(now_s)

    def back_off(self, now_s: float) -> None:
        self.ask_again_s = now_s + _BACK_OFF_S

    def _restarted(self, now_s: float) -> None:
        self.counters["restarted"] += 1
        self.standing, self.torque_on = Quality.STALE, False
        if self._wanted is not None:
            self.fail(
                "restarted in mid-run, its watchdog is gone",
                0xFF05,
                "find out why it lost power, reopen the bench",
            )
        self.lost = True
        self.script = self.pending = None
        self.ask_again_s = now_s

    def check_power(self, now_s: float) -> None:
        """After a cycle: has it got where it was asked to? `now_s` on the awake clock."""
        if self._wanted is None:
            return
        if self._enable_until_s == math.inf:
            self._enable_until_s = now_s + self._enable_timeout_s
        if self.enabled:
            self._was_enabled = True
        elif not self._was_enabled and now_s > self._enable_until_s:
            self.fail("does not switch torque on", 0xFF02, "check its supply and hardware error status")

    def fail(self, what: str, code: int, hint: str) -> None:
        self._latch(DeviceFault(self.name, what, code, hint))

    def _latch(self, fault: DeviceFault) -> None:
        """The first cause is kept and told once; torque off whatever it is."""
        if self.fault is None:
            self.fault = self.untold = fault
        self.disable()

    def take_fault(self) -> DeviceFault | None:
        """The fault that nobody has been told of yet."""
        fault, self.untold = self.untold, None
        return fault
