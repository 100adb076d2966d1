"""T-SPRT and an independent simulation of the operating characteristic."""

from __future__ import annotations

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError
from verification_platform.analysis.sequential_test import SequentialPlan

PLAN = SequentialPlan(d=2.0, alpha=0.1, beta=0.1, r_max=16, x_max=20.6)


def test_T_SPRT() -> None:
    assert PLAN.slope == pytest.approx(1.38629, abs=5e-6)
    assert PLAN.accept_intercept == pytest.approx(4.39445, abs=5e-6)
    assert PLAN.reject_intercept == pytest.approx(-4.39445, abs=5e-6)
    assert PLAN.operating_characteristic(1.0).accept == pytest.approx(0.1435, abs=0.002)
    assert PLAN.operating_characteristic(2.0).accept == pytest.approx(0.912, abs=0.002)


def simulate(
    plan: SequentialPlan, mtbf: float, trials: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    accepted, x_sum, r_sum = 0, 0.0, 0
    for _ in range(trials):
        x, r = 0.0, 0
        while True:
            accept_at = min(plan.accept_intercept + plan.slope * r, plan.x_max)
            x += rng.exponential(mtbf)
            if x >= accept_at:
                accepted += 1
                x_sum += accept_at
                break
            r += 1
            if plan.decide(r, x) == "reject":
                x_sum += x
                break
        r_sum += r
    return accepted / trials, x_sum / trials, r_sum / trials


@pytest.mark.parametrize("seed", range(8))
def test_operating_characteristic_against_simulation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = SequentialPlan(
        d=float(rng.uniform(1.3, 4)),
        alpha=float(rng.uniform(0.05, 0.3)),
        beta=float(rng.uniform(0.05, 0.3)),
        r_max=int(rng.integers(2, 20)),
        x_max=float(rng.uniform(3, 25)),
    )
    mtbf = float(rng.uniform(0.7, plan.d))
    accept, x, r = simulate(plan, mtbf, 12_000, rng)
    got = plan.operating_characteristic(mtbf)
    assert got.accept == pytest.approx(accept, abs=0.018)
    assert got.expected_x == pytest.approx(x, rel=0.04)
    assert got.expected_failures == pytest.approx(r, rel=0.05, abs=0.02)


def test_without_truncation_the_risks_approach_their_nominal_values() -> None:
    plan = SequentialPlan(2.0, 0.1, 0.1, r_max=150, x_max=400.0)
    assert 1 - plan.operating_characteristic(2.0).accept < 0.1
    assert plan.operating_characteristic(1.0).accept < 0.1 + 0.005


def test_decisions() -> None:
    assert PLAN.decide(0, 4.3) == "continue"
    assert PLAN.decide(0, 4.4) == "accept"
    assert PLAN.decide(5, 1.0) == "reject"
    assert PLAN.decide(16, 20.0) == "reject"
    assert PLAN.decide(15, 20.6) == "accept"


def test_refusals() -> None:
    with pytest.raises(AnalysisError):
        SequentialPlan(1.0, 0.1, 0.1, 5, 5.0)
    with pytest.raises(AnalysisError):
        SequentialPlan(2.0, 0.6, 0.6, 5, 5.0)
    with pytest.raises(AnalysisError):
        PLAN.operating_characteristic(0.0)
