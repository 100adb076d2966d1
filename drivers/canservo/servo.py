"""What the servos of all dialects have in common: health, limits, and answers that cannot be mistaken.

An answer of most of these devices carries no cycle number. So in every cycle a servo is asked, and each answer is ticked off by
its kind; when one is missing at the end of the cycle the next one sends no set-point but a *barrier*, a question that
nothing else asks: CAN and the adapters keep the order of one node's frames, so whatever arrives before the barrier's
answer belongs to a cycle that is over, and is dropped. A dialect without such a question is left alone for `SETTLE_S`; one whose
answers carry the number of their question needs none of this.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from drivers.bus.frame import Frame
from drivers.canservo.device import CanServoDevice, M
from drivers.device import Command, CommandRefused, DeviceState, Mode, Quality, Signal
from drivers.enabling import check_mode, check_sound, check_watchdog

SETTLE_S = 0.02
LOST_S = 0.1
ENABLE_S = 1.5
#: Between two readings of what changes slowly, and how old such a reading may be.
SLOW_S, SLOW_AGE_S = 0.1, 0.5
#: A reading beyond so many times the model's greatest value is none: a frame was damaged on its way.
_BEYOND = 3.0
_STEP_RAD = 0.5

#: A frame to send, and the kind of the answer that is expected to it; None when there is none.
Question = tuple[Frame, int | None]


class CanServo(CanServoDevice[M]):
    """A device that is read and driven in the group's cycle; see `CanServoDevice` for the arguments."""

    numbered = False  # the kind of an answer is the number of its question, and never comes again
    _barrier_count = 0  # barriers answered so far

    def _forget(self) -> None:
        super()._forget()
        self.values: dict[str, float] = dict.fromkeys(self.model.digits, math.nan)
        self.sampled_s: dict[str, float] = dict.fromkeys(self.model.digits, -math.inf)
        self.fresh: set[str] = set()
        self.saturated = False
        self.wanted: Mode | None = None
        self._was_enabled = False
        self._enable_until_s = math.inf
        self._last_target: float | None = None
        self._pending: set[int] = set()
        self._barrier: int | None = None
        self._quiet_until_s = -math.inf
        self._missing_since_s: float | None = None
        self._slow_s = -math.inf

    # ── what a dialect fills in ──

    @abstractmethod
    def cycle_bits(self) -> float:
        """Bits on the wire in one cycle, both directions, in the worst case."""

    @property
    @abstractmethod
    def drives(self) -> bool:
        """The device says that its power stage is on."""

    @abstractmethod
    def _questions(self, command: Command | None, now_s: float) -> list[Question]:
        """What is sent in this cycle; `command` has been checked."""

    @abstractmethod
    def _kind(self, frame: Frame) -> int | None:
        """Which answer this is; None when it was dealt with (unasked) or cannot be read."""

    @abstractmethod
    def _take(self, kind: int, frame: Frame, now_s: float) -> None:
        """Read an answer of this cycle. Raises ValueError."""

    def _barrier_question(self, number: int) -> Question | None:
        """A question that nothing else asks, another one each time."""
        return None

    # ── capabilities ──

    @property
    def reach_rad(self) -> float:
        """Farthest position that the protocol can express."""
        return math.inf

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.model.offered()

    @property
    def state(self) -> DeviceState:
        if self.lost or self._bus is None:
            return DeviceState.LOST
        if self.fault is not None:
            return DeviceState.FAULT
        if self.wanted is None:
            return DeviceState.OFF
        return DeviceState.ENABLED if self.drives and self._ready() else DeviceState.READY

    def _ready(self) -> bool:
        """Set-points of the wanted mode are obeyed."""
        return True

    def enable(self, mode: Mode) -> None:
        """Ask for torque; `state` becomes ENABLED some cycles later."""
        check_watchdog(
            self.name,
            self.armed,
            f"its own watchdog is not known to stand (by {self.model.watchdog.by})",
            "see the reference page of this device; torque stays refused",
        )
        check_sound(self.name, self.fault, lost=self.lost)
        check_mode(self.name, self.model.name, mode, self.model.modes)
        if self.wanted is not mode:
            self.wanted, self._last_target = mode, None
            self._was_enabled, self._enable_until_s = False, math.inf
            self._begin_enabling(mode)

    @abstractmethod
    def _begin_enabling(self, mode: Mode) -> None:
        """The next cycles switch the device on."""

    def disable(self) -> None:
        self.wanted, self._last_target = None, None

    # ── hot path ──

    def checked(self, command: Command | None) -> Command | None:
        """The set-point if it may be sent now. Raises CommandRefused outside the limits or of another mode."""
        if command is None or self.state is not DeviceState.ENABLED:
            return None
        return self._within_limits(command)

    def begin_cycle(self, command: Command | None, now_s: float) -> list[Frame]:
        """This cycle's frames; `command` has been checked."""
        self.fresh.clear()
        self._pending.clear()
        if self.wanted is not None and self._enable_until_s == math.inf:
            self._enable_until_s = now_s + ENABLE_S
        if self.lost or now_s < self._quiet_until_s:
            return []
        if self._barrier is not None:
            question = self._barrier_question(self._barrier_count)
            questions = [question] if question is not None else []
            self._barrier = questions[0][1] if questions else None
            if self.wanted is None:  # torque off waits for nothing
                return [f for f, _ in questions] + self.torque_off()
            return [f for f, _ in questions]
        asked = self._questions(command, now_s)
        self._pending = {kind for _, kind in asked if kind is not None}
        return [frame for frame, _ in asked]

    @abstractmethod
    def torque_off(self) -> list[Frame]:
        """Frames that switch the device off whatever it does; sent again and again they change nothing."""

    @property
    def waiting(self) -> bool:
        return bool(self._pending) or (self._barrier is not None and not self.lost)

    def accept(self, frame: Frame, now_s: float) -> None:
        """A frame of this device."""
        try:
            kind = self._kind(frame)
            if kind is None:
                return
            if kind == self._barrier:
                self._barrier = None
                self._barrier_count += 1
            elif self._barrier is not None or kind not in self._pending:
                self.counters["late"] += 1  # of an earlier cycle, or twice: nobody may use it
            else:
                self._pending.discard(kind)
                self._take(kind, frame, now_s)
        except ValueError:
            self.counters["nak"] += 1

    def end_cycle(self, now_s: float) -> None:
        """The time is up."""
        if self.lost:
            return
        if not self.waiting:
            if now_s >= self._quiet_until_s:
                self._missing_since_s = None
        else:
            self.counters["missed"] += 1
            if self._missing_since_s is None:
                self._missing_since_s = now_s
            if self._barrier is None and not self.numbered:
                question = self._barrier_question(self._barrier_count)
                if question is None:
                    self._quiet_until_s = now_s + SETTLE_S
                else:
                    self._barrier = question[1]
            self._pending.clear()
            if now_s - self._missing_since_s > LOST_S:
                self.lose(f"no answer for {now_s - self._missing_since_s:.3f} s")
        self._check(now_s)

    def _check(self, now_s: float) -> None:
        """Has the device left its state by itself, or never got there?"""
        if self.wanted is None or self.lost or self.fault is not None:
            return
        if self.drives and self._ready():
            self._was_enabled = True
        elif self._was_enabled and not self.drives:
            self.fail("switched off by itself", 0xFF01, "see its error display")
        elif not self._was_enabled and now_s > self._enable_until_s:
            self.fail("does not switch its torque on", 0xFF02, "check its supply, calibration and brake")

    def put(self, signal: str, value: float, now_s: float) -> None:
        """A reading of this cycle; one that cannot be is dropped."""
        model = self.model
        bounds = {"velocity": model.max_speed_rad_s, "torque": model.max_torque}
        ok = math.isfinite(value) and abs(value) <= _BEYOND * bounds.get(signal, math.inf)
        if ok and signal == "position" and math.isfinite(self.values[signal]):
            step = _BEYOND * model.max_speed_rad_s * (now_s - self.sampled_s[signal]) + _STEP_RAD
            ok = abs(value - self.values[signal]) <= step
        if not ok:
            self.counters["implausible"] += 1
            return
        self.values[signal], self.sampled_s[signal] = value, now_s
        self.fresh.add(signal)

    def longest_age_s(self, signal: str) -> float:
        """A reading so old is still GOOD; 0: only one of this cycle."""
        return SLOW_AGE_S if signal == "temperature" else 0.0

    def quality(self, signal: str, now_s: float) -> Quality:
        if math.isnan(self.values[signal]):
            return Quality.BAD
        age = now_s - self.sampled_s[signal]
        if self.lost or (signal not in self.fresh and age > self.longest_age_s(signal)):
            return Quality.STALE
        if signal not in self.fresh and self.longest_age_s(signal) == 0.0:
            return Quality.STALE
        return Quality.BAD if self.saturated and signal != "temperature" else Quality.GOOD

    def _within_limits(self, command: Command) -> Command:
        if command.mode is not self.wanted:
            raise CommandRefused(
                self.name, f"a {command.mode} set-point while it is enabled for {self.wanted}"
            )
        if command.mode is not Mode.POSITION:
            if not abs(command.value) <= self.limits[command.mode]:
                raise CommandRefused(
                    self.name,
                    f"{command.mode} set-point {command.value:g} exceeds {self.limits[command.mode]:g}",
                )
        else:
            if not abs(command.value) <= self.reach_rad:
                raise CommandRefused(
                    self.name,
                    f"position set-point {command.value:g} rad is beyond ±{self.reach_rad:g}, which it cannot count",
                )
            last = self.values["position"] if self._last_target is None else self._last_target
            # The set-point may have skipped cycles, but never jumps.
            if not abs(command.value - last) <= 4.0 * self.limits[Mode.VELOCITY] * self.cycle_s:
                raise CommandRefused(
                    self.name, f"position set-point jumps by {command.value - last:g} rad in one cycle"
                )
        self._last_target = command.value
        return command

    def resting(self) -> float:
        """A set-point of the wanted mode that changes nothing."""
        if self.wanted is None or self.wanted is Mode.TORQUE:
            return 0.0
        value = self.values[self.wanted.value]
        if math.isnan(value):
            return 0.0
        limit = self.limits[self.wanted]
        return max(-limit, min(limit, value))

    @property
    def torque_may_flow(self) -> bool:
        return not self.lost and self.drives
