"""Thermal steady state, exponential fit, winding, duty cycles: T-TR, T-S1, T-S3."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)
from verification_platform.analysis.exponential import fit_exponential
from verification_platform.analysis.thermal import (
    ThermalRecord,
    cyclic_steady,
    equivalent_torque,
    thermal_steady,
    winding_temperature,
)

from .merging import merged_anyhow


def warm_up(hours: float = 4.0, seed: int = 1, sigma: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """35 K above 23 °C with τ = 1800 s, every 10 s."""
    t = np.arange(0, hours * 3600, 10.0)
    rng = np.random.default_rng(seed)
    return t, 23 + 35 * (1 - np.exp(-t / 1800)) + sigma * rng.standard_normal(t.size)


def test_T_TR() -> None:
    t, y = warm_up()
    steady = thermal_steady(t, y)
    assert steady == pytest.approx(9160, abs=120)
    assert thermal_steady(*warm_up(sigma=0)) == pytest.approx(9160, abs=30)
    record = ThermalRecord()
    record.update(t, y, np.full(t.size, 23.0))
    r = record.result(earliest_s=7200)
    assert r.steady_s == steady
    # the mean of the last 30 min before the declaration; at its end the rise is 34.79 K
    truth = 35 * (1 - np.exp(-np.arange(steady - 1790, steady + 1, 10) / 1800)).mean()
    assert r.rise_k == pytest.approx(truth, abs=0.02)
    assert float(np.interp(steady, t, 35 * (1 - np.exp(-t / 1800)))) == pytest.approx(34.79, abs=0.1)
    fit = fit_exponential(t[t <= steady], y[t <= steady] - 23, start=0.0)
    assert fit.final == pytest.approx(35.0, abs=0.1)
    assert fit.tau_s == pytest.approx(1800, abs=15)
    free = fit_exponential(t, y)
    assert free.final == pytest.approx(58.0, abs=0.1)
    assert free.tau_s == pytest.approx(1800, abs=15)
    assert free.residual == pytest.approx(0.05, rel=0.1)


def test_the_rule_is_that_of_two_windows_and_not_of_the_instant() -> None:
    t, y = warm_up(sigma=0)
    instant = t[np.argmax(35 / 1800 * np.exp(-t / 1800) * 3600 <= 2)]
    assert instant == pytest.approx(6400, abs=50)
    assert thermal_steady(t, y) > instant + 2500
    assert thermal_steady(t[t < 9000], y[t < 9000]) is None
    assert thermal_steady(t[:100], y[:100]) is None


def test_slopes_are_those_of_polyfit_in_1000_random_windows() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        t = np.sort(rng.uniform(0, 4000, 300))
        y = rng.standard_normal(300).cumsum()
        record = ThermalRecord(with_ambient=False, resolution_s=1e-6)
        record.resolution_s = 13.0
        record.update(t, y)
        mean_t, mean_y, _ = record._means()
        last = mean_t > mean_t[-1] - 1800
        expected = np.polyfit(mean_t[last], mean_y[last], 1)[0] * 3600
        assert record.result().slope_k_h == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_any_order_of_merging_gives_the_same_result() -> None:
    rng = np.random.default_rng(3)
    t = np.arange(0, 14_000, 0.25)
    y = 35 * (1 - np.exp(-t / 1800)) + 0.05 * rng.standard_normal(t.size)
    ambient = 23 + 1e-4 * t
    whole = ThermalRecord()
    whole.update(t, y, ambient)
    expected = whole.result()
    for _ in range(30):
        cuts = [0, *sorted(rng.integers(0, t.size, 6).tolist()), t.size]
        parts = []
        for lo, hi in itertools.pairwise(cuts):
            parts.append(ThermalRecord())
            parts[-1].update(t[lo:hi], y[lo:hi], ambient[lo:hi])
        joined = merged_anyhow(parts, rng)
        r = joined.result()
        assert r.steady_s == pytest.approx(expected.steady_s, rel=1e-12)
        assert r.rise_k == pytest.approx(expected.rise_k, rel=1e-12)
        assert r.slope_k_h == pytest.approx(expected.slope_k_h, rel=1e-8)
    assert expected.steady_s == pytest.approx(9160, abs=60)


def test_a_drifting_ambient_is_subtracted() -> None:
    t, y = warm_up(hours=6, sigma=0.01)
    drift = 3.0 * t / 3600
    record = ThermalRecord()
    record.update(t, y + drift, 23 + drift)
    r = record.result()
    assert r.ambient_subtracted
    assert r.ambient_slope_k_h == pytest.approx(3.0, abs=1e-6)
    assert r.steady_s == pytest.approx(9160, abs=60)
    assert thermal_steady(t, y + drift) is None


def test_a_hole_in_the_record_says_nothing() -> None:
    t, y = warm_up(hours=6, sigma=0)
    kept = (t < 8000) | (t > 8400)
    # windows that contain the hole are unknown: both of them must lie after it
    assert thermal_steady(t[kept], y[kept]) >= 8400 + 2 * 1800 - 200


def test_exponential_agrees_with_scipy_in_1000_random_cases() -> None:
    rng = np.random.default_rng(4)
    for _ in range(1000):
        tau, amplitude, final = (
            rng.uniform(5, 80),
            rng.uniform(1, 50) * rng.choice([-1, 1]),
            rng.uniform(-99, 99),
        )
        t = np.sort(rng.uniform(0, 100, int(rng.integers(30, 200))))
        y = final + amplitude * np.exp(-t / tau) + 0.01 * rng.standard_normal(t.size)
        r = fit_exponential(t, y)
        (f, a, s), covariance = curve_fit(
            lambda x, f, a, s: f + a * np.exp(-x / s), t, y, p0=(final, amplitude, tau)
        )
        u = np.sqrt(np.diag(covariance))
        assert r.final == pytest.approx(f, abs=1e-3 * u[0])
        assert r.amplitude == pytest.approx(a, abs=1e-3 * u[1])
        assert r.tau_s == pytest.approx(s, abs=1e-3 * u[2])
        assert (r.u_final, r.u_tau_s) == pytest.approx((u[0], u[2]), rel=1e-3)
        assert r.u_at_zero == pytest.approx(
            math.sqrt(covariance[0, 0] + 2 * covariance[0, 1] + covariance[1, 1]), rel=1e-3
        )


def test_an_exponential_with_known_start_states_its_uncertainty() -> None:
    rng = np.random.default_rng(5)
    t = np.arange(0, 5000, 10.0)
    truth = 35 * (1 - np.exp(-t / 1800))
    fits = [fit_exponential(t, truth + 0.05 * rng.standard_normal(t.size), start=0.0) for _ in range(100)]
    assert np.mean([f.u_final for f in fits]) == pytest.approx(np.std([f.final for f in fits]), rel=0.25)
    assert np.mean([f.u_tau_s for f in fits]) == pytest.approx(np.std([f.tau_s for f in fits]), rel=0.25)
    assert fits[0](0.0) == pytest.approx(0.0, abs=1e-9)


def test_T_S1() -> None:
    theta = winding_temperature(1.3144, 1.000, 20.0)
    assert theta == pytest.approx(100.17, abs=0.005)
    assert theta - 25 == pytest.approx(75.17, abs=0.005)
    assert winding_temperature(1.0, 1.0, 20.0, k=225) == 20.0
    with pytest.raises(AnalysisError, match="positive"):
        winding_temperature(0.0, 1.0, 20.0)


def test_the_resistance_at_switching_off_is_extrapolated() -> None:
    rng = np.random.default_rng(6)
    t = np.arange(25.0, 600, 5.0)
    r = fit_exponential(t, 1.10 + 0.2144 * np.exp(-t / 180) + 2e-5 * rng.standard_normal(t.size))
    assert r.at_zero == pytest.approx(1.3144, abs=5 * r.u_at_zero)
    assert r.u_at_zero < 1e-4


def test_T_S3() -> None:
    assert equivalent_torque([2.0, 0.0], [150, 450]) == pytest.approx(1.000, abs=1e-12)
    assert equivalent_torque([2.0, 0.0], [150, 450], cooling=[1, 0.5]) == pytest.approx(math.sqrt(1.6))
    peaks = 60 - 20 * np.exp(-np.arange(12) / 2)
    found = cyclic_steady(600.0 * np.arange(12), peaks)
    assert found == next(k for k in range(1, 12) if (peaks[k] - peaks[k - 1]) * 6 <= 2)
    assert cyclic_steady(600.0 * np.arange(4), peaks[:4]) is None
    with pytest.raises(AnalysisError, match="zero"):
        equivalent_torque([1.0], [0.0])


def test_what_is_refused() -> None:
    t, y = warm_up()
    with pytest.raises(AnalysisError, match="run forward"):
        thermal_steady(t[::-1], y)
    with pytest.raises(NotFiniteError):
        thermal_steady(t, np.where(t == 50, np.nan, y))
    with pytest.raises(AnalysisError, match="ambient"):
        ThermalRecord().update(t, y)
    with pytest.raises(NotMergeableError):
        ThermalRecord().merge(ThermalRecord(with_ambient=False))
    with pytest.raises(NotEnoughDataError, match="window"):
        ThermalRecord().result()
    with pytest.raises(AnalysisError, match="one clock"):
        ThermalRecord(with_ambient=False).update([0.0, 1e12], [20.0, 20.0])
    with pytest.raises(NotEnoughDataError, match="curvature"):
        fit_exponential(np.arange(100.0), 3 * np.arange(100.0))
    with pytest.raises(NotEnoughDataError, match="6 samples"):
        fit_exponential([0, 1, 2], [0, 1, 2])
