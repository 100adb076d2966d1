"""Weibull fits of exact lives with right-censoring: one equation for β, one sample or many at once.

With x = ln t, the likelihood equation for β is g(β) = Σx·e^{βx}/Σe^{βx} − 1/β − mean of x over the failures = 0;
g rises monotonically (its slope is the weighted variance of x plus 1/β²), so there is one root. It is looked for in
1/β, in which g is nearly a straight line: by Halley's method for one sample (three sums over the lives, each step
trebles the digits), by Newton's for many at once. η then follows in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .blocks import CHUNK, Bool, Float
from .errors import AnalysisError, NotEnoughDataError
from .moments import inner

_STEPS = 100
_CLOSE = 1e-6  # a relative step whose third power is nothing
_SMALL = 2048  # lives whose sums are one matrix product and one thread's work
_SAME = 1e-9  # standard deviation of log-lives that may all be one


class ProfileFit(NamedTuple):
    """β, ln η, the log-likelihood and its negative second derivatives (∂β², ∂β∂η, ∂η²) at its maximum."""

    beta: float
    log_eta: float
    log_likelihood: float
    information: tuple[float, float, float]


def profile_fit(x: Float, failed: Bool) -> ProfileFit:
    """Fit log-lives x (n,), failed (n,).

    Raises NotEnoughDataError without two different failures. Works through the sample in pieces, so memory does not grow
    with it.
    """
    top = float(np.maximum.reduce(x, initial=-math.inf))
    r, mean, spread, sums = (_of_small if len(x) <= _SMALL else _of_pieces)(x, failed, top)
    if r < 2 or (spread < _SAME and np.ptp(x[failed]) == 0):
        raise NotEnoughDataError(f"Weibull: {r} failures, all at one age")
    beta = 1.2 / max(spread, 1e-150)
    for _ in range(_STEPS):
        s0, s1, s2, s3 = sums(beta)
        m1, m2 = s1 / s0, s2 / s0
        g = m1 - 1.0 / beta - mean
        slope = m2 - m1 * m1 + 1.0 / beta**2
        bend = s3 / s0 - 3.0 * m1 * m2 + 2.0 * m1**3 - 2.0 / beta**3
        step = g / (beta * slope)  # Newton's, relative
        step /= max(1.0 - step * (1.0 + 0.5 * beta * bend / slope), 0.5)
        change = beta / max(1.0 + step, 0.1) - beta
        beta += change
        if abs(step) <= _CLOSE:
            break
    # The sums at the last β, to which they were not worked out: the next terms of their series are nothing.
    s0 += change * (s1 + 0.5 * change * (s2 + change * s3 / 3.0))
    s1 += change * (s2 + 0.5 * change * s3)
    s2 += change * s3
    d = -math.log(s0 / r) / beta  # ln(longest life/η)
    # Sums of z·ln(t/η) and z·ln²(t/η) with z = (t/η)^β, of which the sum is r.
    first = r * (s1 / s0 + d)
    second = r * (s2 / s0 + 2 * d * s1 / s0 + d * d)
    log_eta = top - d
    eta = math.exp(log_eta)
    information = (r / beta**2 + second, -beta / eta * first, r * beta**2 / eta**2)
    value = r * (math.log(beta) + beta * (mean + d) - (mean + top) - 1.0)
    return ProfileFit(beta, log_eta, value, information)


#: Of β: Σw·p^k for k = 0 … 3, with p = x − top and w = e^{β·p}.
_Sums = Callable[[float], Sequence[float]]
#: Number, mean of p and standard deviation of the failures; the sums over all lives.
_Prepared = tuple[int, float, float, _Sums]


def _of_small(x: Float, failed: Bool, top: float) -> _Prepared:
    powers = np.empty((4, len(x)))
    powers[0] = 1.0
    p = np.subtract(x, top, out=powers[1])
    square = np.multiply(p, p, out=powers[2])
    np.multiply(square, p, out=powers[3])
    w = np.empty(len(x))

    def sums(beta: float) -> list[float]:
        np.exp(np.multiply(p, beta, out=w), out=w)
        found: list[float] = powers.dot(w).tolist()
        return found

    failures: list[float] = p[failed].tolist()
    r = len(failures)
    mean = math.fsum(failures) / max(r, 1)
    return r, mean, math.sqrt(sum([(f - mean) ** 2 for f in failures]) / max(r, 1)), sums


def _of_pieces(x: Float, failed: Bool, top: float) -> _Prepared:
    scratch = np.empty((2, CHUNK))
    starts = range(0, len(x), CHUNK)

    def piece(start: int) -> tuple[Float, Float]:
        n = min(CHUNK, len(x) - start)
        return np.subtract(x[start : start + n], top, out=scratch[0, :n]), scratch[1, :n]

    def sums(beta: float) -> tuple[float, float, float, float]:
        s0 = s1 = s2 = s3 = 0.0
        for start in starts:
            p, w = piece(start)
            np.exp(np.multiply(p, beta, out=w), out=w)
            s0 += float(np.add.reduce(w))
            s1 += inner(w, p)
            np.multiply(w, p, out=w)
            s2 += inner(w, p)
            np.multiply(w, p, out=w)
            s3 += inner(w, p)
        return s0, s1, s2, s3

    r = int(np.count_nonzero(failed))
    mean = spread = 0.0
    for start in starts:
        p, counts = piece(start)
        counts[:] = failed[start : start + len(p)]
        mean += inner(p, counts) / max(r, 1)
    for start in starts:
        p, counts = piece(start)
        counts[:] = failed[start : start + len(p)]
        np.multiply(np.subtract(p, mean, out=p), counts, out=counts)
        spread += inner(p, counts)
    return r, mean, math.sqrt(spread / max(r, 1)), sums


def fit_many(lives: Float, failed: Bool) -> tuple[Float, Float]:
    """β and η (k,) of k samples: lives (k, n), failed (k, n) or (n,). NaN where a sample has no two different
    failures.
    """
    times: NDArray[np.float64] = np.asarray(lives, dtype=np.float64)
    if times.ndim != 2 or np.any(times <= 0) or not np.isfinite(times).all():
        raise AnalysisError("Weibull: lives of shape (samples, units), positive and finite, are needed")
    mask = np.broadcast_to(failed, times.shape).astype(np.float64)
    x = np.log(times)
    top = x.max(axis=1, keepdims=True)
    x -= top
    r = mask.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.einsum("kn,kn->k", x, mask) / r
        spread = np.sqrt(np.maximum(np.einsum("kn,kn,kn->k", x, x, mask) / r - mean**2, 0.0))
        determined = (r >= 2) & (spread > 1e-12)
        beta = np.where(determined, 1.2 / spread, 1.0)
    if not determined.any():
        raise NotEnoughDataError("Weibull: no sample has two different failures")
    active = determined.nonzero()[0]
    w = np.empty_like(x)
    for _ in range(_STEPS):
        xa, b = x[active] if len(active) < len(x) else x, beta[active]
        wa = np.multiply(xa, b[:, None], out=w[: len(active)])
        np.exp(wa, out=wa)
        s0 = wa.sum(axis=1)
        wa *= xa
        s1 = wa.sum(axis=1)
        s2 = np.einsum("kn,kn->k", wa, xa)
        centre = s1 / s0
        step = (centre - 1.0 / b - mean[active]) / (s2 / s0 - centre**2 + 1.0 / b**2)
        new = b / np.maximum(1.0 + step / b, 0.1)
        beta[active] = new
        active = active[np.abs(new - b) > 1e-10 * b]
        if not len(active):
            break
    w = np.multiply(x, beta[:, None], out=w)
    np.exp(w, out=w)
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.exp(top[:, 0] + np.log(w.sum(axis=1) / r) / beta)
    beta[~determined] = np.nan
    eta[~determined] = np.nan
    return beta, eta
