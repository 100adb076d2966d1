"""Hysteresis with exact memory: Madelung's rules, the formulas of the specification, forward = inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verification_platform.bench.plant import Torsion, TorsionLaw
from verification_platform.bench.plant.torsion import MAX_DEPTH
from verification_platform.metrology.units import ARCMIN

LAW = TorsionLaw((1.0e4, 1.5e4, 2.0e4), 14.0, 48.0, 0.600 * ARCMIN, 100.0)
#: 1e-9 of an arcminute
TIGHT = 1e-9 * ARCMIN
torques = st.lists(st.floats(-139.0, 139.0, allow_nan=False), min_size=1, max_size=40)


def loop(torsion: Torsion, amplitude: float, points: int = 4001) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T, φ_↑, φ_↓) of the closed ±amplitude loop after one conditioning cycle."""
    grid = np.linspace(-amplitude, amplitude, points)
    for torque in (amplitude, -amplitude):
        torsion.angle(torque)
    up = np.array([torsion.angle(float(t)) for t in grid])
    down = np.array([torsion.angle(float(t)) for t in grid[::-1]])[::-1]
    return grid, up, down


def test_rated_loop_has_the_specified_width_and_midline(law: TorsionLaw) -> None:
    torque, up, down = loop(Torsion(law), 100.0)
    three_slopes = np.array([law.midline(float(t)) for t in torque])
    assert np.abs((down - up) - law.width * (1 - (torque / 100.0) ** 2)).max() < TIGHT
    assert np.abs((down + up) / 2 - three_slopes).max() < TIGHT


def test_T_HYS(law: TorsionLaw) -> None:
    """Figures of vector T-HYS from the operator's own loop of 4001 points."""
    torque, up, down = loop(Torsion(law), 100.0)
    middle, width = (up + down) / 2, down - up

    def at(curve: np.ndarray, t: float) -> float:
        return float(np.interp(t, torque, curve))

    def stiffness(low: float, high: float) -> float:
        inside = (torque >= low) & (torque <= high)
        return float(1 / np.polyfit(torque[inside], middle[inside], 1)[0])

    assert at(width, 0.0) / ARCMIN == pytest.approx(0.600, abs=0.002)
    assert (at(middle, 3.0) - at(middle, -3.0)) / ARCMIN == pytest.approx(2.0626, abs=0.003)
    assert (at(down, 3.0) - at(up, -3.0)) / ARCMIN == pytest.approx(2.6621, abs=0.003)
    assert stiffness(0.0, 14.0) == pytest.approx(1.0e4, rel=0.002)
    assert stiffness(14.0, 48.0) == pytest.approx(1.5e4, rel=0.002)
    assert stiffness(48.0, 100.0) == pytest.approx(2.0e4, rel=0.002)
    assert 50.0 / (at(middle, 100.0) - at(middle, 50.0)) == pytest.approx(2.0e4, rel=0.002)
    assert at(middle, 100.0) / ARCMIN == pytest.approx(21.543, abs=0.01)
    assert np.trapezoid(width, torque) == pytest.approx(0.023271, rel=0.005)


@pytest.mark.parametrize("amplitude", [4.0, 30.0, 100.0, 130.0])
def test_loops_of_any_amplitude_follow_the_rayleigh_law(law: TorsionLaw, amplitude: float) -> None:
    torque, up, down = loop(Torsion(law), amplitude, 201)
    width = np.array([law.loop_width(float(t), amplitude) for t in torque])
    middle = np.array([law.loop_midline(float(t), amplitude) for t in torque])
    assert np.abs((down - up) - width).max() < TIGHT
    assert np.abs((down + up) / 2 - middle).max() < TIGHT


def test_minor_loop_closes_and_is_forgotten(law: TorsionLaw) -> None:
    with_detour, straight = Torsion(law), Torsion(law)
    for torsion in (with_detour, straight):
        torsion.angle(100.0)
        start = torsion.angle(20.0)
    with_detour.angle(55.0)
    assert with_detour.depth == 2
    assert with_detour.angle(20.0) == pytest.approx(start, abs=1e-18)
    for torque in (10.0, -40.0, -100.0, 35.0, 100.0):
        assert with_detour.angle(torque) == pytest.approx(straight.angle(torque), abs=1e-18)
        assert with_detour.depth == straight.depth


def test_wider_excursion_wipes_out_all_history(law: TorsionLaw) -> None:
    rng = np.random.default_rng(5)
    lived, fresh = Torsion(law), Torsion(law)
    for torque in rng.uniform(-90.0, 90.0, 200):
        lived.angle(float(torque))
    for torsion in (lived, fresh):
        torsion.angle(100.0)
        torsion.angle(-100.0)
    assert lived.angle(17.0) == pytest.approx(fresh.angle(17.0), abs=1e-18)
    assert lived.depth == fresh.depth


def test_equal_excursions_give_congruent_loops(law: TorsionLaw) -> None:
    """Rayleigh loops between the same torques differ by an offset only, whatever went before."""
    widths = []
    for history in ((100.0, 20.0), (-100.0, 20.0), (20.0,)):
        torsion = Torsion(law)
        for torque in history:
            torsion.angle(torque)
        torsion.angle(40.0)
        low = torsion.angle(20.0)
        up = torsion.angle(30.0)
        torsion.angle(40.0)
        down = torsion.angle(30.0)
        widths.append((down - up, up - low))
    for width, rise in widths[1:]:
        assert width == pytest.approx(widths[0][0], abs=1e-17)
        assert rise == pytest.approx(widths[0][1], abs=1e-17)


@settings(max_examples=300, deadline=None)
@given(torques)
def test_torque_from_deformation_inverts_deformation_from_torque(sequence: list[float]) -> None:
    forward, inverse = Torsion(LAW), Torsion(LAW)
    for torque in sequence:
        assert inverse.torque(forward.angle(torque)) == pytest.approx(torque, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(torques, st.integers(2, 9))
def test_path_does_not_depend_on_how_finely_it_is_walked(sequence: list[float], pieces: int) -> None:
    coarse, fine = Torsion(LAW), Torsion(LAW)
    before = 0.0
    for torque in sequence:
        end = coarse.angle(torque)
        for k in range(1, pieces + 1):
            walked = fine.angle(torque if k == pieces else before + (torque - before) * k / pieces)
        assert walked == pytest.approx(end, abs=1e-15)
        before = torque


@settings(max_examples=100, deadline=None)
@given(torques)
def test_a_closed_cycle_never_gives_energy(sequence: list[float]) -> None:
    """Second law: ∮ T dφ ≥ 0 on any path that returns to its first state."""
    torsion = Torsion(LAW)
    torsion.angle(140.0)
    work, last_torque, last_angle = 0.0, 140.0, torsion.angle(140.0)
    for target in [*sequence, -140.0, 140.0]:
        for torque in np.linspace(last_torque, target, 60)[1:]:
            angle = torsion.angle(float(torque))
            work += 0.5 * (torque + last_torque) * (angle - last_angle)
            last_torque, last_angle = float(torque), angle
    assert work > 0


def test_area_of_the_deformation_driven_loop_is_the_work_lost(law: TorsionLaw) -> None:
    torsion, end = Torsion(law), law.midline(100.0)
    for angle in (end, -end):
        torsion.torque(angle)
    path = np.concatenate([np.linspace(-end, end, 4001), np.linspace(end, -end, 4001)])
    torque = np.array([torsion.torque(float(a)) for a in path])
    assert torque.max() == pytest.approx(100.0, abs=1e-9)
    assert np.trapezoid(torque, path) == pytest.approx(law.width * 4 / 3 * 100.0, rel=1e-5)


def test_memory_of_a_decaying_oscillation_is_bounded(law: TorsionLaw) -> None:
    torsion, reference = Torsion(law), Torsion(law)
    for k in range(4 * MAX_DEPTH):
        torsion.angle((-1) ** k * 100.0 * 0.995**k)
    assert torsion.depth <= MAX_DEPTH
    reference.angle(100.0)
    reference.angle(-99.5)
    torsion.angle(-99.5)
    assert torsion.angle(50.0) == pytest.approx(reference.angle(50.0), abs=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"torque_1": 60.0},
        {"torque_2": 120.0},
        {"width": -1e-5},
        {"width": 0.01},
        {"stiffness": (1e4, 0.0, 2e4)},
    ],
)
def test_impossible_law_is_refused(wrong: dict[str, object]) -> None:
    values: dict[str, object] = {
        "stiffness": (1.0e4, 1.5e4, 2.0e4),
        "torque_1": 14.0,
        "torque_2": 48.0,
        "width": 1e-4,
        "rated_torque": 100.0,
    }
    with pytest.raises(ValueError):
        TorsionLaw(**{**values, **wrong})  # type: ignore[arg-type]


def test_starts_virgin(law: TorsionLaw) -> None:
    torsion = Torsion(law)
    assert torsion.angle(100.0) == pytest.approx(law.midline(100.0), abs=1e-18)
    torsion.reset()
    assert torsion.angle(-10.0) == pytest.approx(law.elastic(-10.0) - 0.5 * law.rayleigh * 100.0, abs=1e-18)
    assert math.isclose(Torsion(law).torque(law.midline(100.0)), 100.0, abs_tol=1e-9)
