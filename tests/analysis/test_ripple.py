"""Torque ripple and cogging: T-RIP and T-COG of the protocol specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.angle import AverageResult, time_synchronous_average
from verification_platform.analysis.errors import AnalysisError
from verification_platform.analysis.ripple import cogging, cogging_order, torque_ripple
from verification_platform.analysis.samples import UndersampledError

TURN = 2 * math.pi


def average(
    torque, *, direction: int = 1, start: float = 0.0, n: int = 7200, turns: float = 2.0, noise: float = 0.0
) -> AverageResult:  # type: ignore[no-untyped-def]
    theta = start + direction * TURN * turns * np.arange(n) / n
    rng = np.random.default_rng(1)
    return time_synchronous_average(theta, torque(theta) + noise * rng.standard_normal(n), max_order=180)


def test_T_RIP() -> None:
    r = torque_ripple(average(lambda a: 10 + 0.2 * np.sin(6 * a), n=3600, turns=1))
    assert 100 * r.K_Tb == pytest.approx(2.000, abs=0.001)
    assert 100 * r.pp_over_mean == pytest.approx(4.000, abs=0.002)
    assert r.amplitudes[6] == pytest.approx(0.200, abs=1e-5)
    assert r.mean == pytest.approx(10.0, abs=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_ripple_of_either_sign_of_torque(sign: int) -> None:
    r = torque_ripple(average(lambda a: sign * (10 + 0.2 * np.sin(6 * a))))
    assert r.K_Tb == pytest.approx(0.02, rel=1e-3)
    assert r.pp_over_mean == pytest.approx(0.04, rel=1e-3)


def test_alignment_orders_are_told_apart() -> None:
    r = torque_ripple(average(lambda a: 10 + 0.2 * np.sin(6 * a) + 0.3 * np.sin(a) + 0.1 * np.cos(2 * a)))
    assert r.pp_without_alignment == pytest.approx(0.4, rel=1e-3)
    assert r.T_max - r.T_min > 0.8


def cog(theta: np.ndarray, direction: int) -> np.ndarray:
    return 0.05 * np.sin(36 * theta) + 0.01 * np.sin(72 * theta) + 0.03 * direction + 0.004


@pytest.mark.parametrize("start", [0.0, 2.345])
def test_T_COG(start: float) -> None:
    """Both directions from different start angles: aligned by angle, not by time."""
    r = cogging(
        average(lambda a: cog(a, 1), start=start),
        average(lambda a: cog(a, -1), direction=-1, start=start + 1.0),
    )
    assert r.pp == pytest.approx(0.10687, abs=1e-4)
    assert r.friction == pytest.approx(0.0300, abs=1e-5)
    assert r.offset == pytest.approx(0.004, abs=1e-5)
    assert r.amplitudes[36] == pytest.approx(0.05, abs=1e-5)
    assert r.amplitudes[72] == pytest.approx(0.01, abs=1e-5)
    np.testing.assert_allclose(r.cogging, cog(r.theta_rad, 0) - 0.004, atol=1e-4)


def test_noise_is_averaged() -> None:
    r = cogging(
        average(lambda a: cog(a, 1), n=200_000, turns=20, noise=0.02),
        average(lambda a: cog(a, -1), n=200_000, turns=20, direction=-1, noise=0.02),
    )
    assert r.amplitudes[36] == pytest.approx(0.05, abs=5e-4)
    assert r.friction == pytest.approx(0.03, abs=5e-4)


def test_refusals() -> None:
    with pytest.raises(UndersampledError):
        torque_ripple(average(lambda a: 10 + 0.2 * np.sin(6 * a), n=3000, turns=1))
    with pytest.raises(AnalysisError, match="sign"):
        torque_ripple(average(lambda a: np.sin(a)))
    forward = average(lambda a: cog(a, 1))
    with pytest.raises(AnalysisError):
        cogging(forward, forward)


def test_cogging_order() -> None:
    assert cogging_order(12, 10) == 60
    assert cogging_order(36, 8) == 72
