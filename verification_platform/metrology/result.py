"""A result is born with its uncertainty; limit and rule come from the order, the verdict from one place.

`Result` is the result object of the protocol specification §0.5: what ``results.json`` holds, what the
report prints and what `verify` recomputes. Everything in it is SI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RunStatus(StrEnum):
    """Standing of a run as a whole. Only a VALID run gets verdicts."""

    VALID = "VALID"
    INVALID = "INVALID"
    INCONCLUSIVE = "INCONCLUSIVE"
    ABORTED_SAFETY = "ABORTED_SAFETY"


class LimitType(StrEnum):
    MAX = "max"
    MIN = "min"
    TWO_SIDED = "two_sided"
    REPORT_ONLY = "report_only"


class Verdict(StrEnum):
    """Ordered from best to worst by `worst`; NONE stands for report-only and never counts."""

    NONE = "none"
    PASS = "pass"
    CONDITIONAL_PASS = "conditional_pass"
    INCONCLUSIVE = "inconclusive"
    CONDITIONAL_FAIL = "conditional_fail"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One line of an uncertainty budget. `u` in the source's own unit, `c` leads to the result's unit.

    kind: A or B; distribution: normal, rectangular, triangular, u-shaped, t.
    """

    source: str
    kind: str
    u: float
    c: float = 1.0
    nu: float = float("inf")
    distribution: str = "normal"

    @property
    def share(self) -> float:
        """|c·u|, in the result's unit."""
        return abs(self.c * self.u)


@dataclass(frozen=True, slots=True)
class Result:
    """One characteristic with its uncertainty, limit and verdict. See protocol specification §0.5."""

    quantity: str
    value: float
    unit: str
    u: float
    nu_eff: float
    k: float
    U: float
    n: int
    conditions: Mapping[str, str | float | int | bool] = field(default_factory=dict)
    budget: tuple[Contribution, ...] = ()
    limit_type: LimitType = LimitType.REPORT_ONLY
    TL_low: float | None = None
    TL_high: float | None = None
    rule: str = "GUARD_U"
    verdict: Verdict = Verdict.NONE
    p_conform: float | None = None
    display_unit: str = ""
