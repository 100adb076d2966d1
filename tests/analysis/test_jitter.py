"""Cycle jitter: T-JIT, merging, the hull against brute force, the histogram's quantiles."""

from __future__ import annotations

import time

import numpy as np
import pytest

from verification_platform.analysis.durations import DurationHistogram, bin_edges
from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)
from verification_platform.analysis.jitter import CycleJitter, JitterResult, cycle_jitter

from .merging import merged_neighbours

US = 1e-6


def stamps(cycles: int, seed: int = 1, start: float = 1e4, late: tuple[int, ...] = ()) -> np.ndarray:
    """1 ms cycles, each stamp off by ±20 µs, uniform; the cycles `late` take 1 ms longer."""
    rng = np.random.default_rng(seed)
    periods = np.full(cycles + 1, 1e-3)
    periods[list(late)] += 1e-3
    return start + np.cumsum(periods) + rng.uniform(-20 * US, 20 * US, cycles + 1)


def test_T_JIT() -> None:
    r = cycle_jitter(stamps(100_000), 1e-3)
    assert r.period_deviation_s == pytest.approx(16.33 * US, rel=0.02)
    assert r.offset_deviation_s == pytest.approx(11.55 * US, rel=0.02)
    assert r.largest_s <= 40 * US
    assert abs(r.mean_period_s - 1e-3) <= 0.5e-9
    assert r.missed == 0
    assert r.largest_offset_s == pytest.approx(20 * US, rel=0.01)
    assert abs(r.clock_error) < 1e-8
    # |J| of two uniform errors is triangular: P(|J| > j) = (1 − j/40 µs)²
    for p, found in ((0.99, r.p99_s), (0.999, r.p999_s)):
        assert found == pytest.approx(40 * US * (1 - (1 - p) ** 0.5), rel=0.01)
    late = cycle_jitter(stamps(100_000, late=(10, 5000, 99_000)), 1e-3)
    assert late.missed == 3
    # the empty slots are counted, so the cycles after them are still in their places
    assert late.offset_deviation_s == pytest.approx(11.55 * US, rel=0.02)
    assert late.largest_s == pytest.approx(1e-3, abs=41 * US)


def test_the_clock_error_is_found() -> None:
    t = stamps(20_000)
    r = cycle_jitter(t * (1 + 35e-6), 1e-3)
    assert r.clock_error * 1e6 == pytest.approx(35, abs=0.1)
    assert r.offset_deviation_s == pytest.approx(11.55 * US, rel=0.03)


def direct(t: np.ndarray, nominal: float) -> tuple[float, ...]:
    """The definitions, written out on the whole array."""
    periods = np.diff(t)
    k = np.concatenate([[0], np.cumsum(np.maximum(np.rint(periods / nominal), 1))])
    d = t - t[0] - k * nominal
    line = np.polynomial.Polynomial.fit(k, d, 1)
    o = d - line(k)
    offset = np.sqrt(np.sum(o**2) / (len(t) - 2))
    slope = line.convert().coef[1]
    return periods.mean(), slope / nominal, periods.std(ddof=1), offset, np.abs(o).max()


def numbers(r: JitterResult) -> tuple[float, ...]:
    return r.mean_period_s, r.clock_error, r.period_deviation_s, r.offset_deviation_s, r.largest_offset_s


def test_1000_random_streams_in_random_parts_give_what_the_definitions_say() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        n = int(rng.integers(101, 600))
        periods = 1e-3 * rng.choice([1, 1, 1, 2, 3], n) + rng.normal(0, 3e-5, n)
        t = rng.uniform(0, 100) + np.cumsum(periods) * (1 + rng.normal(0, 1e-4))
        parts = []
        for part in np.split(t, np.sort(rng.integers(0, n, int(rng.integers(1, 8))))):
            parts.append(CycleJitter(1e-3))
            for block in np.split(part, np.sort(rng.integers(0, len(part) + 1, 2))):
                parts[-1].update(block)
        joined = merged_neighbours(parts, rng)
        r = joined.result()
        assert numbers(r) == pytest.approx(direct(t, 1e-3), rel=1e-9, abs=1e-12)
        assert r.missed == int(np.count_nonzero(np.diff(t) > 1.5e-3))
        whole = cycle_jitter(t, 1e-3)
        assert numbers(r) == pytest.approx(numbers(whole), rel=1e-11, abs=1e-14)
        assert np.array_equal(r.histogram.positive, whole.histogram.positive)
        assert np.array_equal(r.histogram.negative, whole.histogram.negative)


def test_the_hull_stays_small() -> None:
    t = stamps(300_000)
    t += 1e-11 * np.arange(t.size) ** 2 / 1000  # a drifting oscillator
    jitter = CycleJitter(1e-3)
    begin = time.process_time()
    jitter.update(t)
    assert time.process_time() - begin < 5
    assert jitter._upper.shape[1] + jitter._lower.shape[1] < 3000
    assert numbers(jitter.result()) == pytest.approx(direct(t, 1e-3), rel=1e-6, abs=1e-12)


def test_quantiles_of_1000_random_histograms() -> None:
    rng = np.random.default_rng(3)
    for _ in range(1000):
        x = 10.0 ** rng.uniform(-9, 3, int(rng.integers(1, 200))) * rng.choice([-1, 1])
        parts = [DurationHistogram() for _ in range(3)]
        for part, block in zip(parts, np.array_split(x, 3), strict=True):
            part.update(block)
        parts[1].merge(parts[2])
        parts[0].merge(parts[1])
        whole = DurationHistogram()
        whole.update(x)
        assert np.array_equal(whole.positive, parts[0].positive)
        assert np.array_equal(whole.negative, parts[0].negative)
        p = float(rng.uniform(0.001, 1))
        exact = float(np.quantile(np.abs(x), p, method="inverted_cdf"))
        assert exact <= whole.quantile(p) * (1 + 1e-12)
        assert whole.quantile(p) <= exact * 1.004
        assert whole.quantile(1) == np.abs(x).max() == parts[0].largest
    edges = bin_edges()
    assert np.all(np.diff(edges) > 0)
    assert np.max(np.diff(edges)[1:] / edges[1:-1]) < 0.004


def test_durations_outside_the_bins_are_counted() -> None:
    h = DurationHistogram()
    h.update([0.0, 1e-300, 1e300])
    assert h.count == 3
    assert h.positive.sum() == 3
    assert h.quantile(1.0) == 1e300
    with pytest.raises(AnalysisError, match="0 < p"):
        h.quantile(0)
    with pytest.raises(NotEnoughDataError):
        DurationHistogram().quantile(0.5)


def test_what_is_refused() -> None:
    t = stamps(1000)
    with pytest.raises(NotEnoughDataError, match="99 cycles"):
        cycle_jitter(t[:100], 1e-3)
    with pytest.raises(AnalysisError, match=r"stamps\[500\]"):
        cycle_jitter(np.insert(t, 500, t[499]), 1e-3)
    with pytest.raises(NotFiniteError, match=r"stamps\[7\]"):
        cycle_jitter(np.where(np.arange(t.size) == 7, np.nan, t), 1e-3)
    with pytest.raises(NotMergeableError):
        CycleJitter(1e-3).merge(CycleJitter(2e-3))
    early, late = CycleJitter(1e-3), CycleJitter(1e-3)
    late.update(t[500:])
    early.update(t[:500])
    with pytest.raises(AnalysisError, match="not later"):
        late.merge(early)
    with pytest.raises(AnalysisError, match="positive"):
        CycleJitter(0.0)
