"""Orientations behind ISO 9283: against scipy, and near 180°."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from verification_platform.analysis.iso9283 import (
    euler_angles,
    from_euler_angles,
    from_quaternions,
    from_rotation_vectors,
    pose_characteristics,
    rotation_vectors,
)

MM, DEG = 1e-3, math.pi / 180


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
