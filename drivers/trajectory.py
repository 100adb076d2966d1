"""Set-point trajectories: how a commanded value gets to its target.

A pure function of time, evaluated once a cycle by whoever owns the bus (or by the built-in simulator), so
that the same ramp runs on every bench.
"""

from __future__ import annotations

import math

from drivers.device import Mode, Setpoint


class Trajectory:
    """From `start` at `t0_s` to the set-point's target.

    VELOCITY and TORQUE ramp linearly at `rate`. POSITION runs a trapezoid of speed `rate` with `acceleration`
    (rad/s²).

    >>> ramp = Trajectory(0.0, Setpoint(Mode.TORQUE, 10.0, 2.0), t0_s=0.0, acceleration=1.0)
    >>> ramp.duration_s, ramp.value(2.5), ramp.value(9.0)
    (5.0, 5.0, 10.0)
    """

    __slots__ = (
        "_distance",
        "_ramp_s",
        "_sign",
        "_speed",
        "acceleration",
        "duration_s",
        "mode",
        "start",
        "t0_s",
        "target",
    )

    def __init__(self, start: float, setpoint: Setpoint, t0_s: float, acceleration: float) -> None:
        if not (setpoint.rate > 0 and acceleration > 0):
            raise ValueError("rate and acceleration of a trajectory must be positive")
        self.mode, self.start, self.target, self.t0_s = setpoint.mode, start, setpoint.target, t0_s
        self.acceleration = acceleration
        self._distance = abs(setpoint.target - start)
        self._sign = math.copysign(1.0, setpoint.target - start)
        self._speed = setpoint.rate
        self._ramp_s = 0.0
        if setpoint.mode is Mode.POSITION:
            # triangle when too short
            self._speed = min(setpoint.rate, math.sqrt(self._distance * acceleration))
            self._ramp_s = self._speed / acceleration
        self.duration_s = self._distance / self._speed + self._ramp_s if self._distance else 0.0

    def value(self, t_s: float) -> float:
        """Set-point at time `t_s` on the clock of `t0_s`."""
        t = t_s - self.t0_s
        if t >= self.duration_s:
            return self.target
        if t <= 0:
            return self.start
        if self.mode is not Mode.POSITION:
            return self.start + self._sign * self._speed * t
        left = self.duration_s - t
        if t < self._ramp_s:
            done = 0.5 * self.acceleration * t * t
        elif left < self._ramp_s:
            done = self._distance - 0.5 * self.acceleration * left * left
        else:
            done = self._speed * (t - 0.5 * self._ramp_s)
        return self.start + self._sign * done

    def finished(self, t_s: float) -> bool:
        return t_s - self.t0_s >= self.duration_s
