"""Truncated sequential probability ratio test for the MTBF, with its true operating characteristic (REL-SEQ).

A. Wald, Sequential Analysis (1947). With x = T*/m_1 (total time over the lower test MTBF) and d = m_0/m_1 the test
accepts once x >= (r·ln d − ln B)/(1 − 1/d) and rejects once x <= (r·ln d − ln A)/(1 − 1/d), A = (1−β)/α,
B = β/(1−α), r failures so far. Truncation (reject at r_max failures, accept at x_max) changes both risks, often a
lot, so a plan is never quoted with its nominal risks: `operating_characteristic` works them out.

The calculation is exact. Between two neighbouring times at which a line is crossed the counts that still run do
not change; the number of failures advances as a Poisson count, absorbed where the next failure rejects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .blocks import Float
from .errors import AnalysisError

Decision = Literal["accept", "reject", "continue"]


@dataclass(frozen=True, slots=True)
class OperatingCharacteristic:
    """At one true MTBF: probability of acceptance, and the expected x = T*/m_1 and failures at the decision."""

    accept: float
    expected_x: float
    expected_failures: float


@dataclass(frozen=True, slots=True)
class SequentialPlan:
    """d = m_0/m_1, nominal risks α and β, truncation at r_max failures (reject) and x_max = T*/m_1 (accept)."""

    d: float
    alpha: float
    beta: float
    r_max: int
    x_max: float

    def __post_init__(self) -> None:
        if not self.d > 1:
            raise AnalysisError(f"sequential test: d = m_0/m_1 must exceed 1, not {self.d}")
        if not (0 < self.alpha < 1 and 0 < self.beta < 1 and self.alpha + self.beta < 1):
            raise AnalysisError(f"sequential test: risks {self.alpha}, {self.beta}")
        if self.r_max < 1 or not self.x_max > 0:
            raise AnalysisError(f"sequential test: truncated at {self.r_max} failures, x = {self.x_max}")

    @property
    def slope(self) -> float:
        """Increase of both lines per failure, in x."""
        return math.log(self.d) / (1 - 1 / self.d)

    @property
    def accept_intercept(self) -> float:
        return -math.log(self.beta / (1 - self.alpha)) / (1 - 1 / self.d)

    @property
    def reject_intercept(self) -> float:
        return -math.log((1 - self.beta) / self.alpha) / (1 - 1 / self.d)

    def decide(self, failures: int, x: float) -> Decision:
        """Decision after `failures` at x = T*/m_1; rejection is looked at first, as failures end the wait."""
        if failures >= self.r_max or (failures > 0 and x <= self.reject_intercept + self.slope * failures):
            return "reject"
        if x >= min(self.accept_intercept + self.slope * failures, self.x_max):
            return "accept"
        return "continue"

    def operating_characteristic(self, mtbf_over_m1: float) -> OperatingCharacteristic:
        """True properties at an MTBF given in units of m_1: 1 for the consumer's, d for the producer's risk."""
        if not mtbf_over_m1 > 0:
            raise AnalysisError(f"sequential test: an MTBF of {mtbf_over_m1}·m_1")
        r = np.arange(self.r_max)
        accept_at = np.minimum(self.accept_intercept + self.slope * r, self.x_max)
        reject_to = self.reject_intercept + self.slope * (
            r + 1
        )  # a failure that makes r + 1 rejects up to here
        reject_to[-1] = math.inf
        times = np.unique(np.concatenate((accept_at, reject_to[(reject_to > 0) & (reject_to < self.x_max)])))
        p = np.zeros(self.r_max)  # probability of r failures and no decision yet
        p[0] = 1.0
        accepted = waited = failures = now = 0.0
        for time in times:
            length = (float(time) - now) / mtbf_over_m1
            # States from here on reject with their next failure; counts below it advance freely.
            rejecting = int(np.argmax(reject_to > 0.5 * (now + float(time))))
            p, mean = _advance(p, rejecting + 1, length)
            waited += mean * mtbf_over_m1
            failures += mean
            now = float(time)
            ends = accept_at <= now
            accepted += float(p[ends].sum())
            p[ends] = 0.0
        return OperatingCharacteristic(accepted, waited, failures)


def _advance(p: Float, states: int, length: float) -> tuple[Float, float]:
    """Counts after a Poisson time `length`, those that pass the last of the first `states` being lost; also the
    mean time spent undecided.
    """
    k = np.arange(states)
    log_factorial = np.array([math.lgamma(i + 1) for i in k])
    weights = np.exp(k * math.log(length) - length - log_factorial)
    above = 1.0 - np.cumsum(weights)  # P(N > k): also ∫ of the weights over the time
    new = np.zeros_like(p)
    new[:states] = np.convolve(p[:states], weights)[:states]
    lost_after = np.cumsum(np.maximum(above, 0.0))[::-1]  # mean time until count i has passed states − 1
    return new, float(np.dot(p[:states], lost_after))
