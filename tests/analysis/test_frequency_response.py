"""T-BW and what a response must not be made to say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.frequency_response import (
    bode_metrics,
    second_order_response,
    sine_response,
)
from verification_platform.analysis.spectrum import cross_spectrum

FS = 10_000.0


def test_T_BW_second_order() -> None:
    f = np.geomspace(1, 400, 120)
    rng = np.random.default_rng(1)
    noise = 0.005 * (rng.standard_normal(len(f)) + 1j * rng.standard_normal(len(f)))
    got = bode_metrics(f, second_order_response(f, 100.0, 0.7) + noise)
    assert got.f_3db_hz == pytest.approx(101.0, rel=0.01)
    assert got.f_90deg_hz == pytest.approx(100.0, rel=0.01)
    assert got.bandwidth_hz == got.f_90deg_hz


def test_T_BW_first_order_with_delay() -> None:
    f = np.geomspace(1, 400, 200)
    got = bode_metrics(f, np.exp(-2j * np.pi * f * 0.5e-3) / (1 + 1j * f / 80.0))
    assert got.f_3db_hz == pytest.approx(80.0, rel=0.01)
    phase = -np.degrees(np.arctan(got.f_90deg_hz / 80.0)) - 360 * got.f_90deg_hz * 0.5e-3
    assert phase == pytest.approx(-90.0, abs=0.05)
    assert got.f_90deg_hz == pytest.approx(153.2, rel=0.01)


def test_T_BW_from_a_measured_chirp() -> None:
    """The whole way: chirp, second-order system, noise of σ = 0.005 on the output, H1 and coherence."""
    rng = np.random.default_rng(2)
    t = np.arange(int(40 * FS)) / FS
    u = signal.chirp(t, 1, t[-1], 400, method="logarithmic")
    wn = 2 * np.pi * 100.0
    b, a = signal.bilinear([wn**2], [1, 1.4 * wn, wn**2], FS)
    y = signal.lfilter(b, a, u) + 0.005 * rng.standard_normal(len(t))
    spectrum = cross_spectrum(u, y, FS, 8192)
    band = (spectrum.frequency_hz >= 4) & (spectrum.frequency_hz <= 390)
    got = bode_metrics(spectrum.frequency_hz[band], spectrum.H1[band], spectrum.coherence[band])
    assert got.f_3db_hz == pytest.approx(101.0, rel=0.01)
    assert got.f_90deg_hz == pytest.approx(100.0, rel=0.01)
    assert got.peak_db < 0.3


def test_sine_by_sine() -> None:
    rng = np.random.default_rng(3)
    t = np.arange(3000) / FS
    for _ in range(1000):
        f = float(rng.uniform(10, 4000))
        H = complex(rng.standard_normal(), rng.standard_normal())
        phase = rng.uniform(0, 6)
        u = 0.3 + 2 * np.cos(2 * np.pi * f * t + phase)
        y = -5 + 2 * abs(H) * np.cos(2 * np.pi * f * t + phase + np.angle(H))
        assert sine_response(u, y, FS, f) == pytest.approx(H, rel=1e-8)


def test_resonance_is_reported() -> None:
    f = np.geomspace(1, 400, 400)
    got = bode_metrics(f, second_order_response(f, 100.0, 0.2))
    assert got.peak_db == pytest.approx(20 * np.log10(1 / (2 * 0.2 * np.sqrt(1 - 0.04))), abs=0.02)
    assert got.peak_hz == pytest.approx(100 * np.sqrt(1 - 2 * 0.04), rel=0.01)


def test_points_of_low_coherence_are_left_out() -> None:
    f = np.geomspace(1, 400, 200)
    H = second_order_response(f, 100.0, 0.7)
    coherence = np.ones(len(f))
    spoilt = (f > 20) & (f < 25)
    H[spoilt], coherence[spoilt] = 0.01, 0.5
    assert bode_metrics(f, H).f_3db_hz < 25
    got = bode_metrics(f, H, coherence)
    assert got.f_3db_hz == pytest.approx(101.0, rel=0.01)
    assert got.used == len(f) - spoilt.sum()


def test_a_sweep_that_ends_early_has_no_bandwidth() -> None:
    f = np.geomspace(1, 30, 50)
    got = bode_metrics(f, second_order_response(f, 100.0, 0.7))
    assert np.isnan(got.bandwidth_hz)


def test_refusals() -> None:
    f = np.geomspace(1, 30, 50)
    with pytest.raises(NotEnoughDataError):
        bode_metrics(f, np.ones(50), np.zeros(50))
    with pytest.raises(AnalysisError, match="ascend"):
        bode_metrics(f[::-1], np.ones(50))
    with pytest.raises(AnalysisError, match="Hz"):
        sine_response(np.zeros(100), np.zeros(100), 10.0, 6.0)
    with pytest.raises(NotEnoughDataError, match="does not move"):
        sine_response(np.zeros(100), np.zeros(100), 10.0, 2.0)
