"""ISO 9283: every T-* vector of protocol specification §5, rotations against scipy, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotFiniteError
from verification_platform.analysis.iso9283 import (
    CommandPath,
    Corner,
    DriftWatch,
    arrival,
    circular_path,
    cornering,
    distance_characteristics,
    drift,
    euler_angles,
    exchangeability,
    from_euler_angles,
    from_quaternions,
    from_rotation_vectors,
    multidirectional_variation,
    path_characteristics,
    path_velocity,
    pose_characteristics,
    posing_time,
    rotation_vectors,
    stabilization,
    static_compliance,
    straight_path,
    velocity_characteristics,
    weaving,
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


def oscillation(end: float = 0.6, fs: float = 1000.0) -> tuple[np.ndarray, np.ndarray]:
    """X e^{−ζωt}[cos ω_d t + …] with ζ = 0.2, ω = 60 rad/s, X = 1 mm; before t = 0 it rests at X."""
    zeta, omega = 0.2, 60.0
    t = np.arange(0, end, 1 / fs)
    damped = omega * math.sqrt(1 - zeta**2)
    x = np.exp(-zeta * omega * t) * (np.cos(damped * t) + zeta / math.sqrt(1 - zeta**2) * np.sin(damped * t))
    return t, np.stack([x * MM, 0 * x, 0 * x], axis=1)


def test_T_ROBST() -> None:
    t, p = oscillation()
    one = arrival(t, p, 0.1 * MM, final_m=[0, 0, 0])
    assert one.first_entry_s == pytest.approx(27.82e-3, abs=0.05e-3)
    assert one.settled_s == pytest.approx(174.76e-3, abs=0.1e-3)
    assert one.stabilization_s == pytest.approx(146.94e-3, abs=0.5e-3)
    assert one.overshoot_m / MM == pytest.approx(0.52662, abs=0.001)
    assert one.conclusive
    r = stabilization([one] * 3)
    assert (r.time_s, r.longest_s, r.overshoot_m) == pytest.approx(
        (one.stabilization_s,) * 2 + (one.overshoot_m,)
    )
    with pytest.raises(NotEnoughDataError, match="3 are needed"):
        stabilization([one] * 2)


def test_an_approach_without_oscillation_does_not_overshoot() -> None:
    t = np.arange(0, 1, 1e-3)
    p = np.stack([np.exp(-t / 0.05), 0 * t, 0 * t], axis=1) * MM
    r = arrival(t, p, 0.1 * MM, final_m=[0, 0, 0])
    assert r.overshoot_m == 0
    assert r.stabilization_s == 0
    assert r.settled_s == pytest.approx(0.05 * math.log(10), abs=1e-5)


def test_noise_above_a_third_of_the_band_is_inconclusive() -> None:
    t, p = oscillation(end=1.0)
    noisy = p + 0.03 * MM * np.random.default_rng(1).standard_normal(p.shape)
    assert not arrival(t, noisy, 0.14 * MM, final_m=[0, 0, 0]).conclusive
    with pytest.raises(NotEnoughDataError, match="starts within"):
        arrival(t, p, 2 * MM)
    with pytest.raises(NotEnoughDataError, match="not within the band at the end"):
        arrival(t, p, 0.1 * MM, final_m=[0, 1, 0])
    with pytest.raises(NotEnoughDataError, match="rests for less"):
        arrival(t[:250], p[:250], 0.1 * MM)


def test_minimum_posing_time() -> None:
    def move(delay: float) -> tuple[np.ndarray, np.ndarray]:
        t = np.arange(0, 1.5, 1e-3)
        share = np.clip((t - 0.1 - delay) / 0.5, 0, 1)
        return t, np.outer(share, [0.1, 0.0, 0.0])

    r = posing_time([move(d) for d in (0.0, 0.013, 0.2)], 1 * MM)
    assert r.time_s == pytest.approx(0.5 * 0.98, abs=1e-6)
    assert r.deviation_s == pytest.approx(0, abs=1e-6)
    assert r.distance_m == pytest.approx(0.1)
    with pytest.raises(NotEnoughDataError):
        posing_time([move(0.0)] * 3, 60 * MM)


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
        assert first.result().stop_s == whole.stop_s
        assert first.result().accuracy_drift_m == whole.accuracy_drift_m
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


def line(offsets: list[float]) -> list[np.ndarray]:
    """Paths of 400 mm along x, 1 mm steps that do not meet the planes, with the given offsets in y."""
    s = np.arange(-5.3, 406, 1.0)
    return [np.stack([s, 0.2 + 0.05 * np.sin(math.pi * s / 400) + d, 0 * s], axis=1) * MM for d in offsets]


def test_T_PATH() -> None:
    command = straight_path([0, 0, 0], [0.4, 0, 0], 51)
    r = path_characteristics(command, line([0.01, -0.01] * 5))
    assert r.accuracy_m / MM == pytest.approx(0.2500, abs=1e-4)
    assert r.repeatability_m / MM == pytest.approx(0.0100, abs=1e-4)
    assert r.at_index == 25
    r = path_characteristics(command, line([0.01, -0.01] * 3 + [0.03, -0.03] * 2))
    assert r.repeatability_m / MM == pytest.approx(0.018 + 3 * 0.010328, abs=1e-4)
    assert r.orientation_accuracy_rad is None


def test_orientation_along_a_path() -> None:
    s = np.linspace(-0.01, 0.41, 500)
    command = straight_path([0, 0, 0], [0.4, 0, 0], 50, rotation=np.eye(3))
    paths, turns = [], []
    for j in range(10):
        paths.append(np.outer(s, [1.0, 0, 0]))
        turns.append(from_rotation_vectors(np.outer(0.01 * s / 0.4 + 0.001 * (-1) ** j, [0, 0, 1.0])))
    r = path_characteristics(command, paths, turns)
    assert r.orientation_accuracy_rad == pytest.approx([0, 0, 0.01], abs=1e-9)
    assert r.orientation_repeatability_rad == pytest.approx([0, 0, 3 * 0.001 * math.sqrt(10 / 9)], abs=1e-9)


def test_a_circle_is_cut_on_the_right_side() -> None:
    command = circular_path([0, 0, 0.3], [0.2, 0, 0.3], [0, 0, 1], 50)
    angle = np.linspace(-0.3, 2 * math.pi + 0.3, 8000)
    paths = [
        np.stack([(0.2 + d) * np.cos(angle), (0.2 + d) * np.sin(angle), 0.3 + 0 * angle], axis=1)
        for d in np.repeat([1e-4, 3e-4], 5)
    ]
    r = path_characteristics(command, paths)
    assert r.accuracy_m == pytest.approx(2e-4, abs=1e-7)
    assert r.repeatability_m == pytest.approx(1e-4, abs=1e-7)
    with pytest.raises(NotEnoughDataError, match="does not cross"):
        path_characteristics(command, [p[:4000] for p in paths])


def test_paths_in_any_place_and_orientation_give_the_same_characteristics() -> None:
    rng = np.random.default_rng(11)
    straight = straight_path([0, 0, 0], [0.4, 0, 0], 20)
    paths = [p + 1e-5 * rng.standard_normal(3) for p in line([0.0] * 10)]
    reference = path_characteristics(straight, paths)
    for turn, shift in zip(Rotation.random(30, rng).as_matrix(), rng.standard_normal((30, 3)), strict=True):
        moved = CommandPath(straight.points_m @ turn.T + shift, straight.tangents @ turn.T)
        r = path_characteristics(moved, [p @ turn.T + shift for p in paths])
        assert r.accuracy_m == pytest.approx(reference.accuracy_m, rel=1e-9)
        assert r.repeatability_m == pytest.approx(reference.repeatability_m, rel=1e-9)


def test_T_VEL() -> None:
    t = np.arange(1000) / 1000
    speeds = [247.5 + (j - 4.5) * 0.5 + 2 * np.sin(2 * math.pi * 5 * t) for j in range(10)]
    r = velocity_characteristics(250 * MM, [v * MM for v in speeds])
    assert r.accuracy == pytest.approx(-0.0100, abs=1e-9)
    assert r.repeatability == pytest.approx(0.018166, abs=1e-6)
    assert r.fluctuation_m_s / MM == pytest.approx(4.00, abs=1e-9)


def test_path_velocity_is_the_savitzky_golay_derivative() -> None:
    rng = np.random.default_rng(3)
    for _ in range(1000):
        n, half = int(rng.integers(30, 80)), int(rng.integers(1, 10))
        p = np.cumsum(rng.standard_normal((n, 3)), axis=0)
        t = 0.001 * np.arange(n)
        times, speed = path_velocity(t, p, window_s=0.001 * 2 * half)
        v = savgol_filter(p, 2 * half + 1, 2, deriv=1, delta=0.001, axis=0)[half:-half]
        assert times == pytest.approx(t[half:-half])
        assert speed == pytest.approx(np.linalg.norm(v, axis=1), rel=1e-9)
    with pytest.raises(AnalysisError, match="gaps"):
        path_velocity(np.delete(t, 5), np.delete(p, 5, axis=0))


def test_T_CR() -> None:
    a = np.linspace(0, math.pi / 2, 400)
    blend = np.stack([-10 + 10 * np.sin(a), 10 - 10 * np.cos(a), 0 * a], axis=1)
    path = np.concatenate([[[-50, 0, 0]], blend, [[0, 50, 0]]]) * MM
    corner = Corner([0, 0, 0], [1, 0, 0], [0, 1, 0])
    r = cornering(corner, [path] * 3)
    assert r.round_off_m / MM == pytest.approx(10 * (math.sqrt(2) - 1), abs=0.001)
    assert r.overshoot_m == pytest.approx(0, abs=1e-12)
    over = np.array([[-50, 0, 0], [3, 0, 0], [0, 8, 0], [0, 50, 0]]) * MM
    r = cornering(corner, [path, path, over])
    assert r.overshoot_m / MM == pytest.approx(3)
    assert r.mean_overshoot_m / MM == pytest.approx(1)
    with pytest.raises(AnalysisError, match="different directions"):
        cornering(Corner([0, 0, 0], [1, 0, 0], [-2, 0, 0]), [path] * 3)


def test_T_SC() -> None:
    steps = np.repeat(np.linspace(0, 100, 11), 3)
    forces, moved = [], []
    C = np.array([[0.02, 0.001, 0], [0.001, 0.03, -0.002], [0, -0.002, 0.01]]) * MM
    for axis in range(3):
        for sign in (1, -1):
            f = np.outer(sign * steps, np.eye(3)[axis])
            forces.append(f)
            moved.append(f @ C.T + [1e-3, 0, 0])
    force, displacement = np.concatenate(forces), np.concatenate(moved)
    r = static_compliance(force, displacement)
    assert r.matrix_m_n == pytest.approx(C, abs=1e-15)
    assert r.along_m_n[0] / MM == pytest.approx(0.0200, abs=1e-12)
    assert r.hysteresis_m is None
    rng = np.random.default_rng(2)
    falling = rng.random(len(force)) < 0.5
    held = displacement.copy()
    held[falling, 0] += 0.004 * MM * (np.argmax(np.abs(force[falling]), axis=1) == 0)
    assert static_compliance(force, held, falling).hysteresis_m == pytest.approx([4e-6, 0, 0], abs=1e-12)
    with pytest.raises(NotEnoughDataError, match="three directions"):
        static_compliance(force[:66], displacement[:66])


def test_compliance_uncertainty_is_that_of_repeated_measurements() -> None:
    rng = np.random.default_rng(4)
    force = np.concatenate([np.outer(np.linspace(-100, 100, 21), e) for e in np.eye(3)])
    runs = [static_compliance(force, 1e-6 * rng.standard_normal(force.shape)) for _ in range(1000)]
    spread = np.std([r.matrix_m_n for r in runs], axis=0)
    assert np.mean([r.u_m_n for r in runs], axis=0) == pytest.approx(spread, rel=0.1)


def test_weaving() -> None:
    t = np.arange(0, 5, 1e-3)
    rng = np.random.default_rng(5)
    y = 4.9 * MM * np.sin(2 * math.pi * 2.02 * t + 1) + 0.02 * MM * rng.standard_normal(t.size) + 0.01
    r = weaving(t, y, 10 * MM, 2.0)
    assert r.stroke_error == pytest.approx(-0.02, abs=0.015)
    assert r.frequency_error == pytest.approx(0.01, abs=1e-3)
    assert r.periods == 9
    with pytest.raises(NotEnoughDataError):
        weaving(t[:400], y[:400], 10 * MM, 2.0)


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


def test_orientation_near_180_degrees_neither_wraps_nor_degenerates() -> None:
    rng = np.random.default_rng(10)
    deviations = np.concatenate([1e-3 * rng.standard_normal((30, 3))])
    for command in (np.diag([1.0, -1, -1]), from_euler_angles([[0.4, math.pi / 2, 1.0]])[0]):
        attained = command @ from_rotation_vectors(deviations)
        r = pose_characteristics([0, 0, 0], np.zeros((30, 3)), command, attained).orientation
        assert r is not None
        assert r.accuracy_rad == pytest.approx(deviations.mean(axis=0), abs=1e-12)
        assert r.repeatability_rad == pytest.approx(3 * deviations.std(axis=0, ddof=1), rel=1e-9)
    assert np.isnan(r.accuracy_abc_rad[0])


def test_rotations_agree_with_scipy() -> None:
    rng = np.random.default_rng(12)
    random = Rotation.random(2000, rng)
    small = Rotation.from_rotvec(rng.standard_normal((2000, 3)) * 10.0 ** rng.uniform(-12, 0, (2000, 1)))
    axes = rng.standard_normal((2000, 3))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    near = Rotation.from_rotvec(axes * (math.pi - 10.0 ** rng.uniform(-12, -1, (2000, 1))))
    for many in (random, small, near):
        matrices = many.as_matrix()
        assert from_quaternions(many.as_quat()) == pytest.approx(matrices, abs=1e-14)
        vectors = rotation_vectors(matrices)
        expected = many.as_rotvec()
        # within rounding of half a turn v and −v are the same rotation
        flip = (np.linalg.norm(expected, axis=1) > math.pi - 1e-7) & (np.sum(vectors * expected, axis=1) < 0)
        assert np.where(flip[:, None], -vectors, vectors) == pytest.approx(expected, abs=2e-7)
        assert from_rotation_vectors(vectors) == pytest.approx(matrices, abs=1e-14)
        angles = euler_angles(matrices)
        fine = np.isfinite(angles).all(axis=1)
        assert fine.mean() > 0.98
        assert angles[fine] == pytest.approx(many.as_euler("xyz")[fine], abs=1e-11)
        assert from_euler_angles(angles[fine]) == pytest.approx(matrices[fine], abs=1e-13)


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
