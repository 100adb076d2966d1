"""The inner loops of a servo drive, as far as a test bench notices them.

Position → velocity → torque, run once an integration step: a P position loop with velocity feed-forward on
interpolated set-points (as a CiA 402 drive does in CSP), a PI velocity loop, and a current loop seen as a
first-order lag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from drivers.device import Command, Mode

_TORQUE, _VELOCITY = Mode.TORQUE, Mode.VELOCITY  # looked up once: the loop runs 2000 times a second


@dataclass(frozen=True, slots=True)
class ServoTuning:
    """How the loops are set, SI.

    `bandwidth` of the velocity loop (rad/s) holds on `inertia` (kg·m²), `integral_rate` (1/s) is that of its
    integral part; `stiffness_rate` (1/s) is the gain of the position loop.
    """

    inertia: float
    bandwidth: float
    integral_rate: float
    stiffness_rate: float
    max_torque: float
    max_speed: float
    lag_s: float = 0.3e-3
    torque_gain: float = 1.0  # true torque per torque believed
    ripple: float = 0.0  # cogging, N·m
    ripple_order: float = 1.0


class ServoLoop:
    """One servo. `current` is the torque it believes to give, `saturated` says that the limit is reached."""

    __slots__ = (
        "_alpha",
        "_dt",
        "_gain",
        "_integral",
        "_integral_gain",
        "_left",
        "_max_speed",
        "_max_torque",
        "_mode",
        "_reference",
        "_ripple",
        "_ripple_order",
        "_slope",
        "_steps",
        "_stiffness",
        "_torque_gain",
        "_value",
        "current",
        "saturated",
    )

    def __init__(self, tuning: ServoTuning, step_s: float) -> None:
        self._dt = step_s
        self._max_torque, self._max_speed = tuning.max_torque, tuning.max_speed
        self._gain = tuning.inertia * tuning.bandwidth
        self._integral_gain = self._gain * tuning.integral_rate * step_s
        self._stiffness = tuning.stiffness_rate
        self._alpha = step_s / (tuning.lag_s + step_s)
        self._torque_gain = tuning.torque_gain
        self._ripple, self._ripple_order = tuning.ripple, tuning.ripple_order
        self._mode: Mode | None = None
        self._value = self._reference = self._slope = self._integral = 0.0
        self._left = self._steps = 0
        self.current = 0.0
        self.saturated = False

    @property
    def mode(self) -> Mode | None:
        """Mode of the last set-point; None when the torque is off."""
        return self._mode

    def command(self, command: Command | None, angle: float) -> None:
        """Take a set-point; `angle` is where the shaft stands now. A change of mode is bumpless."""
        if command is None:
            self._mode = None
            return
        if command.mode is not self._mode:
            self._integral = self.current
            self._reference, self._slope, self._left, self._steps = angle, 0.0, 0, 0
            self._mode = command.mode
        if command.mode is Mode.POSITION:
            # Reach the new position in the time since the last one, never faster than the shaft may turn.
            way = command.value - self._reference
            shortest = math.ceil(abs(way) / (self._max_speed * self._dt))
            steps = max(min(self._steps, 40), shortest, 1)
            self._slope, self._left, self._steps = way / steps, steps, 0
        self._value = command.value

    def torque(self, angle: float, speed: float) -> float:
        """Torque on the shaft during the next step, N·m, from its angle (rad) and speed (rad/s)."""
        mode, max_torque = self._mode, self._max_torque
        if mode is _TORQUE:
            demand = self._value
        elif mode is None:
            demand = self._integral = 0.0
        else:
            wanted = self._value if mode is _VELOCITY else self._speed_for_position(angle)
            error = wanted - speed
            demand = self._gain * error + self._integral
            if -max_torque < demand < max_torque:  # no wind-up at the limit
                self._integral += self._integral_gain * error
        if -max_torque <= demand <= max_torque:
            self.saturated = False
        else:
            demand, self.saturated = math.copysign(max_torque, demand), True
        self.current = current = self.current + self._alpha * (demand - self.current)
        return self._torque_gain * current + self._ripple * math.sin(self._ripple_order * angle)

    def _speed_for_position(self, angle: float) -> float:
        """One step along the interpolated set-point; the speed that the position loop asks for, rad/s."""
        feed_forward = 0.0
        self._steps += 1
        if self._left:
            self._left -= 1
            self._reference = self._reference + self._slope if self._left else self._value
            feed_forward = self._slope / self._dt
        wanted = feed_forward + self._stiffness * (self._reference - angle)
        return max(-self._max_speed, min(self._max_speed, wanted))
