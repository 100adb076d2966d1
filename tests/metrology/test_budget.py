"""GUM budgets: T-GUM of the protocol specification, and the algebra behind it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.metrology.budget import (
    BudgetError,
    certificate,
    combine,
    make_result,
    propagate,
    resolution,
    rounded,
    type_a,
    type_a_of_spread,
    type_b,
)
from verification_platform.metrology.result import Contribution, Verdict


def test_T_GUM() -> None:
    lines = [Contribution("repeatability", "A", 1.0, nu=9), Contribution("certificate", "B", 0.5)]
    total = combine(lines)
    assert total.u == pytest.approx(1.11803, abs=5e-6)
    assert total.nu_eff == 14
    assert total.k == pytest.approx(2.195, abs=5e-4)
    assert combine(lines, probability=0.95).k == pytest.approx(2.145, abs=5e-4)
    assert pytest.approx(14.06, abs=0.005) == 1.25**2 / (1 / 9)


def test_T_GUM_quadratic_has_no_first_order_uncertainty_and_says_so() -> None:
    p = propagate(lambda x: float(x[0] ** 2), [0.0], [1.0])
    assert p.u == 0
    assert p.nonlinearity == math.inf


def test_gum_h2_impedance_from_the_readings() -> None:
    """JCGM 100 H.2: simultaneous resistance and reactance; results as in table H.4 with correlations."""
    readings = np.array(
        [
            [5.007, 4.994, 5.005, 4.990, 4.999],
            [19.663e-3, 19.639e-3, 19.640e-3, 19.685e-3, 19.678e-3],
            [1.0456, 1.0438, 1.0468, 1.0428, 1.0433],
        ]
    )
    mean = readings.mean(axis=1)
    u = readings.std(axis=1, ddof=1) / math.sqrt(5)
    r = np.corrcoef(readings)
    models = {
        "R": lambda x: x[0] / x[1] * math.cos(x[2]),
        "X": lambda x: x[0] / x[1] * math.sin(x[2]),
        "Z": lambda x: x[0] / x[1],
    }
    out = {name: propagate(f, mean, u, r) for name, f in models.items()}
    assert out["R"].y == pytest.approx(127.732, abs=5e-4)
    assert out["R"].u == pytest.approx(0.071, abs=5e-4)
    assert out["X"].y == pytest.approx(219.847, abs=5e-4)
    assert out["X"].u == pytest.approx(0.2956, abs=5e-5)
    assert out["Z"].y == pytest.approx(254.260, abs=5e-4)
    assert out["Z"].u == pytest.approx(0.236, abs=5e-4)
    cov = np.outer(u, u) * r

    def correlation(a: str, b: str) -> float:
        return float(out[a].sensitivities @ cov @ out[b].sensitivities) / (out[a].u * out[b].u)

    assert correlation("R", "X") == pytest.approx(-0.588, abs=5e-4)
    assert correlation("R", "Z") == pytest.approx(-0.485, abs=5e-4)
    assert correlation("X", "Z") == pytest.approx(0.9925, abs=5e-5)
    budget = [
        Contribution(n, "A", float(a), float(c))
        for n, a, c in zip("VIφ", u, out["R"].sensitivities, strict=True)
    ]
    pairs = {("V", "I"): r[0, 1], ("V", "φ"): r[0, 2], ("I", "φ"): r[1, 2]}
    assert combine(budget, pairs).u == pytest.approx(out["R"].u, rel=1e-6)


def test_correlation_extremes() -> None:
    a, b = Contribution("a", "B", 3.0), Contribution("b", "B", 4.0, c=-1.0)
    assert combine([a, b]).u == pytest.approx(5.0)
    assert combine([a, b], {("a", "b"): 1.0}).u == pytest.approx(1.0)
    assert combine([a, b], {("a", "b"): -1.0}).u == pytest.approx(7.0)


def test_type_b_divisors() -> None:
    assert type_b("x", 3.0).u == pytest.approx(math.sqrt(3))
    assert type_b("x", 6.0, "triangular").u == pytest.approx(math.sqrt(6))
    assert type_b("x", 2.0, "u-shaped").u == pytest.approx(math.sqrt(2))
    assert certificate("x", 0.3, 3.0).u == pytest.approx(0.1)
    assert resolution("x", 1.0).u == pytest.approx(1 / math.sqrt(12))
    assert type_a("x", 2.0, 4).u == 1.0
    assert type_a("x", 2.0, 4).nu == 3
    assert type_a_of_spread("x", 2.0, 9).u == 0.5


def test_make_result_carries_the_budget_and_no_verdict() -> None:
    result = make_result("TE_pp", 2.7e-4, "rad", [type_b("encoder", 1e-6)], n=3, conditions={"load": 0.5})
    assert pytest.approx(2 * 1e-6 / math.sqrt(3)) == result.U
    assert result.k == pytest.approx(2.0, abs=1e-12)
    assert result.nu_eff == math.inf
    assert result.verdict is Verdict.NONE
    assert result.budget[0].source == "encoder"


@pytest.mark.parametrize(
    ("lines", "correlations"),
    [
        ([], {}),
        ([Contribution("a", "B", math.nan)], {}),
        ([Contribution("a", "B", -1.0)], {}),
        ([Contribution("a", "B", 1.0, nu=0)], {}),
        ([Contribution("a", "B", 1.0)], {("a", "b"): 0.5}),
        ([Contribution("a", "B", 1.0), Contribution("b", "B", 1.0)], {("a", "b"): 1.5}),
        ([Contribution(n, "B", 1.0) for n in "abc"], {("a", "b"): 1.0, ("b", "c"): 1.0, ("a", "c"): -1.0}),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    lines: list[Contribution], correlations: dict[tuple[str, str], float]
) -> None:
    with pytest.raises(BudgetError):
        combine(lines, correlations)


def test_one_reading_has_no_type_a() -> None:
    with pytest.raises(BudgetError):
        type_a("x", 0.0, 1)


@pytest.mark.parametrize(
    ("value", "U", "shown"),
    [
        (56.04561, 1.23456, ("56.0", "1.2")),
        (1234.5, 99.6, ("1230", "100")),
        (0.00123456, 0.00000123, ("0.0012346", "0.0000012")),
        (-2.5, 0.349, ("-2.50", "0.35")),
        (10.0, 10.49, ("10", "10")),
    ],
)
def test_rounding_keeps_two_digits_of_U(value: float, U: float, shown: tuple[str, str]) -> None:
    assert rounded(value, U) == shown


def test_rounding_never_hides_more_than_five_percent() -> None:
    rng = np.random.default_rng(5)
    for U in 10 ** rng.uniform(-8, 8, 1000):
        for digits in (1, 2):
            assert float(rounded(1.0, U, digits)[1]) >= 0.95 * U
