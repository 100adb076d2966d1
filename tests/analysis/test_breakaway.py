"""Starting torque: T-ST, random ramps, ramps without motion."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.breakaway import breakaway, starting_torque
from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError

DEG = math.pi / 180


def ramp(
    rng: np.random.Generator,
    at: float,
    *,
    sign: int = 1,
    rate: float = 0.01,
    compliance: float = 0.4,
    acceleration: float = 200.0,
    sigma_angle: float = 0.002,
    sigma_torque: float = 0.3e-3,
    fs: float = 1000.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Torque (N·m) and angle (rad) of a ramp that breaks away at `at`; angles in degrees as specified."""
    t = np.arange(0, at / rate + 0.5, 1 / fs)
    torque = rate * t
    after = np.maximum(t - at / rate, 0)
    angle = compliance * np.minimum(torque, at) + 0.5 * acceleration * after**2 + 12.0
    torque, angle = sign * torque, sign * angle
    torque = torque + sigma_torque * rng.standard_normal(t.size)
    return torque, (angle + sigma_angle * rng.standard_normal(t.size)) * DEG


def test_T_ST() -> None:
    rng = np.random.default_rng(1)
    breaks = (0.080, 0.085, 0.078, 0.090, 0.082)
    ramps = [breakaway(*ramp(rng, at), 1e-3) for at in breaks]
    for found, at in zip(ramps, breaks, strict=True):
        assert found.moved
        assert found.torque_n_m == pytest.approx(at, abs=0.5e-3)
        assert found.compliance_rad_n_m == pytest.approx(0.4 * DEG, rel=0.02)
        assert found.noise_rad == pytest.approx(0.002 * DEG, rel=0.1)
    r = starting_torque(ramps)
    assert r.largest_n_m == pytest.approx(0.0901, abs=0.0005)
    assert r.mean_n_m == pytest.approx(0.0831, abs=0.0005)
    assert r.deviation_n_m == pytest.approx(np.std(breaks, ddof=1), abs=0.0003)
    assert (r.ramps, r.not_moved) == (5, 0)


def test_random_ramps() -> None:
    rng = np.random.default_rng(2)
    for _ in range(250):
        at, sign = rng.uniform(0.02, 0.2), int(rng.choice([-1, 1]))
        settings = {
            "compliance": rng.uniform(0, 1),
            "acceleration": 10 ** rng.uniform(1.7, 4),
            "sigma_angle": 10 ** rng.uniform(-5, -2.7),
        }
        r = breakaway(*ramp(rng, at, sign=sign, **settings), 1e-3)
        assert r.moved
        # the torque goes on rising until the angle has left the band of 5 σ
        lag = math.sqrt(2 * 5 * settings["sigma_angle"] / settings["acceleration"])
        assert sign * r.torque_n_m == pytest.approx(at - 0.0001 + 0.005 * lag, abs=3.5e-4 + 0.01 * lag)


def test_without_noise_the_break_is_exact() -> None:
    rng = np.random.default_rng(3)
    r = breakaway(*ramp(rng, 0.08, sigma_angle=0, sigma_torque=0), 1e-3)
    assert r.time_s == pytest.approx(8.0, abs=0.002)
    assert r.torque_n_m == pytest.approx(0.08 - 0.01 * 0.0095, abs=2e-5)


def test_a_ramp_without_motion_gives_a_lower_bound() -> None:
    rng = np.random.default_rng(4)
    torque, angle = ramp(rng, 0.08)
    before = 7500
    still = breakaway(torque[:before], angle[:before], 1e-3)
    assert not still.moved
    assert still.torque_n_m == pytest.approx(0.075, abs=0.0015)
    assert still.compliance_rad_n_m == pytest.approx(0.4 * DEG, rel=0.02)
    r = starting_torque([still, breakaway(torque, angle, 1e-3)])
    assert r.not_moved == 1
    assert r.mean_n_m is None


def test_a_bump_shorter_than_50_ms_is_no_motion() -> None:
    rng = np.random.default_rng(5)
    torque, angle = ramp(rng, 0.08)
    angle[3000:3030] += 1 * DEG
    assert breakaway(torque[:7000], angle[:7000], 1e-3).moved is False


def test_what_is_refused() -> None:
    rng = np.random.default_rng(6)
    torque, angle = ramp(rng, 0.08)
    with pytest.raises(NotEnoughDataError, match="start the ramp lower"):
        breakaway(torque[7950:], angle[7950:], 1e-3)
    with pytest.raises(AnalysisError, match="angles"):
        breakaway(torque, angle[1:], 1e-3)
    with pytest.raises(NotEnoughDataError, match="two ramps"):
        starting_torque([breakaway(torque, angle, 1e-3)])
