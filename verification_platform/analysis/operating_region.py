"""Torque–speed regions of a motor: continuous and peak, and whether a point lies inside.

GB/T 16439-2024, GB/T 30549-2014; protocol specification SRV-TN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError


@dataclass(frozen=True, slots=True)
class OperatingRegion:
    """The region 0 ≤ T ≤ limit(n), 0 ≤ n ≤ n_max below a polygon of measured vertices.

    speeds (rad/s or r/min, increasing from 0) and torques (N·m), shape (n,). Made by `operating_region`.
    """

    speeds: Float
    torques: Float

    def limit(self, speed: float) -> float:
        """Largest torque at |speed|, N·m; 0 beyond the largest speed."""
        return float(np.interp(abs(speed), self.speeds, self.torques, right=0.0))

    def margin(self, speed: float, torque: float) -> float:
        """limit(n) − |T|, N·m: positive inside. −inf beyond the largest speed."""
        if abs(speed) > self.speeds[-1]:
            return -math.inf
        return self.limit(speed) - abs(torque)

    def contains(self, speed: float, torque: float, guard: float = 0.0) -> bool:
        """Is the point inside by at least the guard band, N·m (the expanded uncertainty of the torque)?"""
        return self.margin(speed, torque) >= guard

    def within(self, outer: OperatingRegion) -> bool:
        """Does this region lie inside `outer` (continuous ⊂ peak)? Compared at the vertices of both."""
        speeds = np.union1d(self.speeds, outer.speeds)
        speeds = speeds[speeds <= self.speeds[-1]]
        inside = all(self.limit(n) <= outer.limit(n) * (1 + 1e-12) for n in speeds)
        return inside and bool(self.speeds[-1] <= outer.speeds[-1])

    @property
    def knee(self) -> float:
        """Speed up to which the torque stays within 5 % of its value at standstill."""
        low = np.flatnonzero(self.torques < 0.95 * self.torques[0])
        if low.size == 0:
            return float(self.speeds[-1])
        k, level = int(low[0]), 0.95 * float(self.torques[0])
        share = (self.torques[k - 1] - level) / (self.torques[k - 1] - self.torques[k])
        return float(self.speeds[k - 1] + share * (self.speeds[k] - self.speeds[k - 1]))


def operating_region(speeds: ArrayLike, torques: ArrayLike) -> OperatingRegion:
    """Region below the vertices (n_j, T_j), in one unit of speed and N·m.

    Raises NotEnoughDataError below two vertices, AnalysisError unless speeds increase from 0 and torques are not
    negative.
    """
    n, t = as_block(speeds, "speeds").copy(), as_block(torques, "torques").copy()
    refuse_not_finite(n, 0, "speeds")
    refuse_not_finite(t, 0, "torques")
    if len(n) != len(t):
        raise AnalysisError(f"{len(n)} speeds and {len(t)} torques")
    if len(n) < 2:
        raise NotEnoughDataError("a region needs two vertices or more")
    if n[0] != 0 or np.any(np.diff(n) <= 0) or np.any(t < 0):
        raise AnalysisError("vertices need speeds increasing from 0 and torques that are not negative")
    return OperatingRegion(n, t)


def shaft_power(torque_n_m: float, speed_rad_s: float) -> float:
    """P = T·ω, W."""
    return torque_n_m * speed_rad_s
