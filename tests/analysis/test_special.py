"""Distributions against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from verification_platform.analysis.special import beta_quantile, chi2_quantile, incomplete_beta, poisson_cdf


def test_beta_quantile_against_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1500):
        a, b = np.exp(rng.uniform(-1, 7, 2))
        p = rng.uniform(1e-6, 1 - 1e-6)
        assert beta_quantile(p, a, b) == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-8)


def test_poisson_against_scipy() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1500):
        r, mean = int(rng.integers(0, 200)), float(np.exp(rng.uniform(-5, 6)))
        assert poisson_cdf(r, mean) == pytest.approx(stats.poisson.cdf(r, mean), rel=1e-9, abs=1e-300)
    assert poisson_cdf(-1, 3.0) == 0.0
    assert poisson_cdf(0, 0.0) == 1.0


def test_chi2_quantile_against_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(1500):
        p, nu = rng.uniform(1e-4, 1 - 1e-4), float(np.exp(rng.uniform(-0.5, 8)))
        assert chi2_quantile(p, nu) == pytest.approx(stats.chi2.ppf(p, nu), rel=1e-8)


def test_edges() -> None:
    assert beta_quantile(0.0, 2, 3) == 0.0
    assert beta_quantile(1.0, 2, 3) == 1.0
    assert incomplete_beta(2, 3, 1.0) == 1.0
    with pytest.raises(ValueError, match="a, b > 0"):
        beta_quantile(0.5, 0, 1)
    with pytest.raises(ValueError, match="mean"):
        poisson_cdf(1, -1.0)
