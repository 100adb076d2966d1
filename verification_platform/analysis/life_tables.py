"""Life data without a model: Kaplan–Meier survival, and median ranks with the regression line on Weibull paper.

E. L. Kaplan and P. Meier, J. Am. Stat. Assoc. 53 (1958); Benard's median ranks with adjusted ranks for
suspensions (L. G. Johnson, 1964), as in IEC 61649. The regression is for plots; estimates come from
`weibull.fit_weibull`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, Int
from .errors import AnalysisError, NotEnoughDataError
from .special import normal_quantile


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """Steps of the survival function at the ages of failure t (k,), all arrays (k,).

    survival: R just after t. low, high: pointwise confidence bounds (ln(−ln) transformation, Greenwood's
    variance); NaN where R is 0 or 1. at_risk, failures: numbers at t.
    """

    t: Float
    survival: Float
    low: Float
    high: Float
    at_risk: Int
    failures: Int


def kaplan_meier(
    failures: ArrayLike, censored: ArrayLike = (), entry: ArrayLike | None = None, *, confidence: float = 0.95
) -> SurvivalCurve:
    """Survival from exact lives (r,) and ages (s,) of units that still ran.

    entry (r + s,): ages at which the units came under observation, failures first (0 if not given). A unit
    censored at an age of failure was at risk then. Raises NotEnoughDataError without a failure.
    """
    lives = np.atleast_1d(np.asarray(failures, dtype=float))
    running = np.atleast_1d(np.asarray(censored, dtype=float))
    if not len(lives):
        raise NotEnoughDataError("Kaplan–Meier: no failure")
    ages = np.concatenate((lives, running))
    begin = np.zeros(len(ages)) if entry is None else np.asarray(entry, dtype=float)
    if begin.shape != ages.shape or not np.all(np.isfinite(ages)) or np.any(ages <= begin):
        raise AnalysisError("Kaplan–Meier: ages must be finite and above the entry ages, one entry a unit")
    t, died = np.unique(lives, return_counts=True)
    ages.sort()
    entered = np.searchsorted(np.sort(begin), t, side="left")
    at_risk = entered - np.searchsorted(ages, t, side="left")
    survival: Float = np.cumprod(1.0 - died / at_risk, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(died / (at_risk * (at_risk - died)))
        width = normal_quantile(0.5 + confidence / 2) * np.sqrt(greenwood) / np.log(survival)
        low, high = survival ** np.exp(-width), survival ** np.exp(width)
    defined = (survival > 0) & (survival < 1)
    low[~defined] = np.nan
    high[~defined] = np.nan
    return SurvivalCurve(
        t.astype(np.float64), survival, low, high, at_risk.astype(np.int64), died.astype(np.int64)
    )


@dataclass(frozen=True, slots=True)
class RankRegression:
    """Line on Weibull paper. t, F: plotted points (r,); r2: coefficient of determination."""

    beta: float
    eta: float
    r2: float
    t: Float
    F: Float


def median_ranks(failures: ArrayLike, censored: ArrayLike = ()) -> tuple[Float, Float]:
    """Ages of failure, sorted (r,), and Benard's median ranks (i − 0.3)/(n + 0.4) of them, (r,).

    Suspensions raise the ranks of later failures (Johnson's increments); one at the age of a failure counts as
    later than it.
    """
    lives = np.sort(np.atleast_1d(np.asarray(failures, dtype=float)))
    running = np.atleast_1d(np.asarray(censored, dtype=float))
    n = len(lives) + len(running)
    if not np.all(np.isfinite(lives)) or not np.all(np.isfinite(running)):
        raise AnalysisError("median ranks: ages must be finite")
    suspended_before = np.searchsorted(np.sort(running), lives, side="left")
    rank, ranks = 0.0, np.empty(len(lives))
    for k in range(len(lives)):
        remaining = n - k - int(suspended_before[k])  # this unit and all after it
        rank += (n + 1 - rank) / (1 + remaining)
        ranks[k] = rank
    return lives, (ranks - 0.3) / (n + 0.4)


def median_rank_regression(failures: ArrayLike, censored: ArrayLike = ()) -> RankRegression:
    """Regression of ln t on ln(−ln(1 − F)), X on Y, as IEC 61649 recommends.

    Raises NotEnoughDataError for fewer than two different ages, AnalysisError for ages that are not positive.
    """
    t, F = median_ranks(failures, censored)
    if len(t) < 2 or t[0] == t[-1]:
        raise NotEnoughDataError("median-rank regression: two different ages of failure are needed")
    if t[0] <= 0:
        raise AnalysisError("median-rank regression: ages must be positive")
    x, y = np.log(t), np.log(-np.log1p(-F))
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(np.dot(dx, dy) / np.dot(dy, dy))
    eta = math.exp(float(x.mean()) - slope * float(y.mean()))
    r2 = float(np.dot(dx, dy) ** 2 / (np.dot(dx, dx) * np.dot(dy, dy)))
    return RankRegression(1.0 / slope, eta, r2, t, F)
