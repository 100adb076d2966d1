"""The plant as a model: its contract, the same bits again, any rigid bodies, what its table may say, what a step costs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import pytest

from drivers.device import Command, Mode
from drivers.emulators.plant import Plant
from verification_platform.bench.description import BenchDescription, BenchError
from verification_platform.bench.dut import Order
from verification_platform.bench.plant import HarmonicBenchPlant, RigidBodies, RotorAndFlange, make_plant
from verification_platform.metrology.units import ARCMIN, ARCSEC

from .driving import CYCLE_S, PlantOf, spin


def test_obeys_the_contract_of_the_emulators(plant_of: PlantOf) -> None:
    plant: Plant = plant_of()
    plant.advance(0.01)
    for device, signals in {
        "AX1": ("position", "velocity", "torque"),
        "AX2": ("position", "velocity", "torque"),
        "EN2": ("position",),
        "TQ1": ("torque",),
        "TQ2": ("torque",),
        "TMP": ("temperature_1", "temperature_2"),
    }.items():
        for signal in signals:
            assert math.isfinite(plant.read(device, signal))


def readings(plant: HarmonicBenchPlant) -> list[float]:
    spin(plant, 60.0, load=10.0, settle_s=0.2)
    values = []
    for k in range(50):
        plant.advance(0.2 + k * CYCLE_S)
        values += [
            plant.read(d, s)
            for d, s in (("AX1", "position"), ("EN2", "position"), ("TQ1", "torque"), ("TQ2", "torque"))
        ]
    return values


def test_same_seed_gives_the_same_bits(plant_of: PlantOf) -> None:
    assert readings(plant_of(seed=4)) == readings(plant_of(seed=4))
    assert readings(plant_of(seed=4)) != readings(plant_of(seed=5))


def test_how_often_it_is_advanced_does_not_matter(plant_of: PlantOf) -> None:
    once, often = plant_of(), plant_of()
    for plant in (once, often):
        plant.command("AX1", Command(Mode.VELOCITY, 10.0))
    once.advance(0.5)
    for k in range(1, 1001):
        often.advance(k * 0.5e-3)
    assert once.angles == often.angles
    assert once.output_torque == often.output_torque


def test_between_steps_angles_move_on(plant_of: PlantOf) -> None:
    """An emulated device latches at any instant; the reading is that of the instant, not of the last step."""
    plant = plant_of(seed=2)
    spin(plant, 1000.0)
    speed, t = plant.speeds[0], plant.time_s
    before = plant.read("AX1", "position")
    plant.advance(t + 0.4e-3)
    assert plant.time_s == t
    assert plant.read("AX1", "position") - before == pytest.approx(0.4e-3 * speed, abs=6 * 1.5 * ARCSEC)


def test_other_rigid_bodies_can_take_the_place(bench: BenchDescription, order: Order) -> None:
    """The seam of Gazebo: any RigidBodies of the same inertias gives the same machine."""

    class Remote:
        """As behind a datagram: lists instead of tuples, time from the engine."""

        step_s = 0.5e-3

        def __init__(self) -> None:
            self.inner, self.closed = RotorAndFlange(3.0e-4, 6.0e-3, self.step_s), False

        def step(
            self, efforts: Sequence[float], n: int = 1
        ) -> tuple[float, Sequence[float], Sequence[float]]:
            t, q, qd = self.inner.step(efforts, n)
            return t, list(q), list(qd)

        def reset(self) -> None:
            self.inner.reset()

        def close(self) -> None:
            self.closed = True

    remote = Remote()
    bodies: RigidBodies = remote
    ours, theirs = make_plant(bench, order, 1), make_plant(bench, order, 1, bodies)
    for plant in (ours, theirs):
        spin(plant, 100.0, load=20.0)
    assert ours.angles == tuple(theirs.angles)
    theirs.close()
    assert remote.closed


def test_rigid_bodies_keep_energy_and_reset() -> None:
    bodies = RotorAndFlange(1e-4, 1e-2, 1e-3, rotor_damping=1e-4)
    t, _, (speed, _) = bodies.step((2e-3, 0.0), n=2000)
    assert t == pytest.approx(2.0)
    assert speed == pytest.approx(2e-3 / 1e-4 * (1 - math.exp(-2.0)), rel=1e-3)
    bodies.reset()
    assert bodies.step((0.0, 0.0)) == (1e-3, (0.0, 0.0), (0.0, 0.0))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"stifness": [1e4, 1e4, 1e4]}, "stifness"),
        ({"hysteresis": "0.6 N·m"}, "hysteresis"),
        ({"hysteresis": "1 deg"}, "too wide"),
        ({"model": "rv_bench"}, "model"),
        ({"step": "20 ms"}, "step"),
        ({"transmission_error": [{"order": 200, "amplitude": "1 deg"}]}, "too steep"),
    ],
)
def test_bad_plant_table_is_one_clear_line(
    plant_of: PlantOf, overrides: dict[str, object], says: str
) -> None:
    with pytest.raises(BenchError, match=says) as caught:
        plant_of(**overrides)
    assert "\n" not in str(caught.value)


def test_plant_table_overrides_the_truth(plant_of: PlantOf) -> None:
    plant = plant_of(
        hysteresis="0.3 arcmin",
        stiffness=["2e4 N·m/rad", 3e4, 4e4],
        transmission_error=[{"order": 1, "amplitude": "10 arcsec", "phase": "30 deg"}],
    )
    backlash = plant.truth.BL_0
    assert backlash == pytest.approx(0.3 * ARCMIN)
    assert (plant.truth.K_1, plant.truth.K_3) == (2e4, 4e4)
    assert plant.truth.TE_pp == pytest.approx(20 * ARCSEC)


@pytest.mark.parametrize(("device", "signal"), [("TQ1", "position"), ("AX9", "torque")])
def test_unknown_signal_is_refused(plant_of: PlantOf, device: str, signal: str) -> None:
    with pytest.raises(BenchError, match=f"{device}.{signal}"):
        plant_of().read(device, signal)


def test_sensor_takes_no_command(plant_of: PlantOf) -> None:
    with pytest.raises(BenchError, match="no servo"):
        plant_of().command("TQ1", Command(Mode.TORQUE, 1.0))


def test_costs_less_than_thirty_microseconds_a_step(plant_of: PlantOf) -> None:
    """CPU time, best of five: other processes on the machine do not count."""
    plant = plant_of()
    spin(plant, 300.0, load=20.0, settle_s=0.1)
    costs = []
    for _ in range(5):
        steps, start = 1000, time.process_time()
        plant.advance(plant.time_s + steps * 0.5e-3)
        costs.append((time.process_time() - start) / steps)
    assert min(costs) < 30e-6
