"""The plant turns as its truth says: servos hold and follow, errors and friction appear where they should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.device import Command, Mode, Setpoint
from verification_platform.metrology.units import ARCMIN, ARCSEC, RPM

from .driving import PlantOf, ramp, spin, watch


@pytest.mark.parametrize("rpm", [10.0, -60.0, 100.0])
def test_slow_drive_shows_the_transmission_error_and_little_else(plant_of: PlantOf, rpm: float) -> None:
    """Quasi-static: what the shafts do differs from e(θ₂) by less than 0.1″ peak to peak."""
    plant = plant_of()
    spin(plant, rpm)
    input_angle, output_angle = watch(plant, 8.0, lambda: plant.angles[0], lambda: plant.angles[1])
    truth = plant.truth
    rest = output_angle - truth.sense * input_angle / truth.ratio - truth.transmission_error(output_angle)
    assert np.ptp(rest) < 0.1 * ARCSEC
    assert np.ptp(truth.transmission_error(output_angle)) > 40 * ARCSEC  # the error itself is there


@pytest.mark.parametrize("rpm", [10.0, 100.0, 2000.0])
def test_drive_is_smooth_but_not_perfect(plant_of: PlantOf, rpm: float) -> None:
    plant = plant_of()
    spin(plant, rpm)
    (speed,) = watch(plant, 60 / rpm, lambda: plant.speeds[0])
    assert speed.mean() == pytest.approx(rpm * RPM, rel=1e-4)
    ripple = np.ptp(speed) / 2 / (rpm * RPM)
    assert 1e-6 < ripple < 1e-3  # bench requirement: ≤ 0.1 %


@pytest.mark.parametrize("rpm", [100.0, -500.0, 2000.0, 3500.0])
def test_no_load_torque_is_that_of_the_truth(plant_of: PlantOf, rpm: float) -> None:
    plant = plant_of()
    spin(plant, rpm)
    torque, temperature = watch(
        plant, 60 / abs(rpm) * 20, lambda: plant.input_torque, lambda: plant.housing_temperature
    )
    truth = plant.truth
    expected = truth.T_NL(rpm * RPM, float(temperature.mean())) + truth.drag_coulomb
    assert torque.mean() == pytest.approx(math.copysign(expected, rpm), abs=1e-4)
    assert np.ptp(torque) > 2e-5  # order ripple is real


def test_position_hold_locks_the_input_stiffly(plant_of: PlantOf) -> None:
    """AX1 as input lock under ±T_N at the output: the residual rotation stays below 2″ at the output."""
    plant = plant_of()
    plant.command("AX1", Command(Mode.POSITION, 0.0))
    plant.advance(0.5)
    (moved,) = ramp(plant, "AX2", 0.0, Setpoint(Mode.TORQUE, 100.0, 20.0), lambda: plant.angles[0])
    assert np.abs(moved).max() / plant.truth.ratio < 2 * ARCSEC
    plant.advance(plant.time_s + 2.0)
    assert abs(plant.angles[0]) / plant.truth.ratio < 1 * ARCSEC  # friction holds the rest
    assert not plant.saturated("AX1")


def test_locked_input_shows_the_hysteresis_loop_of_the_truth(plant_of: PlantOf) -> None:
    plant = plant_of()
    truth = plant.truth
    plant.command("AX1", Command(Mode.POSITION, 0.0))

    def torsion() -> float:
        return plant.angles[1] - truth.sense * plant.angles[0] / truth.ratio

    # Ends a little beyond T_N, so that both branches reach it whatever the load servo's gain.
    at, branches = 0.0, []
    for end in (101.0, -101.0, 101.0, -101.0):
        torque, angle = ramp(
            plant, "AX2", at, Setpoint(Mode.TORQUE, end, 20.0), lambda: plant.output_torque, torsion
        )
        branches.append((torque, angle - truth.transmission_error(np.zeros(1))))
        at = end
    (up_torque, up), (down_torque, down) = branches[-2:]
    amplitude = 0.5 * (up_torque.max() - down_torque.min())
    grid = np.linspace(-90.0, 90.0, 181)
    low, high = np.interp(grid, up_torque, up), np.interp(grid, down_torque[::-1], down[::-1])
    expected_width = np.array([truth.law.loop_width(float(t), amplitude) for t in grid])
    expected_middle = np.array([truth.law.loop_midline(float(t), amplitude) for t in grid])
    # Quasi-static within 0.5 % of the lost motion although the ramp is 40 times the standard's rate.
    assert np.abs((high - low) - expected_width).max() < 0.005 * truth.LM_mid()
    middle = (high + low) / 2
    assert (
        np.abs(middle - middle.mean() - expected_middle + expected_middle.mean()).max()
        < 0.005 * truth.LM_mid()
    )


def test_load_follows_torque_set_points(plant_of: PlantOf) -> None:
    plant = plant_of()
    plant.command("AX1", Command(Mode.POSITION, 0.0))
    (torque,) = ramp(plant, "AX2", 0.0, Setpoint(Mode.TORQUE, -80.0, 40.0), lambda: plant.output_torque)
    plant.advance(plant.time_s + 0.5)
    assert plant.output_torque == pytest.approx(-80.0, rel=0.01)
    assert plant.read("AX2", "torque") == pytest.approx(-80.0, abs=0.5)
    assert np.diff(torque).max() < 0.05  # no overshoot on the way


def test_position_move_arrives_without_overshoot(plant_of: PlantOf) -> None:
    plant = plant_of()
    target = 2 * math.pi
    (angle,) = ramp(plant, "AX1", 0.0, Setpoint(Mode.POSITION, target, 30.0), lambda: plant.angles[0])
    plant.advance(plant.time_s + 1.0)
    assert plant.angles[0] == pytest.approx(target, abs=1e-5)
    assert angle.max() < target + 1e-3


def test_torque_limit_is_flagged(plant_of: PlantOf) -> None:
    plant = plant_of()
    plant.command(
        "AX1", Command(Mode.VELOCITY, 200.0)
    )  # a step: 200 rad/s at once needs more than the drive has
    plant.advance(2e-3)
    assert plant.saturated("AX1")
    assert abs(plant.read("AX1", "torque")) < 5.1
    plant.advance(1.0)
    assert not plant.saturated("AX1")
    assert plant.speeds[0] == pytest.approx(200.0, rel=1e-3)


def test_friction_sticks_until_the_break_away_torque(plant_of: PlantOf) -> None:
    plant = plant_of(cogging=0.0)
    friction = plant.truth.friction_coulomb + plant.truth.drag_coulomb
    plant.command("AX1", Command(Mode.TORQUE, 0.98 * friction))
    plant.advance(1.0)
    assert plant.angles[0] == 0.0
    plant.command("AX1", Command(Mode.TORQUE, 1.05 * friction))
    plant.advance(1.2)
    assert plant.speeds[0] > 0.5


def test_torque_off_lets_the_shaft_run_down(plant_of: PlantOf) -> None:
    plant = plant_of()
    spin(plant, 300.0)
    plant.command("AX1", None)
    plant.command("AX2", None)
    plant.advance(plant.time_s + 1.0)
    assert plant.speeds[0] == pytest.approx(0.0, abs=1e-3)
    assert plant.read("AX1", "torque") == pytest.approx(0.0, abs=0.01)


def test_load_raises_input_torque_and_its_ripple(plant_of: PlantOf) -> None:
    """Under load the input carries T_2/i, friction with the load, and the ripple of e (virtual work)."""
    plant = plant_of()
    truth = plant.truth
    # s = −1: an output torque along +θ₂ drives the input backwards, so it brakes positive rotation.
    spin(plant, 100.0, load=100.0)
    (torque,) = watch(plant, 6.0, lambda: plant.input_torque)
    load = plant.output_torque / truth.ratio
    assert torque.mean() == pytest.approx(
        load + truth.T_NL(100 * RPM) + truth.friction_load * load + truth.drag_coulomb, rel=0.01
    )
    steepest = sum(q * amplitude for q, amplitude, _ in truth.orders)
    assert 0.5 * 2 * load * steepest < np.ptp(torque) < 2 * 2 * load * steepest


def test_housing_warms_towards_loss_times_resistance(plant_of: PlantOf) -> None:
    """One time constant, made short: ΔT(τ) = P·R·(1 − 1/e)."""
    plant = plant_of(heat_capacity=20.0, thermal_resistance=0.7, ambient_swing=0.0, friction_per_kelvin=0.0)
    spin(plant, 2000.0, settle_s=14.0)
    power = (plant.truth.T_NL(2000 * RPM) + plant.truth.drag_coulomb) * 2000 * RPM
    assert plant.housing_temperature - 296.15 == pytest.approx(power * 0.7 * (1 - math.exp(-1)), rel=0.03)


def test_warm_reducer_runs_easier(plant_of: PlantOf) -> None:
    cold, warm = plant_of(ambient="23 °C"), plant_of(ambient="43 °C")
    torque = []
    for plant in (cold, warm):
        spin(plant, 500.0)
        torque.append(
            float(np.mean(watch(plant, 1.2, lambda p=plant: p.input_torque)[0])) - plant.truth.drag_coulomb
        )
    assert torque[1] / torque[0] == pytest.approx(math.exp(-0.004 * 20), rel=0.01)


def test_hundred_revolutions_keep_the_ratio(plant_of: PlantOf) -> None:
    plant = plant_of()
    spin(plant, 2000.0, settle_s=3.0)
    assert abs(plant.angles[0]) > 2 * math.pi * 90
    truth = plant.truth
    assert abs(plant.angles[1] - truth.sense * plant.angles[0] / truth.ratio) < 2 * ARCMIN
