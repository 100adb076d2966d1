"""Sensors: over many seeds the error at any reading is normal with the certificate's standard uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.plant import HarmonicBenchPlant
from verification_platform.bench.plant.sensors import (
    AngleEncoder,
    CalibrationU,
    Thermometer,
    TorqueTransducer,
)
from verification_platform.metrology.units import ARCSEC

SEEDS = 3000
#: five standard errors of a standard deviation from that many draws
SPREAD = 5 / math.sqrt(2 * SEEDS)


def coverage(errors: np.ndarray, u: float) -> float:
    return float(np.mean(np.abs(errors) <= 2 * u))


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0, 40.0])
def test_encoder_error_is_its_calibration_uncertainty_at_any_angle(angle: float) -> None:
    u = 0.75 * ARCSEC
    errors = np.array(
        [AngleEncoder(u, 0.0, np.random.default_rng([s, 2])).error(angle) for s in range(SEEDS)]
    )
    assert errors.std() == pytest.approx(u, rel=SPREAD)
    assert abs(errors.mean()) < 5 * u / math.sqrt(SEEDS)
    assert coverage(errors, u) == pytest.approx(0.9545, abs=0.02)


def test_eccentric_mounting_adds_to_order_one_only() -> None:
    u, mounting = 0.75 * ARCSEC, 0.5 * ARCSEC
    angles = np.linspace(0.0, 2 * math.pi, 256, endpoint=False)
    spectra = []
    for seed in range(SEEDS // 10):
        encoder = AngleEncoder(u, 0.0, np.random.default_rng(seed), eccentricity_u=mounting)
        spectra.append(2 * np.abs(np.fft.rfft([encoder.error(float(a)) for a in angles])) / len(angles))
    variance = 0.5 * np.mean(np.square(spectra), axis=0)
    assert variance.sum() == pytest.approx(u**2 + mounting**2, rel=0.2)
    assert variance[1] == pytest.approx(AngleEncoder.SHARES[0][1] * u**2 + mounting**2, rel=0.3)
    assert set(np.flatnonzero(variance > 1e-6 * u**2)) == {int(order) for order, _ in AngleEncoder.SHARES}


@pytest.mark.parametrize("torque", [-150.0, 0.0, 3.0, 100.0])
def test_torque_error_is_its_calibration_uncertainty_at_any_torque(torque: float) -> None:
    u = CalibrationU(absolute=0.025, relative=0.0005)
    errors = np.array(
        [TorqueTransducer(u, 200.0, 0.0, np.random.default_rng([s, 5])).error(torque) for s in range(SEEDS)]
    )
    expected = math.hypot(u.absolute, u.relative * torque)
    assert errors.std() == pytest.approx(expected, rel=SPREAD)
    assert coverage(errors, expected) == pytest.approx(0.9545, abs=0.02)


def test_thermometer_error_is_its_calibration_uncertainty() -> None:
    errors = np.array([Thermometer(0.15, 0.0, np.random.default_rng(s)).offset for s in range(SEEDS)])
    assert errors.std() == pytest.approx(0.15, rel=SPREAD)


def test_noise_is_white_and_of_the_stated_size() -> None:
    encoder = AngleEncoder(0.0, 1e-6, np.random.default_rng(1))
    noise = np.array([encoder.read(0.3) for _ in range(20_000)]) - 0.3
    assert noise.std() == pytest.approx(1e-6, rel=0.03)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03


def test_sensor_without_calibration_is_true() -> None:
    assert CalibrationU.of(None) == CalibrationU(0.0, 0.0)
    assert AngleEncoder(0.0, 0.0, np.random.default_rng(1)).read(1.25) == 1.25


def test_uncertainty_is_read_from_the_bench_description(bench: BenchDescription) -> None:
    u = CalibrationU.of(bench.channel["output_torque"])
    assert (u.absolute, u.relative) == pytest.approx((0.025, 0.0005))


def test_reading_one_sensor_leaves_the_others_alone(plant_of: Callable[..., HarmonicBenchPlant]) -> None:
    alone, together = plant_of(seed=3), plant_of(seed=3)
    for _ in range(2000):
        together.read("TQ1", "torque")
    assert alone.read("EN2", "position") == together.read("EN2", "position")


def test_fixture_is_drawn_within_its_uncertainty(
    plant_of: Callable[..., HarmonicBenchPlant], bench: BenchDescription
) -> None:
    truths = [plant_of(seed=s).truth for s in range(400)]
    compliance = np.array([t.compliance for t in truths])
    drag = np.array([t.drag_coulomb for t in truths])
    assert compliance.mean() == pytest.approx(
        bench.fixture.compliance, abs=5 * bench.fixture.compliance_U / 2 / 20
    )
    assert compliance.std() == pytest.approx(bench.fixture.compliance_U / 2, rel=0.18)
    assert drag.min() >= 0
    assert drag.std() == pytest.approx(bench.fixture.drag_U / 2, rel=0.2)


def test_output_encoder_sees_the_fixture_give_way(plant_of: Callable[..., HarmonicBenchPlant]) -> None:
    from drivers.device import Command, Mode

    plant = plant_of()
    plant.command("AX1", Command(Mode.POSITION, 0.0))
    unloaded = np.mean([plant.read("EN2", "position") for _ in range(50)]) - plant.angles[1]
    plant.command("AX2", Command(Mode.TORQUE, 100.0))
    plant.advance(2.0)
    loaded = np.mean([plant.read("EN2", "position") for _ in range(50)]) - plant.angles[1]
    # The encoder's own error changes little over 22′ of twist.
    assert loaded - unloaded == pytest.approx(plant.truth.compliance * plant.output_torque, abs=0.5 * ARCSEC)
