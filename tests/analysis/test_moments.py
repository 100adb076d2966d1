"""Moments against scipy, merges of any partition, extremes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from verification_platform.analysis.errors import NotEnoughDataError, NotFiniteError
from verification_platform.analysis.moments import Moments, moments

from .merging import merged_neighbours


def test_against_scipy() -> None:
    rng = np.random.default_rng(1)
    for case in range(1000):
        n = int(rng.integers(3, 400))
        x = rng.gamma(2.0, size=n) * 10 ** rng.uniform(-6, 6) + (case % 3) * 10 ** rng.uniform(-2, 2)
        got = moments(x)
        assert got.mean == pytest.approx(x.mean(), rel=1e-13)
        assert got.variance == pytest.approx(x.var(ddof=1), rel=1e-9)
        assert got.skewness == pytest.approx(stats.skew(x), rel=1e-6, abs=1e-8)
        assert got.excess_kurtosis == pytest.approx(stats.kurtosis(x), rel=1e-6, abs=1e-8)
        assert got.rms == pytest.approx(np.sqrt(np.mean(x**2)), rel=1e-12)
        assert (got.minimum, got.maximum) == (x.min(), x.max())
        assert (got.minimum_at, got.maximum_at) == (x.argmin(), x.argmax())


def test_any_partition_and_merge_tree() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        n = int(rng.integers(2, 500))
        x = rng.standard_normal(n) ** 3 + 5
        parts = []
        for piece in np.split(x, np.sort(rng.integers(0, n + 1, 6))):
            part = Moments()
            part.update(piece)
            parts.append(part)
        joined = merged_neighbours(parts, rng)
        whole = moments(x)
        got = joined.result()
        assert (got.n, got.minimum, got.maximum) == (n, whole.minimum, whole.maximum)
        assert (got.minimum_at, got.maximum_at) == (whole.minimum_at, whole.maximum_at)
        assert got.mean == pytest.approx(whole.mean, rel=1e-12)
        assert got.variance == pytest.approx(whole.variance, rel=1e-12)
        scale = abs(whole.skewness) + 1
        assert got.skewness == pytest.approx(whole.skewness, abs=1e-12 * scale)
        assert got.excess_kurtosis == pytest.approx(whole.excess_kurtosis, rel=1e-11, abs=1e-11)


def test_large_offset_costs_no_digits() -> None:
    x = np.random.default_rng(3).standard_normal(200_000)
    plain, offset = moments(x), moments(x * 2.0**-10 + 2.0**20)
    assert offset.variance == pytest.approx(plain.variance * 2.0**-20, rel=1e-6)
    assert offset.skewness == pytest.approx(plain.skewness, abs=1e-6)
    assert offset.excess_kurtosis == pytest.approx(plain.excess_kurtosis, abs=1e-5)


def test_long_signal_in_odd_blocks() -> None:
    x = np.random.default_rng(4).standard_normal(300_001)
    blocks = Moments()
    for start in range(0, len(x), 70_001):
        blocks.update(x[start : start + 70_001])
    assert blocks.result().variance == pytest.approx(x.var(ddof=1), rel=1e-12)
    assert blocks.result().maximum_at == x.argmax()


def test_nothing_is_not_zero() -> None:
    with pytest.raises(NotEnoughDataError):
        moments([])
    one = moments([3.0])
    assert one.mean == 3.0
    assert np.isnan(one.variance)
    assert np.isnan(one.skewness)
    assert moments([2.0, 2.0]).variance == 0.0


def test_nan_is_refused_with_its_index() -> None:
    x = np.zeros(50_000)
    x[40_123] = np.inf
    with pytest.raises(NotFiniteError, match=r"\[40123\] is inf"):
        moments(x)


def test_the_way_does_not_show_in_the_answer() -> None:
    """Near zero the sums of powers are centred, elsewhere the samples: both, to the digits that a double has."""
    x = np.random.default_rng(5).gamma(3.0, size=30_000)
    for offset in (-3.0, 0.0, 0.4, 0.5, 3.0, 100.0):  # the mean is two standard deviations at 0.46
        y = x + offset
        d = (y - y.mean()).astype(np.longdouble)
        d -= d.mean()
        m2, m3, m4 = (float(np.mean(d**k)) for k in (2, 3, 4))
        got = moments(y)
        assert got.variance == pytest.approx(m2 * len(y) / (len(y) - 1), rel=1e-13)
        assert got.skewness == pytest.approx(m3 / m2**1.5, rel=1e-12)
        assert got.excess_kurtosis == pytest.approx(m4 / m2**2 - 3, rel=1e-12)


def test_infinities_that_cancel_are_named() -> None:
    with pytest.raises(NotFiniteError, match=r"\[1\] is inf"):
        moments([1.0, np.inf, -np.inf])
