"""Decision rules: T-DEC of the protocol specification and the four-way outcome."""

from __future__ import annotations

import itertools
import math

import pytest

from verification_platform.metrology.budget import make_result
from verification_platform.metrology.decision import (
    DecisionError,
    Limits,
    Rule,
    conformance_probability,
    false_acceptance,
    judge,
    judge_value,
    worst,
)
from verification_platform.metrology.result import Contribution, LimitType, Verdict

UPPER = Limits(high=10.0)
V = Verdict


def test_T_DEC_jcgm_106_example() -> None:
    assert conformance_probability(13.6, 1.8, Limits(12.5, 16.3)) == pytest.approx(0.66263, abs=5e-6)


@pytest.mark.parametrize(
    ("y", "verdict", "pfa"),
    [
        (8.9, V.PASS, 0.0139),
        (9.0, V.PASS, 0.0228),
        (9.5, V.CONDITIONAL_PASS, 0.1587),
        (10.0, V.CONDITIONAL_PASS, 0.5000),
        (10.5, V.CONDITIONAL_FAIL, 1 - 0.1587),
        (11.2, V.FAIL, None),
    ],
)
def test_T_DEC_upper_limit(y: float, verdict: Verdict, pfa: float | None) -> None:
    assert judge_value(y, 1.0, UPPER, Rule()) is verdict
    if pfa is not None:
        assert false_acceptance(y, 0.5, UPPER) == pytest.approx(pfa, abs=5e-5)
        assert conformance_probability(y, 0.5, UPPER) == pytest.approx(1 - pfa, abs=5e-5)
    mirrored = judge_value(-y, 1.0, Limits(low=-10.0), Rule())
    assert mirrored is verdict


@pytest.mark.parametrize(
    ("rule", "at_limit", "risk"),
    [
        (Rule("SIMPLE"), 10.0, 0.5),
        (Rule("GUARD_U"), 9.0, 0.023),
        (Rule("GUARD_083"), 9.17, 0.049),
        (Rule("GUARD_15"), 8.5, 0.0014),
        (Rule("CUSTOMER", 0.25), 9.75, None),
    ],
)
def test_specific_risk_at_the_acceptance_limit(rule: Rule, at_limit: float, risk: float | None) -> None:
    assert judge_value(at_limit, 1.0, UPPER, rule) is V.PASS
    assert judge_value(at_limit + 1e-9, 1.0, UPPER, rule) is not V.PASS
    if risk is not None:
        assert false_acceptance(at_limit, 0.5, UPPER) <= risk


def test_two_sided_is_the_worse_of_both() -> None:
    limits = Limits(0.0, 10.0)
    expected = {
        -2: V.FAIL, -0.5: V.CONDITIONAL_FAIL, 0.5: V.CONDITIONAL_PASS, 5: V.PASS,
        9.5: V.CONDITIONAL_PASS, 10.5: V.CONDITIONAL_FAIL, 12: V.FAIL,
    }  # fmt: skip
    assert {y: judge_value(y, 1.0, limits, Rule()) for y in expected} == expected


def test_no_acceptance_zone_is_inconclusive() -> None:
    assert judge_value(5.0, 5.0, Limits(0.0, 10.0), Rule()) is V.INCONCLUSIVE
    assert judge_value(5.0, 4.999, Limits(0.0, 10.0), Rule()) is V.PASS


@pytest.mark.parametrize(("y", "U"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, -1.0)])
def test_not_measured_is_never_a_pass(y: float, U: float) -> None:
    assert judge_value(y, U, UPPER, Rule()) is V.INCONCLUSIVE


def test_judge_fills_limits_rule_and_probability() -> None:
    result = make_result("BL_0", 9.5, "rad", [Contribution("all", "B", 0.5)], n=1)
    judged = judge(result, UPPER, Rule("GUARD_U"))
    assert (judged.verdict, judged.limit_type, judged.TL_high, judged.TL_low) == (
        V.CONDITIONAL_PASS,
        LimitType.MAX,
        10.0,
        None,
    )
    assert judged.p_conform == pytest.approx(0.8413, abs=5e-5)
    assert judged.value == result.value
    assert judged.budget == result.budget


def test_report_only_gets_no_verdict() -> None:
    judged = judge(make_result("offset", 1.0, "rad", [Contribution("all", "B", 0.5)], n=1), Limits(), Rule())
    assert judged.verdict is V.NONE
    assert judged.p_conform is None


def test_overall_verdict_is_the_worst_and_ignores_report_only() -> None:
    order = [V.NONE, V.PASS, V.CONDITIONAL_PASS, V.INCONCLUSIVE, V.CONDITIONAL_FAIL, V.FAIL]
    for a, b in itertools.combinations(order, 2):
        assert worst([b, a]) is b
    assert worst([]) is V.NONE


def test_small_risks_keep_their_digits() -> None:
    assert false_acceptance(0.0, 1.0, Limits(high=10.0)) == pytest.approx(7.619853024160495e-24, rel=1e-9)
    assert conformance_probability(20.0, 1.0, Limits(0.0, 10.0)) == pytest.approx(
        7.619853024160495e-24, rel=1e-9
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(2.0, 1.0),
        lambda: Limits(math.nan),
        lambda: Rule("CUSTOMER"),
        lambda: Rule("GUARD_U", 1.0),
        lambda: Rule("CUSTOMER", -1.0),
        lambda: Rule("NONSENSE"),  # type: ignore[arg-type]
    ],
)
def test_a_limit_or_rule_that_cannot_be_applied_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DecisionError):
        make()
