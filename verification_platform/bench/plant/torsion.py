"""How a reducer twists under torque: three stiffness segments and hysteresis with an exact memory.

The midline is the three-slope line of the data sheet. On it sits Rayleigh hysteresis, i.e. a
Prandtl–Ishlinskii operator with uniform density (L. Prandtl, ZAMM 8, 1928; Visintin, *Differential Models
of Hysteresis*, 1994): after a reversal, an excursion D of the torque adds Δh = p·D²/4; along the virgin
curve h = p·T²/2. Such an operator obeys Madelung's rules: a minor loop closes exactly, and once closed it
is forgotten (wipe-out), so the whole memory is the stack of turning points.

With p = 2·w0/T_N² and the elastic part φ_el(T) = φ_3slope(T) − w0·T/T_N, a loop of ±T_N has exactly the width
w(T) = w0·(1 − (T/T_N)²), and its midline is exactly the three-slope line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Turning points kept. Only a decaying oscillation stacks them up; the innermost are below any digit then.
MAX_DEPTH = 1000


@dataclass(frozen=True, slots=True)
class TorsionLaw:
    """Parameters of the law, SI. Raises ValueError for values that no reducer can have.

    `stiffness` (K_1, K_2, K_3) holds on [0, T_1], [T_1, T_2], [T_2, ∞); `width` is w0, the width at zero
    torque of the loop run to ±`rated_torque`.
    """

    stiffness: tuple[float, float, float]
    torque_1: float
    torque_2: float
    width: float
    rated_torque: float

    def __post_init__(self) -> None:
        if not 0 < self.torque_1 < self.torque_2 < self.rated_torque:
            raise ValueError("breaks of the stiffness segments must rise: 0 < T_1 < T_2 < T_N")
        if min(self.stiffness) <= 0 or self.width < 0:
            raise ValueError("stiffness must be positive and the hysteresis width not negative")
        if self.width / self.rated_torque >= 1 / max(self.stiffness):
            raise ValueError("hysteresis is too wide for this stiffness: need w0/T_N < 1/K")

    @property
    def rayleigh(self) -> float:
        """Rayleigh coefficient p = 2·w0/T_N², rad/(N·m)²."""
        return 2 * self.width / self.rated_torque**2

    def midline(self, torque: float) -> float:
        """The three-slope line φ(T), rad; odd in T."""
        k1, k2, k3 = self.stiffness
        size = abs(torque)
        angle = min(size, self.torque_1) / k1
        if size > self.torque_1:
            angle += (min(size, self.torque_2) - self.torque_1) / k2
        if size > self.torque_2:
            angle += (size - self.torque_2) / k3
        return math.copysign(angle, torque)

    def elastic(self, torque: float) -> float:
        """The part without memory, φ_3slope(T) − w0·T/T_N."""
        return self.midline(torque) - self.width / self.rated_torque * torque

    def loop_midline(self, torque: float, amplitude: float) -> float:
        """Midline of a closed loop of ±`amplitude`, rad; equals `midline` for ±T_N."""
        return self.elastic(torque) + 0.5 * self.rayleigh * amplitude * torque

    def loop_width(self, torque: float, amplitude: float) -> float:
        """Width φ_↓ − φ_↑ of a closed loop of ±`amplitude` at `torque`, rad."""
        return 0.5 * self.rayleigh * (amplitude**2 - torque**2)


class Torsion:
    """The law with its memory; driven by torque (`angle`) or by deformation (`torque`), in any mixture.

    Starts virgin: zero torque, zero angle, no history.

    >>> law = TorsionLaw((1.0e4, 1.5e4, 2.0e4), 14.0, 48.0, 1.745e-4, 100.0)
    >>> twist = Torsion(law)
    >>> up = [twist.angle(t) for t in (100.0, -100.0, 0.0)][-1]
    >>> down = [twist.angle(t) for t in (100.0, 0.0)][-1]
    >>> round(down - up, 9)
    0.0001745
    """

    __slots__ = (
        "_angle",
        "_base_angle",
        "_base_torque",
        "_breaks",
        "_closing_angle",
        "_closing_torque",
        "_curvature",
        "_direction",
        "_intercepts",
        "_law",
        "_offsets",
        "_points",
        "_segment",
        "_slopes",
        "_torque",
    )

    def __init__(self, law: TorsionLaw) -> None:
        self._law = law
        k1, k2, k3 = law.stiffness
        t1, t2 = law.torque_1, law.torque_2
        memory = law.width / law.rated_torque
        # Elastic part as five straight pieces φ_el(T) = intercept + slope·T between the breaks.
        self._breaks = (-math.inf, -t2, -t1, t1, t2, math.inf)
        self._slopes = tuple(1 / k - memory for k in (k3, k2, k1, k2, k3))
        inner = t1 * (1 / k1 - 1 / k2)
        outer = inner + t2 * (1 / k2 - 1 / k3)
        self._intercepts = (-outer, -inner, 0.0, inner, outer)
        self.reset()

    def reset(self) -> None:
        """Forget everything: zero torque, zero angle, virgin."""
        self._points: list[tuple[float, float]] = []
        self._torque = self._angle = 0.0
        self._direction = 1
        self._segment = 2
        self._start_branch()

    @property
    def depth(self) -> int:
        """Number of turning points remembered."""
        return len(self._points)

    def angle(self, torque: float) -> float:
        """Bring the torque monotonically to `torque` (N·m); returns the deformation φ in rad."""
        if torque == self._torque:
            return self._angle
        direction = 1 if torque > self._torque else -1
        if direction != self._direction:
            self._reverse(direction)
        while direction * (torque - self._closing_torque) >= 0:
            self._close_loop()
        excursion = torque - self._base_torque
        self._torque = torque
        self._angle = (
            self._base_angle
            + (self._law.elastic(torque) - self._law.elastic(self._base_torque))
            + self._curvature * excursion * excursion
        )
        return self._angle

    def torque(self, angle: float) -> float:
        """Bring the deformation monotonically to `angle` (rad); returns the torque in N·m.

        On one branch and one stiffness segment the law is a quadratic, solved in closed form.
        """
        if angle == self._angle:
            return self._torque
        direction = 1 if angle > self._angle else -1
        if direction != self._direction:
            self._reverse(direction)
        while direction * (angle - self._closing_angle) >= 0:
            self._close_loop()
        segment, curvature = self._segment, self._curvature
        came_from = segment
        while True:
            slope = self._slopes[segment]
            rest = angle - self._offsets[segment]
            root = slope * slope + 4 * curvature * rest
            torque = self._base_torque + 2 * rest / (slope + (math.sqrt(root) if root > 0 else 0.0))
            if torque > self._breaks[segment + 1] and segment + 1 != came_from:
                came_from, segment = segment, segment + 1
            elif torque < self._breaks[segment] and segment - 1 != came_from:
                came_from, segment = segment, segment - 1
            else:
                break
        self._segment = segment
        self._torque, self._angle = torque, angle
        return torque

    def _reverse(self, direction: int) -> None:
        """The present point becomes a turning point."""
        self._direction = direction
        if len(self._points) >= MAX_DEPTH:
            del self._points[-2:]
        self._points.append((self._torque, self._angle))
        self._start_branch()

    def _close_loop(self) -> None:
        """The branch has met the turning point before its own: both are wiped out."""
        del self._points[-2:]
        self._start_branch()

    def _start_branch(self) -> None:
        """Cache what the branch from the last turning point needs; without one it is the virgin curve."""
        points, law = self._points, self._law
        if points:
            self._base_torque, self._base_angle = points[-1]
            self._curvature = 0.25 * law.rayleigh * self._direction
            if len(points) > 1:
                self._closing_torque, self._closing_angle = points[-2]
            else:  # the branch meets the virgin curve at the mirror image of its first turning point
                self._closing_torque, self._closing_angle = -self._base_torque, -self._base_angle
        else:
            self._base_torque = self._base_angle = 0.0
            self._curvature = 0.5 * law.rayleigh * self._direction
            self._closing_torque = self._closing_angle = math.inf * self._direction
        # Angle at the base torque as each elastic piece would continue it: one subtraction a step later on.
        constant = self._base_angle - law.elastic(self._base_torque)
        self._offsets = tuple(
            constant + intercept + slope * self._base_torque
            for intercept, slope in zip(self._intercepts, self._slopes, strict=True)
        )
