"""Quantile sketch: exact where it keeps samples, bounded rank error elsewhere, exact merges."""

from __future__ import annotations

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotFiniteError
from verification_platform.analysis.quantiles import KEPT, QuantileSketch, quantiles

from .merging import merged_neighbours

SHARES = np.array([0.0, 1e-4, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0])


def test_few_samples_are_exact() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        x = rng.standard_normal(int(rng.integers(1, 2 * KEPT + 1)))
        p = rng.random(5)
        np.testing.assert_allclose(quantiles(x, p), np.quantile(x, p), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    "kind", ["normal", "uniform", "cauchy", "exponential", "spikes", "steps", "ramp", "offset"]
)
def test_rank_error_is_small_and_within_its_bound(kind: str) -> None:
    rng = np.random.default_rng(2)
    n = 400_000
    x = {
        "normal": lambda: rng.standard_normal(n),
        "uniform": lambda: rng.random(n) * 1e-9,
        "cauchy": lambda: np.clip(rng.standard_cauchy(n), -100, 100),
        "exponential": lambda: rng.exponential(size=n),
        "spikes": lambda: np.where(np.arange(n) % 10_000 == 0, 1e12, rng.standard_normal(n)),
        "steps": lambda: np.round(rng.standard_normal(n), 2),
        "ramp": lambda: np.linspace(-3, 5, n),
        "offset": lambda: rng.standard_normal(n) + 1e6,
    }[kind]()
    sketch = QuantileSketch()
    for start in range(0, n, 90_001):
        sketch.update(x[start : start + 90_001])
    result = sketch.result()
    ordered = np.sort(x)
    for p in SHARES:
        value = result.quantile(p)
        low, high = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
        off = max(low / n - p, p - high / n, 0.0)
        assert off <= result.rank_error(p) + 1.5 / n
        if kind == "steps":
            assert value == pytest.approx(np.quantile(x, p), abs=0.001)  # one value a bin
        elif kind != "cauchy":  # its range is wide for the bins: the stated bound is larger
            assert off <= 2e-4
    assert (result.minimum, result.maximum) == (x.min(), x.max())
    assert sum(len(part) for part in (result.low, result.high)) + result.counts.sum() == n


def test_any_partition_and_merge_tree_is_exact() -> None:
    rng = np.random.default_rng(3)
    for case in range(250):
        n = int(rng.integers(1, 3000))
        scale = 10.0 ** rng.integers(-8, 8)
        x = [
            rng.standard_normal(n) * scale,
            rng.standard_cauchy(n),
            np.cumsum(rng.standard_normal(n)) + 1e3 * scale,
            rng.integers(0, 5, n) * scale,
        ][case % 4]
        whole = QuantileSketch()
        whole.update(x)
        parts = []
        for piece in np.split(x, np.sort(rng.integers(0, n + 1, 5))):
            part = QuantileSketch()
            part.update(piece)
            parts.append(part)
        joined = merged_neighbours(parts, rng)
        one, two = whole.result(), joined.result()
        assert (one.n, one.first, one.width) == (two.n, two.first, two.width)
        np.testing.assert_array_equal(one.counts, two.counts)
        np.testing.assert_array_equal(one.low, two.low)
        np.testing.assert_array_equal(one.high, two.high)


def test_samples_that_cease_to_be_extreme_are_counted() -> None:
    """Blocks that lie wholly outside of what came before, on either side, and blocks far outside on both."""
    rng = np.random.default_rng(5)
    blocks = [rng.standard_normal(300) + shift for shift in (0, 100, -100, 200, -200)]
    blocks += [rng.standard_normal(300) * scale for scale in (1e3, 1e200)]
    sketch = QuantileSketch()
    for count, block in enumerate(blocks, start=1):
        sketch.update(block)
        result, ordered = sketch.result(), np.sort(np.concatenate(blocks[:count]))
        np.testing.assert_array_equal(result.low, ordered[:KEPT])
        np.testing.assert_array_equal(result.high, ordered[-KEPT:])
        bins = np.floor(ordered[KEPT:-KEPT] / result.width) - result.first
        np.testing.assert_array_equal(result.counts, np.bincount(bins.astype(np.int64)))


def test_share_below_inverts_quantile() -> None:
    x = np.random.default_rng(4).standard_normal(100_000)
    sketch = QuantileSketch()
    sketch.update(x)
    result = sketch.result()
    for p in SHARES[1:-1]:
        assert result.share_below(result.quantile(p)) == pytest.approx(p, abs=2e-5)


def test_refusals() -> None:
    with pytest.raises(NotEnoughDataError):
        QuantileSketch().result()
    with pytest.raises(NotFiniteError, match=r"\[2\]"):
        quantiles([1.0, 2.0, np.nan], 0.5)
    with pytest.raises(AnalysisError):
        quantiles([1.0], 1.5)
