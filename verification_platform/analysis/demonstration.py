"""Reliability demonstration: bounds and plans for MTBF, zero-failure tests, Weibayes, success rates.

GB/T 42982-2023, IEC 61124:2023 and GB/T 5080.7 (MTBF, exponential lives), IEC 61649 (Weibull), IEC 61123:2019
(success rate). Plans are exact in the Poisson distribution; tables of the standards relax the nominal risks and
are not reproduced here. Times may be in any unit, the same throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .errors import AnalysisError, NotEnoughDataError
from .special import beta_quantile, chi2_quantile, poisson_cdf

Termination = Literal["time", "failure"]


def _share(value: float, what: str) -> float:
    if not 0 < value < 1:
        raise AnalysisError(f"{what} must lie between 0 and 1, not {value}")
    return value


def _positive(value: float, what: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise AnalysisError(f"{what} must be positive, not {value}")
    return value


def mtbf_lower(
    total_time: float, failures: int, confidence: float, terminated_by: Termination = "time"
) -> float:
    """One-sided lower bound θ_L = 2T*/χ²_{C; 2r+2} of a time-terminated test, 2r if ended by a failure."""
    _positive(total_time, "total time")
    nu = _freedom(failures, terminated_by)
    return 2 * total_time / chi2_quantile(_share(confidence, "confidence"), nu)


def mtbf_interval(
    total_time: float, failures: int, confidence: float, terminated_by: Termination = "time"
) -> tuple[float, float]:
    """Two-sided interval; the upper bound is inf without a failure."""
    _positive(total_time, "total time")
    _share(confidence, "confidence")
    low = 2 * total_time / chi2_quantile((1 + confidence) / 2, _freedom(failures, terminated_by))
    if failures == 0:
        return low, math.inf
    return low, 2 * total_time / chi2_quantile((1 - confidence) / 2, 2 * failures)


def _freedom(failures: int, terminated_by: Termination) -> int:
    if failures < 0 or (failures == 0 and terminated_by == "failure"):
        raise AnalysisError(f"MTBF: {failures} failures in a test ended by {terminated_by}")
    return 2 * failures + (2 if terminated_by == "time" else 0)


def mtbf_estimate(total_time: float, failures: int) -> float:
    """θ̂ = T*/r; NaN without a failure, because "none so far" is no estimate."""
    _positive(total_time, "total time")
    return total_time / failures if failures > 0 else math.nan


def availability(mtbf: float, mttr: float) -> float:
    """MTBF/(MTBF + MTTR)."""
    return _positive(mtbf, "MTBF") / (mtbf + mttr)


@dataclass(frozen=True, slots=True)
class FixedTimePlan:
    """Accept if no more than `acceptable_failures` occur in `total_time` (in units of m_1).

    producer_risk, consumer_risk: the true α' and β'.
    """

    acceptable_failures: int
    total_time: float
    producer_risk: float
    consumer_risk: float


def fixed_time_plan(alpha: float, beta: float, discrimination: float) -> FixedTimePlan:
    """Smallest c with T*/m_1 = ½χ²_{1−β; 2c+2} whose producer's risk 1 − F(c; T*/m_0), m_0 = D·m_1, is at most α."""
    _share(alpha, "α")
    _share(beta, "β")
    if not discrimination > 1:
        raise AnalysisError(f"the discrimination ratio must exceed 1, not {discrimination}")
    for c in range(100_000):
        total = 0.5 * chi2_quantile(1 - beta, 2 * c + 2)
        risk = 1 - poisson_cdf(c, total / discrimination)
        if risk <= alpha:
            return FixedTimePlan(c, total, risk, poisson_cdf(c, total))
    raise AnalysisError(f"no plan with fewer than 100 000 failures for D = {discrimination}")


def laplace_trend(failure_times: ArrayLike, end: float) -> float:
    """Laplace's U of failures at times (r,) in an observation of length `end`: standard normal for a constant
    rate, positive for deterioration.
    """
    times = np.asarray(failure_times, dtype=float)
    if len(times) < 2:
        raise NotEnoughDataError(f"trend test: {len(times)} failures")
    if np.any((times < 0) | (times > end)):
        raise AnalysisError("trend test: a failure lies outside the observation")
    return float((times.mean() - end / 2) / (end * math.sqrt(1 / (12 * len(times)))))


def zero_failure_time(life: float, reliability: float, confidence: float, beta: float, units: int) -> float:
    """Test time per unit without a failure that shows R(life) >= reliability:
    T = t_0·[ln(1−C)/(n·ln R)]^{1/β}.
    """
    if units < 1:
        raise AnalysisError(f"zero-failure plan: {units} units")
    ratio = zero_failure_units_exact(reliability, confidence) / units
    return float(_positive(life, "life") * ratio ** (1 / _positive(beta, "β")))


def zero_failure_units_exact(reliability: float, confidence: float) -> float:
    """ln(1−C)/ln R: units to be tested for the life in question, before rounding up."""
    return math.log(1 - _share(confidence, "confidence")) / math.log(_share(reliability, "reliability"))


def zero_failure_units(
    reliability: float, confidence: float, *, test_time: float = 1.0, life: float = 1.0, beta: float = 1.0
) -> int:
    """Units needed when each is tested for `test_time`, rounded up."""
    per_unit = float((_positive(test_time, "test time") / _positive(life, "life")) ** _positive(beta, "β"))
    exact = zero_failure_units_exact(reliability, confidence) / per_unit
    return math.ceil(exact - 1e-9)


@dataclass(frozen=True, slots=True)
class Weibayes:
    """Weibull with given β: η̂ (NaN without a failure) and its lower bound at the confidence asked for."""

    beta: float
    eta: float
    eta_lower: float

    def reliability_lower(self, t: float) -> float:
        """Lower bound of R(t)."""
        return math.exp(-((t / self.eta_lower) ** self.beta))

    def life_lower(self, share_failed: float) -> float:
        """Lower bound of the age by which this share has failed: 0.1 for B10."""
        return float(self.eta_lower * (-math.log1p(-_share(share_failed, "share"))) ** (1 / self.beta))


def weibayes(ages: ArrayLike, failures: int, beta: float, confidence: float) -> Weibayes:
    """β declared beforehand, ages (n,) of all units, failed or not.

    η_L = [2Σt^β/χ²_{C; 2r+2}]^{1/β}, which is [Σt^β/(−ln(1−C))]^{1/β} without a failure. State the source of β and
    repeat with β ± 0.3 (`weibayes_sensitivity`).
    """
    times = np.asarray(ages, dtype=float)
    if not len(times) or not np.all(np.isfinite(times) & (times > 0)):
        raise AnalysisError("Weibayes: ages must be positive")
    if not 0 <= failures <= len(times):
        raise AnalysisError(f"Weibayes: {failures} failures of {len(times)} units")
    scale = float(times.max())
    total = float(np.sum((times / scale) ** _positive(beta, "β")))
    eta = scale * (total / failures) ** (1 / beta) if failures else math.nan
    bound = 2 * total / chi2_quantile(_share(confidence, "confidence"), 2 * failures + 2)
    return Weibayes(beta, eta, scale * bound ** (1 / beta))


def weibayes_sensitivity(
    ages: ArrayLike, failures: int, beta: float, confidence: float, steps: Sequence[float] = (-0.3, 0.0, 0.3)
) -> list[Weibayes]:
    """The same with β moved by each step."""
    return [weibayes(ages, failures, beta + step, confidence) for step in steps]


def success_rate_lower(successes: int, trials: int, confidence: float) -> float:
    """Clopper–Pearson one-sided lower bound, Beta⁻¹(1−C; s, n−s+1); 0 without a success."""
    _check_trials(successes, trials)
    _share(confidence, "confidence")
    return beta_quantile(1 - confidence, successes, trials - successes + 1) if successes else 0.0


def success_rate_upper(successes: int, trials: int, confidence: float) -> float:
    """One-sided upper bound, Beta⁻¹(C; s+1, n−s); 1 without a failure."""
    _check_trials(successes, trials)
    _share(confidence, "confidence")
    return beta_quantile(confidence, successes + 1, trials - successes) if successes < trials else 1.0


def success_rate_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Clopper–Pearson two-sided interval."""
    one_sided = (1 + _share(confidence, "confidence")) / 2
    return success_rate_lower(successes, trials, one_sided), success_rate_upper(successes, trials, one_sided)


def _check_trials(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise AnalysisError(f"success rate: {successes} successes in {trials} trials")
