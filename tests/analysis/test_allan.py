"""Allan family: NIST reference data, an independent implementation, merges, gaps, confidence, T-IMU."""

from __future__ import annotations

import pickle

import allantools
import numpy as np
import pytest
from allantools import ci

from verification_platform.analysis.allan import AllanAccumulator, Kind, allan_deviation, rates_from_phase
from verification_platform.analysis.allan_confidence import edf, identify_noise
from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)

from .merging import merged_neighbours

KINDS: tuple[Kind, ...] = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev")


@pytest.fixture(scope="module")
def nbs14() -> np.ndarray:
    """1000 numbers of NIST SP 1065, 12.4 (Park and Miller's generator)."""
    n, values = 1234567890, []
    for _ in range(1000):
        values.append(n / 2147483647)
        n = 16807 * n % 2147483647
    return np.array(values)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("oadev", (0.2922319, 0.09159953, 0.03241343)),
        ("mdev", (0.2922319, 0.06172376, 0.02170921)),
        ("ohdev", (0.2943883, 0.09581083, 0.03237638)),
        ("adev", (0.2922319, 0.09965736, 0.03897804)),
    ],
)
def test_nbs14_of_nist_sp_1065(nbs14: np.ndarray, kind: Kind, expected: tuple[float, ...]) -> None:
    result = allan_deviation(nbs14, 1.0, kind, m=(1, 10, 100))
    assert [f"{d:.7g}" for d in result.deviation] == [f"{e:.7g}" for e in expected]
    if kind == "mdev":
        np.testing.assert_allclose(
            allan_deviation(nbs14, 1.0, "tdev", m=(1, 10, 100)).deviation,
            result.deviation * result.tau_s / np.sqrt(3),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_against_allantools(kind: Kind) -> None:
    rng = np.random.default_rng(1)
    oracle = getattr(allantools, kind)
    cases = 0
    for _ in range(90):
        n = int(rng.integers(8, 2000))
        y = (
            np.cumsum(rng.standard_normal(n)) * rng.uniform(0, 0.1)
            + rng.standard_normal(n)
            + rng.uniform(-9, 9)
        )
        rate = float(10 ** rng.uniform(-2, 3))
        result = allan_deviation(y, 1 / rate, kind)
        taus, deviation, _, terms = oracle(y, rate=rate, data_type="freq", taus=result.tau_s)
        same = np.isin(result.m, np.rint(taus * rate))
        # allantools drops averaging times with a single term
        assert np.all(result.terms[~same] <= 2)
        np.testing.assert_allclose(result.deviation[same], deviation, rtol=1e-9)
        np.testing.assert_array_equal(result.terms[same], terms)
        cases += int(same.sum())
        m = np.unique(rng.integers(1, max(n // 4, 2), 4))
        direct = allan_deviation(y, 1 / rate, kind, m=m.tolist())
        taus, deviation, _, _ = oracle(y, rate=rate, data_type="freq", taus=direct.tau_s)
        np.testing.assert_allclose(
            direct.deviation[np.isin(direct.m, np.rint(taus * rate))], deviation, rtol=1e-9
        )
        cases += len(deviation)
    assert cases > 500  # × 6 kinds


@pytest.mark.parametrize("kind", KINDS)
def test_any_partition_and_merge_tree(kind: Kind) -> None:
    rng = np.random.default_rng(2)
    for case in range(170):
        n = int(rng.integers(8, 3000))
        y = rng.standard_normal(n) + rng.uniform(-3, 3)
        points = (None, 4, 32)[case % 3]
        whole = AllanAccumulator(0.5, kind, points_per_tau=points)
        whole.update(y)
        cuts = np.sort(rng.integers(0, n + 1, 5))
        parts = []
        for begin, end in zip([0, *cuts], [*cuts, n], strict=True):
            part = AllanAccumulator(0.5, kind, points_per_tau=points, start=int(begin))
            for block in np.array_split(y[begin:end], 2):
                part.update(block)
            parts.append(part)
        joined = merged_neighbours(parts, rng)
        one, two = whole.result(), joined.result()
        np.testing.assert_array_equal(one.m, two.m)
        np.testing.assert_array_equal(one.terms, two.terms)
        np.testing.assert_allclose(one.deviation, two.deviation, rtol=1e-12)


@pytest.mark.parametrize("kind", ["adev", "oadev", "mdev", "hdev", "ohdev"])
@pytest.mark.parametrize("points", [None, 4, 32])
def test_long_recording_against_the_definition(kind: Kind, points: int | None) -> None:
    """Enough samples for every buffer to be filled and emptied, in uneven blocks, beginning at an odd sample."""
    rng = np.random.default_rng(10)
    n, start = 600_001, 7
    y = rng.standard_normal(n) + 0.01 * np.cumsum(rng.standard_normal(n))
    accumulator = AllanAccumulator(1.0, kind, points_per_tau=points, start=start)
    for block in np.split(y, np.sort(rng.integers(0, n, 5))):
        accumulator.update(block)
    results = [(accumulator.result(), start, accumulator.points)]
    if points is None:
        results.append((allan_deviation(y, 1.0, kind), 0, accumulator.points))
    phase = np.concatenate(([0.0], np.cumsum(y - y.mean())))
    for result, first, kept in results:
        assert result.m[-1] >= 1 << 17
        for m, deviation, terms in zip(
            result.m.tolist(), result.deviation.tolist(), result.terms.tolist(), strict=True
        ):
            sums = phase[m:] - phase[:-m]
            if kind == "mdev":
                total = np.concatenate(([0.0], np.cumsum(sums)))
                sums = (total[m:] - total[:-m]) / m
            term = sums[m:] - sums[:-m]
            if kind in ("hdev", "ohdev"):
                term = term[m:] - term[:-m]
            stride = 1 if kept is None else max(1, m // kept)
            term = term[-first % stride :: stride]
            assert len(term) == terms
            scale = 6 if kind in ("hdev", "ohdev") else 2
            assert deviation == pytest.approx(np.sqrt(np.mean(term**2) / scale) / m, rel=1e-11)


def test_a_sample_that_is_not_finite_is_named_wherever_it_is() -> None:
    for at in (0, 1, 5000, 299_999):
        for bad in (np.nan, np.inf):
            y = np.ones(300_000)
            y[at] = bad
            for kind in KINDS:
                with pytest.raises(NotFiniteError, match=rf"\[{at}\]"):
                    AllanAccumulator(1.0, kind, start=3).update(y)
    accumulator = AllanAccumulator(1.0)
    accumulator.update([1.0, 2.0])
    with pytest.raises(NotFiniteError, match=r"\[2\]"):
        accumulator.update([np.nan])
    assert accumulator.n == 2
    accumulator.update([3.0])
    assert accumulator.result().terms[0] == 2


def test_merge_of_a_part_that_starts_late() -> None:
    y = np.random.default_rng(3).standard_normal(5000)
    first = AllanAccumulator(1.0, start=777)
    first.update(y[:1500])
    second = AllanAccumulator(1.0, start=777 + 1500)
    second.update(y[1500:])
    whole = AllanAccumulator(1.0, start=777)
    whole.update(y)
    first.merge(second)
    np.testing.assert_allclose(first.result().deviation, whole.result().deviation, rtol=1e-12)


def test_bounded_memory_estimator_is_labelled_and_close() -> None:
    y = np.random.default_rng(4).standard_normal(400_000)
    exact = allan_deviation(y, 1.0)
    bounded = allan_deviation(y, 1.0, points_per_tau=32)
    assert exact.estimator == "overlapping"
    assert bounded.estimator == "overlapping, stride m/32"
    np.testing.assert_allclose(bounded.deviation[:6], exact.deviation[:6], rtol=1e-12)
    many = bounded.terms >= 100 * 32
    np.testing.assert_allclose(bounded.deviation[many], exact.deviation[many], rtol=0.01)


def test_gaps_are_never_bridged() -> None:
    rng = np.random.default_rng(5)
    y = rng.standard_normal(5000)
    y[[1200, 1201, 4000]] = np.nan
    with pytest.raises(NotFiniteError, match=r"\[1200\]"):
        allan_deviation(y, 1.0)
    longest = allan_deviation(y, 1.0, gaps="longest")
    np.testing.assert_array_equal(longest.deviation, allan_deviation(y[1202:4000], 1.0).deviation)
    pooled = allan_deviation(y, 1.0, gaps="pool")
    parts = [allan_deviation(p, 1.0) for p in (y[:1200], y[1202:4000], y[4001:])]
    assert pooled.terms[3] == sum(p.terms[3] for p in parts)
    squares = sum(p.deviation[3] ** 2 * p.terms[3] for p in parts)
    assert pooled.deviation[3] ** 2 * pooled.terms[3] == pytest.approx(squares, rel=1e-12)
    with pytest.raises(NotEnoughDataError):
        allan_deviation(np.full(5, np.nan), 1.0, gaps="pool")


def test_degrees_of_freedom_against_allantools() -> None:
    rng = np.random.default_rng(6)
    checked = 0
    while checked < 1000:
        alpha, d = int(rng.integers(-2, 3)), int(rng.integers(2, 4))
        modified = bool(rng.integers(0, 2)) and d == 2
        overlapping = modified or bool(rng.integers(0, 2))
        m = int(2 ** rng.uniform(0, 9))
        n_phase = int(m * (d + 1) * 10 ** rng.uniform(0.3, 3))
        try:
            reference = ci.edf_greenhall(alpha, d, m, n_phase, overlapping=overlapping, modified=modified)
        except NotImplementedError:
            continue
        mine = edf(alpha, d, m, n_phase, points=None if overlapping else 1, modified=modified)
        assert mine == pytest.approx(max(reference, 1.0), rel=0.06)
        checked += 1


def test_confidence_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(7)
    inside = np.zeros(8)
    for _ in range(300):
        result = allan_deviation(rng.standard_normal(1024), 1.0, confidence=0.9)
        truth = 1 / np.sqrt(result.m[:8])
        inside += (result.low[:8] <= truth) & (truth <= result.high[:8])
    assert np.all(inside / 300 > 0.82)
    assert np.all(inside[:6] / 400 < 0.95)


@pytest.mark.parametrize("alpha", [2, 1, 0, -1, -2])
def test_noise_is_identified(alpha: int) -> None:
    rng = np.random.default_rng(8)
    n = 1 << 15
    spectrum = np.fft.rfft(rng.standard_normal(2 * n))
    f = np.arange(1, len(spectrum))
    spectrum[1:] *= f ** (alpha / 2)
    spectrum[0] = 0
    y = np.fft.irfft(spectrum)[:n]
    for m in (1, 8, 64):
        assert identify_noise(y, m) == alpha
    if alpha <= 0:
        assert identified_while_streaming(y)[3:7].tolist() == [alpha] * 4


def identified_while_streaming(y: np.ndarray) -> np.ndarray:
    accumulator = AllanAccumulator(1.0)
    accumulator.update(y)
    return accumulator.result().noise


def test_phase_input() -> None:
    y = np.random.default_rng(9).standard_normal(100)
    phase = np.concatenate(([0.0], np.cumsum(y))) * 0.25
    np.testing.assert_allclose(rates_from_phase(phase, 0.25), y)


def test_refusals() -> None:
    with pytest.raises(NotEnoughDataError):
        AllanAccumulator(1.0).result()
    with pytest.raises(NotEnoughDataError):
        allan_deviation([1.0], 1.0)
    with pytest.raises(AnalysisError, match="interval"):
        AllanAccumulator(0.0)
    with pytest.raises(AnalysisError, match="power of two"):
        AllanAccumulator(1.0, points_per_tau=3)
    with pytest.raises(AnalysisError, match="none of"):
        AllanAccumulator(1.0, "xdev")  # type: ignore[arg-type]
    a, b = AllanAccumulator(1.0), AllanAccumulator(1.0, start=5)
    a.update(np.zeros(4))
    b.update(np.zeros(4))
    with pytest.raises(NotMergeableError, match="gap"):
        a.merge(b)
    with pytest.raises(AnalysisError, match="confidence"):
        allan_deviation(np.arange(9.0), 1.0, confidence=1.0)


@pytest.mark.parametrize("points", [None, 1, 32])
@pytest.mark.parametrize("signal", ["noise", "offset", "walk", "walk and noise", "step", "glitch", "tone"])
def test_whole_numbers_against_whole_number_arithmetic(signal: str, points: int | None) -> None:
    """Where the squares of the sums serve and where they would cost digits: the terms say the same, exactly."""
    rng = np.random.default_rng(11)
    n = 400_001
    y = rng.integers(-50, 51, n)
    if signal == "offset":
        y += 1 << 30
    elif signal == "walk":
        y = np.cumsum(rng.integers(-1, 2, n))
    elif signal == "walk and noise":
        y += np.cumsum(rng.integers(-1, 2, n)) // 16
    elif signal == "step":
        y[n // 2 :] += 5000
    elif signal == "glitch":
        y[n // 2] += 1_000_000
    elif signal == "tone":
        y += np.rint(4000 * np.sin(np.arange(n) * 0.003)).astype(np.int64)
    accumulator = AllanAccumulator(1.0, points_per_tau=points)
    for block in np.split(y, [3, 150_000, 150_700, 160_000]):
        accumulator.update(block)
    result = accumulator.result()
    phase = np.concatenate(([0], np.cumsum(y)))
    for m, deviation, terms in zip(
        result.m.tolist(), result.deviation.tolist(), result.terms.tolist(), strict=True
    ):
        sums = phase[m:] - phase[:-m]
        term = (sums[m:] - sums[:-m])[:: 1 if points is None else max(1, m // points)]
        assert len(term) == terms
        mean = int(np.sum(term.astype(object) ** 2)) / terms if m > 1024 else int(np.sum(term**2)) / terms
        assert deviation == pytest.approx(np.sqrt(mean / 2) / m, rel=2e-14)


def test_a_constant_rate_has_no_deviation() -> None:
    accumulator = AllanAccumulator(1.0)
    accumulator.update(np.full(300_000, 0.1))
    assert np.all(accumulator.result().deviation[:10] == 0.0)


@pytest.mark.parametrize("kind", ["oadev", "mdev", "ohdev"])
@pytest.mark.parametrize("points", [None, 32])
def test_a_copy_goes_on_like_the_original(kind: Kind, points: int | None) -> None:
    y = np.random.default_rng(12).standard_normal(600_000) + 3
    accumulator = AllanAccumulator(1.0, kind, points_per_tau=points)
    copied = AllanAccumulator(1.0, kind, points_per_tau=points)
    for block in np.split(y, 4):
        accumulator.update(block)
        copied.update(block)
        copied = pickle.loads(pickle.dumps(copied))
    np.testing.assert_array_equal(copied.result().deviation, accumulator.result().deviation)
