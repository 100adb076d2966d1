"""Rotors that turn by themselves: the plant behind a bench on which nothing is coupled.

Every actuator is a rotor with inertia and friction under its own servo; every other device reads what the ``[plant]``
table says. It serves emulated benches of any family, where the wires matter and not what is measured::

    [plant]
    model = "rotors"
    reading = { output_torque = "12.5 N·m", housing_temperature = "31 °C" }   # by channel; else a value of its kind
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from drivers.device import Command
from verification_platform.bench.description import (
    ActuatorRecord,
    BenchDescription,
    BenchError,
    signal_unit,
)
from verification_platform.metrology.units import UnitError, parse
from verification_platform.tables import Duration, Table, one_line

from .sensors import normals
from .servo import ServoLoop, ServoTuning

#: What a device shows of a quantity nobody has said anything about, SI.
_USUAL = {"K": 296.15, "V": 48.0, "A": 0.0, "W": 0.0, "Hz": 50.0}
#: From standstill to the greatest speed under the greatest torque, s: this makes the inertia.
_RUN_UP_S = 0.2
#: Friction, of the greatest torque at the greatest speed.
_DRAG = 0.1
_NOISE = 1e-4


class RotorsParameters(Table):
    """The ``[plant]`` table of this model."""

    model: Literal["rotors"]
    seed: int = 0
    step: Duration = Field(0.5e-3, gt=0, le=1e-3)
    reading: dict[str, str] = {}


class _Rotor:
    """One actuator's shaft: semi-implicit Euler at the plant's step."""

    def __init__(self, record: ActuatorRecord, step_s: float) -> None:
        inertia = record.max_torque * _RUN_UP_S / record.max_speed
        self._gain, self._dt = step_s / inertia, step_s
        self._drag = _DRAG * record.max_torque / record.max_speed
        self.angle = self.speed = 0.0
        self.servo = ServoLoop(
            ServoTuning(
                inertia=inertia,
                bandwidth=200.0,
                integral_rate=50.0,
                stiffness_rate=30.0,
                max_torque=record.max_torque,
                max_speed=1.05 * record.max_speed,
            ),
            step_s,
        )

    def step(self) -> None:
        effort = self.servo.torque(self.angle, self.speed) - self._drag * self.speed
        self.speed += self._gain * effort
        self.angle += self._dt * self.speed


class RotorsPlant:
    """Implements `drivers.emulators.plant.Plant`. Raises BenchError for a bad ``[plant]`` table."""

    def __init__(self, bench: BenchDescription, seed: int) -> None:
        try:
            parameters = RotorsParameters.model_validate(bench.plant)
        except ValidationError as error:
            raise BenchError(one_line(f"bench {bench.bench.id}: plant", error)) from None
        self._dt, self._steps = parameters.step, 0
        self._rotors = {a.device: _Rotor(a, self._dt) for a in bench.actuator.values()}
        self._noise = normals(np.random.default_rng([seed, 0]))
        self._readings = _readings(bench, parameters.reading)

    def advance(self, t_s: float) -> None:
        """See `Plant.advance`."""
        whole = int(t_s / self._dt + 1e-6)
        for _ in range(whole - self._steps):
            for rotor in self._rotors.values():
                rotor.step()
        self._steps = max(self._steps, whole)

    def command(self, device: str, command: Command | None) -> None:
        """See `Plant.command`."""
        rotor = self._rotors.get(device)
        if rotor is not None:  # a drive that plays no part on this bench turns nothing
            rotor.servo.command(command, rotor.angle)

    def read(self, device: str, signal: str) -> float:
        """See `Plant.read`."""
        rotor = self._rotors.get(device)
        kinds: dict[str, Callable[[_Rotor], float]] = {
            "position": lambda r: r.angle,
            "velocity": lambda r: r.speed,
            "torque": lambda r: r.servo.current,
        }
        if rotor is not None and signal in kinds:
            return kinds[signal](rotor)
        value = self._readings.get((device, signal))
        if value is None:
            value = _usual(signal)
        return value * (1.0 + _NOISE * next(self._noise))


def _usual(signal: str) -> float:
    try:
        return _USUAL.get(signal_unit(signal), 0.0)
    except KeyError:
        return 0.0


def _readings(bench: BenchDescription, table: dict[str, Any]) -> dict[tuple[str, str], float]:
    found = {}
    for name, text in table.items():
        channel = bench.channel.get(name)
        if channel is None:
            raise BenchError(f"bench {bench.bench.id}: plant: reading of {name!r}, which is no channel")
        try:
            found[channel.device, channel.signal] = parse(text, channel.unit)
        except UnitError as error:
            raise BenchError(f"bench {bench.bench.id}: plant: reading of {name}: {error}") from None
    return found
