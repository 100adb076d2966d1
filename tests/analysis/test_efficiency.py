"""Power, efficiency and losses: T-MEFF, T-EFF, merging, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.efficiency import (
    PowerMeter,
    efficiency,
    electrical_power,
    fit_losses,
    gear_efficiency,
)
from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)
from verification_platform.analysis.operating_region import shaft_power

from .merging import merged_anyhow

RPM = 2 * math.pi / 60


def test_T_MEFF() -> None:
    t = np.arange(50_000) / 50_000
    phase = 2 * np.pi * np.array([0, 1, 2])[:, None] / 3
    u = 100 * math.sqrt(2) * np.sin(2 * np.pi * 50 * t - phase)
    i = 5 * math.sqrt(2) * np.sin(2 * np.pi * 50 * t - phase - math.pi / 6)
    r = electrical_power(u, i)
    assert r.power_w == pytest.approx(1299.04, abs=0.005)
    assert r.voltage_v == pytest.approx([100] * 3)
    assert r.current_a == pytest.approx([5] * 3)
    assert r.power_factor == pytest.approx(math.cos(math.pi / 6))
    output = shaft_power(3.8, 3000 * RPM)
    assert output == pytest.approx(1193.81, abs=0.005)
    assert efficiency(r.power_w, output) == pytest.approx(0.91899, abs=1e-4)
    # generating: the shaft drives, the same machine returns less than it takes
    assert efficiency(-900.0, -1000.0) == pytest.approx(0.9)


def test_T_EFF() -> None:
    assert gear_efficiency(1.25, 100, 100) == pytest.approx(0.8000, abs=1e-12)
    assert gear_efficiency(-1.25, 100, 100) == pytest.approx(0.8)
    assert gear_efficiency(0.7, 100, 100, back_driven=True) == pytest.approx(0.7)
    with pytest.raises(AnalysisError, match="check zeros"):
        gear_efficiency(0.99, 100, 100)
    with pytest.raises(AnalysisError, match="check zeros"):
        efficiency(100, -1)


def test_power_in_random_parts_is_the_power_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    u, i = rng.standard_normal((2, 3, 30_000))
    whole = electrical_power(u, i)
    assert whole.power_w == pytest.approx(float(np.sum(u * i)) / 30_000, rel=1e-12)
    for _ in range(100):
        parts = []
        for part in np.split(np.arange(30_000), np.sort(rng.integers(0, 30_000, 5))):
            parts.append(PowerMeter())
            parts[-1].update(u[:, part], i[:, part])
        joined = merged_anyhow(parts, rng)
        assert joined.result().power_w == pytest.approx(whole.power_w, rel=1e-12)
        assert joined.result().samples == 30_000


def test_the_loss_model_finds_its_coefficients() -> None:
    rng = np.random.default_rng(2)
    speed, torque = (v.ravel() for v in np.meshgrid(np.linspace(1, 30, 5), np.linspace(5, 100, 5)))
    truth = np.array([0.5, 0.2, 0.01, 0.05, 1e-3])
    terms = np.stack([np.ones(25), speed, speed**2, torque * speed, torque**2])
    runs = [fit_losses(speed, torque, truth @ terms + 0.1 * rng.standard_normal(25)) for _ in range(1000)]
    found = np.array([r.coefficients for r in runs])
    assert np.all(np.abs(found.mean(axis=0) - truth) < 4 * found.std(axis=0) / math.sqrt(1000))
    assert np.sqrt(np.mean([r.u**2 for r in runs], axis=0)) == pytest.approx(found.std(axis=0), rel=0.1)
    exact = fit_losses(speed, torque, truth @ terms)
    assert exact.loss(10.0, 50.0) == pytest.approx(0.5 + 2 + 1 + 25 + 2.5)
    assert exact.efficiency(10.0, 50.0) == pytest.approx(500 / 531)
    assert exact.efficiency([10.0, 10.0], [50.0, -50.0])[1] == pytest.approx(500 / 531)
    with pytest.raises(AnalysisError, match="not extrapolated"):
        exact.loss(31.0, 50.0)
    with pytest.raises(NotEnoughDataError, match="separate"):
        fit_losses(speed[:8], np.full(8, 5.0), speed[:8])


def test_what_is_refused() -> None:
    with pytest.raises(AnalysisError, match="shape"):
        PowerMeter(3).update(np.zeros((2, 5)), np.zeros((2, 5)))
    with pytest.raises(NotFiniteError, match="current 1"):
        PowerMeter(2).update(np.zeros((2, 5)), np.array([[0.0] * 5, [np.nan] * 5]))
    with pytest.raises(NotMergeableError):
        PowerMeter(2).merge(PowerMeter(3))
    with pytest.raises(NotEnoughDataError):
        PowerMeter().result()
