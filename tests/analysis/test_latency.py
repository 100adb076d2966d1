"""Latency and following error: T-LAT, T-TRK, properties, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.latency import latency_statistics, onset
from verification_platform.analysis.tracking import contour_error, following_error, velocity_lag

MS = 1e-3


def start_of_motion(rng: np.random.Generator, at: float, a: float, sigma: float, command: float = 0.01):
    t = np.arange(0, 0.05, 1 / 20_000)
    return t, 0.5 * a * np.maximum(t - command - at, 0) ** 2 + 0.7 + sigma * rng.standard_normal(t.size)


def test_T_LAT() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(100):
        t, x = start_of_motion(rng, 2.350 * MS, 200.0, 2e-6)
        r = onset(t, x, 0.01)
        assert r.extrapolated_s / MS == pytest.approx(2.35, abs=0.03)
        assert r.acceleration == pytest.approx(200, rel=0.005)
        assert r.misfit < 0.01
        found.append(r)
    assert np.median([r.threshold_s for r in found]) / MS == pytest.approx(2.7, abs=0.1)
    spread = np.std([r.extrapolated_s for r in found])
    assert 0.3 * spread < np.median([r.u_extrapolated_s for r in found]) < 3 * spread


def test_onset_in_1000_random_motions() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        at, a = rng.uniform(0.5, 20) * MS, 10 ** rng.uniform(1.5, 3.5) * rng.choice([-1, 1])
        t, x = start_of_motion(rng, at, a, 2e-6)
        r = onset(t, x, 0.01)
        assert r.direction == np.sign(a)
        assert r.extrapolated_s == pytest.approx(at, abs=0.1 * MS)
        assert r.threshold_s > at - 0.01 * MS
        assert r.threshold_s == pytest.approx(at + math.sqrt(2e-5 / abs(a)), abs=0.2 * MS)


def test_a_motion_that_begins_with_a_jerk_shows_in_the_misfit() -> None:
    t = np.arange(0, 0.05, 1 / 20_000)
    x = 1e5 * np.maximum(t - 0.012, 0) ** 3 + 1e-6 * np.random.default_rng(3).standard_normal(t.size)
    assert onset(t, x, 0.01).misfit > 0.02


def test_statistics_of_latency() -> None:
    r = latency_statistics(np.arange(1, 201) * 1e-5)
    assert (r.median_s, r.p95_s, r.largest_s) == pytest.approx((100.5e-5, 190e-5, 200e-5))
    with pytest.raises(NotEnoughDataError, match="100 are needed"):
        latency_statistics(np.ones(99))


def test_what_onset_refuses() -> None:
    t, x = start_of_motion(np.random.default_rng(4), 2 * MS, 200.0, 2e-6)
    with pytest.raises(NotEnoughDataError, match="baseline"):
        onset(t, x, 0.0005)
    with pytest.raises(NotEnoughDataError, match="no motion"):
        onset(t, np.where(t < 0.01, x, x[0]), 0.01)
    with pytest.raises(NotEnoughDataError, match="ends"):
        onset(t[:420], x[:420], 0.01)
    with pytest.raises(AnalysisError, match="run forward"):
        onset(t[::-1], x, 0.01)


def test_T_TRK() -> None:
    t = np.arange(0, 4, 1e-3)
    r = following_error(30 * np.sin(2 * np.pi * t), 30 * np.sin(2 * np.pi * (t - 0.005)), 1e-3)
    assert r.largest == pytest.approx(0.94244, abs=0.001)
    assert r.rms == pytest.approx(0.66641, abs=1e-5)
    assert r.delay_s == pytest.approx(0.005, abs=1e-7)
    assert r.shape_largest < 0.002
    assert r.delay_largest == pytest.approx(0.94244, abs=0.001)


def test_T_TRK_velocity_lag() -> None:
    t = np.arange(0, 2, 1e-3)
    command = 100 * np.clip(t - 0.2, 0, 1.5)
    actual = np.zeros_like(t)
    for k in range(1, t.size):  # v = K_v·e, solved exactly over each sample for a command that is a ramp
        decay = math.exp(-50 * 1e-3)
        slope = (command[k] - command[k - 1]) / 1e-3
        lag = (command[k - 1] - actual[k - 1]) * decay + slope / 50 * (1 - decay)
        actual[k] = command[k] - lag
    r = velocity_lag(command, actual, 1e-3)
    assert r.error == pytest.approx([2.000], abs=1e-6)
    assert r.velocity == pytest.approx([100.0])
    assert r.gain_1_s == pytest.approx([50.0])


def test_any_delay_is_found_in_1000_random_trajectories() -> None:
    rng = np.random.default_rng(5)
    t = np.arange(0, 1.5, 1e-3)
    for _ in range(1000):
        knots = np.arange(-1, 3, 0.1)
        q = CubicSpline(knots, rng.standard_normal(knots.size).cumsum())
        delay = rng.uniform(-0.03, 0.03)
        sigma = 10 ** rng.uniform(-9, -3)
        r = following_error(q(t), q(t - delay) + sigma * rng.standard_normal(t.size), 1e-3, 0.1)
        assert r.delay_s == pytest.approx(delay, abs=6 * r.u_delay_s + 1e-7)
        assert r.shape_rms == pytest.approx(sigma, rel=0.1, abs=1e-6)
        assert r.u_delay_s < 1e-4


def test_contour_error() -> None:
    angle = np.linspace(0, 2 * np.pi, 2001)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rng = np.random.default_rng(6)
    a = rng.uniform(0, 2 * np.pi, 3000)
    radius = 1 + rng.uniform(-0.1, 0.1, 3000)
    points = np.stack([radius * np.cos(a), radius * np.sin(a)], axis=1)
    assert contour_error(circle, points) == pytest.approx(np.abs(radius - 1), abs=2e-6)
    with pytest.raises(AnalysisError, match="path"):
        contour_error(circle, rng.standard_normal((10, 3)))


def test_what_following_error_refuses() -> None:
    still, moving = np.zeros(100), np.sin(np.arange(100.0))
    with pytest.raises(NotEnoughDataError, match="does not move"):
        following_error(still, moving, 1e-3)
    with pytest.raises(NotEnoughDataError, match="constant velocity"):
        velocity_lag(moving, moving, 1e-3)
    with pytest.raises(AnalysisError, match="99"):
        following_error(moving, moving[1:], 1e-3)
