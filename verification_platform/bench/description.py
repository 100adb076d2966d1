"""The bench description: one TOML file that every process reads, so that nothing is described twice.

`load_bench(path)` turns ``bench.toml`` into frozen values in SI. Names of channels are the roles that protocols ask
for (``input_angle``, ``output_torque``); actuators likewise (``drive``, ``load``). What is wrong in the file is
said in one line: where, what, and what to write instead.
"""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from verification_platform.metrology.units import parse
from verification_platform.tables import (
    Acceleration,
    Duration,
    Speed,
    Table,
    Torque,
    TorqueRate,
    one_line,
)
from verification_platform.traceability import Calibration, Fixture, channel_to_si


class BenchError(ValueError):
    """The bench or DUT description cannot be used; the message is one clear line."""


#: SI unit of every signal a device table may name; channels inherit it.
SIGNAL_UNITS = {
    "position": "rad",
    "velocity": "rad/s",
    "torque": "N·m",
    "force": "N",
    "temperature": "K",
    "voltage": "V",
    "current": "A",
    "power": "W",
    "frequency": "Hz",
    "power_factor": "1",
    "efficiency": "1",
    "digital_input": "1",  # 1: contact closed; 0: open, or the wire is broken
}


def signal_unit(signal: str) -> str:
    """SI unit of a signal; ``temperature_2`` counts as ``temperature``."""
    return SIGNAL_UNITS[signal.rstrip("0123456789").rstrip("_")]


class Text(Table):
    zh: str
    en: str


class BenchHeader(Table):
    id: str
    kind: Literal["emulated", "hardware", "simulated"]
    title: Text
    #: An emulated bench's time waits so long for a process that is given no processor; 0: for nobody.
    patience: Duration = Field(0.0, ge=0)
    #: The page of its clock; filled in when its emulator runs.
    clock: Path | None = None


class Bus(Table):
    uri: str
    bitrate: int = Field(gt=0)
    cycle: Duration = Field(gt=0)
    #: The thread that owns the bus runs there and nowhere else; None: wherever there is room.
    processor: int | None = Field(None, ge=0)


class Device(Table):
    bus: str
    address: int = Field(ge=1)
    model: str
    serial: str | None = None  # when given, another serial number is refused


class Rates(Table):
    """Steepest slope of a set-point in each mode, a second."""

    velocity: Acceleration
    torque: TorqueRate
    position: Speed


class ActuatorRecord(Table):
    device: str
    max_speed: Speed = Field(gt=0)
    max_torque: Torque = Field(gt=0)
    max_rate: Rates
    holds_position: bool = False


class Channel(Table):
    """One measured quantity. `unit` is SI, derived from the signal."""

    device: str
    signal: str
    unit: str = ""
    sensor: str = ""
    range: float | None = None
    calibration: Calibration | None = None

    @model_validator(mode="before")
    @classmethod
    def _to_si(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "signal" not in table:
            return table
        try:
            unit = signal_unit(str(table["signal"]))
        except KeyError:
            raise ValueError(
                f"unknown signal {table['signal']!r}; known are {', '.join(SIGNAL_UNITS)}"
            ) from None
        return channel_to_si({**table, "unit": unit}, unit)


class Clear(Table):
    """Back in order: `channel` has been within [low, high] for `settle`. SI after loading."""

    low: float | None = None
    high: float | None = None
    settle: Duration = Field(default=0.0, ge=0)


class TripLimit(Table):
    """The interlock trips when `channel` has been outside [low, high] for `settle`; SI after loading.

    A reset is refused until the channel is back within `clear`, which is [low, high] unless something narrower is
    said. A limit that is not `latched` needs no reset: back within `clear`, the bench is disarmed, no more.
    """

    channel: str
    low: float | None = None
    high: float | None = None
    settle: Duration = Field(default=0.0, ge=0)
    clear: Clear = Clear()
    latched: bool = True
    reason: str = ""  # what the technician is to be told beside the value

    @model_validator(mode="after")
    def _clear_is_within(self) -> TripLimit:
        low, high = (
            (-math.inf if self.low is None else self.low),
            (math.inf if self.high is None else self.high),
        )
        clear = self.clear
        inner = (low if clear.low is None else clear.low), (high if clear.high is None else clear.high)
        if not low <= inner[0] < inner[1] <= high:
            raise ValueError(
                f"limit of {self.channel}: trip [{low:g}, {high:g}] and clear [{inner[0]:g}, {inner[1]:g}] "
                "do not fit; clear must lie within trip, low below high"
            )
        return self


class Interlock(Table):
    heartbeat: Duration = Field(gt=0)
    silence: Duration = Field(gt=0)
    watchdog: Duration = Field(0.15, gt=0)  # drives that do not hear their master for so long switch off
    torque_off: Duration = Field(0.2, gt=0)  # in the self-test, every drive must be off within so long
    estop: tuple[str, ...] = ()  # channels of contacts that are 1 while nobody presses
    limits: tuple[TripLimit, ...] = ()


class BodiesRecord(Table):
    """Who turns the rigid bodies behind emulated wires. The defaults are the plant's own two inertias."""

    engine: Literal["built-in", "gazebo"] = "built-in"
    server: Literal["auto", "gazebo11", "harmonic"] = "auto"
    model: Path | None = (
        None  # SDF; relative to the bench description; default: the bench of pilotbench_gazebo
    )
    joints: tuple[str, str] = ("rotor_joint", "flange_joint")  # input shaft, output shaft


class BenchDescription(Table):
    bench: BenchHeader
    bus: dict[str, Bus]
    device: dict[str, Device]
    actuator: dict[str, ActuatorRecord] = {}
    channel: dict[str, Channel]
    fixture: Fixture = Fixture()
    interlock: Interlock
    plant: dict[str, Any] = {}
    bodies: BodiesRecord = BodiesRecord()

    @model_validator(mode="before")
    @classmethod
    def _limits_to_si(cls, tables: Any) -> Any:
        """Trip limits are written in any unit of their channel's kind."""
        if not isinstance(tables, dict):
            return tables
        channels, interlock = tables.get("channel", {}), tables.get("interlock", {})
        limits = []
        for limit in interlock.get("limits", ()):
            name = limit.get("channel", "?")
            if name not in channels:
                raise ValueError(f"interlock limit names channel {name!r}, which the bench does not have")
            unit = signal_unit(str(channels[name]["signal"]))
            limits.append(_in_si(limit, unit))
        return {**tables, "interlock": {**interlock, "limits": limits}}

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> BenchDescription:
        for name, device in self.device.items():
            if device.bus not in self.bus:
                raise ValueError(
                    f"device {name} is on bus {device.bus!r}, which is not described; buses are {', '.join(self.bus)}"
                )
        seen: dict[tuple[str, int], str] = {}
        for name, device in self.device.items():
            other = seen.setdefault((device.bus, device.address), name)
            if other != name:
                raise ValueError(
                    f"devices {other} and {name} both have address {device.address} on bus {device.bus}"
                )
        for kind, table in (("channel", self.channel), ("actuator", self.actuator)):
            for name, record in table.items():
                if record.device not in self.device:
                    raise ValueError(f"{kind} {name} is on device {record.device!r}, which is not described")
        for name in self.interlock.estop:
            if name not in self.channel or self.channel[name].unit != "1":
                raise ValueError(f"interlock.estop names {name!r}, which is no channel of a digital input")
        return self

    def channels_on(self, bus: str) -> dict[str, Channel]:
        """Channels whose device hangs on `bus`, in the order of the file: the columns of that bus's rows."""
        return {name: c for name, c in self.channel.items() if self.device[c.device].bus == bus}

    def actuators_on(self, bus: str) -> dict[str, ActuatorRecord]:
        return {name: a for name, a in self.actuator.items() if self.device[a.device].bus == bus}

    def expired(self, on: dt.date) -> list[str]:
        """Channels whose calibration is past its due date on that day (ISO/IEC 17025 6.4.13)."""
        return [
            name for name, c in self.channel.items() if c.calibration is not None and c.calibration.due < on
        ]


def _in_si(limit: dict[str, Any], unit: str) -> dict[str, Any]:
    """Bounds of a limit, those of its `clear` included."""
    return {
        key: parse(value, unit)
        if key in ("low", "high")
        else _in_si(value, unit)
        if key == "clear" and isinstance(value, dict)
        else value
        for key, value in limit.items()
    }


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises BenchError naming the file and what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(
            f"{path}: cannot be read ({error.strerror}); give the path of an existing file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: not a valid TOML file ({error})") from None


def load_bench(path: Path) -> BenchDescription:
    """Read and check ``bench.toml``. Raises BenchError."""
    tables = load_toml(path)
    bodies = tables.get("bodies")
    if isinstance(bodies, dict) and isinstance(bodies.get("model"), str):
        tables["bodies"] = {**bodies, "model": str(path.parent.absolute() / bodies["model"])}
    try:
        return BenchDescription.model_validate(tables)
    except ValidationError as error:
        raise BenchError(one_line(str(path), error)) from None
