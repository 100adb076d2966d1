"""True values: the figures of the specification's vectors, and what a brute-force look at the model gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from verification_platform.bench.plant import HarmonicBenchPlant, Truth
from verification_platform.metrology.units import ARCMIN, ARCSEC, RPM


@pytest.fixture
def truth(plant_of: Callable[..., HarmonicBenchPlant]) -> Truth:
    return plant_of().truth


def test_hysteresis_figures_are_those_of_T_HYS(truth: Truth) -> None:
    backlash = truth.BL_0 / ARCMIN
    assert backlash == pytest.approx(0.600, abs=1e-9)
    assert truth.LM_mid(0.03) == pytest.approx(2 * 3.0 / 1.0e4, rel=1e-12)
    assert truth.LM_mid(0.03) / ARCMIN == pytest.approx(2.0626, abs=1e-4)
    assert truth.LM_outer(0.03) / ARCMIN == pytest.approx(2.6621, abs=1e-4)
    assert (truth.K_1, truth.K_2, truth.K_3) == (1.0e4, 1.5e4, 2.0e4)
    assert truth.K_ba == pytest.approx(2.0e4, rel=1e-12)
    assert truth.phi_m(100.0) / ARCMIN == pytest.approx(21.543, abs=5e-4)
    loss = truth.W
    assert loss == pytest.approx(0.023271, rel=1e-4)


def test_lost_motion_of_a_small_loop_is_the_distance_of_its_ends(truth: Truth) -> None:
    from verification_platform.bench.plant import Torsion

    torsion = Torsion(truth.law)
    high = [torsion.angle(t) for t in (4.0, -4.0, 4.0)][-1]
    low = torsion.angle(-4.0)
    assert truth.LM_HD(0.04) == pytest.approx(high - low, abs=1e-17)
    assert truth.LM_HD(0.04) < truth.LM_mid(0.04)


def test_transmission_error_figures_are_those_of_T_TE(truth: Truth) -> None:
    """e = 20 sin(θ+0.3) + 8 sin(200 θ) ″: the vector's 55.999 and 15.2315."""
    vector = replace(truth, orders=((1.0, 20 * ARCSEC, 0.3), (200.0, 8 * ARCSEC, 0.0)))
    assert vector.TE_pp / ARCSEC == pytest.approx(55.999, abs=1e-3)
    assert vector.TE_rms / ARCSEC == pytest.approx(15.2315, abs=1e-4)
    assert (vector.A(1) / ARCSEC, vector.A(200) / ARCSEC, vector.A(3)) == pytest.approx((20.0, 8.0, 0.0))


def test_TE_pp_is_exact(truth: Truth) -> None:
    error = truth.transmission_error(np.linspace(0.0, 2 * math.pi, 4_000_001))
    assert truth.TE_pp == pytest.approx(np.ptp(error), abs=1e-4 * ARCSEC)
    assert np.ptp(error) <= truth.TE_pp
    assert truth.TE_rms == pytest.approx(np.std(error[:-1]), rel=1e-6)


def test_no_load_torque(truth: Truth) -> None:
    assert truth.T_NL(2000 * RPM) == pytest.approx(0.12, abs=5e-4)
    assert truth.T_NL(-2000 * RPM) == truth.T_NL(2000 * RPM)
    warmer = truth.reference_temperature + 10.0
    assert truth.T_NL(2000 * RPM, warmer) == pytest.approx(truth.T_NL(2000 * RPM) * math.exp(-0.04))
