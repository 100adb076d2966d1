"""A Dynamixel model is a data table: ``models/NAME.toml`` on top of the control table of its series in
``tables/SERIES.toml``. Driver and emulated device read the same ones, so a new model is a new file and no code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drivers.device import Mode, Signal
from drivers.tables import read_table, table_names

_HERE = Path(__file__).parent
_RPM = 2.0 * math.pi / 60.0
ZERO_CELSIUS = 273.15


@dataclass(frozen=True, slots=True)
class Register:
    """One item of the control table. `goal`: a set-point, locked while the bus watchdog has tripped."""

    name: str
    address: int
    size: int
    writable: bool
    signed: bool
    default: int
    min: int
    max: int
    goal: bool
    limit: str  # register with the largest magnitude of a goal, or ""

    def pack(self, number: int) -> bytes:
        """Raises OverflowError for a number that does not fit."""
        return number.to_bytes(self.size, "little", signed=self.signed)

    def unpack(self, data: bytes) -> int:
        return int.from_bytes(data[: self.size], "little", signed=self.signed)


@dataclass(frozen=True, slots=True)
class Indirect:
    """`count` pointers of two bytes from `address`; what they point to shows itself from `data`."""

    address: int
    data: int
    count: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A signal: SI value = digits of `register` × `digit` + `offset`."""

    register: str
    unit: str
    digit: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where the set-points of a mode go: digits = SI value / `digit`; `code` selects the mode."""

    register: Register
    digit: float
    code: int


@dataclass(frozen=True, slots=True)
class DynamixelModel:
    """Everything that distinguishes one device type from another."""

    name: str
    title: str
    number: int
    registers: Mapping[str, Register]
    indirect: Indirect
    ram: int  # first address that is not EEPROM
    bauds: Mapping[int, int]
    errors: Mapping[int, str]  # by bit
    readings: Mapping[str, Reading]
    targets: Mapping[Mode, Target]
    limits: Mapping[Mode, float]
    expect: Mapping[str, int]
    fast_read_from: int
    watchdog_from: int
    emulated_firmware: int
    supply_V: float

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        return tuple(Signal(name, r.unit, r.digit) for name, r in self.readings.items())

    def error_text(self, bits: int) -> str:
        """Hardware error status in words."""
        texts = [text for bit, text in self.errors.items() if bits >> bit & 1]
        return ", ".join(texts) or f"unknown bits {bits:02X}h"


def known_models() -> tuple[str, ...]:
    return table_names(_HERE / "models")


@cache
def load_model(name: str) -> DynamixelModel:
    """Read a model table. Raises KeyError for a model that has none, ValueError for a table that is wrong."""
    row = read_table(_HERE / "models", name)
    series = read_table(_HERE / "tables", row["table"])
    own = row.get("registers", {})
    registers = {key: _register(key, entry | own.get(key, {})) for key, entry in series["registers"].items()}
    _check(name, registers)
    digits, limits, firmware = row["digits"], row["limits"], row["firmware"]
    angle, speed = 2.0 * math.pi / digits["per_turn"], digits["speed_rpm"] * _RPM
    torque = digits["current_A"] * digits["torque_per_A"]
    goals = {
        Mode.POSITION: ("goal_position", angle),
        Mode.VELOCITY: ("goal_velocity", speed),
        Mode.TORQUE: ("goal_current", torque),
    }
    return DynamixelModel(
        name=name,
        title=row["title"],
        number=row["number"],
        registers=registers,
        indirect=Indirect(**(row.get("indirect") or series["indirect"])),
        ram=series["ram"],
        bauds={int(code): baud for code, baud in series["bauds"].items()},
        errors={int(bit): text for bit, text in series["errors"].items()},
        readings={
            "position": Reading("present_position", "rad", angle),
            "velocity": Reading("present_velocity", "rad/s", speed),
            "torque": Reading("present_current", "N·m", torque),
            "current": Reading("present_current", "A", digits["current_A"]),
            "voltage": Reading("present_voltage", "V", 0.1),
            "temperature": Reading("present_temperature", "K", 1.0, ZERO_CELSIUS),
        },
        targets={
            Mode(mode): Target(registers[goals[Mode(mode)][0]], goals[Mode(mode)][1], code)
            for mode, code in series["modes"].items()
        },
        limits={
            Mode.POSITION: 2.0 * math.pi * series["turns"],
            Mode.VELOCITY: limits["speed_rad_s"],
            Mode.TORQUE: limits["torque_N_m"],
        },
        expect=row.get("expect", {}),
        fast_read_from=firmware["fast_read"],
        watchdog_from=firmware["bus_watchdog"],
        emulated_firmware=firmware["emulated"],
        supply_V=row.get("supply", {}).get("voltage", 12.0),
    )


def model_by_number(number: int) -> DynamixelModel | None:
    """The table of the model that gives this number in answer to a ping."""
    return next((m for m in map(load_model, known_models()) if m.number == number), None)


def _register(name: str, row: Mapping[str, Any]) -> Register:
    bits, signed = 8 * row["size"], row.get("signed", False)
    return Register(
        name=name,
        address=row["address"],
        size=row["size"],
        writable=row.get("access", "rw") == "rw",
        signed=signed,
        default=row.get("default", 0),
        min=row.get("min", -(1 << bits - 1) if signed and row.get("goal") else 0),
        max=row.get("max", (1 << bits - (1 if signed else 0)) - 1),
        goal=row.get("goal", False),
        limit=row.get("limit", ""),
    )


def _check(name: str, registers: Mapping[str, Register]) -> None:
    taken: dict[int, str] = {}
    for register in registers.values():
        for address in range(register.address, register.address + register.size):
            other = taken.setdefault(address, register.name)
            if other != register.name:
                raise ValueError(f"{name}: registers {other} and {register.name} share address {address}")
        if register.limit and register.limit not in registers:
            raise ValueError(f"{name}: register {register.name} names no register {register.limit}")
