"""A family of devices: all that a bench has to know to drive every model of it.

A family speaks one protocol on one kind of wire; a *model* of it is a data table in ``drivers/FAMILY/models``,
which the driver and the emulated device read alike, so that a new model is a new file and no code. The families
there are stand in `drivers.families`, their emulated devices in `drivers.emulators.families`.

The bench hands down a `BusPlan` and gets a `Group` (see `drivers.device`) back: it never imports a family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from drivers.device import Group, Mode, Signal


class Wire(Enum):
    """What a bus of the family is: which transports its `uri` may name."""

    CAN = "can"
    STREAM = "stream"  # serial line, or bytes over TCP


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the group's rows: signal `signal` of `device`, under the name `channel`."""

    channel: str
    device: str
    signal: str


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A device of the bench description. `serial`, when given, is the only one accepted.

    `limits` (rad/s, N·m) may only tighten those of the model.
    """

    name: str
    address: int
    model: str
    serial: str | None = None
    limits: Mapping[Mode, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BusPlan:
    """One bus with its devices, and what is to be read from them every `period_s`.

    `bitrate` is in bit/s (of a serial line: Bd). `watchdog_s` is what every device that gives torque must react to by itself.
    """

    name: str
    uri: str
    bitrate: int
    period_s: float
    watchdog_s: float
    devices: Sequence[DevicePlan]
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What may be asked of a model: signals for channels, modes for set-points (none for a sensor)."""

    title: str
    signals: tuple[Signal, ...]
    modes: tuple[Mode, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A device that answered to a scan. `model` is the name of a table, empty when none fits."""

    address: int
    model: str
    description: str


class Family(Protocol):
    """One per protocol; stateless."""

    @property
    def name(self) -> str: ...

    @property
    def wire(self) -> Wire: ...

    def models(self) -> tuple[str, ...]:
        """Names of all model tables."""
        ...

    def describe(self, model: str) -> ModelInfo:
        """Raises KeyError for a model that has no table, ValueError for a table that is wrong."""
        ...

    def group(self, plan: BusPlan) -> Group:
        """The drivers of a bus, not opened. Raises ValueError, one clear line, for what cannot work: an
        impossible address, more traffic than the bus carries.
        """
        ...

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        """Open the bus, ask every address who is there, close it. Switches nothing on. Raises DriverError."""
        ...
