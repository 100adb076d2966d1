"""Fit of y = final + amplitude·e^{−t/τ}: heating, cooling, the resistance of a winding after switching off.

Given τ the rest is a straight line in e^{−t/τ}, so that only τ is searched (variable projection, Golub and
Pereyra 1973): no starting values, no divergence. A record too short to show its curvature is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError


@dataclass(frozen=True, slots=True)
class Exponential:
    """y = final + amplitude·e^{−t/τ}; u: standard uncertainties for white residuals; residual: their σ.

    at_zero: y(0) = final + amplitude.
    """

    final: float
    amplitude: float
    tau_s: float
    u_final: float
    u_tau_s: float
    at_zero: float
    u_at_zero: float
    residual: float

    def __call__(self, t_s: ArrayLike) -> Float:
        """y at times t_s, s."""
        return np.asarray(self.final + self.amplitude * np.exp(-np.asarray(t_s, np.float64) / self.tau_s))


def fit_exponential(t_s: ArrayLike, y: ArrayLike, *, start: float | None = None) -> Exponential:
    """Least-squares exponential through samples (n,) at times (n,), s, t ≥ 0, in any unit of y.

    start: y(0) if it is known; otherwise it is free. Raises NotEnoughDataError below 6 samples or if the
    curvature is not seen (τ above three times the record), AnalysisError for unequal lengths or times that do
    not increase.
    """
    t, y = as_block(t_s, "times"), as_block(y, "y")
    if len(t) != len(y):
        raise AnalysisError(f"{len(t)} times and {len(y)} samples")
    refuse_not_finite(t, 0, "times")
    refuse_not_finite(y, 0, "y")
    if len(t) < 6:
        raise NotEnoughDataError(f"an exponential needs 6 samples or more, got {len(t)}")
    if np.any(np.diff(t) <= 0) or t[0] < 0:
        raise AnalysisError("times must not be negative, and must increase")
    span = float(t[-1])
    grid = np.geomspace(float(np.diff(t).min()) / 2, 30 * span, 60)
    costs = [_project(t, y, tau, start)[0] for tau in grid]
    best = int(np.argmin(costs))
    tau = _golden(t, y, start, grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    if tau > 3 * span:
        raise NotEnoughDataError(f"no curvature is seen within {span:.6g} s: record longer")
    cost, final, amplitude = _project(t, y, tau, start)
    return _with_uncertainty(t, cost, final, amplitude, tau, start)


def _project(t: Float, y: Float, tau: float, start: float | None) -> tuple[float, float, float]:
    """(sum of squares, final, amplitude) of the best line in e^{−t/τ}."""
    e = np.exp(-t / tau)
    if start is None:
        x, v = e - e.mean(), y - y.mean()
        square = float(np.dot(x, x))
        amplitude = float(np.dot(x, v)) / square if square > 1e-300 else 0.0
        final = float(y.mean()) - amplitude * float(e.mean())
    else:
        # y − start = (final − start)·(1 − e)
        rise, v = -np.expm1(-t / tau), y - start
        square = float(np.dot(rise, rise))
        step = float(np.dot(rise, v)) / square if square > 1e-300 else 0.0
        final, amplitude = start + step, -step
    residual = y - final - amplitude * e
    return float(np.dot(residual, residual)), final, amplitude


def _golden(t: Float, y: Float, start: float | None, low: float, high: float) -> float:
    """τ of the smallest sum of squares between low and high, by golden section in log τ."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = math.log(low), math.log(high)
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = (_project(t, y, math.exp(v), start)[0] for v in (c, d))
    while b - a > 1e-8:
        if at_c < at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = _project(t, y, math.exp(c), start)[0]
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = _project(t, y, math.exp(d), start)[0]
    return math.exp((a + b) / 2)


def _with_uncertainty(
    t: Float, cost: float, final: float, amplitude: float, tau: float, start: float | None
) -> Exponential:
    e = np.exp(-t / tau)
    by_tau = amplitude * e * t / tau  # derivative by log τ, of the size of y
    columns = [np.ones_like(t), e, by_tau] if start is None else [1 - e, by_tau]
    jacobian = np.stack(columns, axis=1)
    sigma = math.sqrt(cost / max(len(t) - jacobian.shape[1], 1))
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * sigma**2
    at_zero = 0.0 if start is not None else covariance[0, 0] + 2 * covariance[0, 1] + covariance[1, 1]
    return Exponential(
        final=final,
        amplitude=amplitude,
        tau_s=tau,
        u_final=math.sqrt(float(covariance[0, 0])),
        u_tau_s=tau * math.sqrt(float(covariance[-1, -1])),
        at_zero=final + amplitude,
        u_at_zero=math.sqrt(max(float(at_zero), 0.0)),
        residual=sigma,
    )
