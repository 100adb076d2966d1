"""No-load torque: T-NL of the protocol specification, whole revolutions and friction laws."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from verification_platform.analysis.angle import AverageResult
from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.friction import NoLoadTorque, fit_friction, from_means, no_load_torque
from verification_platform.analysis.samples import CoverageError

RPM = 2 * math.pi / 60
SPEEDS_RPM = np.array([500.0, 1000.0, 1500.0, 2000.0])
RATIO = 100.0


def run(
    rpm: float,
    *,
    seconds: float = 16.3,
    rate: float = 1000.0,
    noise: float = 0.0,
    offset: float = 0.013,
    seed: int = 0,
):  # type: ignore[no-untyped-def]
    """θ₁ and T₁ of a run at signed speed `rpm`: T-NL's friction, ripple of the input and the output order,
    offset."""
    t = np.arange(int(seconds * 1000)) / 1000
    theta = rpm * RPM * t + 0.02 * np.sin(7 * t)
    friction = 0.10 + 2e-5 * abs(rpm)
    torque = np.sign(rpm) * friction + 0.013 + 0.01 * np.sin(theta) + 0.02 * np.sin(theta / RATIO + 1)
    return theta, torque + noise * np.random.default_rng(seed).standard_normal(t.size)


def measure(rpm: float, **kw: Any) -> AverageResult:
    accumulator = NoLoadTorque(RATIO)
    accumulator.update(*run(rpm, **kw))
    return accumulator.result()


def test_T_NL() -> None:
    points = [no_load_torque(measure(n), measure(-n)) for n in SPEEDS_RPM]
    assert [p.torque for p in points] == pytest.approx([0.110, 0.120, 0.130, 0.140], abs=1e-6)
    assert [p.offset for p in points] == pytest.approx([0.013] * 4, abs=1e-6)
    law = fit_friction(SPEEDS_RPM * RPM, [p.torque for p in points])
    assert pytest.approx(0.100, abs=1e-6) == law.T_C
    assert law.T_v * RPM == pytest.approx(2.0e-5, abs=1e-9)


def test_T_NL_from_means() -> None:
    true = 0.10 + 2e-5 * SPEEDS_RPM
    points = [from_means(t + 0.013, -t + 0.013) for t in true]
    assert [p.torque for p in points] == pytest.approx(true, abs=1e-12)
    assert {round(p.offset, 12) for p in points} == {0.013}


def test_peak_to_peak_over_the_output_revolution() -> None:
    r = measure(500.0)
    assert r.periods == 1
    assert r.pp == pytest.approx(0.06, rel=0.01)


def test_the_mean_is_over_whole_revolutions_only() -> None:
    """An output-order ripple of 20 mN·m would leak 3 mN·m into a mean over 1.36 revolutions."""
    _, torque = run(500.0)
    assert abs(torque.mean() - 0.123) > 1e-3
    assert measure(500.0).mean == pytest.approx(0.123, abs=1e-6)


def test_stated_noise_of_the_mean() -> None:
    means = [measure(1500.0, noise=0.05, seed=k) for k in range(40)]
    values = np.array([m.mean for m in means])
    assert values.std(ddof=1) == pytest.approx(np.mean([m.mean_u for m in means]), rel=0.5)
    assert values.mean() == pytest.approx(0.143, abs=4 * 0.05 / math.sqrt(16000 * 40))


@pytest.mark.parametrize("seed", range(5))
def test_partition_and_merge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta, torque = run(1500.0, noise=0.01, seed=seed)
    whole = NoLoadTorque(RATIO)
    whole.update(theta, torque)
    first = NoLoadTorque(RATIO)
    first.update(theta[:3000], torque[:3000])
    cuts = [3000, *sorted(rng.choice(np.arange(3001, theta.size), 7, replace=False)), theta.size]
    for a, b in itertools.pairwise(cuts):
        piece = first.fork(a)
        piece.update(theta[a:b], torque[a:b])
        first.merge(piece)
    one, many = whole.result(), first.result()
    assert many.samples == one.samples
    assert many.mean == pytest.approx(one.mean, rel=1e-12)
    assert many.pp == pytest.approx(one.pp, rel=1e-9)


def test_stribeck_law_is_recovered() -> None:
    speed = np.array([50, 100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500]) * RPM
    true = 0.08 + 0.05 * np.exp(-((speed / (300 * RPM)) ** 2)) + 1.5e-4 * speed
    law = fit_friction(speed, true, stribeck=True)
    assert pytest.approx(0.08, rel=1e-6) == law.T_C
    assert pytest.approx(0.13, rel=1e-6) == law.T_S
    assert law.T_v == pytest.approx(1.5e-4, rel=1e-6)
    assert law.omega_s == pytest.approx(300 * RPM, rel=1e-6)
    np.testing.assert_allclose(law.torque(speed), true, rtol=1e-9)


def test_stated_noise_of_the_fit() -> None:
    rng = np.random.default_rng(1)
    speed = np.linspace(10, 300, 12)
    laws = [fit_friction(speed, 0.1 + 1e-4 * speed + 1e-3 * rng.standard_normal(12)) for _ in range(300)]
    for name, u in (("T_C", "u_coulomb"), ("T_v", "u_viscous")):
        spread = np.std([getattr(law, name) for law in laws], ddof=1)
        assert spread == pytest.approx(np.mean([getattr(law, u) for law in laws]), rel=0.15)


def test_refusals() -> None:
    with pytest.raises(CoverageError):
        measure(500.0, seconds=8.0)
    with pytest.raises(AnalysisError):
        no_load_torque(measure(500.0), measure(500.0))
    with pytest.raises(AnalysisError):
        NoLoadTorque(-100)
    with pytest.raises(CoverageError):
        fit_friction([10.0, 10.0], [0.1, 0.1])
    with pytest.raises(CoverageError):
        fit_friction([10.0, 20.0, 30.0], [0.1, 0.1, 0.1], stribeck=True)
    with pytest.raises(AnalysisError):
        fit_friction([0.0, 20.0], [0.1, 0.1])
    with pytest.raises(NotFiniteError):
        fit_friction([10.0, 20.0], [0.1, math.nan])
