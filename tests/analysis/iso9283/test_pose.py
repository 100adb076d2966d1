"""ISO 9283, poses: accuracy, repeatability, distances, drift, exchangeability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotFiniteError
from verification_platform.analysis.iso9283 import (
    DriftWatch,
    arrival,
    distance_characteristics,
    drift,
    exchangeability,
    from_euler_angles,
    from_quaternions,
    from_rotation_vectors,
    multidirectional_variation,
    pose_characteristics,
    worst_pose,
)

MM, DEG = 1e-3, math.pi / 180


def test_T_AP() -> None:
    x = np.repeat([0.01, -0.01], 8)
    y = np.repeat([0.03, -0.03], 7)
    about = np.zeros((30, 3))
    about[:16, 0], about[16:, 1] = x, y
    command = np.array([500.0, -200.0, 300.0])
    attained = command + np.array([0.10, -0.05, 0.02]) + about
    angles = np.zeros((30, 3))
    angles[:, 0] = np.repeat([0.09, 0.10, 0.11], 10)
    r = pose_characteristics(command * MM, attained * MM, np.eye(3), from_euler_angles(angles * DEG))
    assert r.accuracy_m / MM == pytest.approx(0.113578, abs=1e-6)
    assert r.mean_distance_m / MM == pytest.approx(0.019333, abs=1e-6)
    assert r.deviation_m / MM == pytest.approx(0.0101483, abs=1e-7)
    assert r.repeatability_m / MM == pytest.approx(0.049778, abs=1e-6)
    assert r.accuracy_xyz_m / MM == pytest.approx([0.10, -0.05, 0.02], abs=1e-9)
    assert r.orientation is not None
    for accuracy, repeatability in (
        (r.orientation.accuracy_rad, r.orientation.repeatability_rad),
        (r.orientation.accuracy_abc_rad, r.orientation.repeatability_abc_rad),
    ):
        assert accuracy / DEG == pytest.approx([0.100, 0, 0], abs=1e-9)
        assert repeatability / DEG == pytest.approx([0.024914, 0, 0], abs=1e-6)


def test_T_VAP() -> None:
    rng = np.random.default_rng(7)
    groups = []
    for centre in ((0, 0, 0), (0.03, 0, 0), (0, 0.04, 0)):
        noise = 0.01 * rng.standard_normal((30, 3))
        groups.append((np.array(centre) + noise - noise.mean(axis=0)) * MM)
    turns = [from_rotation_vectors(np.tile([0, 0, a], (30, 1))) for a in (0.001, 0.004, -0.002)]
    r = multidirectional_variation(groups, turns)
    assert r.variation_m / MM == pytest.approx(0.0500, abs=1e-12)
    assert r.between == (1, 2)
    assert r.orientation_rad == pytest.approx([0, 0, 0.006], abs=1e-12)


def test_T_AD() -> None:
    above = np.repeat([0.10, 0.12, 0.08], 10)
    first = np.zeros((30, 3))
    second = np.zeros((30, 3))
    second[:, 1] = 500 + above
    r = distance_characteristics([0, 0, 0], [0, 0.5, 0], first, second * MM)
    assert r.accuracy_m / MM == pytest.approx(0.1000, abs=1e-9)
    assert r.repeatability_m / MM == pytest.approx(0.049827, abs=1e-6)
    assert r.accuracy_xyz_m / MM == pytest.approx([0, 0.1, 0], abs=1e-9)


def test_T_DR() -> None:
    t = np.arange(0, 481, 10.0)
    r = drift(t * 60, (0.1 + 0.2 * (1 - np.exp(-t / 60))) * MM, np.full(t.size, 0.03 * MM))
    assert r.accuracy_drift_m / MM == pytest.approx(0.19993, abs=1e-5)
    assert r.repeatability_drift_m == 0
    assert r.stop_s == 190 * 60


def test_a_drift_watch_can_be_continued_by_another() -> None:
    t = np.arange(0, 481, 10.0) * 60
    ap = 1e-4 + 2e-4 * (1 - np.exp(-t / 3600))
    whole = drift(t, ap, ap)
    for cut in range(0, t.size + 1, 7):
        first, second = DriftWatch(), DriftWatch()
        for k in range(t.size):
            (first if k < cut else second).update(t[k], ap[k], ap[k])
        first.merge(second)
        assert first.may_stop == (whole.stop_s is not None)
        assert first.result().stop_s == whole.stop_s
        assert first.result().accuracy_drift_m == whole.accuracy_drift_m
    assert whole.stop_s is not None
    begun = DriftWatch()
    begun.update(0.0, 1e-4, 1e-4)
    assert not begun.may_stop
    steady = drift(t, 1e-4 + 1e-9 * t, 0 * t)
    assert steady.stop_s is None
    with pytest.raises(AnalysisError, match="after one at"):
        first.update(0.0, 0.0, 0.0)


def test_T_EX() -> None:
    centres = np.zeros((5, 5, 3))
    centres[:, 3] = [(0, 0, 0), (0.1, 0, 0), (0, 0.2, 0), (0, 0, 0.1), (0.05, 0.05, 0.05)]
    r = exchangeability(centres * MM)
    assert r.exchangeability_m / MM == pytest.approx(0.22361, abs=1e-5)
    assert r.pose == 3
    assert r.robots in ((1, 2), (2, 3))


def test_repeatability_of_isotropic_noise_is_3_616_sigma() -> None:
    points = np.random.default_rng(6).standard_normal((200_000, 3))
    r = pose_characteristics([0, 0, 0], points)
    assert r.repeatability_m == pytest.approx(3.616, rel=0.005)


def test_uncertainties_of_AP_and_RP_are_those_of_repeated_tests() -> None:
    rng = np.random.default_rng(8)
    tests = [
        pose_characteristics([0, 0, 0], [1.0, 2.0, -0.5] + 0.02 * rng.standard_normal((30, 3)) * [1, 2, 0.5])
        for _ in range(2000)
    ]
    assert np.mean([r.u_accuracy_m for r in tests]) == pytest.approx(
        np.std([r.accuracy_m for r in tests]), rel=0.05
    )
    assert np.mean([r.u_repeatability_m for r in tests]) == pytest.approx(
        np.std([r.repeatability_m for r in tests]), rel=0.12
    )


def test_pose_characteristics_do_not_depend_on_the_frame() -> None:
    rng = np.random.default_rng(9)
    for turn, shift in zip(
        Rotation.random(1000, rng).as_matrix(), rng.standard_normal((1000, 3)), strict=True
    ):
        command = rng.standard_normal(3)
        attained = command + 0.01 * rng.standard_normal((30, 3))
        a = pose_characteristics(command, attained)
        b = pose_characteristics(turn @ command + shift, attained @ turn.T + shift)
        assert (b.accuracy_m, b.repeatability_m, b.u_accuracy_m) == pytest.approx(
            (a.accuracy_m, a.repeatability_m, a.u_accuracy_m), rel=1e-9
        )


def test_the_worst_pose_is_found() -> None:
    rng = np.random.default_rng(13)
    poses = [
        pose_characteristics([0, 0, 0], [a, 0, 0] + s * rng.standard_normal((30, 3)))
        for a, s in ((1, 0.01), (3, 0.01), (2, 0.1))
    ]
    assert worst_pose(poses) == (1, 2)


def test_what_is_refused() -> None:
    points = np.zeros((30, 3))
    with pytest.raises(NotEnoughDataError, match="29 cycles, 30 are needed"):
        pose_characteristics([0, 0, 0], points[:29])
    with pytest.raises(NotFiniteError):
        pose_characteristics([0, 0, 0], np.where(np.eye(30, 3) > 0, np.nan, 0))
    with pytest.raises(AnalysisError, match=r"\(n, 3\)"):
        pose_characteristics([0, 0, 0], points[:, :2])
    with pytest.raises(AnalysisError, match="one of them is missing"):
        pose_characteristics([0, 0, 0], points, np.eye(3))
    with pytest.raises(AnalysisError, match="not a rotation matrix"):
        pose_characteristics([0, 0, 0], points, -np.eye(3), np.tile(np.eye(3), (30, 1, 1)))
    with pytest.raises(AnalysisError, match="norm"):
        from_quaternions([[0, 0, 0, 2]])
    with pytest.raises(AnalysisError, match="second"):
        distance_characteristics([0, 0, 0], [1, 0, 0], points, points[:20])
    with pytest.raises(NotEnoughDataError):
        exchangeability(np.zeros((1, 5, 3)))
    with pytest.raises(NotEnoughDataError, match="two directions"):
        multidirectional_variation([points])
    with pytest.raises(AnalysisError, match="clock"):
        arrival([0, 2, 1], np.eye(3), 0.1)
