"""The policy for bad samples: flag, count, refuse."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotMergeableError
from verification_platform.analysis.samples import (
    SampleCheck,
    SampleError,
    SampleReport,
    check_samples,
    find_outliers,
)

PERIOD = 1e-3


def clean(n: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    jitter = 1e-4 * np.random.default_rng(1).uniform(-1, 1, n)
    return np.arange(n) * PERIOD + jitter, np.sin(np.arange(n) / 50)


def test_clean_samples_are_clean() -> None:
    r = check_samples(*clean(), PERIOD, clip=1.5)
    assert r == SampleReport(10_000, 0, 0, 0, 0, 0, 0.0, -1)
    assert r.valid
    assert r.clean
    r.refuse("torque")


def test_each_fault_is_counted() -> None:
    t, x = clean()
    t, x = np.delete(t, [400, 401, 402]), np.delete(x, [400, 401, 402])
    x[100], x[200], x[300:305] = math.nan, -math.inf, 7.0
    t[5000] = t[4999] - 1e-6
    r = check_samples(t, x, PERIOD, clip=7.0)
    assert (r.not_finite, r.clipped, r.gaps, r.lost, r.backwards) == (2, 5, 2, 4, 1)
    assert r.first_bad == 100
    assert r.longest_gap_s == pytest.approx(4 * PERIOD, rel=0.1)
    assert not r.valid
    with pytest.raises(SampleError, match="backwards 1 times"):
        r.refuse("torque")


@pytest.mark.parametrize(("lost", "valid"), [(10, True), (11, False)])
def test_a_thousandth_may_be_lost(lost: int, valid: bool) -> None:
    t, x = np.arange(10_000.0), np.zeros(10_000)
    r = check_samples(np.delete(t, slice(50, 50 + lost)), np.delete(x, slice(50, 50 + lost)), 1.0)
    assert r.lost == lost
    assert r.valid is valid
    assert not r.clean


def test_clipping_counts_as_loss() -> None:
    x = np.zeros(10_000)
    x[::500] = 10.0
    r = check_samples(np.arange(10_000.0), x, 1.0, clip=10.0)
    assert r.clipped == 20
    assert r.loss == pytest.approx(0.002)
    assert not r.valid


def test_a_clock_that_stands_still_is_refused() -> None:
    assert not check_samples([0.0, 1.0, 1.0, 2.0], np.zeros(4), 1.0).valid


@pytest.mark.parametrize("seed", range(30))
def test_any_partition_gives_the_same_report(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3000
    t = np.cumsum(
        rng.choice([1.0, 1.0, 1.0, 1.0, 3.0, -1.0, 0.0], n, p=[0.25, 0.25, 0.25, 0.22, 0.01, 0.01, 0.01])
    )
    x = rng.choice([0.0, math.nan, math.inf, 9.0, -9.0], n, p=[0.96, 0.01, 0.01, 0.01, 0.01])
    whole = check_samples(t, x, 1.0, 9.0)
    cuts = [0, *sorted(rng.choice(np.arange(1, n), 12, replace=False)), n]
    checks = []
    for a, b in itertools.pairwise(cuts):
        checks.append(SampleCheck(1.0, 9.0))
        for piece in np.array_split(np.arange(a, b), 3):
            checks[-1].update(t[piece], x[piece])
    while len(checks) > 1:
        i = int(rng.integers(0, len(checks) - 1))
        checks[i].merge(checks[i + 1])
        del checks[i + 1]
    assert checks[0].result() == whole
    assert whole.not_finite == np.count_nonzero(~np.isfinite(x))
    assert whole.backwards == np.count_nonzero(np.diff(t) <= 0)


def test_outliers_are_flagged_only() -> None:
    rng = np.random.default_rng(5)
    x = np.sin(np.arange(50_000) / 300) + 0.01 * rng.standard_normal(50_000)
    spikes = np.array([5, 20_000, 20_001, 49_999])
    before = x.copy()
    before[spikes] += [1, -2, 3, 1]
    x = before.copy()
    found = find_outliers(x)
    np.testing.assert_array_equal(x, before)
    assert set(spikes) <= set(found)
    assert found.size - spikes.size < 5e-3 * x.size
    assert find_outliers(np.arange(100.0)).size == 0


def test_settings() -> None:
    with pytest.raises(AnalysisError):
        SampleCheck(0.0)
    with pytest.raises(AnalysisError):
        find_outliers(np.zeros(10), window=4)
    with pytest.raises(SampleError):
        SampleCheck(1.0).update([0.0, 1.0], [0.0])
    with pytest.raises(NotMergeableError):
        SampleCheck(1.0).merge(SampleCheck(2.0))
