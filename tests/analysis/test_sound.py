"""Sound and vibration: T-NV."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import welch

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.sound import (
    background_correction,
    mean_level,
    sound_power_level,
    surface_level,
    vibration_velocity,
)


def test_T_NV() -> None:
    assert mean_level([70, 70, 73]) == pytest.approx(71.24, abs=0.005)
    assert background_correction(6) == pytest.approx(1.256, abs=0.0005)
    assert background_correction(10) == pytest.approx(0.458, abs=0.0005)
    t = np.arange(0, 5, 1 / 25_600)
    v = vibration_velocity(10 * np.sin(1000 * t), 25_600)
    assert v == pytest.approx(7.071e-3, rel=0.01)


def test_levels_add_up() -> None:
    assert surface_level([70, 70], background_db=60, K_2=1.5) == pytest.approx(70 - 0.458 - 1.5, abs=0.001)
    assert sound_power_level(60.0, 4.0) == pytest.approx(66.02, abs=0.005)
    assert mean_level([5000.0, 5000.0]) == pytest.approx(5000)
    with pytest.raises(AnalysisError, match="6 dB"):
        background_correction(5.9)
    with pytest.raises(NotEnoughDataError):
        mean_level([])


def test_only_the_band_counts() -> None:
    t = np.arange(0, 10, 1 / 25_600)
    inside = 3 * np.sin(2 * np.pi * 80 * t) + 20 * np.sin(2 * np.pi * 700 * t)
    outside = 5 * np.sin(2 * np.pi * 3 * t) + 100 * np.sin(2 * np.pi * 2000 * t) + 9.81
    expected = math.hypot(3 / (2 * np.pi * 80), 20 / (2 * np.pi * 700)) / math.sqrt(2)
    assert vibration_velocity(inside + outside, 25_600) == pytest.approx(expected, rel=0.01)


def test_noise_is_integrated_as_welch_does() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        a = rng.standard_normal(30_000).cumsum()
        f, density = welch(a, 5120, window="hann", nperseg=5120, detrend="constant")
        inner = (f > 10) & (f < 1000)
        weight = np.where(inner, 1.0, np.where((f == 10) | (f == 1000), 0.5, 0.0))
        expected = math.sqrt(float(np.sum(weight[1:] * density[1:] / (2 * np.pi * f[1:]) ** 2)))
        assert vibration_velocity(a, 5120) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(NotEnoughDataError):
        vibration_velocity(a[:5000], 5120)
    with pytest.raises(AnalysisError, match="band"):
        vibration_velocity(a, 2000)
