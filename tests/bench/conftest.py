"""The emulated bench and its reducer as the files describe them; a plant or a simulated bench of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.plant import HarmonicBenchPlant, TorsionLaw, make_plant
from verification_platform.bench.simulated import SimulatedBench
from verification_platform.metrology.units import ARCMIN


@pytest.fixture
def law() -> TorsionLaw:
    """Parameters of vector T-HYS."""
    return TorsionLaw(
        (1.0e4, 1.5e4, 2.0e4), torque_1=14.0, torque_2=48.0, width=0.600 * ARCMIN, rated_torque=100.0
    )


@pytest.fixture
def plant_of(bench: BenchDescription, order: Order) -> Callable[..., HarmonicBenchPlant]:
    """Make a plant: `plant_of(seed=1, stiffness=…)` overrides entries of the ``[plant]`` table."""

    def make(seed: int = 1, **overrides: object) -> HarmonicBenchPlant:
        return make_plant(bench.model_copy(update={"plant": {**bench.plant, **overrides}}), order, seed)

    return make


@pytest.fixture
def running(bench: BenchDescription, order: Order) -> SimulatedBench:
    simulated = SimulatedBench(bench, order, seed=7)
    simulated.start()
    return simulated
