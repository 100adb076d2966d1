"""Noise coefficients of a gyroscope or accelerometer from its Allan deviation (IEEE 952, Annex C; IEEE 1293).

σ²(τ) = 3Q²/τ² + N²/τ + (2 ln2/π)·B² + K²·τ/3 + R²·τ²/2

Q quantisation, N angle (velocity) random walk, B bias instability, K rate random walk, R rate ramp. The sum is
fitted to all points in the logarithmic domain with coefficients that are not negative. That a fit returns a
number does not mean that the data show it: a coefficient is reported only where its own slope dominates the
curve over half a decade of τ, else it is "not observable" and an upper bound is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .allan import AllanResult
from .blocks import Bool, Float
from .errors import AnalysisError, NotEnoughDataError

#: Half-width of the band around a term's slope, and the span of τ over which the curve must stay in it.
SLOPE_BAND = 0.15
SLOPE_SPAN_DECADES = 0.5
FLICKER_FACTOR = math.sqrt(2 * math.log(2) / math.pi)  # 0.664: flat part of the deviation over B

_SLOPES = {"Q": -1.0, "N": -0.5, "B": 0.0, "K": 0.5, "R": 1.0}
_EXPONENTS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
_FACTORS = np.array([3.0, 1.0, 2 * math.log(2) / math.pi, 1 / 3, 0.5])


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One noise coefficient; SI units of rates in unit U: Q in U·s, N in U·√s, B in U, K in U/√s, R in U/s.

    value is NaN where the term is not observable; upper_bound is then the largest value that the upper
    confidence bounds of the deviations allow.
    """

    name: str
    value: float
    observable: bool
    upper_bound: float
    tau_from_s: float
    tau_to_s: float


@dataclass(frozen=True, slots=True)
class InertialNoise:
    """Coefficients Q, N, B, K, R; the lowest deviation and its τ; B = lowest/0.664, the usual reading.

    model: fitted deviation at every τ of the data.
    """

    coefficients: dict[str, Coefficient]
    minimum: float
    minimum_tau_s: float
    bias_instability: float
    tau_s: Float
    model: Float


def fit_inertial_noise(allan: AllanResult) -> InertialNoise:
    """Fit the five terms to overlapping Allan deviations.

    Points with averaging times above a tenth of the record carry little information and are left out, as are
    deviations of 0. Raises AnalysisError for another kind of deviation, NotEnoughDataError for fewer than 5
    points.
    """
    if allan.kind not in ("adev", "oadev"):
        raise AnalysisError(f"the model of IEEE 952 is one of the Allan deviation, not of {allan.kind}")
    use = (allan.m <= allan.n // 10) & (allan.deviation > 0)
    if int(use.sum()) < 5:
        raise NotEnoughDataError(
            f"{int(use.sum())} averaging times are too few to tell five kinds of noise apart"
        )
    tau, deviation, high = allan.tau_s[use], allan.deviation[use], allan.high[use]
    weights = np.sqrt(np.maximum(allan.n / allan.m[use] - 1.0, 1.0))
    shapes = tau[:, None] ** _EXPONENTS * _FACTORS
    squares = _fit(shapes, deviation**2, weights)
    model = np.sqrt(shapes @ squares)
    coefficients = {}
    for k, name in enumerate(_SLOPES):
        begin, end = _range_of_slope(squares, _SLOPES[name], float(tau[0]), float(tau[-1]))
        seen = squares[k] > 0 and math.log10(end / begin) >= SLOPE_SPAN_DECADES if end > begin else False
        bound = float(np.min(high / np.sqrt(shapes[:, k])))
        value = math.sqrt(squares[k]) if seen else math.nan
        coefficients[name] = Coefficient(name, value, seen, math.nan if seen else bound, begin, end)
    lowest = int(np.argmin(deviation))
    return InertialNoise(
        coefficients=coefficients,
        minimum=float(deviation[lowest]),
        minimum_tau_s=float(tau[lowest]),
        bias_instability=float(deviation[lowest]) / FLICKER_FACTOR,
        tau_s=tau,
        model=model,
    )


def _fit(shapes: Float, variance: Float, weights: Float) -> Float:
    """Squared coefficients (5,) that minimise Σ w·(ln model − ln variance)², none negative.

    Gauss–Newton in the logarithm: each step is a linear fit of relative errors. With five terms the
    non-negative solution is found by trying every subset of terms.
    """
    best = _non_negative(shapes / variance[:, None], np.ones(len(variance)), weights)
    cost = _cost(shapes, best, variance, weights)
    for _ in range(30):
        model = shapes @ best
        target = 1.0 + np.log(variance / model)
        step = _non_negative(shapes / model[:, None], target, weights)
        for shrink in (1.0, 0.5, 0.25, 0.125):
            trial = best + shrink * (step - best)
            trial_cost = _cost(shapes, trial, variance, weights)
            if trial_cost < cost:
                break
        else:
            return best
        done = cost - trial_cost <= 1e-12 * cost
        best, cost = trial, trial_cost
        if done:
            break
    return best


def _cost(shapes: Float, squares: Float, variance: Float, weights: Float) -> float:
    model = shapes @ squares
    if np.any(model <= 0):
        return math.inf
    return float(np.sum(weights * np.log(model / variance) ** 2))


def _non_negative(a: Float, b: Float, weights: Float) -> Float:
    """argmin Σ w·(a·x − b)², x ≥ 0, for a (k, 5)."""
    root = np.sqrt(weights)
    scale = np.sqrt(np.sum((a * root[:, None]) ** 2, axis=0))
    rows, right = a * root[:, None] / scale, b * root
    terms = a.shape[1]
    best, least = np.zeros(terms), math.inf
    for size in range(1, terms + 1):
        for subset in combinations(range(terms), size):
            x, *_ = np.linalg.lstsq(rows[:, subset], right, rcond=None)
            if np.all(x >= 0):
                residual = float(np.sum((rows[:, subset] @ x - right) ** 2))
                if residual < least * (1 - 1e-12):
                    best, least = np.zeros(terms), residual
                    best[list(subset)] = x
    return np.asarray(best / scale)


def _range_of_slope(squares: Float, slope: float, tau_from: float, tau_to: float) -> tuple[float, float]:
    """Longest range of τ within tau_from … tau_to over which the fitted curve has `slope` ± SLOPE_BAND."""
    tau = np.geomspace(tau_from, tau_to, 2001)
    parts = tau[:, None] ** _EXPONENTS * _FACTORS * squares
    local = parts @ (_EXPONENTS / 2) / parts.sum(axis=1)
    inside: Bool = np.abs(local - slope) <= SLOPE_BAND
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False])).astype(np.int8)))
    if not len(edges):
        return tau_from, tau_from
    begins, ends = edges[0::2], edges[1::2] - 1
    longest = int(np.argmax(ends - begins))
    return float(tau[begins[longest]]), float(tau[ends[longest]])
