"""Normal numbers drawn in pairs: their distribution, their independence, any number of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from verification_platform.metrology import _normal_draws
from verification_platform.metrology._normal_draws import NormalDraws


def draw(n: int, seed: int, mean: float = 0.0, u: float = 1.0) -> np.ndarray:
    out = np.empty(n)
    NormalDraws(n)(np.random.default_rng(seed), out, mean, u)
    return out


def test_their_distribution_is_normal() -> None:
    z = draw(4_000_000, 1)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for k, expected in enumerate((0, 1, 0, 3, 0, 15, 0, 105), start=1):
        spread = math.sqrt((math.prod(range(2 * k - 1, 0, -2)) - expected**2) / z.size)
        assert abs((z**k).mean() - expected) < 4 * spread


@pytest.mark.parametrize("limit", [3.0, 4.0, 4.8])
def test_tails_are_as_heavy_as_they_should_be(limit: float) -> None:
    z = draw(8_000_000, 2)
    for tail in (z > limit, z < -limit):
        expected = stats.norm.sf(limit) * z.size
        assert abs(int(tail.sum()) - expected) < 4 * math.sqrt(expected)


def test_those_of_a_pair_and_neighbours_are_independent() -> None:
    n = 1 << 20
    z = np.concatenate(
        [draw(2 * _normal_draws._PAIRS, seed) for seed in range(n // _normal_draws._PAIRS // 2)]
    )
    pairs = z.reshape(-1, 2, _normal_draws._PAIRS)
    first, second = pairs[:, 0].ravel(), pairs[:, 1].ravel()
    for a, b in ((first, second), (z[1:], z[:-1])):
        for f in (lambda x: x, np.abs, np.square):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 4.5 / math.sqrt(a.size)
    angle = np.arctan2(second, first) / (2 * math.pi) % 1.0
    for parts in (16, 4096):  # directions alike, and places between two directions alike
        counts = np.bincount((angle * 4096 * 16 % parts).astype(int), minlength=parts)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_the_rotation_is_a_rotation() -> None:
    """From the exponential and uniform numbers that went in, by the textbook's formula."""
    n = 2 * _normal_draws._PAIRS
    rng = np.random.default_rng(3)
    e, turn = rng.standard_exponential(n // 2), rng.random(n // 2)
    z, radius = draw(n, 3), np.sqrt(2 * e)
    np.testing.assert_allclose(z[: n // 2] / radius, np.cos(2 * np.pi * turn), rtol=0, atol=3e-14)
    np.testing.assert_allclose(z[n // 2 :] / radius, np.sin(2 * np.pi * turn), rtol=0, atol=3e-14)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1001, 2 * _normal_draws._PAIRS + 1, 5 * _normal_draws._PAIRS])
def test_any_number_of_them(n: int) -> None:
    z = draw(n, 4, mean=5.0, u=0.25)
    assert np.isfinite(z).all()
    assert len(np.unique(z)) == n
    assert np.array_equal(z, draw(n, 4, mean=5.0, u=0.25))
    if n > 1000:
        assert z.mean() == pytest.approx(5.0, abs=0.25 * 4 / math.sqrt(n))
        assert z.std() == pytest.approx(0.25, rel=4 / math.sqrt(2 * n))
