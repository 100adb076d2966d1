"""T-IMU: noise coefficients of simulated gyroscopes, and what must not be claimed."""

from __future__ import annotations

import numpy as np
import pytest

from verification_platform.analysis.allan import AllanResult, allan_deviation
from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.inertial_noise import FLICKER_FACTOR, fit_inertial_noise

FS = 100.0
DEG_PER_SQRT_HOUR = np.radians(1.0) / 60.0
DEG_PER_HOUR = np.radians(1.0) / 3600.0


def white(rng: np.random.Generator, n: int, N: float) -> np.ndarray:
    return rng.standard_normal(n) * N * np.sqrt(FS)


def flicker(rng: np.random.Generator, n: int, B: float) -> np.ndarray:
    """Two-sided S(f) = B²/(2πf), shaped in the frequency domain over twice the length."""
    size = 2 * n
    f = np.fft.rfftfreq(size, 1 / FS)
    spectrum = np.fft.rfft(rng.standard_normal(size) * np.sqrt(FS))
    spectrum[1:] *= np.sqrt(B**2 / (2 * np.pi * f[1:]))
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum)[:n]


def random_walk(rng: np.random.Generator, n: int, K: float) -> np.ndarray:
    return np.cumsum(rng.standard_normal(n)) * K / np.sqrt(FS)


def deviations(rates: np.ndarray) -> AllanResult:
    m = np.unique(np.rint(np.geomspace(1, len(rates) // 10, 60)).astype(int))
    return allan_deviation(rates, 1 / FS, m=m.tolist())


def test_T_IMU_a_white_noise() -> None:
    rates = white(np.random.default_rng(1), int(2 * 3600 * FS), 0.1 * DEG_PER_SQRT_HOUR)
    at_1_s = allan_deviation(rates, 1 / FS, m=[100]).deviation[0]
    assert np.degrees(at_1_s) * 60 == pytest.approx(0.100, rel=0.03)
    fit = fit_inertial_noise(deviations(rates))
    assert fit.coefficients["N"].observable
    assert fit.coefficients["N"].value / DEG_PER_SQRT_HOUR == pytest.approx(0.1, rel=0.03)
    assert not any(fit.coefficients[name].observable for name in "QBKR")


def test_T_IMU_b_flicker_noise() -> None:
    B = 5 * DEG_PER_HOUR
    m = [int(tau * FS) for tau in (5, 10, 20, 50, 100)]
    mean = np.mean(
        [
            allan_deviation(
                flicker(np.random.default_rng(seed), int(2 * 3600 * FS), B), 1 / FS, m=m
            ).deviation
            for seed in (1, 2, 3)
        ],
        axis=0,
    )
    np.testing.assert_allclose(mean / B, FLICKER_FACTOR, rtol=0.08)
    assert pytest.approx(0.664, abs=5e-4) == FLICKER_FACTOR


def test_T_IMU_c_white_noise_and_random_walk() -> None:
    rng = np.random.default_rng(3)
    n = int(4 * 3600 * FS)
    N, K = 0.1 * DEG_PER_SQRT_HOUR, np.radians(1e-4)
    fit = fit_inertial_noise(deviations(white(rng, n, N) + random_walk(rng, n, K)))
    assert fit.coefficients["N"].value == pytest.approx(N, rel=0.03)
    assert fit.coefficients["K"].value == pytest.approx(K, rel=0.15)
    assert fit.minimum_tau_s == pytest.approx(np.sqrt(3) * N / K, rel=0.35)
    assert np.sqrt(3) * N / K == pytest.approx(28.9, abs=0.05)


def test_T_IMU_d_what_the_data_do_not_show_is_not_reported() -> None:
    rng = np.random.default_rng(4)
    n = int(2 * 3600 * FS)
    rates = (
        white(rng, n, 0.1 * DEG_PER_SQRT_HOUR)
        + flicker(rng, n, 5 * DEG_PER_HOUR)
        + random_walk(rng, n, np.radians(2e-5))
    )
    fit = fit_inertial_noise(deviations(rates))
    assert not fit.coefficients["K"].observable
    assert np.isnan(fit.coefficients["K"].value)
    assert fit.coefficients["K"].upper_bound > np.radians(2e-5)
    assert fit.coefficients["N"].observable
    assert fit.bias_instability == pytest.approx(5 * DEG_PER_HOUR, rel=0.25)


def test_quantisation_and_ramp_are_observable_where_they_dominate() -> None:
    rng = np.random.default_rng(5)
    angle = np.round(np.cumsum(white(rng, 200_000, 1e-5)) / FS / 1e-6) * 1e-6
    rates = np.diff(angle) * FS + np.arange(len(angle) - 1) / FS * 1e-6
    fit = fit_inertial_noise(deviations(rates))
    assert fit.coefficients["R"].value == pytest.approx(1e-6, rel=0.1)


def test_refusals() -> None:
    rates = np.random.default_rng(6).standard_normal(1000)
    with pytest.raises(AnalysisError, match="mdev"):
        fit_inertial_noise(allan_deviation(rates, 1.0, "mdev"))
    with pytest.raises(NotEnoughDataError):
        fit_inertial_noise(allan_deviation(rates[:100], 1.0))
