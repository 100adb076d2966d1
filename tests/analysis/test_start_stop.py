"""T-END, merges of any partition, motions that reverse without a pause."""

from __future__ import annotations

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotFiniteError, NotMergeableError
from verification_platform.analysis.start_stop import StartStopCount, StartStopCounter, count_start_stop

from .merging import merged_neighbours


def trapezoids(count: int, rng: np.random.Generator, wiggle: bool = False) -> np.ndarray:
    up = np.linspace(0, 1, 30)
    half = np.concatenate((np.zeros(60), up, np.ones(80), up[::-1]))
    rest = 0.05 * np.sin(np.arange(400) * 0.1) if wiggle else np.zeros(60)
    one = np.concatenate((half, rest, -half, rest))
    return 3000 * (np.tile(one, count) + 0.005 * rng.standard_normal(count * len(one)))


@pytest.mark.parametrize("wiggle", [False, True])
def test_T_END(wiggle: bool) -> None:
    got = count_start_stop(trapezoids(100, np.random.default_rng(1), wiggle), 3000.0)
    assert (got.cycles, got.half_cycles, got.positive, got.negative) == (100, 200, 100, 100)
    assert not got.moving


def naive(speed: np.ndarray, rated: float) -> StartStopCount:
    """State machine, sample by sample."""
    state, counts = None, {1: 0, -1: 0}
    for k in range(4, len(speed)):
        mean = speed[k - 4 : k + 1].mean() / rated
        new = 1 if mean > 0.1 else -1 if mean < -0.1 else 0 if abs(mean) < 0.01 else None
        if new is None:
            continue
        if state is not None and new not in (0, state):
            counts[new] += 1
        state = new
    return StartStopCount(counts[1], counts[-1], state not in (None, 0))


def test_against_a_state_machine_for_any_partition_and_merge_tree() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        n = int(rng.integers(0, 200))
        speed = np.repeat(rng.choice([-1.0, -0.05, 0.0, 0.0, 0.04, 0.12, 1.0], n), rng.integers(1, 8, n))
        expected = naive(speed, 1.0)
        assert count_start_stop(speed, 1.0) == expected
        parts = []
        for piece in np.split(speed, np.sort(rng.integers(0, len(speed) + 1, 6))):
            part = StartStopCounter(1.0)
            part.update(piece)
            parts.append(part)
        joined = merged_neighbours(parts, rng)
        assert joined.result() == expected
        assert joined.n == len(speed)


def test_motion_under_way_at_the_beginning_is_no_start() -> None:
    assert count_start_stop(np.ones(50), 1.0).half_cycles == 0
    assert count_start_stop(np.ones(50), 1.0).moving
    assert count_start_stop(np.concatenate((np.zeros(9), np.ones(50))), 1.0).half_cycles == 1


def test_reversal_without_pause_counts() -> None:
    speed = np.repeat([0.0, 1, -1, 1, -1, 0], 50)
    assert count_start_stop(speed, 1.0) == StartStopCount(2, 2, False)


def test_refusals() -> None:
    with pytest.raises(NotFiniteError):
        count_start_stop([0.0, np.nan], 1.0)
    with pytest.raises(AnalysisError):
        StartStopCounter(0.0)
    with pytest.raises(AnalysisError):
        StartStopCounter(1.0, rest=0.2)
    with pytest.raises(NotMergeableError):
        StartStopCounter(1.0).merge(StartStopCounter(2.0))
