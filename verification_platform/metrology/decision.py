"""Decision rules: how a value with its uncertainty becomes a verdict, in one place and nowhere else.

Rule and limits are fixed in the order before the test (ISO/IEC 17025 7.1.3, 7.8.6; ILAC-G8:09/2019; JCGM
106:2012); protocol specification §7.3. Acceptance limit AL = TL − w with guard band w = r·U:

    y ≤ TL − w          pass
    TL − w < y ≤ TL     conditional pass
    TL < y ≤ TL + w     conditional fail
    y > TL + w          fail

for an upper limit, mirrored for a lower one, the worse of both for two.

>>> judge_value(9.5, 1.0, Limits(high=10.0), Rule("GUARD_U"))
<Verdict.CONDITIONAL_PASS: 'conditional_pass'>
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from .distributions import normal_cdf
from .result import LimitType, Result, Verdict

RuleName = Literal["SIMPLE", "GUARD_U", "GUARD_083", "GUARD_15", "CUSTOMER"]
#: Guard band as a multiple of U (ILAC-G8 table 1 and specification §7.3).
_MULTIPLE = {"SIMPLE": 0.0, "GUARD_U": 1.0, "GUARD_083": 0.83, "GUARD_15": 1.5}
_SEVERITY = {verdict: rank for rank, verdict in enumerate(Verdict)}


class DecisionError(ValueError):
    """A limit or rule that cannot be applied; one clear line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Tolerance limits in the result's SI unit; None where there is none, both None for report-only."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            limit = getattr(self, name)
            if limit is not None and not math.isfinite(limit):
                raise DecisionError(f"the {name} limit must be a finite number, got {limit}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise DecisionError(f"the low limit {self.low} lies above the high limit {self.high}")

    @property
    def type(self) -> LimitType:
        if self.low is None:
            return LimitType.REPORT_ONLY if self.high is None else LimitType.MAX
        return LimitType.MIN if self.high is None else LimitType.TWO_SIDED


@dataclass(frozen=True, slots=True)
class Rule:
    """A decision rule by its id; `w` is the guard band of rule CUSTOMER, in the result's SI unit."""

    name: RuleName = "GUARD_U"
    w: float | None = None

    def __post_init__(self) -> None:
        if self.name != "CUSTOMER" and self.name not in _MULTIPLE:
            raise DecisionError(
                f"unknown decision rule {self.name!r}; known are {', '.join(_MULTIPLE)}, CUSTOMER"
            )
        if (self.name == "CUSTOMER") != (self.w is not None):
            raise DecisionError("a guard band w belongs to rule CUSTOMER, and rule CUSTOMER needs one")
        if self.w is not None and not (math.isfinite(self.w) and self.w >= 0):
            raise DecisionError(f"the guard band must be a finite number, 0 or more, got {self.w}")

    def guard_band(self, U: float) -> float:
        """w for a result with expanded uncertainty U, in the same unit."""
        return _MULTIPLE[self.name] * U if self.w is None else self.w


def judge_value(y: float, U: float, limits: Limits, rule: Rule) -> Verdict:
    """Verdict of value y with expanded uncertainty U (k = 2), specification §7.3.

    A value or uncertainty that is not finite was not measured: INCONCLUSIVE, never a pass.
    """
    if limits.type is LimitType.REPORT_ONLY:
        return Verdict.NONE
    if not (math.isfinite(y) and math.isfinite(U) and U >= 0):
        return Verdict.INCONCLUSIVE
    w = rule.guard_band(U)
    if limits.low is not None and limits.high is not None and limits.high - limits.low <= 2 * w:
        return Verdict.INCONCLUSIVE  # no acceptance zone
    sides = []
    if limits.high is not None:
        sides.append(_one_sided(y, limits.high, w))
    if limits.low is not None:
        sides.append(_one_sided(-y, -limits.low, w))
    return worst(sides)


def _one_sided(y: float, upper: float, w: float) -> Verdict:
    if y <= upper - w:
        return Verdict.PASS
    if y <= upper:
        return Verdict.CONDITIONAL_PASS
    if y <= upper + w:
        return Verdict.CONDITIONAL_FAIL
    return Verdict.FAIL


def conformance_probability(y: float, u: float, limits: Limits) -> float:
    """p_c = Φ((TL_H − y)/u) − Φ((TL_L − y)/u), JCGM 106 clause 7. u = 0 gives 0 or 1. No limits: 1.

    Differences are formed in the tail where they are exact.
    """
    if u == 0:
        inside = (limits.low is None or y >= limits.low) and (limits.high is None or y <= limits.high)
        return 1.0 if inside else 0.0
    high = math.inf if limits.high is None else (limits.high - y) / u
    low = -math.inf if limits.low is None else (limits.low - y) / u
    if low > 0:
        return normal_cdf(-low) - normal_cdf(-high)
    return normal_cdf(high) - normal_cdf(low)


def false_acceptance(y: float, u: float, limits: Limits) -> float:
    """Specific risk of an acceptance: PFA = 1 − p_c, summed from the tails so that small risks keep their
    digits.
    """
    if u == 0:
        return 1.0 - conformance_probability(y, u, limits)
    above = 0.0 if limits.high is None else normal_cdf((y - limits.high) / u)
    below = 0.0 if limits.low is None else normal_cdf((limits.low - y) / u)
    return above + below


def judge(result: Result, limits: Limits, rule: Rule) -> Result:
    """`result` with limits, rule, verdict and conformance probability filled in; the value is untouched.

    Without limits the result is report-only: verdict NONE and no probability.
    """
    kind = limits.type
    measured = math.isfinite(result.value) and math.isfinite(result.u)
    probability = (
        conformance_probability(result.value, result.u, limits)
        if kind is not LimitType.REPORT_ONLY and measured
        else None
    )
    return replace(
        result,
        limit_type=kind,
        TL_low=limits.low,
        TL_high=limits.high,
        rule=rule.name,
        verdict=judge_value(result.value, result.U, limits, rule),
        p_conform=probability,
    )


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Overall verdict: the worst of the items; report-only items never count; NONE when nothing was
    judged.
    """
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.NONE)
