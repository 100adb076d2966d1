"""What stands in the ``[plant]`` table of a bench description: the true parameters behind the wires.

Every entry has a default, so an empty table is a complete plant. Quantities may be written with a unit; an
unknown entry is refused. The reducer's ratio, sense, rated torque and stiffness breaks come from the DUT
file.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from verification_platform.bench.description import BenchDescription, BenchError
from verification_platform.bench.dut import Reducer
from verification_platform.metrology.units import ARCMIN, ARCSEC
from verification_platform.tables import (
    Angle,
    Duration,
    Inertia,
    Kelvin,
    Stiffness,
    Table,
    Torque,
    Viscous,
    one_line,
)

from .torsion import TorsionLaw


class TransmissionOrder(Table):
    """One line of the transmission error: A·sin(q·θ₂ + φ), `order` q per output revolution."""

    order: float = Field(gt=0)
    amplitude: Angle
    phase: Angle = 0.0


class PlantParameters(Table):
    """The ``[plant]`` table. SI after loading."""

    model: Literal["harmonic_bench"] = "harmonic_bench"
    seed: int = 0
    step: Duration = Field(0.5e-3, gt=0, le=1e-3)  # integration step

    # reducer
    transmission_error: tuple[TransmissionOrder, ...] | None = None
    stiffness: tuple[Stiffness, Stiffness, Stiffness] = (1.0e4, 1.5e4, 2.0e4)  # K_1, K_2, K_3
    hysteresis: Angle = 0.6 * ARCMIN  # w0
    mesh_damping: Viscous = Field(2.0, ge=0)  # on the deformation rate, at the output
    friction_coulomb: Torque = Field(0.08, ge=0)  # T_C at the input
    friction_viscous: Viscous = Field(1.9e-4, ge=0)  # T_v; gives T_NL(2000 r/min) ≈ 0.12 N·m
    friction_load: float = Field(0.12, ge=0)  # Coulomb friction per |T_2|/i
    friction_per_kelvin: float = Field(4e-3, ge=0)  # relative decrease per kelvin of housing temperature
    reference_temperature: Kelvin = 296.15  # where the friction figures hold

    # bodies
    rotor_inertia: Inertia = Field(3.0e-4, gt=0)  # motor, coupling and wave generator
    wave_generator_inertia: Inertia = Field(0.5e-4, ge=0)  # the part of it behind TQ1
    flange_inertia: Inertia = Field(6.0e-3, gt=0)  # output flange, coupling and load rotor

    # servos
    cogging: Torque = 4e-4  # of AX1
    cogging_order: float = 12.0
    load_ripple: Torque = 0.002  # of AX2
    load_ripple_order: float = 24.0

    # thermal network: housing against ambient
    ambient: Kelvin = 296.15
    ambient_swing: Kelvin = Field(0.3, ge=0)  # slow sine of the room, 2 h
    heat_capacity: float = Field(2570.0, gt=0)  # J/K
    thermal_resistance: float = Field(0.70, gt=0)  # K/W

    @field_validator("ambient_swing", mode="before")
    @classmethod
    def _difference(cls, value: Any) -> Any:
        """A temperature difference: "0.3 K" is not to be shifted, and °C would be."""
        if isinstance(value, str) and "C" in value:
            raise ValueError("is a difference; write it in K")
        return value

    def torsion_law(self, dut: Reducer) -> TorsionLaw:
        """Breaks from the data sheet, else 0.2 and 0.6 T_N (protocol specification RED-HYS)."""
        rated = dut.rated_torque
        return TorsionLaw(
            stiffness=self.stiffness,
            torque_1=0.2 * rated if dut.torque_1 is None else dut.torque_1,
            torque_2=0.6 * rated if dut.torque_2 is None else dut.torque_2,
            width=self.hysteresis,
            rated_torque=rated,
        )

    def orders(self, dut: Reducer) -> tuple[tuple[float, float, float], ...]:
        """(order, amplitude, phase) of the transmission error; by default 1, 2, 2i and 4i per output
        revolution.
        """
        if self.transmission_error is not None:
            return tuple((line.order, line.amplitude, line.phase) for line in self.transmission_error)
        i = dut.ratio
        return (
            (1.0, 8 * ARCSEC, 0.3),
            (2.0, 5 * ARCSEC, 1.1),
            (2 * i, 22 * ARCSEC, 0.7),
            (4 * i, 6 * ARCSEC, 2.0),
        )


def plant_parameters(bench: BenchDescription) -> PlantParameters:
    """Check the ``[plant]`` table. Raises BenchError."""
    try:
        return PlantParameters.model_validate(bench.plant)
    except ValidationError as error:
        raise BenchError(one_line(f"bench {bench.bench.id}: plant", error)) from None
