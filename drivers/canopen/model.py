"""A CANopen device model is a data table: ``models/NAME.toml`` on top of the objects in
``profiles/PROFILE.toml``.

The driver and the emulated device read the same table, so a new model is a new file and no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from drivers.canopen.cia402 import OPERATIONS, Operation
from drivers.canopen.codec import PdoLayout, bits_of
from drivers.device import Mode, Signal
from drivers.tables import read_table, table_names

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of the dictionary."""

    name: str
    index: int
    subindex: int
    type: str
    access: str
    mappable: bool
    default: int

    @property
    def bits(self) -> int:
        return bits_of(self.type)


@dataclass(frozen=True, slots=True)
class Scaled:
    """An object that carries a quantity: value in `unit` = digits × `digit`; with `bit`, that bit of it alone is meant."""

    object: ObjectEntry
    unit: str
    digit: float
    bit: int | None = None


@dataclass(frozen=True, slots=True)
class Ramps:
    """The drive's own slopes in the profile modes (6083h, 6084h, 6087h), SI per second."""

    acceleration: float
    deceleration: float
    torque: float


@dataclass(frozen=True, slots=True)
class QuickStop:
    """How the drive stops before its torque is taken off: option 605Ah, deceleration 6085h, and how long it may take."""

    option: int
    deceleration: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Homing:
    """Homing method 6098h with its speeds (6099h), acceleration (609Ah) and offset (607Ch), SI."""

    method: int
    fast: float
    slow: float
    acceleration: float
    offset: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class CanopenModel:
    """Everything that distinguishes one device type from another."""

    name: str
    title: str
    profile: str
    vendor: int
    product: int
    revision: int
    device_name: str
    firmware: str
    objects: Mapping[str, ObjectEntry]
    signals: Mapping[str, Scaled]
    targets: Mapping[Mode, Scaled]
    operations: Mapping[Mode, Operation]  # as what a set-point of that mode is sent
    ramps: Ramps | None  # there when an operation is a profile mode
    quick_stop: QuickStop | None
    homing: Homing | None
    rpdos: Mapping[Mode, tuple[str, ...]]  # in the order of their PDO numbers
    tpdos: tuple[tuple[str, ...], ...]
    heartbeat_s: float
    abort_option: int
    max_speed_rad_s: float
    max_torque: float
    status: str | None
    expect: Mapping[str, int]

    def reading(self, signals: Iterable[str]) -> CanopenModel:
        """The model with all of these signals in its process data: what the profile's TPDOs lack gets one more.

        So an input that no channel reads costs no bus time.
        """
        sent = {name for names in self.tpdos for name in names}
        asked = dict.fromkeys(self.signals[s].object.name for s in signals if s in self.signals)
        more = tuple(name for name in asked if name not in sent)
        return replace(self, tpdos=(*self.tpdos, more)) if more else self

    def layout(self, names: tuple[str, ...]) -> PdoLayout:
        return PdoLayout([(name, self.objects[name].type) for name in names])

    def modes_word(self) -> int:
        """Bits of the supported drive modes (6502h) that this model needs."""
        wanted = set(self.operations.values()) | ({Operation.HM} if self.homing else set())
        return sum(operation.bit for operation in wanted)

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        return tuple(Signal(name, s.unit, s.digit) for name, s in self.signals.items())


def known_models() -> tuple[str, ...]:
    return table_names(_HERE / "models")


@cache
def load_model(name: str) -> CanopenModel:
    """Read a model table. Raises KeyError for a model that has none."""
    table = read_table(_HERE / "models", name)
    profile = read_table(_HERE / "profiles", table["profile"])
    expect = dict(table.get("expect", {}))
    objects = {key: _entry(key, row, expect) for key, row in profile["objects"].items()}
    signals = {key: _scaled(row, objects) for key, row in table["signal"].items()}
    targets = {
        Mode(key): Scaled(objects[row["object"]], signals[row["like"]].unit, signals[row["like"]].digit)
        for key, row in table.get("target", {}).items()
    }
    operations = {mode: _operation(name, mode, table.get("modes", {}).get(mode.value)) for mode in targets}
    ramps = Ramps(**table["ramp"]) if "ramp" in table else None
    if ramps is None and any(o in (Operation.PP, Operation.PV, Operation.PT) for o in operations.values()):
        raise ValueError(f"{name}: profile modes need a table [ramp]")
    identity, limits = table["identity"], table.get("limits", {})
    model = CanopenModel(
        name=name,
        title=table["title"],
        profile=table["profile"],
        vendor=identity["vendor"],
        product=identity["product"],
        revision=identity["revision"],
        device_name=identity["name"],
        firmware=identity["firmware"],
        objects=objects,
        signals=signals,
        targets=targets,
        operations=operations,
        ramps=ramps,
        quick_stop=QuickStop(**table["quick_stop"]) if "quick_stop" in table else None,
        homing=Homing(**table["homing"]) if "homing" in table else None,
        rpdos={Mode(key): tuple(names) for key, names in profile["rpdo"].items()},
        tpdos=tuple(tuple(profile["tpdo"][key]) for key in sorted(profile["tpdo"])),
        heartbeat_s=table["heartbeat"]["producer"],
        abort_option=table.get("watchdog", {}).get("abort_option", 0),
        max_speed_rad_s=limits.get("speed_rad_s", math.inf),
        max_torque=limits.get("torque_N_m", math.inf),
        status=table.get("status", {}).get("object"),
        expect=expect,
    )
    shown = objects.get("supported_modes")
    if not targets or shown is None:
        return model
    return replace(model, objects=objects | {"supported_modes": replace(shown, default=model.modes_word())})


def _operation(model: str, mode: Mode, name: str | None) -> Operation:
    """The cyclic one unless the table names another."""
    possible = OPERATIONS[mode]
    found = possible[0] if name is None else next((o for o in possible if o.name == name), None)
    if found is None:
        names = ", ".join(o.name for o in possible)
        raise ValueError(f"{model}: a {mode} set-point cannot be sent as {name!r}, only as {names}")
    return found


def _entry(name: str, row: Mapping[str, Any], expect: Mapping[str, int]) -> ObjectEntry:
    default = expect.get(name, row.get("default", 0))
    return ObjectEntry(
        name,
        row["index"],
        row.get("subindex", 0),
        row["type"],
        row["access"],
        row.get("mappable", False),
        default,
    )


def _scaled(row: Mapping[str, Any], objects: Mapping[str, ObjectEntry]) -> Scaled:
    found = objects[row["object"]]
    if "bit" in row:
        return Scaled(found, row["unit"], 1.0, row["bit"])
    digit = row["digit"] if "digit" in row else 2.0 * math.pi / row["digits_per_turn"]
    return Scaled(found, row["unit"], digit)
