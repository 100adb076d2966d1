"""No-load running torque: what a gear takes to turn, and the friction law behind it.

T_NL(n) = [T̄(+) − T̄(−)]/2 at each speed: half the difference of both directions removes the zero error of
the torque sensor, half the sum *is* that error. Means are taken over whole output revolutions and over the
angle, so that neither ripple nor uneven speed enters. GB/T 35089-2018 cl. 7; protocol specification RED-NL.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .angle import AverageResult, TimeSynchronousAverage
from .blocks import refuse_not_finite
from .errors import AnalysisError
from .fold import Floats
from .samples import CoverageError, as_blocks


class NoLoadTorque:
    """Mean input torque of one run at one speed in one direction, over whole output revolutions, in a
    single pass.

    ratio: i, so that one output revolution is 2π·i of the input angle; max_order: highest order per output
    revolution in the peak-to-peak (default 2.5·i: twice the input order with margin). `direction` of the
    result is the sense of θ₁. Share one run between workers with `fork`.
    """

    def __init__(self, ratio: float, max_order: int | None = None) -> None:
        if not (math.isfinite(ratio) and ratio > 0):
            raise AnalysisError(f"the ratio i must be positive, got {ratio}")
        order = max(math.ceil(2.5 * ratio), 8) if max_order is None else max_order
        self._average = TimeSynchronousAverage(order, 2 * math.pi * ratio)

    def update(self, input_angle: ArrayLike, torque: ArrayLike) -> None:
        """Add a block: θ₁ rad, unwrapped, and T₁ N·m, shapes (n,)."""
        self._average.update(input_angle, torque)

    def fork(self, first_index: int) -> NoLoadTorque:
        """An empty accumulator for the samples from `first_index` of the same run."""
        twin = copy.copy(self)
        twin._average = self._average.fork(first_index)
        return twin

    def merge(self, other: NoLoadTorque) -> None:
        """Add what a fork saw of the same run. Raises NotMergeableError."""
        self._average.merge(other._average)

    def result(self) -> AverageResult:
        """mean (N·m) with mean_u, pp over an output revolution. Raises CoverageError without a whole one."""
        return self._average.result()


@dataclass(frozen=True, slots=True)
class NoLoadPoint:
    """No-load torque at one speed: torque and sensor offset N·m with their type A standard deviation."""

    torque: float
    offset: float
    u: float


def no_load_torque(forward: AverageResult, backward: AverageResult) -> NoLoadPoint:
    """Combine the means of both directions at one speed: T_NL = (T̄(+) − T̄(−))/2, offset = (T̄(+) +
    T̄(−))/2.

    Raises AnalysisError unless the runs turned opposite ways.
    """
    if (forward.direction, backward.direction) != (1, -1):
        raise AnalysisError(
            f"one run forward and one backward are needed, got directions {forward.direction} and"
            f" {backward.direction}"
        )
    return from_means(forward.mean, backward.mean, forward.mean_u, backward.mean_u)


def from_means(
    forward: float, backward: float, u_forward: float = 0.0, u_backward: float = 0.0
) -> NoLoadPoint:
    """`no_load_torque` from the mean torques of both directions, N·m."""
    return NoLoadPoint(
        0.5 * (forward - backward), 0.5 * (forward + backward), 0.5 * math.hypot(u_forward, u_backward)
    )


@dataclass(frozen=True, slots=True)
class FrictionLaw:
    """T(ω) = T_C + (T_S − T_C)·exp(−(ω/ω_s)²) + T_v·ω, SI; without Stribeck term T_S = T_C and ω_s = inf.

    u_*: standard deviations from the residuals; residual: their standard deviation, N·m.
    """

    T_C: float
    T_v: float
    T_S: float
    omega_s: float
    u_coulomb: float
    u_viscous: float
    residual: float

    def torque(self, omega: ArrayLike) -> Floats:
        """Torque at speeds ω ≥ 0 rad/s, N·m."""
        speed = np.asarray(omega, dtype=np.float64)
        stribeck = (self.T_S - self.T_C) * np.exp(-((speed / self.omega_s) ** 2))
        return np.asarray(self.T_C + self.T_v * speed + stribeck)


def fit_friction(speed_rad_s: ArrayLike, torque: ArrayLike, *, stribeck: bool = False) -> FrictionLaw:
    """Least-squares friction law through T_NL at several speeds: ω > 0 rad/s and T N·m, shapes (n,).

    The Stribeck term is non-linear in ω_s alone: the other parameters are solved exactly for each ω_s of a
    grid, the best refined by golden section. Raises CoverageError for fewer points than parameters,
    AnalysisError for speeds that are not positive.
    """
    speed, t = as_blocks(speed_rad_s, torque)
    refuse_not_finite(speed, 0, "speed")
    refuse_not_finite(t, 0, "torque")
    parameters = 4 if stribeck else 2
    if np.unique(speed).size < parameters:
        raise CoverageError(
            f"{np.unique(speed).size} speeds cannot determine a friction law of {parameters} parameters"
        )
    if speed.min() <= 0:
        raise AnalysisError(f"speeds are magnitudes above 0, got {speed.min()} rad/s")
    columns = [np.ones_like(speed), speed]
    if not stribeck:
        solution, shape, chi2 = _solve(np.column_stack(columns), t)
        return _law(solution, math.inf, shape, chi2, t.size - 2)

    def misfit(log_speed: float) -> float:
        return _solve(_design(speed, math.exp(log_speed)), t)[2]

    grid = np.linspace(math.log(speed.min() / 2), math.log(speed.max()), 64)
    best = int(np.argmin([misfit(g) for g in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    omega_s = math.exp(_golden(misfit, float(low), float(high)))
    solution, shape, chi2 = _solve(_design(speed, omega_s), t)
    return _law(solution, omega_s, shape, chi2, t.size - 4)


def _design(speed: Floats, omega_s: float) -> Floats:
    return np.column_stack([np.ones_like(speed), speed, np.exp(-((speed / omega_s) ** 2))])


def _solve(design: Floats, t: Floats) -> tuple[Floats, Floats, float]:
    """Solution, diagonal of (AᵀA)⁻¹ and sum of squared residuals; columns are scaled first."""
    scale = np.linalg.norm(design, axis=0)
    r = np.linalg.qr(design / scale, mode="r")
    solution = np.linalg.lstsq(design / scale, t, rcond=None)[0]
    inverse = np.linalg.pinv(r)
    residual = t - (design / scale) @ solution
    return solution / scale, np.sum(inverse**2, axis=1) / scale**2, float(np.dot(residual, residual))


def _law(solution: Floats, omega_s: float, shape: Floats, chi2: float, dof: int) -> FrictionLaw:
    s = math.sqrt(chi2 / dof) if dof > 0 else math.nan
    T_C, T_v = float(solution[0]), float(solution[1])
    T_S = T_C + float(solution[2]) if solution.size > 2 else T_C
    return FrictionLaw(T_C, T_v, T_S, omega_s, s * math.sqrt(shape[0]), s * math.sqrt(shape[1]), s)


def _golden(f: Callable[[float], float], low: float, high: float) -> float:
    """Minimum of a function with one minimum in [low, high], by golden section to 1e-9 of the interval."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = low, high
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    fc, fd = f(c), f(d)
    while b - a > 1e-9 * (high - low):
        if fc < fd:
            b, d, fd = d, c, fc
            c = b - ratio * (b - a)
            fc = f(c)
        else:
            a, c, fc = c, d, fd
            d = a + ratio * (b - a)
            fd = f(d)
    return 0.5 * (a + b)
