"""What the tests of the plant do with it: turn it, ramp it, watch it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from drivers.device import Command, Mode, Setpoint
from drivers.trajectory import Trajectory
from verification_platform.bench.plant import HarmonicBenchPlant
from verification_platform.metrology.units import RPM

PlantOf = Callable[..., HarmonicBenchPlant]
CYCLE_S = 2e-3


def watch(plant: HarmonicBenchPlant, seconds: float, *quantities: Callable[[], float]) -> list[np.ndarray]:
    """Values of `quantities` every bus cycle from now on."""
    start, rows = plant.time_s, []
    for k in range(1, round(seconds / CYCLE_S) + 1):
        plant.advance(start + k * CYCLE_S)
        rows.append([quantity() for quantity in quantities])
    return [np.array(column) for column in zip(*rows, strict=True)]


def spin(plant: HarmonicBenchPlant, rpm: float, load: float = 0.0, settle_s: float = 2.0) -> None:
    plant.command("AX1", Command(Mode.VELOCITY, rpm * RPM))
    plant.command("AX2", Command(Mode.TORQUE, load))
    plant.advance(plant.time_s + settle_s)


def ramp(
    plant: HarmonicBenchPlant, device: str, start: float, setpoint: Setpoint, *quantities: Callable[[], float]
) -> list[np.ndarray]:
    """Ramp as the bus runner does, one set-point a cycle."""
    t0 = plant.time_s
    trajectory = Trajectory(start, setpoint, t0, acceleration=500.0)
    rows = []
    for k in range(1, math.ceil(trajectory.duration_s / CYCLE_S) + 1):
        plant.command(device, Command(setpoint.mode, trajectory.value(t0 + k * CYCLE_S)))
        plant.advance(t0 + k * CYCLE_S)
        rows.append([quantity() for quantity in quantities])
    return [np.array(column) for column in zip(*rows, strict=True)]
