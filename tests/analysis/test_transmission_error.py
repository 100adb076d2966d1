"""Transmission error: T-TE of the protocol specification, edge cases and merging."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotFiniteError, NotMergeableError
from verification_platform.analysis.samples import CoverageError, SampleError, UndersampledError
from verification_platform.analysis.transmission_error import TransmissionError, transmission_error
from verification_platform.analysis.transmission_error_result import TransmissionErrorResult, both_directions

ARCSEC = math.pi / 180 / 3600
Arrays = tuple[np.ndarray, np.ndarray]


def gear(
    n: int,
    turns: float = 1.0,
    *,
    ratio: float = 100.0,
    sense: int = 1,
    lines: tuple[tuple[int, float, float], ...] = ((1, 20.0, 0.3), (200, 8.0, 0.0)),
    noise: float = 0.0,
    ramp: float = 0.0,
    start: float = 0.0,
    seed: int = 1,
) -> Arrays:
    """θ₁ and θ₂ (rad) with e(θ₂) = 5″ + Σ A sin(qθ₂ + φ) exactly; `ramp` in arcsec per revolution."""
    theta2 = start + 2 * math.pi * turns * np.arange(n) / n
    e = 5.0 + sum(a * np.sin(q * theta2 + p) for q, a, p in lines) + ramp * (theta2 - start) / (2 * math.pi)
    noisy = theta2 + noise * ARCSEC * np.random.default_rng(seed).standard_normal(n)
    return (theta2 - e * ARCSEC) * ratio / sense, noisy


def arcsec(value: float | None) -> float:
    assert value is not None
    return value / ARCSEC


def test_T_TE() -> None:
    r = transmission_error(*gear(36000), 100, 1, (1, 200))
    assert arcsec(r.pp_rad) == pytest.approx(55.999, abs=0.05)
    assert arcsec(r.rms_rad) == pytest.approx(15.2315, abs=0.005)
    assert arcsec(r.order(1).amplitude_rad) == pytest.approx(20.0, abs=0.01)
    assert arcsec(r.order(200).amplitude_rad) == pytest.approx(8.0, abs=0.01)
    assert r.order(1).phase_rad == pytest.approx(0.3, abs=1e-4)
    assert r.order(200).phase_rad == pytest.approx(0.0, abs=1e-3)
    assert [line.order for line in r.top[:2]] == [1, 200]
    assert len(r.top) == 10
    assert (r.revolutions, r.samples, r.unused_samples) == (1, 36000, 0)
    assert arcsec(r.mean_rad) == pytest.approx(5.0, abs=1e-3)


def test_T_TE_as_a_function_of_the_commanded_angle() -> None:
    """The same vector with e written over θ₁/i, as a bench that commands the input would generate it."""
    theta = 2 * np.pi * np.arange(36000) / 36000
    e = (5 + 20 * np.sin(theta + 0.3) + 8 * np.sin(200 * theta)) * ARCSEC
    r = transmission_error(100 * theta, theta + e, 100, 1, (1, 200))
    assert arcsec(r.pp_rad) == pytest.approx(55.999, abs=0.05)
    assert arcsec(r.rms_rad) == pytest.approx(15.2315, abs=0.005)
    assert arcsec(r.order(1).amplitude_rad) == pytest.approx(20.0, abs=0.01)
    assert arcsec(r.order(200).amplitude_rad) == pytest.approx(8.0, abs=0.01)


def test_T_TE_undersampled() -> None:
    with pytest.raises(UndersampledError, match="undersampled for order 200"):
        transmission_error(*gear(360), 100, 1, (1, 200))


def test_the_stated_number_of_samples_is_just_enough() -> None:
    r = transmission_error(*gear(4000), 100, 1, (1, 200))
    assert arcsec(r.order(200).amplitude_rad) == pytest.approx(8.0, abs=0.01)
    with pytest.raises(UndersampledError):
        transmission_error(*gear(3990), 100, 1, (1, 200))


@pytest.mark.parametrize("n", [36000, 36001, 37123, 4096 * 9, 8192 * 5])
@pytest.mark.parametrize("start", [0.0, 1.234, -200.5])
def test_sampling_commensurate_with_the_rotation_changes_nothing(n: int, start: float) -> None:
    r = transmission_error(
        *gear(n, start=start, lines=((1, 20.0, 0.3), (2, 5.0, 1.0), (200, 8.0, -0.7))), 100, 1, (1, 2, 200)
    )
    assert arcsec(r.order(1).amplitude_rad) == pytest.approx(20.0, abs=2e-3)
    assert arcsec(r.order(2).amplitude_rad) == pytest.approx(5.0, abs=2e-3)
    assert arcsec(r.order(200).amplitude_rad) == pytest.approx(8.0, abs=2e-3)
    assert r.order(200).phase_rad == pytest.approx(-0.7, abs=1e-3)


@pytest.mark.parametrize(("turns", "sense"), [(1.0, 1), (-1.0, 1), (2.5, -1), (-2.5, -1)])
def test_drive_and_output_may_turn_either_way(turns: float, sense: int) -> None:
    lines = ((1, 20.0, 0.3), (200, 8.0, 0.9))
    r = transmission_error(
        *gear(int(36000 * abs(turns)), turns, sense=sense, start=0.4, lines=lines), 100, sense, (1, 200)
    )
    assert r.direction == np.sign(turns)
    assert arcsec(r.order(1).amplitude_rad) == pytest.approx(20.0, abs=0.005)
    assert r.order(1).phase_rad == pytest.approx(0.3, abs=1e-3)
    assert r.order(200).phase_rad == pytest.approx(0.9, abs=1e-3)
    expected = sum(a * np.sin(q * r.theta_rad + p) for q, a, p in lines)
    np.testing.assert_allclose(r.curve_rad / ARCSEC, expected, atol=0.02)
    assert np.all(np.diff(r.theta_rad) > 0)


def test_uneven_speed_does_not_falsify_the_orders() -> None:
    n = 80000
    theta2 = np.cumsum(1 + 0.5 * np.sin(np.arange(n) / n * 2 * np.pi * 3))
    theta2 *= 4.2 * np.pi / theta2[-1]
    e = (20 * np.sin(theta2) + 8 * np.sin(200 * theta2)) * ARCSEC
    r = transmission_error((theta2 - e) * 100, theta2, 100, 1, (1, 200))
    assert arcsec(r.order(1).amplitude_rad) == pytest.approx(20.0, abs=2e-3)
    assert arcsec(r.order(200).amplitude_rad) == pytest.approx(8.0, abs=2e-3)


def test_noise_neither_inflates_nor_hides() -> None:
    """TE_pp unbiased and its stated noise right, over 60 seeded runs at a noise of 1″."""
    true = arcsec(transmission_error(*gear(36000), 100, 1, (1, 200)).pp_rad)
    results = [transmission_error(*gear(36000, noise=1.0, seed=k), 100, 1, (1, 200)) for k in range(60)]
    pp = np.array([arcsec(r.pp_rad) for r in results])
    raw = np.array([arcsec(r.pp_rad + r.pp_bias_rad) for r in results])
    stated = np.mean([arcsec(r.pp_noise_rad) for r in results])
    assert pp.std(ddof=1) == pytest.approx(stated, rel=0.35)
    assert abs(pp.mean() - true) < 0.05
    assert raw.mean() - true > abs(pp.mean() - true)
    assert np.mean([arcsec(r.noise_rad) for r in results]) == pytest.approx(1.0, rel=0.02)
    amplitude = np.array([arcsec(r.order(200).amplitude_rad) for r in results])
    assert amplitude.std(ddof=1) == pytest.approx(arcsec(results[0].order(200).u_rad), rel=0.35)


@pytest.mark.parametrize("turns", [1, 3])
def test_a_ramp_is_reported_and_not_hidden(turns: int) -> None:
    r = transmission_error(
        *gear(36000 * turns, turns, ramp=30.0, lines=((200, 8.0, 0.0),), noise=0.2), 100, 1, (1, 200)
    )
    assert arcsec(r.closure_rad) == pytest.approx(30.0, abs=0.5)
    assert arcsec(r.pp_rad) == pytest.approx(46.0, abs=0.5)


def test_a_wrong_ratio_shows_as_a_ramp() -> None:
    theta1, theta2 = gear(72000, 2, noise=0.2)
    r = transmission_error(theta1, theta2, 100.001, 1, (1, 200))
    assert r.closure_rad == pytest.approx(2 * math.pi * 0.001 / 100, rel=1e-2)


def test_no_ramp_no_closure() -> None:
    r = transmission_error(*gear(90000, 2.5, noise=0.5), 100, 1, (1, 200))
    assert r.revolutions == 2
    assert r.unused_samples == pytest.approx(18000, abs=64)
    assert abs(arcsec(r.closure_rad)) < 4 * arcsec(r.closure_noise_rad)
    assert arcsec(r.closure_noise_rad) < 0.02


def test_limited_travel_states_the_range() -> None:
    r = transmission_error(*gear(20000, 0.4, lines=((200, 8.0, 0.0), (2, 10.0, 0.0))), 100, 1, (1, 200))
    theta = np.linspace(0, 0.8 * np.pi, 200000)
    e = 8 * np.sin(200 * theta) + 10 * np.sin(2 * theta)
    assert math.degrees(r.range_rad) == pytest.approx(144, abs=0.3)
    assert r.revolutions == 0
    assert r.closure_rad is None
    assert r.orders == ()
    assert arcsec(r.pp_rad) == pytest.approx(np.ptp(e), rel=0.02)


def random_split(rng: np.random.Generator, n: int, parts: int) -> list[int]:
    return [0, *sorted(rng.choice(np.arange(1, n), parts - 1, replace=False)), n]


@pytest.mark.parametrize("seed", range(12))
def test_any_partition_and_merge_tree_gives_the_single_pass_result(seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta1, theta2 = gear(110_000, 2.6, noise=0.5, seed=seed, sense=-1)
    whole = TransmissionError(100, -1, (1, 200))
    whole.update(theta1, theta2)
    cuts = random_split(rng, theta2.size - 10000, int(rng.integers(2, 12)))
    first = TransmissionError(100, -1, (1, 200))
    first.update(theta1[:10000], theta2[:10000])
    pieces = [first]
    for a, b in itertools.pairwise(cuts):
        piece = first.fork(10000 + a)
        for lo, hi in itertools.pairwise(sorted({a, *rng.integers(a, b, 3), b})):
            piece.update(theta1[10000 + lo : 10000 + hi], theta2[10000 + lo : 10000 + hi])
        pieces.append(piece)
    while len(pieces) > 1:
        i = int(rng.integers(0, len(pieces) - 1))
        pieces[i].merge(pieces[i + 1])
        del pieces[i + 1]
    one, many = whole.result(), pieces[0].result()
    assert (many.samples, many.revolutions, many.unused_samples) == (
        one.samples,
        one.revolutions,
        one.unused_samples,
    )
    np.testing.assert_allclose(many.spectrum_rad, one.spectrum_rad, rtol=0, atol=1e-12 * one.pp_rad)
    assert many.pp_rad == pytest.approx(one.pp_rad, rel=1e-9)
    assert many.closure_rad == pytest.approx(one.closure_rad, abs=1e-12 * one.pp_rad)


@pytest.mark.parametrize(("order", "bound"), [(100, 2e-4), (200, 3e-3), (250, 8e-3)])
@pytest.mark.parametrize("ripple", [0.0, 0.05])
def test_peak_to_peak_of_every_revolution(order: int, bound: float, ripple: float) -> None:
    """Found quickly after the first four, with more and fewer groups in a bin than the average; 8 bins a cycle at 250."""
    turned = np.arange(400_000) * (2 * math.pi / 40_000.37)
    theta2 = turned + ripple * np.sin(3 * turned)
    e = np.sin(order * theta2 + 0.3) * ARCSEC
    r = transmission_error((theta2 - e) * 100, theta2, 100, 1, (1, 200), max_order=250)
    assert r.revolutions == 9
    np.testing.assert_allclose(r.pp_per_revolution_rad / ARCSEC, 2.0, atol=2 * bound)


def test_result_does_not_end_the_stream() -> None:
    theta1, theta2 = gear(80_000, 2.2)
    stream = TransmissionError(100, 1, (1, 200))
    stream.update(theta1[:40_001], theta2[:40_001])
    assert stream.result().revolutions == 1
    stream.update(theta1[40_001:], theta2[40_001:])
    assert stream.result().revolutions == 2


def both() -> dict[int, TransmissionErrorResult]:
    forward = transmission_error(*gear(36000), 100, 1, (1, 200))
    theta1, theta2 = gear(36000, -1.0, lines=((1, 10.0, 0.3), (200, 8.0, 0.0)))
    return {1: forward, -1: transmission_error(theta1 - 100 * 60 * ARCSEC, theta2, 100, 1, (1, 200))}


def test_both_directions() -> None:
    out = both_directions(both())
    assert arcsec(out.pp_max_rad) == pytest.approx(55.999, abs=0.05)
    assert arcsec(out.pp_bidirectional_rad) == pytest.approx(55.999, abs=0.05)
    assert arcsec(out.reversal_offset_rad) == pytest.approx(60.0, abs=0.01)
    with pytest.raises(AnalysisError):
        both_directions({1: both()[1]})


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"ratio": -100.0}, AnalysisError),
        ({"ratio": math.nan}, AnalysisError),
        ({"ratio": 100.0, "sense": 0}, AnalysisError),
        ({"ratio": 100.0, "orders": ()}, AnalysisError),
        ({"ratio": 100.0, "orders": (1.5,)}, AnalysisError),
        ({"ratio": 100.0, "orders": (200,), "max_order": 100}, AnalysisError),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, error: type[Exception]) -> None:  # type: ignore[type-arg]
    with pytest.raises(error):
        TransmissionError(**settings)


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("at", [0, 17, 35000])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_refused_with_its_place(column: int, at: int, value: float) -> None:
    arrays = gear(36000)
    arrays[column][at] = value
    with pytest.raises(NotFiniteError, match=rf"\[{at}\]"):
        transmission_error(*arrays, 100, 1, (1, 200))


def test_a_hole_in_the_revolution_is_refused() -> None:
    theta1, theta2 = gear(36000)
    keep = np.r_[0:10000, 10200:36000]
    with pytest.raises(CoverageError, match="hole"):
        transmission_error(theta1[keep], theta2[keep], 100, 1, (1, 200))


def test_standing_still_and_unequal_blocks_are_refused() -> None:
    with pytest.raises(CoverageError):
        transmission_error(np.zeros(1000), np.zeros(1000), 100, 1, (1, 200))
    with pytest.raises(CoverageError):
        transmission_error(np.zeros(0), np.zeros(0), 100, 1, (1, 200))
    with pytest.raises(SampleError):
        transmission_error(np.zeros(10), np.zeros(11), 100, 1, (1, 200))


def test_only_forks_merge() -> None:
    a, b = TransmissionError(100, 1, (1, 200)), TransmissionError(100, 1, (1, 200))
    a.update(*gear(36000))
    b.update(*gear(36000, start=1.0))
    with pytest.raises(NotMergeableError):
        a.merge(b)
    with pytest.raises(CoverageError):
        TransmissionError(100).fork(5)
