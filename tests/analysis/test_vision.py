"""Vision pose repeatability: T-VIS with a pinhole camera and scipy's least squares, mean rotation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.vision import expected_deviation, mean_rotation, pose_repeatability

MM = 1e-3


def test_T_VIS() -> None:
    rng = np.random.default_rng(1)
    f, half, sigma = 1400.0, 25.0, 0.05
    corners = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]])

    def project(pose: np.ndarray) -> np.ndarray:
        seen = corners @ Rotation.from_rotvec(pose[:3]).as_matrix().T + pose[3:]
        return f * seen[:, :2] / seen[:, 2:]

    truth = np.array([2.8, 0.2, 0.1, 0.0, 0.0, 500.0])
    image = project(truth)
    poses = []
    for _ in range(300):
        noisy = image + sigma * rng.standard_normal(image.shape)
        poses.append(
            least_squares(
                lambda p, n=noisy: (project(p) - n).ravel(), truth, x_scale=[0.01] * 3 + [1, 1, 100]
            ).x
        )
    found = np.array(poses)
    turns = Rotation.from_rotvec(found[:, :3]).as_matrix()
    r = pose_repeatability(found[:, 3:] * MM, turns, frames=310)
    assert r.deviation_m[:2] / MM == pytest.approx([0.011, 0.009], rel=0.2)
    assert r.deviation_m[2] / MM == pytest.approx(0.17, rel=0.2)
    assert (r.detections, r.frames) == (300, 310)
    assert r.detection_rate == pytest.approx(300 / 310)
    assert r.repeatability_m > r.deviation_m[2]
    lateral, axial = expected_deviation(0.5, f, sigma, 4, 0.05)
    assert lateral / MM == pytest.approx(0.0089, abs=0.0001)
    assert axial / MM == pytest.approx(0.18, abs=0.01)


def test_the_mean_rotation_is_scipys_in_1000_random_cases() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        base = Rotation.random(random_state=rng)
        many = base * Rotation.from_rotvec(rng.uniform(0, 0.5) * rng.standard_normal((20, 3)))
        # scipy's mean maximises over quaternions, which is the chordal mean
        assert mean_rotation(many.as_matrix()) == pytest.approx(many.mean().as_matrix(), abs=1e-9)


def test_the_spread_of_rotations_is_found() -> None:
    rng = np.random.default_rng(3)
    base = Rotation.from_rotvec([2.8, 0.2, 0.1])
    away = 1e-3 * rng.standard_normal((5000, 3)) * [1, 2, 3]
    turns = (Rotation.from_rotvec(away) * base).as_matrix()
    r = pose_repeatability(np.zeros((5000, 3)), turns, 5000)
    assert r.rotation_deviation_rad == pytest.approx([1e-3, 2e-3, 3e-3], rel=0.05)
    assert r.rotation_3s_rad == pytest.approx(3e-3 * math.sqrt(14), rel=0.03)


def test_what_is_refused() -> None:
    turns = np.tile(np.eye(3), (99, 1, 1))
    with pytest.raises(NotEnoughDataError, match="100 frames"):
        pose_repeatability(np.zeros((99, 3)), turns, 99)
    with pytest.raises(AnalysisError, match="frames"):
        pose_repeatability(np.zeros((99, 3)), turns, 98)
    half_turns = np.array([np.eye(3), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])])
    with pytest.raises(AnalysisError, match="no mean"):
        mean_rotation(half_turns)
    with pytest.raises(AnalysisError, match="positive"):
        expected_deviation(0.5, 1400, 0.0, 4, 0.05)
