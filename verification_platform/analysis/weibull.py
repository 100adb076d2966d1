"""Weibull life analysis by maximum likelihood (IEC 61649): exact, right-, left- and interval-censored lives,
left and right truncation, two or three parameters.

    fit = fit_weibull(LifeData.right_censored([410, 560, 650], censored=[800, 800]))
    fit.beta, fit.eta, fit.life(0.10), fit.likelihood_interval("beta", 0.90)

Exact lives with right-censoring take a few steps on the profile likelihood of β over the logarithms of the
lives (`_weibull_profile`); everything else a damped Newton iteration on (ln β, ln η) with analytical
derivatives (`_weibull_likelihood`). Intervals: Fisher (normal in the logarithm) for large samples, likelihood
ratio for small ones, which IEC 61649 prefers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from . import _weibull_likelihood as likelihood
from ._weibull_profile import profile_fit
from .blocks import Float
from .errors import AnalysisError, NotEnoughDataError
from .special import chi2_quantile, normal_quantile

Parameter = Literal["beta", "eta", "life"]


@dataclass(frozen=True, slots=True)
class LifeData:
    """Lives of units in one unit of time, all arrays (n,).

    A unit failed between `low` and `high`: equal for an exact life, high = inf for one that survived `low`,
    low = 0 for one found failed at `high`. It could only be in the sample if its life lay between `entry` and
    `exit` (truncation; 0 and inf for none).
    """

    low: Float
    high: Float
    entry: Float
    exit: Float
    plain: bool = False  # only exact lives and right-censoring, nothing truncated

    @staticmethod
    def of(
        low: ArrayLike, high: ArrayLike, entry: ArrayLike | None = None, exit: ArrayLike | None = None
    ) -> LifeData:
        """Check and build. Raises AnalysisError for lives that are not positive, crossed intervals or lives
        outside the truncation limits.
        """
        a, b = np.atleast_1d(np.asarray(low, dtype=float)), np.atleast_1d(np.asarray(high, dtype=float))
        begin = (
            np.zeros(a.shape) if entry is None else np.broadcast_to(np.asarray(entry, dtype=float), a.shape)
        )
        end = (
            np.full(a.shape, np.inf)
            if exit is None
            else np.broadcast_to(np.asarray(exit, dtype=float), a.shape)
        )
        if a.ndim != 1 or a.shape != b.shape:
            raise AnalysisError(f"life data: bounds of shapes {a.shape} and {b.shape}")
        if np.isnan(a).any() or np.isnan(b).any() or np.isinf(a).any():
            raise AnalysisError("life data: a life is NaN or infinite; a survivor has high = inf")
        if np.any(a < 0) or np.any(b <= 0) or np.any(b < a):
            raise AnalysisError("life data: 0 <= low <= high and high > 0 are needed")
        if np.any((begin < 0) | (begin >= end) | (a < begin) | (np.isfinite(b) & (b > end))):
            raise AnalysisError("life data: a life lies outside its truncation limits")
        nothing_truncated = not begin.any() and bool(np.isinf(end).all())
        plain = nothing_truncated and bool(((a == b) | np.isinf(b)).all() and a.min(initial=1.0) > 0)
        return LifeData(a, b, np.array(begin), np.array(end), plain)

    @staticmethod
    def right_censored(failures: ArrayLike, censored: ArrayLike = ()) -> LifeData:
        """Exact lives (r,) of failed units and ages (s,) of units that still run."""
        failed, running = np.array(failures, dtype=float, ndmin=1), np.array(censored, dtype=float, ndmin=1)
        low = np.concatenate((failed, running))
        high, end = low.copy(), np.empty_like(low)
        high[len(failed) :] = math.inf
        end.fill(math.inf)
        if not (len(low) and np.minimum.reduce(low) > 0 and np.maximum.reduce(low) < math.inf):
            return LifeData.of(low, high)  # which says what is wrong
        return LifeData(low, high, np.zeros(len(low)), end, True)

    @property
    def n(self) -> int:
        return len(self.low)

    @property
    def exact(self) -> Float:
        return np.asarray(self.low[self.low == self.high], dtype=np.float64)

    @property
    def failures(self) -> int:
        """Units known to have failed, exactly or in an interval."""
        return int(np.isfinite(self.high).sum())

    def shifted(self, location: float) -> LifeData:
        """All times minus `location`, bounds in front of it becoming 0."""
        if location == 0:
            return self
        low, high, entry, end = (
            np.maximum(t - location, 0.0) for t in (self.low, self.high, self.entry, self.exit)
        )
        return LifeData(low, high, entry, end, self.plain and bool(low.min() > 0))


@dataclass(frozen=True, slots=True)
class WeibullFit:
    """F(t) = 1 − exp(−((t − location)/η)^β). covariance: of (β, η) from the observed information, (2, 2)."""

    beta: float
    eta: float
    location: float
    log_likelihood: float
    covariance: Float
    data: LifeData = field(repr=False)

    @property
    def se_beta(self) -> float:
        return math.sqrt(self.covariance[0, 0])

    @property
    def se_eta(self) -> float:
        return math.sqrt(self.covariance[1, 1])

    def reliability(self, t: ArrayLike) -> Float:
        """R(t), shape of t."""
        age = np.maximum(np.asarray(t, dtype=float) - self.location, 0.0)
        return np.asarray(np.exp(-((age / self.eta) ** self.beta)))

    def life(self, share_failed: float) -> float:
        """Age by which this share has failed: life(0.10) is B10."""
        return float(self.location + self.eta * _hazard(share_failed) ** (1 / self.beta))

    def fisher_interval(
        self, parameter: Parameter, confidence: float, share_failed: float = 0.1
    ) -> tuple[float, float]:
        """Two-sided interval for beta, eta or life(share_failed), normal in the logarithm. A location counts as
        known.
        """
        z = normal_quantile(0.5 + confidence / 2)
        if parameter == "beta":
            gradient, value = np.array([1 / self.beta, 0.0]), self.beta
        elif parameter == "eta":
            gradient, value = np.array([0.0, 1 / self.eta]), self.eta
        else:
            gradient = np.array([-math.log(_hazard(share_failed)) / self.beta**2, 1 / self.eta])
            value = self.life(share_failed) - self.location
        factor = math.exp(z * math.sqrt(float(gradient @ self.covariance @ gradient)))
        shift = self.location if parameter == "life" else 0.0
        return shift + value / factor, shift + value * factor

    def likelihood_interval(
        self, parameter: Parameter, confidence: float, share_failed: float = 0.1
    ) -> tuple[float, float]:
        """Two-sided likelihood-ratio interval for beta, eta or life(share_failed); a location counts as known.

        Bounds are 0 or inf where the likelihood never falls far enough.
        """
        data = self.data.shifted(self.location)
        drop = chi2_quantile(confidence, 1.0) / 2
        log_hazard = math.log(_hazard(share_failed)) if parameter == "life" else 0.0

        def profile(log_value: float) -> float:
            if parameter == "beta":
                return likelihood.best_for_beta(data, math.exp(log_value), math.log(self.eta))
            return likelihood.best_for_life(data, log_value, log_hazard, math.log(self.beta))

        value = {"beta": self.beta, "eta": self.eta}.get(parameter, self.life(share_failed) - self.location)
        low = _fall(profile, math.log(value), self.log_likelihood - drop, -1.0)
        high = _fall(profile, math.log(value), self.log_likelihood - drop, 1.0)
        shift = self.location if parameter == "life" else 0.0
        return shift + math.exp(low), shift + (math.exp(high) if math.isfinite(high) else math.inf)


def fit_weibull(data: LifeData) -> WeibullFit:
    """Two-parameter maximum-likelihood fit.

    Raises NotEnoughDataError unless at least two different ages of failure are known: with fewer the likelihood
    has no maximum, and Weibayes (`demonstration.weibayes`) is the method.
    """
    if data.plain:
        beta, log_eta, value, (of_beta, cross, of_eta) = profile_fit(np.log(data.low), data.high < math.inf)
        eta = math.exp(log_eta)
    else:
        failed = data.high < math.inf
        ages = data.high[failed]
        if len(ages) < 2 or (np.ptp(ages) == 0 and np.ptp(data.low[failed]) == 0):
            raise NotEnoughDataError(f"Weibull: {len(ages)} failures, all at one age")
        beta, log_eta = likelihood.maximise(data)
        eta = math.exp(log_eta)
        value, _, hessian = likelihood.log_likelihood(data, math.log(beta), log_eta)
        (of_beta, cross), (_, of_eta) = (-hessian / np.outer([beta, eta], [beta, eta])).tolist()
    determinant = of_beta * of_eta - cross**2
    if not (determinant > 1e-12 * of_beta * of_eta > 0):
        raise NotEnoughDataError("Weibull: the likelihood has no maximum for these data")
    shared = -cross / determinant
    covariance = np.array([[of_eta / determinant, shared], [shared, of_beta / determinant]])
    return WeibullFit(beta, eta, 0.0, value, covariance, data)


def fit_weibull_3p(data: LifeData) -> WeibullFit:
    """Three-parameter fit: the location with the largest profile likelihood between 0 and the first failure.

    The likelihood may grow without bound as the location approaches the first failure (β < 1); only an interior
    maximum or location 0 counts. Raises NotEnoughDataError for fewer than 4 failures or if there is neither.
    """
    if data.failures < 4:
        raise NotEnoughDataError(f"Weibull: {data.failures} failures are too few for a third parameter")
    first = float(np.min(data.high[np.isfinite(data.high)]))
    exact = data.exact
    first = min(first, float(exact.min())) if len(exact) else first
    shares = np.concatenate((np.linspace(0.0, 0.9, 19), 1.0 - np.geomspace(0.08, 1e-4, 16)))

    def fit_at(share: float) -> WeibullFit | None:
        try:
            return replace(fit_weibull(data.shifted(share * first)), location=share * first, data=data)
        except NotEnoughDataError:
            return None

    fits = [fit_at(float(share)) for share in shares]
    values = np.array([-math.inf if fit is None else fit.log_likelihood for fit in fits])
    peaks = [
        k for k in range(len(shares) - 1)
        if math.isfinite(values[k]) and values[k] >= values[k + 1] and (k == 0 or values[k] >= values[k - 1])
    ]  # fmt: skip
    if not peaks:
        raise NotEnoughDataError(
            "Weibull: the likelihood grows up to the first failure, no location is determined"
        )
    k = max(peaks, key=lambda at: float(values[at]))
    low, high = float(shares[max(k - 1, 0)]), float(shares[k + 1])
    best = fits[k]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        fit_left, fit_right = fit_at(left), fit_at(right)
        if fit_left is None or fit_right is None:
            break
        for fit in (fit_left, fit_right):
            if best is None or fit.log_likelihood > best.log_likelihood:
                best = fit
        if fit_left.log_likelihood >= fit_right.log_likelihood:
            high = right
        else:
            low = left
        if high - low < 1e-9:
            break
    assert best is not None
    return best


def _hazard(share_failed: float) -> float:
    if not 0 < share_failed < 1:
        raise AnalysisError(f"Weibull: a share of failures lies between 0 and 1, not {share_failed}")
    return -math.log1p(-share_failed)


def _fall(profile: Callable[[float], float], start: float, level: float, direction: float) -> float:
    """Where the profile likelihood falls to `level`, going from `start` in `direction`; ±inf if it never does."""
    step = 0.1
    inside, outside = start, start + direction * step
    while profile(outside) > level:
        inside, step = outside, 1.7 * step
        outside += direction * step
        if step > 200:
            return direction * math.inf
    for _ in range(60):
        middle = 0.5 * (inside + outside)
        if profile(middle) > level:
            inside = middle
        else:
            outside = middle
        if abs(outside - inside) < 1e-10 * max(1.0, abs(middle)):
            break
    return 0.5 * (inside + outside)
