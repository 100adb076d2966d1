"""Step response: T-STEP of the protocol specification and the edge cases named there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.samples import CoverageError, SampleError
from verification_platform.analysis.step_response import settle, step_response

T = np.arange(-500, 5000) / 10_000.0


def second_order(
    zeta: float, omega: float, *, low: float = 0.0, high: float = 1.0, noise: float = 0.0
) -> np.ndarray:
    t = np.maximum(T, 0)
    damped = omega * math.sqrt(1 - zeta**2)
    y = 1 - np.exp(-zeta * omega * t) * (np.cos(damped * t) + zeta * omega / damped * np.sin(damped * t))
    return low + (high - low) * y + noise * np.random.default_rng(1).standard_normal(T.size)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (5.0, -300.0)])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_T_STEP(low: float, high: float, noise: float) -> None:
    r = step_response(
        T, second_order(0.5, 100, low=low, high=high, noise=noise * abs(high - low)), 0.0, target=high
    )
    assert r.rise == pytest.approx(16.38e-3, abs=0.1e-3)
    assert r.delay == pytest.approx(12.94e-3, abs=0.1e-3)
    assert r.to_90 == pytest.approx(21.26e-3, abs=0.1e-3)
    assert r.reach == pytest.approx((math.pi - math.acos(0.5)) / (100 * math.sqrt(0.75)), abs=0.1e-3)
    assert r.peak_time == pytest.approx(36.28e-3, abs=0.1e-3)
    assert r.overshoot == pytest.approx(0.1630, abs=0.001)
    assert r.settling[0.05] == pytest.approx(52.89e-3, abs=0.1e-3)
    assert r.settling[0.02] == pytest.approx(80.76e-3, abs=0.1e-3)
    assert r.steady_error == pytest.approx(0.0, abs=1e-4 * abs(high - low))
    assert r.y_0 == pytest.approx(low, abs=1e-4 * abs(high - low))


def test_the_step_may_come_between_two_samples() -> None:
    y = np.where(T >= 0.00003, 1.0, 0.0)
    y = np.where(T >= 0, 1 - np.exp(-np.maximum(T - 0.00003, 0) / 0.01), y)
    r = step_response(T, y, 0.00003)
    assert r.delay == pytest.approx(0.01 * math.log(2), abs=2e-5)
    assert r.rise == pytest.approx(0.01 * math.log(9), abs=2e-5)


def test_overdamped_has_no_overshoot() -> None:
    t = np.maximum(T, 0)
    noisy = 1 - np.exp(-t / 0.02) + 1e-3 * np.random.default_rng(2).standard_normal(T.size)
    r = step_response(T, noisy, 0.0)
    assert r.overshoot == 0.0
    assert r.peak_time is None
    assert r.reach is None
    assert r.settling[0.05] == pytest.approx(0.02 * math.log(20), abs=2e-3)


def test_a_band_narrower_than_the_noise_allows_is_not_judged() -> None:
    r = step_response(T, second_order(0.5, 100, noise=0.006), 0.0)
    assert r.settling[0.02] is None
    assert r.settling[0.05] == pytest.approx(52.9e-3, abs=2e-3)


def test_a_swing_that_just_reaches_the_band_may_or_may_not_count() -> None:
    """The first undershoot of ζ = 0.5 is 2.66 %; a band that is hardly wider leaves it in or out by noise alone."""
    quiet, noisy = (second_order(0.5, 100, noise=sigma) for sigma in (0.0, 0.0005))
    assert step_response(T, quiet, 0.0, bands=(0.05, 0.0270)).settling_doubt[0.0270] < 1e-9
    r = step_response(T, noisy, 0.0, bands=(0.05, 0.0270))
    assert r.settling_doubt[0.0270] > 9e-3  # half of the swing from the overshoot to the undershoot
    assert r.settling_doubt[0.05] < 0.5e-3


def test_rise_limits_are_free() -> None:
    r = step_response(T, second_order(0.5, 100), 0.0, rise_limits=(0.0, 0.9))
    assert r.rise_limits == (0.0, 0.9)
    assert r.rise > step_response(T, second_order(0.5, 100), 0.0).rise


def test_settle_of_a_position() -> None:
    y = second_order(0.5, 100)
    s = settle(T, y, 1.0, 0.02)
    assert s.settling == pytest.approx(80.76e-3, abs=0.1e-3)
    assert s.first_entry < s.settling
    assert settle(T, y, 1.0, 0.02, start_s=0.4).settling == 0.0
    with pytest.raises(CoverageError):
        settle(T, y, 3.0, 0.02)


def test_settle_says_what_noise_makes_of_it() -> None:
    """On its way into the band an exponential of τ is at 0.02 ± σ for τ·σ/0.02, to first order."""
    y = 1 - np.exp(-np.maximum(T, 0) / 20e-3)
    assert settle(T, y, 1.0, 0.02).doubt == 0.0
    assert settle(T, y, 1.0, 0.02, noise=1e-3).doubt == pytest.approx(20e-3 * 1e-3 / 0.02, rel=0.01)


def test_settle_refuses_a_band_that_is_none() -> None:
    y = second_order(0.5, 100)
    with pytest.raises(AnalysisError):
        settle(T, y, 1.0, 0.0)


def test_refusals() -> None:
    with pytest.raises(CoverageError, match="settled"):
        step_response(T[:1200], second_order(0.05, 100)[:1200], 0.0)
    with pytest.raises(AnalysisError, match="no step"):
        step_response(T, np.random.default_rng(1).standard_normal(T.size), 0.0)
    with pytest.raises(CoverageError, match="before the step"):
        step_response(T[500:], second_order(0.5, 100)[500:], 0.0)
    assert step_response(T[500:], second_order(0.5, 100)[500:], 0.0, y_0=0.0).overshoot > 0.1
    with pytest.raises(SampleError):
        step_response(T[::-1], second_order(0.5, 100), 0.0)
    bad = second_order(0.5, 100)
    bad[7] = math.nan
    with pytest.raises(NotFiniteError):
        step_response(T, bad, 0.0)
