"""Line metrics of transducers: T-TQ of the protocol specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.calibration import (
    Series,
    calibrate,
    creep,
    interpolation,
    linearity,
    repeatability,
    reproducibility,
    reversal_error,
    temperature_coefficient,
    zero_return,
)
from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.samples import CoverageError


def transducer(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.linspace(0, 1, n)
    bow = 4 * x * (1 - x)
    return x, 2 * x + 0.002 * bow - 0.001 * bow, 2 * x + 0.002 * bow + 0.001 * bow


def test_T_TQ_eleven_steps() -> None:
    x, up, down = transducer(11)
    assert 100 * linearity(x, (up + down) / 2, "end").value == pytest.approx(0.100, abs=5e-4)
    assert 100 * reversal_error(up, down) == pytest.approx(0.100, abs=5e-4)
    assert 100 * linearity(x, up, "end").value == pytest.approx(0.050, abs=5e-4)


def test_T_TQ_six_steps() -> None:
    x, up, down = transducer(6)
    r = calibrate(x, [Series("0°", up, down)])
    assert 100 * r.linearity_end.value == pytest.approx(0.096, abs=5e-4)
    assert r.hysteresis is not None
    assert 100 * r.hysteresis == pytest.approx(0.096, abs=5e-4)
    assert 100 * r.linearity_increasing.value == pytest.approx(0.048, abs=5e-4)
    assert r.linearity_zero.slope == pytest.approx(2.001455, abs=5e-7)
    assert 100 * r.linearity_zero.value == pytest.approx(0.0727, abs=5e-5)
    assert pytest.approx(2.0) == r.Y_N
    assert pytest.approx(2.0) == r.S


def test_a_free_line_is_the_least_squares_line() -> None:
    x, up, _ = transducer(11)
    found = linearity(x, up + 0.3, "free")
    slope, offset = np.polyfit(x, up + 0.3, 1)
    assert (found.slope, found.offset) == pytest.approx((slope, offset))
    assert found.line == "free"


def test_repeats_and_mountings() -> None:
    x, up, down = transducer(11)
    series = [
        Series("0°", up),
        Series("0°", up * 1.0004),
        Series("120°", up * 1.001, down * 1.001),
        Series("240°", up * 0.999, down * 0.999),
    ]
    r = calibrate(x, series)
    assert r.repeatability == pytest.approx(0.0004, rel=1e-3)
    assert r.reproducibility == pytest.approx(0.002, rel=1e-3)
    assert repeatability([up, up * 1.0004]) == r.repeatability
    assert reproducibility([up * 1.0002, up * 1.001, up * 0.999]) == pytest.approx(r.reproducibility)
    one = calibrate(x, series[:1])
    assert (one.repeatability, one.reproducibility, one.hysteresis) == (None, None, None)


def test_interpolation_and_its_inverse() -> None:
    x = np.linspace(0, 100, 11)
    true = (0.02, 1e-6, -3e-9)
    y = sum(c * x ** (k + 1) for k, c in enumerate(true)) + 0.01
    curve = interpolation(x, y)
    assert curve.coefficients == pytest.approx(true, rel=1e-6)
    assert curve.deviation < 1e-9
    assert curve.load(float(curve.reading(63.0)), 100.0) == pytest.approx(63.0, rel=1e-12)


def test_creep_zero_return_and_temperature() -> None:
    t = np.array([10, 30, 300, 600, 1200, 1800.0])
    y = 2 + 0.001 * (1 - np.exp(-t / 600))
    expected = 0.001 * (math.exp(-30 / 600) - math.exp(-3)) / 2
    assert creep(t, y, 2.0) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(CoverageError, match="1800"):
        creep(t[:-1], y[:-1], 2.0)
    assert zero_return(0.001, 0.003, 2.0) == pytest.approx(0.001)
    assert temperature_coefficient(2.002, 2.0, 20.0) == pytest.approx(0.0005)
    assert temperature_coefficient(0.002, 0.0, 20.0, 2.0) == pytest.approx(0.0005)
    with pytest.raises(AnalysisError):
        temperature_coefficient(1.0, 1.0, 0.0)


def test_refusals() -> None:
    x, up, _ = transducer(11)
    with pytest.raises(CoverageError, match="steps"):
        linearity(x[:4], up[:4])
    with pytest.raises(AnalysisError, match="ascend"):
        linearity(x[::-1], up[::-1])
    with pytest.raises(AnalysisError, match="no output"):
        linearity(x, np.ones(11))
    with pytest.raises(AnalysisError, match="unknown"):
        linearity(x, up, "best")  # type: ignore[arg-type]
    with pytest.raises(CoverageError):
        repeatability([up])
    with pytest.raises(CoverageError):
        calibrate(x, [])
    up[3] = math.nan
    with pytest.raises(NotFiniteError):
        linearity(x, up)
