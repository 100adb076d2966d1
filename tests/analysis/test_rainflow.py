"""Rainflow: the standard's examples, an independent implementation, and merges of any partition."""

from __future__ import annotations

import numpy as np
import pytest
import rainflow as oracle

from verification_platform.analysis.damage import SNCurve
from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)
from verification_platform.analysis.rainflow import (
    RainflowCounter,
    count_cycles,
    rainflow,
    rainflow_table,
)
from verification_platform.analysis.rainflow_result import RainflowResult

from .merging import merged_neighbours

ASTM = [-2, 1, -3, 5, -1, 3, -4, 4, -2]


def test_example_of_astm_e1049() -> None:
    assert count_cycles(ASTM) == {3.0: 0.5, 4.0: 1.5, 6.0: 0.5, 8.0: 1.0, 9.0: 0.5}


def test_second_reference_answer() -> None:
    signal = [2, -14, 10, 0, 13, -9, 11, -8, 8, -9, 15, -4, 10, 0, 13, 0]
    assert count_cycles(signal) == {10: 2, 13: 0.5, 16: 1.5, 17: 0.5, 19: 0.5, 20: 1, 22: 1, 29: 0.5}


def signal_of_kind(rng: np.random.Generator, kind: int, n: int) -> np.ndarray:
    if kind == 0:
        return rng.standard_normal(n)
    if kind == 1:
        return rng.integers(-4, 5, n).astype(float)  # plateaus and equal ranges
    if kind == 2:
        return np.cumsum(rng.integers(-1, 2, n)).astype(float)
    if kind == 3:  # nested loops
        return (-1.0) ** np.arange(n) * np.abs(np.sin(np.arange(n) * rng.uniform(0.01, 0.5)))
    if kind == 4:
        return (-1.0) ** np.arange(n) * np.abs(np.cumsum(rng.standard_normal(n)))
    return np.sin(np.arange(n) * rng.uniform(0.1, 3)) * np.sin(np.arange(n) * rng.uniform(0.001, 0.1))


KINDS = 6


def histogram(ranges: np.ndarray, counts: np.ndarray) -> list[tuple[float, float]]:
    """Sorted (range, count) with equal ranges added; ranges rounded where two subtractions may differ."""
    values, inverse = np.unique(np.round(ranges, 9), return_inverse=True)
    return list(zip(values.tolist(), np.bincount(inverse, counts).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_independent_implementation(seed: int) -> None:
    rng = np.random.default_rng([1, seed])
    for case in range(120):
        x = signal_of_kind(rng, case % KINDS, int(rng.integers(3, 300)))
        if (x == x[0]).all():
            continue
        reference = np.array(list(oracle.extract_cycles(x)))
        mine = rainflow_table(x)
        real = reference[:, 0] > 0  # a signal that starts or ends on a plateau
        assert histogram(mine.range, mine.count) == histogram(reference[real, 0], reference[real, 2])
        keyed = np.round(mine.range * 1e6) + 1j * np.round(mine.mean * 1e6)
        theirs = np.round(reference[real, 0] * 1e6) + 1j * np.round(reference[real, 1] * 1e6)
        for pair in np.unique(theirs):
            assert mine.count[keyed == pair].sum() == reference[real, 2][theirs == pair].sum()


@pytest.mark.parametrize("seed", range(5))
def test_indices_agree_with_independent_implementation(seed: int) -> None:
    rng = np.random.default_rng([2, seed])
    for _ in range(60):
        x = np.repeat(
            rng.standard_normal(rng.integers(4, 80)), rng.integers(1, 4)
        )  # plateaus, no equal ranges
        if seed % 2:
            x = x[: len(x) - int(rng.integers(0, 2))]
        mine = rainflow_table(x)
        reference = [c for c in oracle.extract_cycles(x) if c[0] > 0]
        rows = set(zip(mine.count.tolist(), mine.start.tolist(), mine.end.tolist(), strict=True))
        assert rows == {(count, start, end) for _, _, count, start, end in reference}
        np.testing.assert_allclose(mine.range, np.abs(x[mine.start] - x[mine.end]), atol=1e-15)
        np.testing.assert_allclose(mine.mean, (x[mine.start] + x[mine.end]) / 2, atol=1e-15)


def cells(result: RainflowResult) -> dict[tuple[int, int], float]:
    assert result.matrix is not None
    return {(i, result.first_mean + j): c for (i, j), c in np.ndenumerate(result.matrix) if c}


def same(a: RainflowCounter, b: RainflowCounter) -> None:
    one, two = a.result(), b.result()
    assert one.n_samples == two.n_samples
    assert one.cycles == two.cycles
    np.testing.assert_array_equal(one.counts, two.counts)
    np.testing.assert_array_equal(one.residue, two.residue)
    assert cells(one) == cells(two)
    assert one.damage == pytest.approx(two.damage, rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("table", [False, True])
def test_any_partition_and_merge_tree_is_exact(seed: int, table: bool) -> None:
    rng = np.random.default_rng([3, seed])
    curve = SNCurve(knee_range=1.0, knee_cycles=1e6, k=5.0, k_below=9.0)
    for case in range(60):
        x = signal_of_kind(rng, case % KINDS, int(rng.integers(1, 400)))

        def new() -> RainflowCounter:
            return RainflowCounter(0.25, 0.5, damage=curve, table=table)

        whole = new()
        whole.update(x)
        cuts = np.sort(rng.integers(0, len(x) + 1, int(rng.integers(0, 8))))
        parts = []
        for piece in np.split(x, cuts):
            part = new()
            for block in np.array_split(piece, int(rng.integers(1, 4))):
                part.update(block)
            parts.append(part)
        joined = merged_neighbours(parts, rng)
        same(joined, whole)
        if table:
            one, two = joined.result().table, whole.result().table
            assert one is not None
            assert two is not None
            assert histogram(one.range, one.count) == histogram(two.range, two.count)
            np.testing.assert_allclose(one.range, np.abs(x[one.start] - x[one.end]), atol=1e-12)


def test_long_signal_in_blocks_crosses_the_buffer() -> None:
    rng = np.random.default_rng(5)
    n = 400_000
    t = np.arange(n)
    for x in (
        rng.standard_normal(n),
        (-1.0) ** t * np.abs(np.sin(np.pi * t / 2000)),
        (-1.0) ** t * (n - t),  # shrinks all the time: everything stays open
        (-1.0) ** t * 1.0,  # constant amplitude
        np.round(np.cumsum(rng.standard_normal(n))),
    ):
        whole, blocks = RainflowCounter(0.1 * np.ptp(x)), RainflowCounter(0.1 * np.ptp(x))
        whole.update(x)
        for start in range(0, n, 77_777):
            later = RainflowCounter(0.1 * np.ptp(x))
            later.update(x[start : start + 77_777])
            blocks.merge(later)
        one, two = whole.result(), blocks.result()
        np.testing.assert_array_equal(one.counts, two.counts)
        np.testing.assert_array_equal(one.residue, two.residue)
        turning = 1 + np.count_nonzero(np.diff(np.sign(np.diff(x))[np.diff(x) != 0]))
        assert 2 * one.cycles == turning  # every range is counted once, as a half cycle at least


def test_result_may_be_asked_at_any_time() -> None:
    counter = RainflowCounter(1.0)
    for value in ASTM:
        counter.update([value])
        counter.result()
    np.testing.assert_array_equal(counter.result().counts, [0, 0, 0, 0.5, 1.5, 0, 0.5, 0, 1, 0.5])


def test_classes_bound_the_residue() -> None:
    n = 100_000
    x = (-1.0) ** np.arange(n) * np.linspace(1, 0, n)
    result = rainflow(x, 0.01, class_width=0.01)
    assert len(rainflow(x, 0.01).residue) > n - 2
    assert len(result.residue) <= 2 * 201 - 1
    assert 2 * result.cycles == pytest.approx(n, rel=0.02)


def test_range_mean_matrix_of_the_standard_example() -> None:
    assert cells(rainflow(ASTM, 1.0, 0.5)) == {
        (3, -1): 0.5,
        (4, -2): 0.5,
        (4, 2): 1.0,
        (6, 2): 0.5,
        (8, 0): 0.5,
        (8, 2): 0.5,
        (9, 1): 0.5,
    }


@pytest.mark.parametrize("x", [[1.0], [1.0, 1.0, 1.0]])
def test_no_range_no_cycle(x: list[float]) -> None:
    result = rainflow(x, 1.0)
    assert result.cycles == 0
    assert result.residue.tolist() == [1.0]
    assert len(rainflow_table(x)) == 0


def test_two_samples_are_a_half_cycle() -> None:
    assert count_cycles([0.0, 2.0]) == {2.0: 0.5}


def test_refusals() -> None:
    with pytest.raises(NotFiniteError, match=r"samples\[40002\]"):
        rainflow(np.append(np.zeros(40002), np.nan), 1.0)
    with pytest.raises(NotEnoughDataError):
        rainflow([], 1.0)
    with pytest.raises(AnalysisError, match="width"):
        RainflowCounter(0.0)
    with pytest.raises(AnalysisError, match="larger"):
        rainflow([0.0, 1.0, 0.0], 1e-9)
    with pytest.raises(NotMergeableError):
        RainflowCounter(1.0).merge(RainflowCounter(2.0))
    with pytest.raises(AnalysisError, match="dimension"):
        rainflow(np.zeros((2, 2)), 1.0)


def test_edges_enclose_what_was_counted() -> None:
    x = np.array([0.0, 5.0, 1.0, 4.0, 2.0, 9.0, 0.0])
    result, table = rainflow(x, 1.5, mean_width=2.0), rainflow_table(x)
    assert len(result.range_edges) == len(result.counts) + 1
    counted, _ = np.histogram(table.range, result.range_edges, weights=table.count)
    np.testing.assert_array_equal(counted, result.counts)
    assert result.matrix is not None
    both, _, _ = np.histogram2d(
        table.range, table.mean, (result.range_edges, result.mean_edges), weights=table.count
    )
    np.testing.assert_array_equal(both, result.matrix)
    with pytest.raises(AnalysisError, match="give mean_width"):
        _ = rainflow(x, 1.5).mean_edges
