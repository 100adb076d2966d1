"""ISO 9283, paths: accuracy, repeatability, velocity, cornering, weaving."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.iso9283 import (
    CommandPath,
    Corner,
    circular_path,
    cornering,
    from_rotation_vectors,
    path_characteristics,
    path_velocity,
    straight_path,
    velocity_characteristics,
    weaving,
)

MM, DEG = 1e-3, math.pi / 180


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
