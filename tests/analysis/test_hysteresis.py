"""Hysteresis loop: T-HYS of the protocol specification, noise, refusals and merging."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotFiniteError, NotMergeableError
from verification_platform.analysis.hysteresis import Hysteresis, hysteresis, wind_up
from verification_platform.analysis.hysteresis_result import HysteresisResult
from verification_platform.analysis.samples import CoverageError

ARCMIN = math.pi / 180 / 60
ARCSEC = ARCMIN / 60
T_N, T_1, T_2 = 100.0, 14.0, 48.0
K = (1.0e4, 1.5e4, 2.0e4)
TRUE_K_BA = 2.0e4
W_TRUE = 0.6 * ARCMIN * 4 / 3 * T_N


def elastic(torque: np.ndarray) -> np.ndarray:
    a = np.abs(torque)
    steps = np.minimum(a, T_1) / K[0] + np.clip(a - T_1, 0, T_2 - T_1) / K[1] + np.maximum(a - T_2, 0) / K[2]
    return np.sign(torque) * steps


def loop(
    n: int = 4001,
    *,
    loops: float = 1.0,
    start: int = 1,
    amplitude: float = T_N,
    torque_noise: float = 0.0,
    angle_noise: float = 0.0,
    creep: float = 0.0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """n samples of `loops` triangular loops from start·amplitude; `creep` rad per loop."""
    x = np.linspace(0, loops, n)
    torque = amplitude * start * (4 * np.abs(x % 1 - 0.5) - 1)
    rising = ((x % 1) >= 0.5) == (start > 0)
    width = 0.6 * ARCMIN * (1 - (torque / amplitude) ** 2)
    angle = elastic(torque) + np.where(rising, -width / 2, width / 2) + creep * x
    rng = np.random.default_rng(seed)
    return torque + torque_noise * rng.standard_normal(n), angle + angle_noise * rng.standard_normal(n)


def assert_T_HYS(r: HysteresisResult) -> None:
    assert r.BL_0.value / ARCMIN == pytest.approx(0.600, abs=0.002)
    assert r.LM_mid.value / ARCMIN == pytest.approx(2.0626, abs=0.003)
    assert r.LM_outer.value / ARCMIN == pytest.approx(2.6621, abs=0.003)
    for segment, true in zip(r.K, K, strict=True):
        for estimate in (segment.mean, segment.positive, segment.negative):
            assert estimate.value == pytest.approx(true, rel=0.002)
    assert r.K_ba is not None
    assert r.K_ba.value == pytest.approx(TRUE_K_BA, rel=0.002)
    assert r.phi_max is not None
    assert r.phi_min is not None
    assert r.phi_max.value / ARCMIN == pytest.approx(21.543, abs=0.01)
    assert r.phi_min.value / ARCMIN == pytest.approx(-21.543, abs=0.01)
    assert r.W.value == pytest.approx(0.023271, rel=0.005)


@pytest.mark.parametrize("start", [1, -1])
def test_T_HYS(start: int) -> None:
    r = hysteresis(*loop(start=start), T_N, T_1, T_2)
    assert_T_HYS(r)
    assert (r.rising_passes, r.falling_passes) == (1, 1)
    assert abs(r.closure.value) < 0.05 * r.LM_mid.value


def test_T_HYS_from_branches_of_4001_points() -> None:
    torque = np.linspace(-T_N, T_N, 4001)
    width = 0.6 * ARCMIN * (1 - (torque / T_N) ** 2)
    t = np.concatenate((torque, torque[::-1]))
    phi = np.concatenate((elastic(torque) - width / 2, (elastic(torque) + width / 2)[::-1]))
    assert_T_HYS(hysteresis(t, phi, T_N, T_1, T_2))


def test_whole_procedure_with_virgin_curve_and_three_loops() -> None:
    """0 → +T_N → (3 loops) → 0: the way there and the way home belong to no branch."""
    virgin = np.linspace(0, T_N, 500, endpoint=False)
    home = np.linspace(T_N, 0, 500)[1:]
    t, phi = loop(12001, loops=3)
    t = np.concatenate((virgin, t, home))
    phi = np.concatenate((elastic(virgin) * 0.98, phi, elastic(home) * 1.02))
    r = hysteresis(t, phi, T_N, T_1, T_2)
    assert_T_HYS(r)
    assert (r.rising_passes, r.falling_passes) == (3, 3)
    assert r.unused_samples == pytest.approx(1000, abs=5)


def test_noise_leaves_the_branches_and_the_stated_uncertainty_right() -> None:
    """0.02 N·m and 0.2″ at 4001 points: K within 0.3 %, BL_0 within 0.005′, each u equal to the spread
    found."""
    runs = [
        hysteresis(*loop(torque_noise=0.02, angle_noise=0.2 * ARCSEC, seed=k), T_N, T_1, T_2)
        for k in range(60)
    ]
    for r in runs:
        assert abs(r.BL_0.value / ARCMIN - 0.6) < 0.005
        for segment, true in zip(r.K, K, strict=True):
            assert segment.mean.value == pytest.approx(true, rel=0.003)
    checks = {
        "LM_mid": ([r.LM_mid for r in runs], 2 * 3 / K[0]),
        "LM_outer": ([r.LM_outer for r in runs], 6 / K[0] + 0.6 * ARCMIN * (1 - 0.03**2)),
        "BL_0": ([r.BL_0 for r in runs], 0.6 * ARCMIN),
        "K_1": ([r.K[0].mean for r in runs], K[0]),
        "K_2": ([r.K[1].mean for r in runs], K[1]),
        "K_3": ([r.K[2].mean for r in runs], K[2]),
        "K_3+": ([r.K[2].positive for r in runs], K[2]),
        "K_ba": ([r.K_ba for r in runs if r.K_ba], TRUE_K_BA),
        "W": ([r.W for r in runs], W_TRUE),
    }
    for name, (estimates, true) in checks.items():
        values = np.array([e.value for e in estimates])
        stated = float(np.mean([e.u for e in estimates]))
        assert values.std(ddof=1) == pytest.approx(stated, rel=0.35), name
        assert abs(values.mean() - true) < 4 * stated / math.sqrt(len(runs)) + 1e-4 * abs(true), name
    assert np.mean([r.noise_rad for r in runs]) == pytest.approx(0.39 * ARCSEC, rel=0.15)


def test_a_dwell_at_the_ends_has_no_weight() -> None:
    t, phi = loop(4001, torque_noise=0.005)
    top = np.flatnonzero(t < -T_N + 0.1)
    rng = np.random.default_rng(3)
    dwell = -T_N + 0.005 * rng.standard_normal(20000)
    t = np.insert(t, top[0], dwell)
    phi = np.insert(phi, top[0], np.full(dwell.size, elastic(np.array([-T_N]))[0]))
    assert_T_HYS(hysteresis(t, phi, T_N, T_1, T_2))


def test_lost_motion_on_a_small_loop() -> None:
    r = hysteresis(*loop(amplitude=4.0), T_N, T_1, T_2, amplitude=0.04 * T_N)
    assert r.LM_mid.value / ARCMIN == pytest.approx(2.0626, abs=0.003)
    assert r.K == ()
    assert r.K_ba is None
    assert r.phi_max is None


def test_creep_shows_in_the_closure() -> None:
    r = hysteresis(*loop(creep=0.3 * ARCMIN), T_N, T_1, T_2)
    assert r.closure.value / ARCMIN == pytest.approx(0.3, abs=0.01)
    assert hysteresis(
        *loop(creep=0.3 * ARCMIN, start=-1), T_N, T_1, T_2
    ).closure.value / ARCMIN == pytest.approx(0.3, abs=0.01)


def test_wind_up_takes_out_input_and_fixture() -> None:
    t, phi = loop()
    theta1 = 0.01 * np.sin(np.arange(t.size) / 50)
    theta2 = phi - theta1 / 100 + 2e-6 * t + 0.7
    np.testing.assert_allclose(wind_up(theta2, theta1, t, 100, -1, 2e-6), phi + 0.7, atol=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_any_partition_and_merge_tree_gives_the_single_pass_result(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(10 ** rng.uniform(3.5, 5.3))
    t, phi = loop(
        n,
        loops=rng.uniform(1.1, 6),
        torque_noise=0.5,
        angle_noise=ARCSEC,
        seed=seed,
        start=int(rng.choice([-1, 1])),
    )
    skip = int(rng.integers(0, n // 8))
    t, phi = t[skip:], phi[skip:]
    whole = Hysteresis(T_N, T_1, T_2)
    whole.update(t, phi)
    begun = int(0.2 * t.size)
    first = Hysteresis(T_N, T_1, T_2)
    first.update(t[:begun], phi[:begun])
    cuts = [
        begun,
        *sorted(rng.choice(np.arange(begun + 1, t.size), int(rng.integers(1, 60)), replace=False)),
        t.size,
    ]
    pieces = [first]
    for a, b in itertools.pairwise(cuts):
        piece = first.fork(a)
        for part in np.array_split(np.arange(a, b), int(rng.integers(1, 4))):
            piece.update(t[part], phi[part])
        pieces.append(piece)
    while len(pieces) > 1:
        i = int(rng.integers(0, len(pieces) - 1))
        pieces[i].merge(pieces[i + 1])
        del pieces[i + 1]
    try:
        one = whole.result()
    except CoverageError:
        with pytest.raises(CoverageError):
            pieces[0].result()
        return
    many = pieces[0].result()
    assert (one.rising_passes, one.falling_passes, one.samples) == (
        many.rising_passes,
        many.falling_passes,
        many.samples,
    )
    for name in ("LM_mid", "LM_outer", "BL_0", "W"):
        assert getattr(many, name).value == pytest.approx(getattr(one, name).value, rel=1e-9)
    np.testing.assert_allclose(
        many.loop.midline, one.loop.midline, rtol=0, atol=1e-12 * one.loop.midline.max()
    )
    for a, b in zip(many.K, one.K, strict=True):
        assert a.mean.value == pytest.approx(b.mean.value, rel=1e-11)


def test_too_few_samples_near_zero_are_refused() -> None:
    with pytest.raises(CoverageError, match="lost motion"):
        hysteresis(*loop(201), T_N, T_1, T_2)


def test_a_loop_that_is_not_closed_is_refused() -> None:
    t, phi = loop(8001, loops=2)
    with pytest.raises(CoverageError, match="rising branch"):
        hysteresis(t[:2200], phi[:2200], T_N, T_1, T_2)
    with pytest.raises(CoverageError, match="branch"):
        hysteresis(0.7 * t, phi, T_N, T_1, T_2)
    with pytest.raises(CoverageError):
        Hysteresis(T_N).result()


def test_a_loop_short_of_T_N_has_no_stiffness() -> None:
    r = hysteresis(*loop(amplitude=95.0), T_N, T_1, T_2)
    assert r.K == ()
    assert r.LM_mid.value / ARCMIN == pytest.approx(2.0626, abs=0.003)


def test_a_hole_in_the_loop_is_refused() -> None:
    t, phi = loop(40001)
    keep = (t < 60) | (t > 70)
    with pytest.raises(CoverageError):
        hysteresis(t[keep], phi[keep], T_N, T_1, T_2)


def test_bad_input() -> None:
    t, phi = loop()
    t[100] = math.nan
    with pytest.raises(NotFiniteError, match=r"\[100\]"):
        hysteresis(t, phi, T_N, T_1, T_2)
    with pytest.raises(AnalysisError):
        Hysteresis(100.0, 50.0, 20.0)
    with pytest.raises(AnalysisError):
        Hysteresis(100.0, p=0.05, amplitude=4.0)
    with pytest.raises(NotMergeableError):
        Hysteresis(100.0).merge(Hysteresis(50.0))
