"""Weibull likelihood of any mixture of censoring and truncation, with its first two derivatives.

With z(t) = (t/η)^β and u = ln z = β·(ln t − ln η), an exact life contributes ln β − ln t + u − z, a life between a
and b contributes ln(e^{−z(a)} − e^{−z(b)}), and truncation to (c, d) subtracts the same expression of c and d.
Parameters are ln β and ln η: ∂u/∂ln β = u, ∂u/∂ln η = −β, ∂²u/∂(ln β)² = u, ∂²u/∂ln β∂ln η = −β.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from ._weibull_profile import profile_fit
from .blocks import Float
from .errors import NotEnoughDataError


class Lives(Protocol):
    """What the likelihood needs of `weibull.LifeData`."""

    @property
    def low(self) -> Float: ...
    @property
    def high(self) -> Float: ...
    @property
    def entry(self) -> Float: ...
    @property
    def exit(self) -> Float: ...


def log_likelihood(data: Lives, log_beta: float, log_eta: float) -> tuple[float, Float, Float]:
    """Value, gradient (2,) and second derivatives (2, 2) with respect to (ln β, ln η)."""
    beta = math.exp(log_beta)
    exact = data.low == data.high
    value, gradient, hessian = _exact(data.low[exact], beta, log_eta)
    censored = ~exact
    if censored.any():
        part = _between(data.low[censored], data.high[censored], beta, log_eta)
        value, gradient, hessian = value + part[0], gradient + part[1], hessian + part[2]
    truncated = (data.entry > 0) | np.isfinite(data.exit)
    if truncated.any():
        part = _between(data.entry[truncated], data.exit[truncated], beta, log_eta)
        value, gradient, hessian = value - part[0], gradient - part[1], hessian - part[2]
    return value, gradient, hessian


def _exact(t: Float, beta: float, log_eta: float) -> tuple[float, Float, Float]:
    x = np.log(t)
    u = beta * (x - log_eta)
    with np.errstate(over="ignore"):
        z = np.exp(u)
    value = float(np.sum(math.log(beta) - x + u - z))
    first = 1.0 - z  # derivative with respect to u
    gradient = np.array([np.sum(1.0 + first * u), -beta * np.sum(first)])
    cross = -beta * np.sum(first - z * u)
    hessian = np.array([[np.sum(first * u - z * u * u), cross], [cross, -(beta**2) * np.sum(z)]])
    return value, gradient, hessian


def _between(a: Float, b: Float, beta: float, log_eta: float) -> tuple[float, Float, Float]:
    """Sum of ln(S(a) − S(b)), 0 <= a < b <= inf, with derivatives."""
    has_a, has_b = a > 0, np.isfinite(b)
    ua = beta * (np.log(np.where(has_a, a, 1.0)) - log_eta)
    ub = beta * (np.log(np.where(has_b, b, 1.0)) - log_eta)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        za, zb = np.where(has_a, np.exp(ua), 0.0), np.where(has_b, np.exp(ub), 0.0)
        d = zb - za
        value = float(np.sum(-za + np.where(has_b, np.log(-np.expm1(-d)), 0.0)))
        h = np.where(has_b, 1.0 / np.expm1(d), 0.0)
    h[~np.isfinite(h)] = 0.0  # d overflows: S(b) is nothing beside S(a)
    zb = np.where(h > 0, zb, 0.0)
    slope = -h * (1.0 + h)  # dh/dd; second derivatives are slope, −slope, slope
    ga, gb = (-1.0 - h) * za, h * zb
    gradient = np.array([np.sum(ga * ua + gb * ub), -beta * np.sum(ga + gb)])
    # d²/dθdφ = Σ G_ij·z_i·z_j·u_iθ·u_jφ + Σ G_i·z_i·(u_iθ·u_iφ + u_iθφ)
    wa, wb = za * ua, zb * ub
    bb = np.sum(slope * (wa - wb) ** 2 + ga * (ua * ua + ua) + gb * (ub * ub + ub))
    be = -beta * np.sum(slope * (wa - wb) * (za - zb) + ga * (ua + 1.0) + gb * (ub + 1.0))
    ee = beta**2 * np.sum(slope * (za - zb) ** 2 + ga + gb)
    return value, gradient, np.array([[bb, be], [be, ee]])


def maximise(data: Lives) -> tuple[float, float]:
    """(β, ln η) at the maximum, by Newton's method with damping where the likelihood is not concave.

    Raises NotEnoughDataError if the likelihood grows without bound.
    """
    theta = _start(data)
    value, gradient, hessian = log_likelihood(data, *theta)
    damping = 0.0
    for _ in range(200):
        largest = float(np.linalg.eigvalsh(hessian)[-1])
        shift = max(damping, largest + 1e-3 * abs(float(np.trace(hessian)))) if largest >= 0 else damping
        step = np.linalg.solve(shift * np.eye(2) - hessian, gradient)
        step *= min(1.0, 1.5 / max(float(np.max(np.abs(step))), 1e-300))
        trial = theta + step
        new = log_likelihood(data, *trial)
        if math.isfinite(new[0]) and new[0] >= value - 1e-12 * abs(value):
            small = float(np.max(np.abs(step))) < 1e-11
            theta, (value, gradient, hessian) = trial, new
            damping = damping / 4 if damping > 1e-6 else 0.0
            if small:
                return math.exp(theta[0]), float(theta[1])
            if not -12.0 < theta[0] < 12.0:
                break
        else:
            damping = max(4 * damping, 1e-2 * abs(float(np.trace(hessian))))
            if float(np.max(np.abs(step))) < 1e-11:
                return math.exp(theta[0]), float(theta[1])
    raise NotEnoughDataError("Weibull: the likelihood has no maximum for these data")


def _start(data: Lives) -> Float:
    """Fit with intervals replaced by their middles."""
    failed = np.isfinite(data.high)
    middle = np.where(failed, 0.5 * (data.low + np.where(failed, data.high, 0.0)), data.low)
    keep = middle > 0
    middle, failed = middle[keep], failed[keep]
    x = np.log(middle)
    if len(np.unique(x[failed])) < 2:
        return np.array([0.0, float(x.mean())])
    start = profile_fit(x, failed)
    return np.array([math.log(min(max(start.beta, 0.05), 50.0)), start.log_eta])


def best_for_beta(data: Lives, beta: float, log_eta: float) -> float:
    """Largest likelihood for a given β."""
    log_beta = math.log(beta)

    def along(t: float) -> tuple[float, float, float]:
        value, gradient, hessian = log_likelihood(data, log_beta, t)
        return value, float(gradient[1]), float(hessian[1, 1])

    return _climb(along, log_eta)


def best_for_life(data: Lives, log_life: float, log_hazard: float, log_beta: float) -> float:
    """Largest likelihood for a given life at which ln of the cumulative hazard is `log_hazard`: along
    ln η = log_life − log_hazard/β.
    """

    def along(t: float) -> tuple[float, float, float]:
        inverse = math.exp(-t)
        value, gradient, hessian = log_likelihood(data, t, log_life - log_hazard * inverse)
        slope = log_hazard * inverse  # d ln η/d ln β; its derivative is −slope
        first = float(gradient[0] + gradient[1] * slope)
        second = float(
            hessian[0, 0] + 2 * hessian[0, 1] * slope + hessian[1, 1] * slope**2 - gradient[1] * slope
        )
        return value, first, second

    return _climb(along, log_beta)


class _Along(Protocol):
    def __call__(self, t: float, /) -> tuple[float, float, float]: ...


def _climb(along: _Along, start: float) -> float:
    """Maximum of a function of one variable given with two derivatives."""
    t = start
    value, first, second = along(t)
    while not math.isfinite(value):
        t += 0.5
        value, first, second = along(t)
        if t > start + 50:
            return -math.inf
    limit = 1.0
    for _ in range(100):
        step = -first / second if second < 0 else math.copysign(limit, first)
        step = max(-limit, min(limit, step))
        if abs(step) < 1e-10:
            break
        trial = along(t + step)
        if math.isfinite(trial[0]) and trial[0] >= value - 1e-13 * abs(value):
            t, (value, first, second) = t + step, trial
        else:
            limit = abs(step) / 4
            if limit < 1e-12:
                break
    return value
