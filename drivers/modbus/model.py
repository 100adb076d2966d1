"""A Modbus device model is a data table: ``models/NAME.toml``. Driver and emulated device read the same
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drivers.device import Signal
from drivers.modbus.actuation import Actuation, read_actuation
from drivers.modbus.codec import MOST_REGISTERS, Function, Number
from drivers.tables import read_table, table_names

_MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity in the block of registers that is read: SI value = number × `scale` + `offset`."""

    register: int  # offset in the block
    number: Number
    scale: float
    offset: float
    unit: str
    digit: float  # resolution, SI
    full_scale: float  # SI; beyond it the device reports overload
    per_torque: float | None = None  # of an emulated brake: this much for each N·m that is set


@dataclass(frozen=True, slots=True)
class ModbusModel:
    """Everything that distinguishes one device type from another. Times in seconds."""

    name: str
    title: str
    model_number: int
    firmware: int
    identity_address: int  # holding registers: model number u16, serial number u32, firmware u16 (hundredths)
    function: Function
    address: int
    count: int
    status_register: int | None  # None: no register whose every bit makes the readings BAD
    readings: Mapping[str, Reading]
    settings: Mapping[int, int]  # writable holding registers and their values after power-up
    period_s: float  # 0: every cycle
    max_age_s: float  # a value older than this is STALE
    turnaround_s: float  # typical time from the end of a request to the beginning of the response
    timeout_s: float  # longest such time the master waits for
    slowest_s: float  # after this time the device is certain not to answer any more
    silence_s: float | None  # shortest pause between frames it needs; None: what the standard says
    actuation: Actuation | None = None  # of what gives torque

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        return tuple(Signal(name, r.unit, r.digit) for name, r in self.readings.items())


def known_models() -> tuple[str, ...]:
    return table_names(_MODELS)


@cache
def load_model(name: str) -> ModbusModel:
    """Read a model table. Raises KeyError for a model that has none, ValueError for a table that is wrong."""
    table = read_table(_MODELS, name)
    identity, block, poll, timing = table["identity"], table["block"], table["poll"], table["timing"]
    readings = {
        key: Reading(
            row["register"],
            Number(row["format"], row.get("word_order", "AB")),
            row["scale"],
            row.get("offset", 0.0),
            row["unit"],
            row["digit"],
            row["full_scale"],
            row.get("per_torque"),
        )
        for key, row in table["signal"].items()
    }
    count = block["count"]
    if not 1 <= count <= MOST_REGISTERS or any(
        2 * r.register + r.number.size > 2 * count for r in readings.values()
    ):
        raise ValueError(f"{name}: a signal lies outside the block of {count} registers")
    actuation = read_actuation(name, table) if "control" in table else None
    if actuation is not None and (
        poll["period"] != 0 or max(actuation.status_register, actuation.fault_register) >= count
    ):
        raise ValueError(f"{name}: what gives torque is polled every cycle, status and fault code with it")
    return ModbusModel(
        name=name,
        title=table["title"],
        model_number=identity["model"],
        firmware=identity["firmware"],
        identity_address=identity["address"],
        function=Function(block["function"]),
        address=block["address"],
        count=count,
        status_register=block.get("status_register"),
        readings=readings,
        settings={int(key, 0): value for key, value in table.get("settings", {}).items()},
        period_s=poll["period"],
        max_age_s=poll["max_age"],
        turnaround_s=timing["turnaround"],
        timeout_s=timing["timeout"],
        slowest_s=timing["slowest"],
        silence_s=timing.get("silence"),
        actuation=actuation,
    )
