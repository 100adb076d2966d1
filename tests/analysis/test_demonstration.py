"""T-MTBF, T-SR, zero-failure part of T-WBL."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from verification_platform.analysis import demonstration as demo
from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError


def test_T_MTBF_bounds() -> None:
    for r, bound in enumerate((4342.9, 2570.9, 1878.9, 1496.8)):
        assert demo.mtbf_lower(10_000, r, 0.90) == pytest.approx(bound, abs=0.05)
    assert demo.mtbf_lower(10_000, 2, 0.60) == pytest.approx(3220.2, abs=0.05)
    low, high = demo.mtbf_interval(10_000, 2, 0.90)
    assert low == pytest.approx(1588.4, abs=0.05)
    assert high == pytest.approx(28140, abs=1)
    assert demo.mtbf_interval(10_000, 0, 0.9)[1] == math.inf


@pytest.mark.parametrize(
    ("alpha", "beta", "d", "c", "total", "risk"),
    [(0.1, 0.1, 3, 5, 9.2747, 0.0934), (0.2, 0.2, 3, 2, 4.2790, 0.1729), (0.1, 0.1, 2, 14, 20.128, 0.0868)],
)
def test_T_MTBF_plans(alpha: float, beta: float, d: float, c: int, total: float, risk: float) -> None:
    plan = demo.fixed_time_plan(alpha, beta, d)
    assert plan.acceptable_failures == c
    assert plan.total_time == pytest.approx(total, abs=5e-4)
    assert plan.producer_risk == pytest.approx(risk, abs=5e-5)
    assert plan.consumer_risk == pytest.approx(beta, abs=1e-9)


def test_T_MTBF_plan_of_a_small_ratio() -> None:
    plan = demo.fixed_time_plan(0.1, 0.1, 1.5)
    assert plan.acceptable_failures == 40
    assert plan.total_time == pytest.approx(49.390, abs=5e-4)


def test_T_SR() -> None:
    assert demo.success_rate_lower(60, 60, 0.95) == pytest.approx(0.95130, abs=5e-6)
    assert demo.success_rate_lower(0, 60, 0.95) == 0.0
    assert demo.success_rate_upper(60, 60, 0.95) == 1.0


def test_success_rate_against_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        n = int(rng.integers(1, 300))
        s, confidence = int(rng.integers(0, n + 1)), float(rng.uniform(0.5, 0.999))
        interval = stats.binomtest(s, n).proportion_ci(confidence, "exact")
        got = demo.success_rate_interval(s, n, confidence)
        assert got == pytest.approx((interval.low, interval.high), rel=1e-7, abs=1e-12)


def test_mtbf_against_scipy() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        r, c, total = int(rng.integers(1, 60)), float(rng.uniform(0.5, 0.99)), float(rng.uniform(1, 1e5))
        assert demo.mtbf_lower(total, r, c, "failure") == pytest.approx(
            total / stats.gamma.ppf(c, r), rel=1e-8
        )


def test_T_WBL_zero_failure() -> None:
    assert demo.zero_failure_time(1000, 0.95, 0.9, 2.0, 20) == pytest.approx(1498.18, abs=0.005)
    assert demo.zero_failure_units_exact(0.95, 0.9) == pytest.approx(44.89, abs=0.005)
    assert demo.zero_failure_units(0.95, 0.9) == 45
    assert demo.zero_failure_units(0.95, 0.9, test_time=1498.18, life=1000, beta=2.0) == 20
    got = demo.weibayes([1500.0] * 20, 0, 2.0, 0.9)
    assert got.eta_lower == pytest.approx(4420.8, abs=0.05)
    assert got.reliability_lower(1000) == pytest.approx(0.95012, abs=5e-6)
    assert math.isnan(got.eta)


def test_weibayes_with_failures_and_sensitivity() -> None:
    ages = [400.0, 800.0, 900.0, 1000.0]
    got = demo.weibayes(ages, 2, 1.5, 0.9)
    assert got.eta == pytest.approx((sum(t**1.5 for t in ages) / 2) ** (1 / 1.5))
    assert got.eta_lower < got.eta
    assert [w.beta for w in demo.weibayes_sensitivity(ages, 2, 1.5, 0.9)] == pytest.approx([1.2, 1.5, 1.8])
    assert got.life_lower(0.1) == pytest.approx(got.eta_lower * (-math.log(0.9)) ** (1 / 1.5))


def test_laplace_trend() -> None:
    assert demo.laplace_trend([25, 50, 75], 100) == pytest.approx(0.0)
    assert demo.laplace_trend([80, 90, 99], 100) > 1.96
    with pytest.raises(NotEnoughDataError):
        demo.laplace_trend([1.0], 2.0)


def test_no_failure_is_no_estimate() -> None:
    assert math.isnan(demo.mtbf_estimate(1000, 0))
    assert demo.mtbf_estimate(1000, 4) == 250
    assert demo.availability(90, 10) == pytest.approx(0.9)


def test_refusals() -> None:
    for call in (
        lambda: demo.mtbf_lower(0, 1, 0.9),
        lambda: demo.mtbf_lower(1, 0, 0.9, "failure"),
        lambda: demo.mtbf_lower(1, 1, 1.0),
        lambda: demo.fixed_time_plan(0.1, 0.1, 1.0),
        lambda: demo.success_rate_lower(5, 4, 0.9),
        lambda: demo.weibayes([1.0], 2, 1.0, 0.9),
        lambda: demo.zero_failure_time(1, 1.0, 0.9, 1, 1),
    ):
        with pytest.raises(AnalysisError):
            call()
