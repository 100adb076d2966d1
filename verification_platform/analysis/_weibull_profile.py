"""Weibull fits of exact lives with right-censoring: one equation for β, one sample or many at once.

With x = ln t, the likelihood equation for β is g(β) = Σx·e^{βx}/Σe^{βx} − 1/β − mean of x over the failures = 0;
g rises monotonically (its slope is the weighted variance of x plus 1/β²), so there is one root. Newton's method
looks for it in 1/β, in which g is nearly a straight line: four or five steps from any sample's own spread. η then
follows in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .blocks import CHUNK, Bool, Float
from .errors import AnalysisError, NotEnoughDataError
from .moments import inner

_STEPS = 100
_CLOSE = 1e-12
_SMALL = 2048  # lives whose three sums are one matrix product and one thread's work


@dataclass(frozen=True, slots=True)
class ProfileFit:
    """β, ln η, the log-likelihood and its negative second derivatives (∂β², ∂β∂η, ∂η²) at its maximum."""

    beta: float
    log_eta: float
    log_likelihood: float
    information: tuple[float, float, float]


def profile_fit(x: Float, failed: Bool) -> ProfileFit:
    """Fit log-lives x (n,), failed (n,); at least two different failures are needed.

    Works through the sample in pieces, so memory does not grow with it.
    """
    failures = x.take(failed.nonzero()[0])
    r = len(failures)
    mean = float(np.add.reduce(failures)) / r
    top = float(np.maximum.reduce(x))
    failures -= mean
    beta = 1.2 / math.sqrt(max(float(np.dot(failures, failures)) / r, 1e-300))
    sums = _of_small(x, top) if len(x) <= _SMALL else _of_pieces(x, top)
    for _ in range(_STEPS):
        s0, s1, s2 = sums(beta)
        centre = s1 / s0
        g = centre - 1.0 / beta - (mean - top)
        step = g / (s2 / s0 - centre * centre + 1.0 / beta**2)
        if abs(step) <= _CLOSE * beta:
            break
        beta /= max(1.0 + step / beta, 0.1)
    log_eta = top + math.log(s0 / r) / beta
    # Sums of z·ln(t/η) and z·ln²(t/η) with z = (t/η)^β, of which the sum is r.
    d = top - log_eta
    first = r * (s1 / s0 + d)
    second = r * (s2 / s0 + 2 * d * s1 / s0 + d * d)
    eta = math.exp(log_eta)
    information = (r / beta**2 + second, -beta / eta * first, r * beta**2 / eta**2)
    value = r * (math.log(beta) - beta * log_eta + (beta - 1.0) * mean - 1.0)
    return ProfileFit(beta, log_eta, value, information)


_Sums = Callable[[float], Sequence[float]]  # of β: Σw, Σw·p, Σw·p² with p = x − top and w = e^{β·p}


def _of_small(x: Float, top: float) -> _Sums:
    powers = np.empty((3, len(x)))
    powers[0] = 1.0
    p = np.subtract(x, top, out=powers[1])
    np.multiply(p, p, out=powers[2])
    w = np.empty(len(x))

    def sums(beta: float) -> list[float]:
        np.exp(np.multiply(p, beta, out=w), out=w)
        found: list[float] = powers.dot(w).tolist()
        return found

    return sums


def _of_pieces(x: Float, top: float) -> _Sums:
    scratch = np.empty((2, min(len(x), CHUNK)))

    def sums(beta: float) -> tuple[float, float, float]:
        s0 = s1 = s2 = 0.0
        for start in range(0, len(x), CHUNK):
            n = min(CHUNK, len(x) - start)
            p = np.subtract(x[start : start + n], top, out=scratch[0, :n])
            w = np.multiply(p, beta, out=scratch[1, :n])
            np.exp(w, out=w)
            s0 += float(np.add.reduce(w))
            np.multiply(w, p, out=w)
            s1 += float(np.add.reduce(w))
            s2 += inner(w, p)
        return s0, s1, s2

    return sums


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
