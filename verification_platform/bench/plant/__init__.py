"""One physical plant for every simulation, with known true values.

The built-in simulator reads it on virtual time, the emulated devices in real time, and Gazebo may turn its
rigid bodies. A protocol that does not find `plant.truth` within its stated uncertainty is wrong.

>>> from pathlib import Path
>>> from verification_platform.bench.description import load_bench
>>> from verification_platform.bench.dut import load_dut
>>> order = load_dut(Path("duts/harmonic-25-100.toml"))
>>> plant = make_plant(load_bench(Path("benches/emulated.toml")), order, seed=1)
>>> plant.advance(0.1)
>>> round(plant.truth.BL_0 / (3.141592653589793 / 10800), 6)  # arcmin
0.6
"""

from __future__ import annotations

from drivers.emulators.plant import Plant
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order

from .harmonic_bench import HarmonicBenchPlant
from .parameters import PlantParameters, plant_parameters
from .rigid import BodiesLost, RigidBodies, RotorAndFlange
from .rotors import RotorsPlant
from .torsion import Torsion, TorsionLaw
from .truth import Truth

__all__ = [
    "BodiesLost",
    "HarmonicBenchPlant",
    "PlantParameters",
    "RigidBodies",
    "RotorAndFlange",
    "RotorsPlant",
    "Torsion",
    "TorsionLaw",
    "Truth",
    "make_plant",
    "plant_behind_wires",
    "plant_parameters",
]


def make_plant(
    bench: BenchDescription, order: Order, seed: int, bodies: RigidBodies | None = None
) -> HarmonicBenchPlant:
    """The plant behind `bench` with the DUT of `order` on it.

    `seed` draws the instruments (systematic errors within their calibration uncertainty) and the noise; the
    same seed gives the same bits. `bodies` takes the place of the built-in rigid bodies (see
    `verification_platform.bench.bodies`). Raises BenchError for a bad ``[plant]`` table.
    """
    return HarmonicBenchPlant(bench, order, plant_parameters(bench), seed, bodies)


def plant_behind_wires(
    bench: BenchDescription, order: Order, seed: int, bodies: RigidBodies | None = None
) -> Plant:
    """The plant of an emulated bench, of whichever model its ``[plant]`` table names. Raises BenchError."""
    if bench.plant.get("model") == "rotors":
        return RotorsPlant(bench, seed)
    return make_plant(bench, order, seed, bodies)
