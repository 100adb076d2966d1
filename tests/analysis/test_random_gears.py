"""A thousand random machines each: what the analysis finds against what was put in, and against plain least squares."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.angle import time_synchronous_average
from verification_platform.analysis.hysteresis import hysteresis
from verification_platform.analysis.step_response import step_response
from verification_platform.analysis.transmission_error import transmission_error

ARCSEC = math.pi / 180 / 3600
CASES = 1000


def test_average_against_least_squares_on_the_samples() -> None:
    """Random harmonics, speed profiles and sample numbers: the oracle solves for every sample, without bins."""
    rng = np.random.default_rng(1)
    for case in range(CASES):
        n, turns, orders = int(rng.integers(300, 1500)), int(rng.integers(1, 4)), int(rng.integers(1, 9))
        steps = 1 + rng.uniform(0, 0.6) * np.sin(np.linspace(0, rng.uniform(0, 20), n))
        theta = 2 * math.pi * turns * np.concatenate(([0.0], np.cumsum(steps)[:-1])) / steps.sum()
        theta = rng.uniform(-50, 50) + rng.choice([-1, 1]) * theta
        q = np.arange(1, orders + 1)
        design = np.hstack([np.ones((n, 1)), np.cos(np.outer(theta, q)), np.sin(np.outer(theta, q))])
        x = design @ rng.standard_normal(2 * orders + 1)
        found = time_synchronous_average(theta, x, max_order=8)
        oracle = np.linalg.lstsq(design, x, rcond=None)[0]
        amplitude = np.hypot(oracle[1 : orders + 1], oracle[orders + 1 :])
        scale = np.abs(x).max()
        np.testing.assert_allclose(
            np.abs(found.coefficients[1 : orders + 1]), amplitude, atol=2e-4 * scale, err_msg=str(case)
        )
        assert found.mean == pytest.approx(oracle[0], abs=2e-4 * scale), case
        assert np.abs(found.coefficients[orders + 1 :]).max(initial=0.0) < 2e-4 * scale, case


def test_transmission_error_of_random_gears() -> None:
    """Amplitudes within 5 of their own standard deviations, phases right, TE_pp within its own uncertainty."""
    rng = np.random.default_rng(2)
    off = []
    for case in range(CASES):
        ratio, sense = rng.uniform(3, 200), int(rng.choice([-1, 1]))
        orders = (1, 2, int(rng.integers(5, 21)))
        amplitude = rng.uniform(1, 30, 3) * ARCSEC
        phase = rng.uniform(-math.pi, math.pi, 3)
        n, noise = int(rng.integers(20, 60)) * orders[-1] * 2, rng.uniform(0, 1) * ARCSEC
        theta2 = rng.uniform(-20, 20) + rng.choice([-1, 1]) * 2 * math.pi * 2 * np.arange(n) / n

        def error(theta: np.ndarray, a=amplitude, q=orders, p=phase) -> np.ndarray:  # type: ignore[no-untyped-def]
            return np.sum(a * np.sin(np.outer(theta, q) + p), axis=1)

        theta1 = (theta2 - error(theta2)) * ratio / sense
        r = transmission_error(theta1, theta2 + noise * rng.standard_normal(n), ratio, sense, orders)
        for k, q in enumerate(orders):
            line = r.order(q)
            limit = 5 * line.u_rad + 2e-4 * amplitude.max()
            assert abs(line.amplitude_rad - amplitude[k]) < limit, case
            turn = abs(np.angle(np.exp(1j * (line.phase_rad - phase[k]))))
            assert turn * amplitude[k] < limit, case
        true = np.ptp(error(np.linspace(0, 2 * math.pi, 20001)))
        assert abs(r.pp_rad - true) < 5 * r.pp_noise_rad + r.pp_bias_rad + 1e-3 * true, case
        off.append((r.pp_rad - true) / (r.pp_noise_rad + 1e-4 * true))
    # no bias beyond a third of a standard deviation on average over all gears
    assert abs(float(np.median(off))) < 0.33


def test_hysteresis_of_random_gears() -> None:
    """Every characteristic within 5 of its own standard deviations of the truth."""
    rng = np.random.default_rng(3)
    for case in range(CASES):
        T_N = 10 ** rng.uniform(0, 3.5)
        T_1, T_2 = rng.uniform(0.1, 0.25) * T_N, rng.uniform(0.45, 0.7) * T_N
        K = T_N * 200 * np.cumsum(rng.uniform(0.3, 1.0, 3))
        n = int(rng.integers(2000, 6000))
        x = np.linspace(0, rng.integers(1, 3), n)
        start = rng.choice([-1, 1])
        t = T_N * start * (4 * np.abs(x % 1 - 0.5) - 1)
        rising = ((x % 1) >= 0.5) == (start > 0)
        a = np.abs(t)
        elastic = np.sign(t) * (
            np.minimum(a, T_1) / K[0] + np.clip(a - T_1, 0, T_2 - T_1) / K[1] + np.maximum(a - T_2, 0) / K[2]
        )
        w0 = rng.uniform(0.02, 0.3) * T_N / K[2]
        noise = rng.uniform(0, 0.003) * T_N / K[2]
        phi = (
            elastic + np.where(rising, -0.5, 0.5) * w0 * (1 - (t / T_N) ** 2) + noise * rng.standard_normal(n)
        )
        r = hysteresis(t, phi + rng.uniform(-1, 1), T_N, T_1, T_2)
        span = T_N / K[2]
        truth = {
            "BL_0": w0,
            "LM_mid": 2 * 0.03 * T_N / K[0],
            "LM_outer": 2 * 0.03 * T_N / K[0] + w0 * (1 - 0.03**2),
            "W": w0 * 4 / 3 * T_N,
        }
        for name, true in truth.items():
            found = getattr(r, name)
            slack = 5e-4 * (span * T_N if name == "W" else span)
            assert abs(found.value - true) < 5 * found.u + slack, (case, name)
        for segment, true in zip(r.K, K, strict=True):
            assert abs(segment.mean.value - true) < 5 * segment.mean.u + 2e-3 * true, case


def test_step_response_against_the_closed_form() -> None:
    """Second-order steps of random damping and frequency: overshoot, peak time, settling from the equations."""
    rng = np.random.default_rng(4)
    for case in range(CASES):
        zeta, omega = rng.uniform(0.25, 0.85), 10 ** rng.uniform(0, 3)
        damped, tau = omega * math.sqrt(1 - zeta**2), 1 / (zeta * omega)
        t = np.linspace(-0.1 * tau, 12 * tau, 12000)
        s = np.maximum(t, 0)
        y = 1 - np.exp(-zeta * omega * s) * (np.cos(damped * s) + zeta * omega / damped * np.sin(damped * s))
        y_0, height = rng.uniform(-5, 5), rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 3)
        r = step_response(t, y_0 + height * y, 0.0, target=y_0 + height)
        pitch = t[1] - t[0]
        assert r.overshoot == pytest.approx(math.exp(-math.pi * zeta / math.sqrt(1 - zeta**2)), abs=1e-3), (
            case
        )
        if r.peak_time is not None:
            assert r.peak_time == pytest.approx(math.pi / damped, rel=0.01, abs=pitch), case
        fine = np.linspace(0, 12 * tau, 200_001)
        e = np.exp(-zeta * omega * fine) * (
            np.cos(damped * fine) + zeta * omega / damped * np.sin(damped * fine)
        )
        for band in (0.05, 0.02):
            # where a swing just touches the band the time is not sharp: bracket it
            early, late = (fine[np.flatnonzero(np.abs(e) > b)[-1]] for b in (band + 5e-4, band - 5e-4))
            found = r.settling[band]
            assert found is not None
            assert early - 2 * pitch <= found <= late + 2 * pitch, case
