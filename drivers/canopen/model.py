"""A CANopen device model is a data table: ``models/NAME.toml`` on top of the objects in
``profiles/PROFILE.toml``.

The driver and the emulated device read the same table, so a new model is a new file and no code.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drivers.canopen.codec import PdoLayout, bits_of
from drivers.device import Mode, Signal

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
    """An object that carries a quantity: value in `unit` = digits × `digit`."""

    object: ObjectEntry
    unit: str
    digit: float


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
    rpdos: Mapping[Mode, tuple[str, ...]]  # in the order of their PDO numbers
    tpdos: tuple[tuple[str, ...], ...]
    heartbeat_s: float
    abort_option: int
    max_speed_rad_s: float
    max_torque: float
    status: str | None
    expect: Mapping[str, int]

    def layout(self, names: tuple[str, ...]) -> PdoLayout:
        return PdoLayout([(name, self.objects[name].type) for name in names])

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        return tuple(Signal(name, s.unit, s.digit) for name, s in self.signals.items())


def known_models() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (_HERE / "models").glob("*.toml")))


@cache
def load_model(name: str) -> CanopenModel:
    """Read a model table. Raises KeyError for a model that has none."""
    if name not in known_models():
        raise KeyError(name)
    table = tomllib.loads((_HERE / "models" / f"{name}.toml").read_text(encoding="utf-8"))
    profile = tomllib.loads((_HERE / "profiles" / f"{table['profile']}.toml").read_text(encoding="utf-8"))
    expect = dict(table.get("expect", {}))
    objects = {key: _entry(key, row, expect) for key, row in profile["objects"].items()}
    signals = {key: _scaled(row, objects) for key, row in table["signal"].items()}
    targets = {
        Mode(key): Scaled(objects[row["object"]], signals[row["like"]].unit, signals[row["like"]].digit)
        for key, row in table.get("target", {}).items()
    }
    identity, limits = table["identity"], table.get("limits", {})
    return CanopenModel(
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
        rpdos={Mode(key): tuple(names) for key, names in profile["rpdo"].items()},
        tpdos=tuple(tuple(profile["tpdo"][key]) for key in sorted(profile["tpdo"])),
        heartbeat_s=table["heartbeat"]["producer"],
        abort_option=table.get("watchdog", {}).get("abort_option", 0),
        max_speed_rad_s=limits.get("speed_rad_s", math.inf),
        max_torque=limits.get("torque_N_m", math.inf),
        status=table.get("status", {}).get("object"),
        expect=expect,
    )


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
    digit = row["digit"] if "digit" in row else 2.0 * math.pi / row["digits_per_turn"]
    return Scaled(objects[row["object"]], row["unit"], digit)
