"""What a device on a wire can do, and what can go wrong with it.

A driver turns bytes into SI values and back, and nothing else. Everything above it asks for
*capabilities* and *units*, never for a brand: a torque transducer reads signals, a servo drive also takes
set-points, can be enabled, and carries a watchdog of its own.

The way of a sample begins here::

    device ──signals──▶ Group.cycle() ──Row──▶ BusRunner ──Block──▶ recorder, live view, conditions

A `Group` is a set of devices on one bus that are latched together (one SYNC, one row, one stamp).

Errors of this layer form one family; each says what went wrong, at which device, and what to do next::

    DriverError
    ├── TransportTimeout    nobody answered in time           (a servo is unplugged or has another id)
    ├── TransportLost       the wire itself is gone           (USB adapter pulled, pty closed, hub died)
    ├── BusOff              the CAN controller left the bus   (short circuit, wrong bit rate)
    ├── ProtocolViolation   an answer that no standard allows (CRC, length, unexpected object)
    ├── IdentityMismatch    another device answers than the bench description names
    ├── WatchdogRefused     the device has no watchdog set, so torque is refused
    ├── CommandRefused      a set-point or transition that the device, or its limits, do not allow
    └── DeviceFault         the device reports a fault of its own
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Quality(IntEnum):
    """Validity of one sample. Only GOOD samples may enter a result."""

    GOOD = 0
    STALE = 1  # the device did not answer in this cycle; the value is the last one known
    SUBSTITUTED = 2  # derived, not measured
    BAD = 3  # the device or the wire says that the value is wrong


class DeviceState(Enum):
    """Where a device stands, in the words of every family."""

    LOST = "lost"
    OFF = "off"
    READY = "ready"
    ENABLED = "enabled"  # torque may flow
    FAULT = "fault"


class Mode(StrEnum):
    """What a set-point commands."""

    POSITION = "position"  # rad
    VELOCITY = "velocity"  # rad/s
    TORQUE = "torque"  # N·m


MODE_UNITS: Mapping[Mode, str] = {Mode.POSITION: "rad", Mode.VELOCITY: "rad/s", Mode.TORQUE: "N·m"}


class DriverError(Exception):
    """Root of everything a driver raises.

    `device` is the name in the bench description (or the bus), `hint` tells the technician what to do.
    """

    def __init__(self, device: str, what: str, hint: str = "") -> None:
        self.device, self.what, self.hint = device, what, hint
        super().__init__(f"{device}: {what}" + (f" — {hint}" if hint else ""))


class TransportTimeout(DriverError):
    """Nobody answered before the deadline."""


class TransportLost(DriverError):
    """The wire is gone; nothing can be sent until it is reopened and every device re-identified."""


class BusOff(DriverError):
    """The CAN controller has left the bus."""


class ProtocolViolation(DriverError):
    """An answer that the device's protocol does not allow."""


class IdentityMismatch(DriverError):
    """Another device answers than the one described."""


class WatchdogRefused(DriverError):
    """The device's own watchdog could not be set and read back, so torque is refused."""


class CommandRefused(DriverError):
    """A set-point or transition outside what the device or its profile allows. Never clamped."""


class DeviceFault(DriverError):
    """The device reports a fault; `code` is its raw code."""

    def __init__(self, device: str, what: str, code: int, hint: str = "") -> None:
        self.code = code
        super().__init__(device, f"{what} (code 0x{code:04X})", hint)


@dataclass(frozen=True, slots=True)
class Signal:
    """One quantity a device can deliver. `unit` is SI; `resolution` is one digit of the device, in `unit`."""

    name: str
    unit: str
    resolution: float = 0.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered: what is printed in the record of equipment."""

    device: str
    model: str
    serial: str
    firmware: str


class Command(NamedTuple):
    """A set-point for one cycle, at the device's shaft, SI. A tuple, because each drive gets one every cycle."""

    mode: Mode
    value: float


@dataclass(frozen=True, slots=True)
class Setpoint:
    """Where to go and how fast: `target` is approached with at most `rate` a second, in the mode's unit.

    For POSITION, `rate` is a speed in rad/s; for VELOCITY rad/s²; for TORQUE N·m/s.
    """

    mode: Mode
    target: float
    rate: float


@dataclass(frozen=True, slots=True)
class Row:
    """One cycle of a group: all values latched together at `stamp_s` (host monotonic clock), unless `age_s` says otherwise.

    `age_s` is how old each value is at `stamp_s`, s: of a device that did not answer, or that measures at times of its own.
    Negative when it was measured a little later (devices that are asked in turn), NaN when never. None: all are of `stamp_s`.
    """

    stamp_s: float
    values: Sequence[float]
    quality: Sequence[int]
    age_s: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of one group.

    `stamps_s` (n,) host monotonic seconds; `values` (n, k) float64 in SI; `quality` (n, k) uint8.
    `age_s` (n, k) float32 as in `Row`, NaN for what was never measured; None: every value is of its row's stamp.
    `sequence` counts blocks and `first_row` counts rows since the group was started, both without a gap:
    a gap in either means that data was lost, and the run is INVALID.
    """

    group: str
    sequence: int
    first_row: int
    channels: tuple[str, ...]
    stamps_s: NDArray[np.float64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]
    age_s: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.stamps_s)

    def column(self, channel: str) -> NDArray[np.float64]:
        """Values of one channel, shape (n,). Raises KeyError for a channel the block does not carry."""
        try:
            return self.values[:, self.channels.index(channel)]
        except ValueError:
            raise KeyError(
                f"{self.group} carries no channel {channel!r}, only {', '.join(self.channels)}"
            ) from None


@dataclass(slots=True)
class CycleStatistics:
    """How well a bus kept its time, stored with every run as evidence (seconds; counts since start).

    Percentiles are of all cycles since start, from the histogram `lateness_counts` (see `drivers.lateness`, which also
    tells what happened between two readings).
    """

    period_s: float = 0.0
    cycles: int = 0
    missed: int = 0
    lateness_p50_s: float = 0.0
    lateness_p99_s: float = 0.0
    lateness_max_s: float = 0.0
    bus_load: float = 0.0  # fraction of the bus time used
    realtime: bool = False  # SCHED_FIFO was granted
    warning: str = ""  # why it was not, and what to do
    elapsed_s: float = 0.0  # since start
    counters: dict[str, dict[str, int]] = field(default_factory=dict)  # device → {crc, timeout, nak, …}
    lateness_counts: Sequence[int] = ()


@runtime_checkable
class Identify(Protocol):
    """The device says who it is."""

    def identify(self) -> Identity: ...


@runtime_checkable
class ReadSignals(Protocol):
    """The device delivers signals."""

    @property
    def signals(self) -> tuple[Signal, ...]: ...


@runtime_checkable
class Actuator(Protocol):
    """The device moves things: it can be enabled only with its own watchdog armed."""

    @property
    def state(self) -> DeviceState: ...
    def arm_watchdog(self, timeout_s: float) -> None: ...
    def enable(self, mode: Mode) -> None: ...
    def disable(self) -> None: ...


@runtime_checkable
class Homes(Protocol):
    """A group whose drives find their own zero. Owned by exactly one thread; never in a run."""

    def homes(self, device: str) -> bool: ...
    def home(self, device: str, allowed: Callable[[Row], str | None] = ...) -> None:
        """Blocks until it is done and the torque off again; `allowed` is asked after every cycle, a reason ends it."""
        ...


class Group(Protocol):
    """Devices on one bus that are read and commanded in one cycle. Owned by exactly one thread."""

    @property
    def name(self) -> str: ...
    @property
    def channels(self) -> tuple[str, ...]:
        """Column names of a row."""
        ...

    @property
    def period_s(self) -> float: ...
    def open(self) -> list[Identity]:
        """Open the bus, identify every device, arm the watchdogs. Torque is off afterwards."""
        ...

    def state(self, device: str) -> DeviceState: ...
    def enable(self, device: str, mode: Mode) -> None:
        """Ask for torque; takes some cycles, `state` tells when. Raises WatchdogRefused, CommandRefused."""
        ...

    def disable(self, device: str) -> None:
        """Torque off with the next cycle."""
        ...

    def measured(self, device: str, mode: Mode) -> float:
        """What an actuator last measured of the quantity that `mode` commands; NaN when unknown."""
        ...

    def limits(self, device: str, mode: Mode) -> tuple[float, float]:
        """Lowest and highest set-point in `mode`; raises CommandRefused for a device that takes none."""
        ...

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """Send the set-points, latch, collect. Must not sleep, log to disk or retry."""
        ...

    def safe_stop(self) -> None:
        """Torque off on every device, idempotent, bounded in time; never raises."""
        ...

    def close(self) -> None:
        """Orderly end: torque off, watchdogs disarmed, bus closed. Never raises."""
        ...

    def hush(self) -> None:
        """Fall silent at once, so that the devices' own watchdogs act. Never raises."""
        ...

    def counters(self) -> dict[str, dict[str, int]]: ...
    def load(self) -> float:
        """Fraction of the bus time in use since `open`."""
        ...
