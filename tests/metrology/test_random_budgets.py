"""A thousand random cases each against formulas written out, scipy, and numerical propagation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from verification_platform.metrology import arrays as ua
from verification_platform.metrology.arrays import uncertain
from verification_platform.metrology.budget import combine, propagate
from verification_platform.metrology.decision import (
    Limits,
    Rule,
    conformance_probability,
    false_acceptance,
    judge_value,
    worst,
)
from verification_platform.metrology.result import Contribution, Verdict

CASES = 1000


def test_combined_uncertainty_written_out() -> None:
    rng = np.random.default_rng(1)
    for _ in range(CASES):
        n = int(rng.integers(1, 7))
        u, c = rng.uniform(0.1, 3, n), rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
        nu = np.where((rng.random(n) < 0.4) & (np.arange(n) > 0), math.inf, rng.integers(1, 40, n))
        factor = rng.standard_normal((n, n + 2))
        r = np.corrcoef(factor) if n > 1 else np.eye(1)
        lines = [Contribution(f"s{i}", "B", u[i], c[i], nu[i]) for i in range(n)]
        pairs = {(f"s{i}", f"s{j}"): float(r[i, j]) for i in range(n) for j in range(i)}
        total = combine(lines, pairs)
        variance = sum((c[i] * u[i]) ** 2 for i in range(n)) + 2 * sum(
            c[i] * c[j] * u[i] * u[j] * r[i, j] for i in range(n) for j in range(i)
        )
        assert total.u == pytest.approx(math.sqrt(variance), rel=1e-9)
        below = sum((c[i] * u[i]) ** 4 / nu[i] for i in range(n))
        nu_eff = max(math.floor(variance**2 / below * (1 + 1e-9)), 1) if below else math.inf
        assert total.nu_eff == nu_eff
        expected = stats.t.ppf(0.5 + 0.5 * math.erf(math.sqrt(2)), nu_eff) if nu_eff < math.inf else 2.0
        # scipy's quantile itself is off by 2e-9 above 1e7 degrees of freedom
        assert total.k == pytest.approx(expected, rel=5e-9)
        assert pytest.approx(expected * math.sqrt(variance), rel=5e-9) == total.U


def test_conformance_probability_against_scipy() -> None:
    rng = np.random.default_rng(2)
    for _ in range(CASES):
        low, high = np.sort(rng.uniform(-5, 5, 2))
        y, u = rng.uniform(-8, 8), 10 ** rng.uniform(-2, 1)
        for limits in (Limits(low, high), Limits(low=low), Limits(high=high)):
            a = -math.inf if limits.low is None else (limits.low - y) / u
            b = math.inf if limits.high is None else (limits.high - y) / u
            expected = stats.norm.cdf(b) - stats.norm.cdf(a)
            assert conformance_probability(y, u, limits) == pytest.approx(expected, abs=1e-12)
            assert false_acceptance(y, u, limits) == pytest.approx(
                stats.norm.cdf(a) + stats.norm.sf(b), rel=1e-9, abs=1e-300
            )


def test_verdicts_are_consistent() -> None:
    """Mirror symmetry, order in y, and a wider guard band is never kinder."""
    rng = np.random.default_rng(3)
    severity = list(Verdict)
    for _ in range(CASES):
        limit, U = rng.uniform(-5, 5), 10 ** rng.uniform(-2, 1)
        ys = np.sort(rng.uniform(limit - 4 * U, limit + 4 * U, 5))
        previous = None
        for name in ("SIMPLE", "GUARD_083", "GUARD_U", "GUARD_15"):
            rule = Rule(name)
            upper = [judge_value(y, U, Limits(high=limit), rule) for y in ys]
            assert upper == [judge_value(-y, U, Limits(low=-limit), rule) for y in ys]
            assert [severity.index(v) for v in upper] == sorted(severity.index(v) for v in upper)
            if previous is not None:
                passed = [v is Verdict.PASS for v in upper]
                assert all(before or not now for before, now in zip(previous, passed, strict=True))
            previous = [v is Verdict.PASS for v in upper]
        assert worst(upper) is upper[-1]


def test_random_expressions_of_arrays_against_numerical_propagation() -> None:
    rng = np.random.default_rng(4)
    unary = [
        (ua.sqrt, np.sqrt),
        (ua.exp, np.exp),
        (ua.log, np.log),
        (ua.sin, np.sin),
        (ua.cos, np.cos),
    ]
    binary = [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: b - 2 * a,
    ]
    for case in range(CASES):
        functions = [unary[i] for i in rng.integers(0, len(unary), 2)]
        operations = [binary[i] for i in rng.integers(0, len(binary), 3)]

        def model(x, y, z, k, f=functions, op=operations):  # type: ignore[no-untyped-def]
            return op[2](op[0](f[0][k](x), y), op[1](f[1][k](z), x))

        values, u = rng.uniform(0.5, 2.0, 3), rng.uniform(1e-5, 1e-4, 3)
        x, y, z = (uncertain(v, s, name) for v, s, name in zip(values, u, "xyz", strict=True))
        out = model(x, y, z, 0)
        numeric = propagate(lambda v, m=model: float(m(v[0], v[1], v[2], 1)), values, u)
        assert float(out.values) == pytest.approx(numeric.y, rel=1e-12), case
        assert float(out.u) == pytest.approx(numeric.u, rel=1e-4, abs=1e-9), case
