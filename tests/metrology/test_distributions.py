"""Quantiles and cumulative functions against scipy, which the platform itself does not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from verification_platform.metrology.distributions import (
    chi2_cdf,
    chi2_quantile,
    coverage_factor,
    incomplete_beta,
    incomplete_gamma,
    normal_cdf,
    normal_quantile,
    t_cdf,
    t_quantile,
)

RNG = np.random.default_rng(20240601)
PROBABILITIES = np.concatenate((RNG.random(500), 10 ** RNG.uniform(-12, -1, 500)))


def test_t_quantile_to_1e9() -> None:
    for p, nu in zip(PROBABILITIES, 10 ** RNG.uniform(-0.3, 7, 1000), strict=True):
        assert t_quantile(p, nu) == pytest.approx(stats.t.ppf(p, nu), rel=1e-9, abs=1e-12)
        assert t_cdf(t_quantile(p, nu), nu) == pytest.approx(p, rel=1e-9)


def test_chi2_quantile_to_1e9() -> None:
    for p, nu in zip(PROBABILITIES, 10 ** RNG.uniform(-0.3, 4, 1000), strict=True):
        assert chi2_quantile(p, nu) == pytest.approx(stats.chi2.ppf(p, nu), rel=1e-9)
        assert chi2_cdf(nu * (0.5 + p), nu) == pytest.approx(stats.chi2.cdf(nu * (0.5 + p), nu), rel=1e-9)


def test_normal() -> None:
    for p in PROBABILITIES:
        assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), rel=1e-9, abs=1e-12)
    for z in RNG.normal(0, 6, 1000):
        assert normal_cdf(z) == pytest.approx(stats.norm.cdf(z), rel=1e-12)


def test_incomplete_beta_and_gamma() -> None:
    for a, b, x in zip(*(10 ** RNG.uniform(-1, 3, (2, 1000))), RNG.random(1000), strict=True):
        assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-290)
        assert incomplete_gamma(a, b) == pytest.approx(special.gammainc(a, b), rel=1e-9, abs=1e-290)


def test_ends() -> None:
    assert normal_quantile(0) == t_quantile(0, 3) == -math.inf
    assert chi2_quantile(1, 3) == normal_quantile(1) == math.inf
    assert chi2_quantile(0, 3) == chi2_cdf(-1, 3) == 0
    assert t_quantile(0.5, 3) == 0
    assert coverage_factor(math.inf) == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize(("p", "nu"), [(-0.1, 3), (1.1, 3), (0.5, 0), (0.5, math.nan)])
def test_nonsense_is_refused(p: float, nu: float) -> None:
    with pytest.raises(ValueError):
        t_quantile(p, nu)
