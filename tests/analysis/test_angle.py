"""Unwrapping, resampling on angle, time-synchronous average, order spectrum."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest

from verification_platform.analysis.angle import (
    TimeSynchronousAverage,
    Unwrapper,
    order_spectrum,
    resample_on_angle,
    time_synchronous_average,
    unwrap,
)
from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.grouping import group_sums
from verification_platform.analysis.samples import CoverageError, SampleError

TURN = 2 * math.pi


def test_unwrap_agrees_with_numpy_block_by_block() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        true = np.cumsum(rng.uniform(-2.0, 2.0, 300))
        wrapped = np.mod(true, TURN)
        unwrapper = Unwrapper()
        cuts = [0, *sorted(rng.integers(0, 300, 3)), 300]
        out = np.concatenate([unwrapper.update(wrapped[a:b]) for a, b in itertools.pairwise(cuts)])
        np.testing.assert_allclose(out, np.unwrap(wrapped), atol=1e-9)
        assert unwrapper.ambiguous_steps == 0


def test_unwrap_refuses_what_could_have_gone_either_way() -> None:
    with pytest.raises(SampleError, match="read too rarely"):
        unwrap([0.0, 3.0, 0.0])
    with pytest.raises(NotFiniteError):
        unwrap([0.0, math.nan])
    np.testing.assert_allclose(unwrap([0, 250, 5, 15], 256), [0, -6, 5, 15])


def signal(n: int, turns: float, noise: float = 0.0, seed: int = 0):  # type: ignore[no-untyped-def]
    t = np.arange(n) / n
    theta = TURN * turns * (t + 0.1 * np.sin(TURN * t) / TURN) + 0.4
    x = 7.0 + 3 * np.cos(theta) + 0.5 * np.sin(40 * theta)
    return theta, x + noise * np.random.default_rng(seed).standard_normal(n)


def test_average_recovers_mean_and_orders() -> None:
    r = time_synchronous_average(*signal(100_000, 5.3), max_order=64)
    assert r.periods == 5
    assert r.mean == pytest.approx(7.0, abs=5e-5)
    assert r.amplitude(1) == pytest.approx(3.0, abs=1e-4)
    assert r.amplitude(40) == pytest.approx(0.5, abs=1e-4)
    assert r.amplitude(3) == pytest.approx(0.0, abs=1e-4)
    alpha = TURN * np.arange(1000) / 1000
    np.testing.assert_allclose(
        r.curve(1000), 7 + 3 * np.cos(alpha + 0.4) + 0.5 * np.sin(40 * (alpha + 0.4)), atol=1e-3
    )
    assert r.pp == pytest.approx(np.ptp(r.curve(8192)), rel=1e-3)
    assert r.samples + r.unused_samples == 100_000


@pytest.mark.parametrize("direction", [1, -1])
def test_average_turns_either_way(direction: int) -> None:
    theta, x = signal(100_000, 5.3)
    r = time_synchronous_average(direction * theta, x, max_order=64)
    assert r.direction == direction
    assert r.amplitude(40) == pytest.approx(0.5, abs=1e-4)


def test_average_needs_a_whole_period_and_finite_samples() -> None:
    with pytest.raises(CoverageError):
        time_synchronous_average(*signal(1000, 0.9), max_order=8)
    with pytest.raises(CoverageError):
        TimeSynchronousAverage(8).result()
    theta, x = signal(100_000, 5)
    x[70_000] = math.inf
    with pytest.raises(NotFiniteError, match="70000"):
        time_synchronous_average(theta, x, max_order=8)
    with pytest.raises(AnalysisError):
        TimeSynchronousAverage(0)


@pytest.mark.parametrize("seed", range(10))
def test_average_of_any_partition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta, x = signal(60_000, rng.uniform(1.2, 40), noise=0.3, seed=seed)
    whole = TimeSynchronousAverage(50)
    whole.update(theta, x)
    first = TimeSynchronousAverage(50)
    first.update(theta[:9000], x[:9000])
    cuts = [9000, *sorted(rng.choice(np.arange(9001, theta.size), 9, replace=False)), theta.size]
    pieces = [first]
    for a, b in itertools.pairwise(cuts):
        pieces.append(first.fork(a))
        pieces[-1].update(theta[a:b], x[a:b])
    while len(pieces) > 1:
        i = int(rng.integers(0, len(pieces) - 1))
        pieces[i].merge(pieces[i + 1])
        del pieces[i + 1]
    one, many = whole.result(), pieces[0].result()
    assert (one.periods, one.samples) == (many.periods, many.samples)
    np.testing.assert_allclose(many.coefficients, one.coefficients, rtol=0, atol=1e-12 * abs(one.mean))
    assert many.mean_u == pytest.approx(one.mean_u, rel=1e-9)


def test_means_of_many_periods_follow_a_drift() -> None:
    theta = TURN * np.arange(400_000) * (200.3 / 400_000) + 0.02 * np.sin(np.arange(400_000) / 900)
    x = 2 * np.sin(3 * theta) + 0.5 * np.cos(50 * theta) + 0.01 * theta / TURN
    whole = time_synchronous_average(theta, x, max_order=50)
    parts = TimeSynchronousAverage(50)
    for start in range(0, theta.size, 7777):
        parts.update(theta[start : start + 7777], x[start : start + 7777])
    assert whole.periods == 200
    np.testing.assert_allclose(np.diff(whole.period_means), 0.01, atol=5e-4)
    np.testing.assert_allclose(parts.result().period_means, whole.period_means, atol=1e-12)
    # within a period the drift is a sawtooth, which has an order 3 of its own
    assert whole.amplitude(3) == pytest.approx(2 - 0.01 / (3 * math.pi), rel=1e-5)
    assert whole.amplitude(50) == pytest.approx(0.5, rel=2e-4)


def test_a_period_without_samples_is_not_counted() -> None:
    theta, x = signal(100_000, 20.5)
    theta[50_000:] += 2 * TURN
    r = time_synchronous_average(theta, x, max_order=50)
    assert r.periods == 21  # of 22 that were passed
    assert np.all(np.isfinite(r.period_means))
    assert r.amplitude(40) == pytest.approx(0.5, abs=1e-3)


def test_an_accumulator_travels_without_its_buffers() -> None:
    theta, x = signal(200_000, 20)
    average = TimeSynchronousAverage(50)
    average.update(theta[:150_000], x[:150_000])
    sent = pickle.dumps(average)
    assert len(sent) < 200_000
    there = pickle.loads(sent)
    for each in (there, average):
        each.update(theta[150_000:], x[150_000:])
    np.testing.assert_array_equal(there.result().coefficients, average.result().coefficients)


@pytest.mark.parametrize("group", [1, 2, 3, 4, 6, 8, 15, 64])
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_sums_of_groups(group: int, factor: float) -> None:
    x = np.arange(group * 1000, dtype=np.float64)
    expected = factor * x.reshape(-1, group).sum(axis=1)
    np.testing.assert_array_equal(group_sums(x, group, factor=factor), expected)


@pytest.mark.parametrize("group", [3, 7, 8, 15, 16, 31, 58, 100, 1024])
def test_the_bits_of_a_group_do_not_depend_on_where_its_block_begins_and_ends(group: int) -> None:
    x = 88.0 + np.random.default_rng(group).standard_normal(400 * group)
    sums = group_sums(x, group)
    for first, stop in ((1, 400), (5, 399), (130, 393), (0, 131), (17, 18)):
        np.testing.assert_array_equal(group_sums(x[first * group : stop * group], group), sums[first:stop])


@pytest.mark.parametrize(
    ("per_turn", "ripple", "bound"),
    [(4096.37, 0.0, 2e-5), (4096.37, 0.07, 2e-5), (4096, 0.0, 4e-5), (3072, 0.0, 2e-5), (60000.3, 0.0, 2e-5)],
)
def test_groups_of_nearly_a_bin_keep_the_highest_order(per_turn: float, ripple: float, bound: float) -> None:
    """8 bins a cycle, 6 of 8 samples of a bin summed: taking their spread for one uniform distribution costs 1e-4."""
    turned = np.arange(int(40.4 * per_turn)) * (TURN / per_turn)
    theta = turned + ripple * np.sin(3 * turned)
    r = time_synchronous_average(theta, np.sin(theta) + np.cos(64 * theta + 0.2), max_order=64)
    assert r.amplitude(64) == pytest.approx(1.0, abs=bound)
    assert r.amplitude(1) == pytest.approx(1.0, abs=2e-6)


@pytest.mark.parametrize("faster", [1.3, 3.0, 10.0])
def test_a_drive_that_speeds_up_leaves_no_bin_empty(faster: float) -> None:
    """Groups are chosen at the first samples; where they become too wide, they are folded in parts."""
    steps = np.full(400_000, TURN / 9000.7)
    steps[20_000:60_000] *= np.linspace(1.0, faster, 40_000)
    steps[60_000:] *= faster
    theta = np.cumsum(steps)
    r = time_synchronous_average(theta, 1 + np.cos(64 * theta), max_order=64)
    assert r.samples + r.unused_samples == theta.size
    assert r.periods == math.floor((theta[-1] - theta[0]) / TURN)
    assert r.amplitude(64) == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(r.period_means, 1.0, atol=4e-3)


def test_resample_on_angle() -> None:
    theta, x = signal(200_000, 3.0)
    grid = resample_on_angle(theta, x, 500)
    assert grid.shape == (3, 500)
    alpha = 0.4 + TURN * np.arange(500) / 500
    np.testing.assert_allclose(grid[1], 7 + 3 * np.cos(alpha) + 0.5 * np.sin(40 * alpha), atol=1e-5)
    spectrum = order_spectrum(grid.ravel(), periods=3)
    assert abs(spectrum[3]) == pytest.approx(3.0, abs=1e-4)
    assert abs(spectrum[120]) == pytest.approx(0.5, abs=1e-4)
    assert spectrum[0].real == pytest.approx(7.0, abs=1e-4)
    assert np.abs(np.delete(spectrum, [0, 3, 120])).max() < 1e-3


def test_resample_never_bridges_a_hole() -> None:
    theta, x = signal(2000, 3.0)
    with pytest.raises(CoverageError, match="grid spacings"):
        resample_on_angle(np.delete(theta, slice(700, 720)), np.delete(x, slice(700, 720)), 500)
    with pytest.raises(CoverageError):
        resample_on_angle(theta[:500], x[:500], 100)
    theta[900] = theta[898]
    with pytest.raises(SampleError, match="forward at sample 900"):
        resample_on_angle(theta, x, 500)


def test_order_spectrum_of_even_and_odd_length() -> None:
    for n in (64, 65):
        theta = TURN * np.arange(n) / n
        spectrum = order_spectrum(2 + 3 * np.cos(5 * theta - 0.3))
        assert spectrum[0] == pytest.approx(2)
        assert spectrum[5] == pytest.approx(3 * np.exp(-0.3j))
    assert order_spectrum(np.tile([1.0, -1.0], 8))[-1] == pytest.approx(1.0)
    with pytest.raises(AnalysisError):
        order_spectrum(np.zeros(10), periods=3)
