"""Angle sensor errors: T-ENC of the protocol specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.encoder import angle_error, harmonics
from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.samples import CoverageError, UndersampledError

ARCSEC = math.pi / 180 / 3600
THETA = 2 * np.pi * np.arange(24) / 24
REPEATS = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])[:, None]
TRUE = 10 * np.sin(THETA + 0.5) + 4 * np.sin(2 * THETA)
UP, DOWN = (TRUE + 1 + REPEATS) * ARCSEC, (TRUE - 1 + REPEATS) * ARCSEC


def test_T_ENC() -> None:
    r = angle_error(UP, DOWN)
    expected = {
        "R_up": 1.2649,
        "R": 3.2649,
        "B": 2.000,
        "M": 22.831,
        "E": 24.831,
        "A_up": 24.096,
        "A": 26.096,
    }
    for name, value in expected.items():
        assert getattr(r, name) / ARCSEC == pytest.approx(value, abs=0.001), name
    assert r.s_up / ARCSEC == pytest.approx(np.full(24, 0.31623), abs=1e-5)
    assert r.graduation / ARCSEC == pytest.approx(22.831 / 2, abs=0.001)
    first, second = harmonics(THETA, r.mean, (1, 2))
    assert first.amplitude / ARCSEC == pytest.approx(10.000, abs=0.001)
    assert second.amplitude / ARCSEC == pytest.approx(4.000, abs=0.001)
    assert first.phase == pytest.approx(0.5)
    assert second.phase == pytest.approx(0.0, abs=1e-12)


def test_spread_that_depends_on_the_target() -> None:
    scale = np.ones(24)
    scale[7] = 5.0
    r = angle_error((TRUE + REPEATS * scale) * ARCSEC, (TRUE + REPEATS) * ARCSEC)
    assert r.R_up / ARCSEC == pytest.approx(5 * 1.2649, abs=0.001)
    assert r.R_down / ARCSEC == pytest.approx(1.2649, abs=0.001)
    assert pytest.approx(r.R_up) == r.R


def test_harmonics_beyond_the_targets_are_refused() -> None:
    assert harmonics(THETA, TRUE, (11,))[0].amplitude == pytest.approx(0, abs=1e-12)
    with pytest.raises(UndersampledError, match="undersampled for order 12"):
        harmonics(THETA, TRUE, (12,))
    with pytest.raises(AnalysisError, match="evenly"):
        harmonics(THETA**1.1, TRUE, (1,))
    assert harmonics(THETA + 1.0, np.sin(THETA + 1.0), (1,))[0].phase == pytest.approx(0, abs=1e-12)


def test_refusals() -> None:
    with pytest.raises(CoverageError):
        angle_error(UP[:, :7], DOWN[:, :7])
    with pytest.raises(CoverageError):
        angle_error(UP[:1], DOWN[:1])
    with pytest.raises(AnalysisError):
        angle_error(UP[:, :12], DOWN)
    with pytest.raises(AnalysisError):
        angle_error(TRUE, TRUE)
    bad = UP.copy()
    bad[1, 2] = math.nan
    with pytest.raises(NotFiniteError):
        angle_error(bad, DOWN)
