"""Positioning and tilting rigidity: T-POS, T-MS."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotFiniteError
from verification_platform.analysis.positioning import positioning
from verification_platform.analysis.tilting import tilting_rigidity

ARCMIN = math.pi / 180 / 60


def test_T_POS() -> None:
    errors = np.tile(np.repeat([4.0, 5.0, 6.0], 10), (8, 1))
    r = positioning(errors)
    assert r.mean == pytest.approx([5.000] * 8)
    assert r.deviation == pytest.approx([0.83045] * 8, abs=1e-5)
    assert r.repeatability == pytest.approx(2.4914, abs=1e-4)
    assert r.repeatability_4s == pytest.approx(4 * 0.83045, abs=1e-4)
    assert r.accuracy == pytest.approx(5.0)
    assert r.reversal is None


def test_both_sides() -> None:
    rng = np.random.default_rng(1)
    forward, backward = rng.standard_normal((2, 8, 5))
    backward = backward - 7
    r = positioning(forward, backward, approaches=5)
    assert r.accuracy == pytest.approx(np.abs(backward.mean(axis=1)).max())
    assert r.repeatability == pytest.approx(
        3 * max(forward.std(1, ddof=1).max(), backward.std(1, ddof=1).max())
    )
    assert r.reversal == pytest.approx(forward.mean(axis=1) - backward.mean(axis=1))
    assert r.largest_reversal == pytest.approx(np.abs(r.reversal).max())


def test_what_positioning_refuses() -> None:
    with pytest.raises(NotEnoughDataError, match="7 targets"):
        positioning(np.zeros((7, 30)))
    with pytest.raises(NotEnoughDataError, match="29 approaches"):
        positioning(np.zeros((8, 29)))
    with pytest.raises(AnalysisError, match="9 backward"):
        positioning(np.zeros((8, 30)), np.zeros((9, 30)))
    with pytest.raises(NotFiniteError):
        positioning(np.full((8, 30), np.nan))


def test_T_MS() -> None:
    phase = np.linspace(0, 3 * 2 * np.pi, 60_001)
    moment = 400 * np.sin(phase)
    rising = np.cos(phase) > 0
    # 200 N·m ↔ 0.5′, with friction that opens the loop by ±0.02′
    tilt = (moment / 400 - 0.02 * np.where(rising, 1, -1)) * ARCMIN
    r = tilting_rigidity(moment, 0.1 * np.tan(tilt), np.zeros_like(tilt), 0.1, 400.0)
    assert r.K_M.value == pytest.approx(1.3751e6, rel=1e-4)
    assert r.K_M.value * ARCMIN == pytest.approx(400, rel=1e-4)
    with pytest.raises(AnalysisError, match="positive"):
        tilting_rigidity(moment, tilt, tilt, 0.0, 400.0)


def test_the_rigidity_is_found_under_noise() -> None:
    rng = np.random.default_rng(2)
    phase = np.linspace(0, 3 * 2 * np.pi, 60_001)
    moment = 400 * np.sin(phase)
    tilt = moment / 400 * ARCMIN
    noise = 1e-7 * rng.standard_normal((2, phase.size))
    r = tilting_rigidity(moment, 0.1 * np.tan(tilt) + noise[0], noise[1], 0.1, 400.0)
    assert abs(r.K_M.value - 400 / ARCMIN) < 5 * r.K_M.u
    assert r.K_M.u < 0.01 * r.K_M.value
