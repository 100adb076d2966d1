"""What the groups of all families have in common: names, columns, members; on CAN also the bus and its account.

A family's group adds what is its own: how a bus is opened and what one cycle is (see `drivers.device.Group`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from drivers import clock
from drivers.bus.can_bus import prepare
from drivers.bus.frame import Frame, wire_bits
from drivers.bus.transport import FrameBus
from drivers.device import CommandRefused, DeviceState, DriverError, Mode, TransportLost, TransportTimeout
from drivers.family import Column


class Member(Protocol):
    """A device of a group."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> Any: ...
    @property
    def state(self) -> DeviceState: ...
    @property
    def counters(self) -> Mapping[str, int]: ...


class Servo(Member, Protocol):
    """A member that takes set-points."""

    @property
    def values(self) -> Mapping[str, float]: ...
    @property
    def limits(self) -> Mapping[Mode, float]: ...
    def enable(self, mode: Mode) -> None: ...
    def disable(self) -> None: ...


M = TypeVar("M", bound=Member)
S = TypeVar("S", bound=Servo)


def age_s(stamp_s: float, sampled_s: float) -> float:
    """How old a value of `sampled_s` is at `stamp_s`; NaN for one that was never sampled (-inf)."""
    return math.nan if sampled_s == -math.inf else stamp_s - sampled_s


class DeviceGroup(Generic[M]):
    """Named members on one bus, and the columns that are read from them."""

    def __init__(self, name: str, members: Sequence[M], columns: Sequence[Column], period_s: float) -> None:
        self._name, self._period_s = name, period_s
        self._members = {member.name: member for member in members}
        self._columns = tuple((self._members[c.device], c.signal) for c in columns)
        self._channels = tuple(c.channel for c in columns)

    @property
    def name(self) -> str:
        return self._name

    @property
    def channels(self) -> tuple[str, ...]:
        return self._channels

    @property
    def period_s(self) -> float:
        return self._period_s

    def state(self, device: str) -> DeviceState:
        member = self._members.get(device)  # without another call: asked for each device in each cycle
        return self._member(device).state if member is None else member.state

    def counters(self) -> dict[str, dict[str, int]]:
        """By device."""
        return {name: dict(member.counters) for name, member in self._members.items()}

    def _member(self, device: str) -> M:
        try:
            return self._members[device]
        except KeyError:
            there = "there is" if len(self._members) == 1 else "there are"
            raise CommandRefused(
                device, f"is not on bus {self._name}; {there} {', '.join(self._members)}"
            ) from None

    def _no_setpoints(self, device: str) -> NoReturn:
        raise CommandRefused(device, f"model {self._member(device).model.name} takes no set-points")


class CanGroup(DeviceGroup[M]):
    """Members on a CAN bus. Every frame sent and handled is accounted by `_count`."""

    def __init__(
        self,
        name: str,
        members: Sequence[M],
        columns: Sequence[Column],
        *,
        uri: str,
        bitrate: int,
        period_s: float,
        open_bus: Callable[[str, str, int], FrameBus],
    ) -> None:
        super().__init__(name, members, columns, period_s)
        prepare(uri)
        self._uri, self._bitrate, self._open_bus = uri, bitrate, open_bus
        self._bus: FrameBus | None = None
        self._bits, self._since_s, self._foreign = 0, 0.0, 0
        self._last_counters: dict[str, int] = {}

    def counters(self) -> dict[str, dict[str, int]]:
        """By device; the bus itself under its own name."""
        return {**super().counters(), self._name: {"foreign": self._foreign, **self._bus_counters()}}

    def load(self) -> float:
        """See `Group.load`."""
        elapsed = clock.now() - self._since_s
        return self._bits / (self._bitrate * elapsed) if elapsed > 0 else 0.0

    def hush(self) -> None:
        """Close the bus without another word, so that the devices' own watchdogs act. Never raises."""
        if self._bus is not None:
            self._bus_counters()
            with contextlib.suppress(DriverError):
                self._bus.close()
            self._bus = None

    def _bus_counters(self) -> dict[str, int]:
        if self._bus is not None:
            self._last_counters = dict(self._bus.counters)
        return self._last_counters

    def _connect(self) -> None:
        """Raises TransportLost."""
        self._bus = self._open_bus(self._name, self._uri, self._bitrate)
        self._since_s, self._bits = clock.now(), 0

    def _opened(self) -> FrameBus:
        if self._bus is None:
            raise TransportLost(self._name, "the bus is not open")
        return self._bus

    def _count(self, frame: Frame) -> None:
        self._bits += wire_bits(len(frame.data), frame.extended, frame.remote)

    def _send(self, frame: Frame) -> None:
        self._send_all((frame,))

    def _send_all(self, frames: Sequence[Frame]) -> None:
        self._bits += sum(
            [wire_bits(len(data), extended, remote) for _, data, extended, remote, _, _ in frames]
        )
        try:
            self._opened().send_all(frames)
        except TransportTimeout as error:
            raise TransportLost(self._name, error.what, error.hint) from error


class ServosOnly(DeviceGroup[S]):
    """Everything in the group takes set-points, from −limit to +limit in each mode."""

    def enable(self, device: str, mode: Mode) -> None:
        self._member(device).enable(mode)

    def disable(self, device: str) -> None:
        self._member(device).disable()

    def measured(self, device: str, mode: Mode) -> float:
        return self._member(device).values[mode.value]

    def limits(self, device: str, mode: Mode) -> tuple[float, float]:
        largest = self._member(device).limits[mode]
        return -largest, largest


class SensorsOnly(DeviceGroup[M]):
    """Nothing in the group carries torque: every set-point is refused."""

    def enable(self, device: str, mode: Mode) -> None:
        self._no_setpoints(device)

    def disable(self, device: str) -> None:
        """Sensors carry no torque."""

    def measured(self, device: str, mode: Mode) -> float:
        return math.nan

    def limits(self, device: str, mode: Mode) -> tuple[float, float]:
        self._no_setpoints(device)

    def safe_stop(self) -> None:
        """Sensors carry no torque."""
