"""Back-EMF: T-KE, wavering speed, merging, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.back_emf import BackEmf, back_emf
from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotMergeableError
from verification_platform.analysis.samples import CoverageError

from .merging import merged_anyhow

RPM = 2 * math.pi / 60


def driven(seconds: float = 0.2, waver: float = 0.0, noise: float = 0.0) -> tuple[np.ndarray, ...]:
    """1000 r/min, 4 pole pairs, 100 V line-to-line amplitude and 3 % of the 5th, 50 kHz."""
    t = np.arange(0, seconds, 1 / 50_000)
    speed = 1000 * RPM * (1 + waver * np.cos(2 * np.pi * 15 * t))
    angle = 1000 * RPM * (t + waver * np.sin(2 * np.pi * 15 * t) / (2 * np.pi * 15))
    shape = 100 * np.sin(4 * angle + 0.4) + 3 * np.sin(20 * angle)
    rng = np.random.default_rng(1)
    return shape * speed / (1000 * RPM) + noise * rng.standard_normal(t.size), angle, speed


def test_T_KE() -> None:
    r = back_emf(*driven(), pole_pairs=4)
    assert r.k_e_v_per_krpm == pytest.approx(70.711, rel=1e-4)
    assert r.k_e_v_s == pytest.approx(0.67524, rel=1e-4)
    assert r.k_t_n_m_a == pytest.approx(1.16955, rel=1e-4)
    assert r.thd == pytest.approx(0.0300, rel=1e-3)
    assert r.periods == pytest.approx(13.33, abs=0.01)


def test_a_wavering_speed_changes_nothing() -> None:
    r = back_emf(*driven(waver=0.02), pole_pairs=4)
    assert r.k_e_v_s == pytest.approx(0.675237, rel=1e-5)
    assert r.thd == pytest.approx(0.0300, rel=1e-4)


def test_the_uncertainty_is_that_of_repeated_measurements() -> None:
    voltage, angle, speed = driven()
    rng = np.random.default_rng(2)
    runs = [back_emf(voltage + rng.standard_normal(voltage.size), angle, speed, 4, 7) for _ in range(100)]
    assert np.mean([r.u_k_e_v_s for r in runs]) == pytest.approx(np.std([r.k_e_v_s for r in runs]), rel=0.25)


def test_magnets_are_brought_to_20_degrees() -> None:
    r = back_emf(*driven(), pole_pairs=4)
    assert r.at_20_c(70.0) == pytest.approx(r.k_e_v_s / (1 - 0.0011 * 50))


def test_any_partition_gives_the_same_result() -> None:
    rng = np.random.default_rng(3)
    voltage, angle, speed = driven(noise=0.5)
    whole = back_emf(voltage, angle, speed, 4)
    for _ in range(20):
        parts = []
        for part in np.split(np.arange(voltage.size), np.sort(rng.integers(0, voltage.size, 4))):
            parts.append(BackEmf(4))
            parts[-1].update(voltage[part], angle[part], speed[part])
        joined = merged_anyhow(parts, rng)
        r = joined.result()
        assert r.k_e_v_s == pytest.approx(whole.k_e_v_s, rel=1e-12)
        assert r.thd == pytest.approx(whole.thd, rel=1e-10)


def test_what_is_refused() -> None:
    voltage, angle, speed = driven()
    with pytest.raises(NotEnoughDataError, match="periods"):
        back_emf(voltage[:5000], angle[:5000], speed[:5000], 4)
    with pytest.raises(AnalysisError, match="stands still"):
        back_emf(voltage, angle, 0 * speed, 4)
    with pytest.raises(NotMergeableError):
        BackEmf(4).merge(BackEmf(5))
    coarse = np.arange(1000) * (2 * np.pi / 4 / 10)  # ten places a period cannot show 25 orders
    with pytest.raises(CoverageError):
        back_emf(np.sin(4 * coarse), coarse, np.ones(1000), 4)
