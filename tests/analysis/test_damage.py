"""Miner's rule, equivalent loads and T-LIFE."""

from __future__ import annotations

import numpy as np
import pytest

from verification_platform.analysis.damage import (
    CYCLOIDAL_EXPONENT,
    STRAIN_WAVE_EXPONENT,
    EquivalentLoad,
    SNCurve,
    acceleration_factor,
    duty_cycle,
    equivalent_range,
    rated_life_hours,
)
from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)
from verification_platform.analysis.rainflow import rainflow


def test_T_LIFE() -> None:
    torque, time = [400.0, 320.0, 200.0, 0.0], [0.3, 3.0, 0.4, 0.2]
    speed = [7.0, 14.0, 7.0, 0.0]
    duty = duty_cycle(torque, speed, time, 3.0)
    assert duty.mean_torque == pytest.approx(319.74, abs=0.01)
    assert duty.mean_speed == pytest.approx(12.026, abs=0.01)
    assert duty_cycle(torque, speed, time, CYCLOIDAL_EXPONENT).mean_torque == pytest.approx(320.21, abs=0.01)
    for exponent, hours in ((STRAIN_WAVE_EXPONENT, 337.5), (CYCLOIDAL_EXPONENT, 386.34)):
        load = EquivalentLoad(exponent, rated_torque=67.0, rated_speed=2000.0)
        load.update(np.full(100, 1.5 * 67.0), np.full(100, -2000.0), 3600.0)
        assert load.result().equivalent_hours == pytest.approx(hours, abs=0.005)
        assert load.result().hours == pytest.approx(100.0)
    assert acceleration_factor(2.0, 1.0, 1.0, 1.0, 3.0) == 8.0
    assert 7000 / acceleration_factor(2.0, 1.0, 1.0, 1.0, 3.0) == 875.0


def test_life_counter_merges_like_one_pass() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        n = int(rng.integers(1, 50))
        torque, speed, dt = rng.standard_normal(n) * 100, rng.standard_normal(n) * 50, rng.random(n)
        whole = EquivalentLoad(3.0, rated_torque=50.0, rated_speed=20.0)
        whole.update(torque, speed, dt)
        parts = EquivalentLoad(3.0, rated_torque=50.0, rated_speed=20.0)
        for piece in np.array_split(np.arange(n), 4):
            part = EquivalentLoad(3.0, rated_torque=50.0, rated_speed=20.0)
            part.update(torque[piece], speed[piece], dt[piece])
            parts.merge(part)
        one, two = whole.result(), parts.result()
        direct = np.sum(dt / 3600 * np.abs(speed) / 20 * (np.abs(torque) / 50) ** 3)
        assert one.equivalent_hours == pytest.approx(direct, rel=1e-12)
        assert two.equivalent_hours == pytest.approx(direct, rel=1e-12)
        assert two.mean_torque == pytest.approx(one.mean_torque, rel=1e-12)


def test_catalogue_life() -> None:
    assert rated_life_hours(35000, 1.0, 2.0, 2.0, 1.0, 3.0) == pytest.approx(35000 * 2 / 8)


def test_sn_curve_with_knee() -> None:
    curve = SNCurve(knee_range=100.0, knee_cycles=1e6, k=5.0, k_below=9.0)
    np.testing.assert_allclose(curve.cycles_to_failure([200.0, 100.0, 50.0]), [1e6 / 32, 1e6, 1e6 * 2**9])
    assert SNCurve(100.0, 1e6, 5.0).damage([99.0, 0.0], [1e9, 1.0]) == 0.0
    assert SNCurve(100.0, 1e6, 5.0).damage([200.0, 100.0], [100, 50]) == pytest.approx(32e-4 + 50e-6)
    assert np.isinf(SNCurve(100.0, 1e6, 5.0).cycles_to_failure(10.0))


def test_damage_of_a_signal_uses_exact_ranges() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal(20_000)
    curve = SNCurve(knee_range=1.0, knee_cycles=1e6, k=5.0, k_below=9.0)
    result = rainflow(x, 0.5, damage=curve, table=True)
    assert result.table is not None
    assert result.damage == pytest.approx(curve.damage(result.table.range, result.table.count), rel=1e-12)
    elementary = SNCurve(1.0, 1e6, 5.0, 5.0)
    equivalent = equivalent_range(result.table.range, result.table.count, 5.0, 1e6)
    assert elementary.damage([equivalent], [1e6]) == pytest.approx(
        elementary.damage(result.table.range, result.table.count)
    )


def test_refusals() -> None:
    with pytest.raises(AnalysisError):
        SNCurve(-1.0, 1e6, 5.0)
    with pytest.raises(AnalysisError):
        SNCurve(1.0, 1e6, 5.0, 3.0)
    with pytest.raises(AnalysisError):
        SNCurve(1.0, 1e6, 5.0).damage_per_cycle([-1.0])
    load = EquivalentLoad(3.0)
    with pytest.raises(NotEnoughDataError):
        load.result()
    with pytest.raises(NotFiniteError, match="speed"):
        load.update([1.0], [np.nan], 1.0)
    with pytest.raises(AnalysisError, match="negative"):
        load.update([1.0], [1.0], [-1.0])
    with pytest.raises(NotMergeableError):
        load.merge(EquivalentLoad(10 / 3))
    load.update([1.0], [0.0], 1.0)
    assert np.isnan(load.result().mean_torque)
