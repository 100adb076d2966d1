"""The instruments on a harmonic bench, drawn once by the seed: what each believes stays wrong in the same way all through.

Every one has a random stream of its own, so reading one does not change another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from verification_platform.bench.description import BenchDescription
from verification_platform.metrology.units import ARCSEC
from verification_platform.traceability import Fixture

from .sensors import AngleEncoder, CalibrationU, Thermometer, TorqueTransducer, normals

# Noise of one reading, one standard deviation.
_INPUT_ANGLE_NOISE, _OUTPUT_ANGLE_NOISE, _LOAD_ANGLE_NOISE = 1.0 * ARCSEC, 0.1 * ARCSEC, 1.0 * ARCSEC
_TORQUE_NOISE = 1e-4  # of the range
_TEMPERATURE_NOISE = 0.01  # K
#: U/k of the motor encoder of the load servo, which nobody calibrates.
_LOAD_ANGLE_U = 5 * ARCSEC
#: Ranges of the transducers where the bench description gives none, N·m.
_INPUT_RANGE, _OUTPUT_RANGE = 5.0, 200.0
#: Standard deviation of what the load servo's torque is wrong by, relative.
_LOAD_GAIN_U = 2e-3


@dataclass(frozen=True, slots=True)
class BenchErrors:
    """What the bench adds, known to the lab only within its U (k = 2); SI.

    compliance: of fixture and couplings. drag: Coulomb friction at the input. skew: by how much EN2 is latched later than EN1.
    load_gain: true torque of the load servo per torque believed.
    """

    compliance: float
    drag: float
    skew: float
    load_gain: float

    @classmethod
    def drawn(cls, fixture: Fixture, seed: int) -> Self:
        """The errors of one bench."""
        draws = np.random.default_rng([seed, 0])

        def normal() -> float:
            return float(draws.normal(0.0, 1.0))

        return cls(
            compliance=fixture.compliance + normal() * fixture.compliance_U / 2,
            drag=max(0.0, fixture.drag_coulomb + normal() * fixture.drag_U / 2),
            skew=normal() * fixture.sync_skew_U / 2,
            load_gain=1.0 + _LOAD_GAIN_U * normal(),
        )


@dataclass(frozen=True, slots=True)
class Instruments:
    """Everything that reads: the calibrated sensors by role, the load's motor encoder, noise of the drives' own estimates."""

    input_angle: AngleEncoder
    output_angle: AngleEncoder
    load_angle: AngleEncoder
    input_torque: TorqueTransducer
    output_torque: TorqueTransducer
    housing: Thermometer
    ambient: Thermometer
    drive_speed_noise: Iterator[float]
    load_speed_noise: Iterator[float]
    drive_torque_noise: Iterator[float]
    load_torque_noise: Iterator[float]

    @classmethod
    def drawn(cls, bench: BenchDescription, seed: int) -> Self:
        """The instruments of one bench, each as good as its calibration record says."""

        def stream(number: int) -> np.random.Generator:
            return np.random.default_rng([seed, number])

        def encoder(role: str, noise: float, number: int, eccentricity_u: float = 0.0) -> AngleEncoder:
            u = CalibrationU.of(bench.channel.get(role)).absolute
            return AngleEncoder(u, noise, stream(number), eccentricity_u)

        def transducer(role: str, usual_range: float, number: int) -> TorqueTransducer:
            channel = bench.channel.get(role)
            range_ = channel.range if channel is not None and channel.range else usual_range
            return TorqueTransducer(CalibrationU.of(channel), range_, _TORQUE_NOISE * range_, stream(number))

        def thermometer(role: str, number: int) -> Thermometer:
            u = CalibrationU.of(bench.channel.get(role)).absolute
            return Thermometer(u, _TEMPERATURE_NOISE, stream(number))

        return cls(
            input_angle=encoder("input_angle", _INPUT_ANGLE_NOISE, 1),
            output_angle=encoder("output_angle", _OUTPUT_ANGLE_NOISE, 2, bench.fixture.mounting_U / 2),
            load_angle=AngleEncoder(_LOAD_ANGLE_U, _LOAD_ANGLE_NOISE, stream(3)),
            input_torque=transducer("input_torque", _INPUT_RANGE, 4),
            output_torque=transducer("output_torque", _OUTPUT_RANGE, 5),
            housing=thermometer("housing_temperature", 6),
            ambient=thermometer("ambient_temperature", 7),
            drive_speed_noise=normals(stream(10)),
            load_speed_noise=normals(stream(11)),
            drive_torque_noise=normals(stream(12)),
            load_torque_noise=normals(stream(13)),
        )
