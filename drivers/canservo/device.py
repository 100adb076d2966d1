"""What the devices of all dialects have in common beside the cycle: name and address, bus, start-up, the latched fault."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from drivers import clock
from drivers.bus.frame import Frame
from drivers.bus.transport import FrameBus
from drivers.canservo.model import AnyModel
from drivers.device import DeviceFault, DriverError, Identity, Mode, TransportTimeout

ANSWER_S = 0.05
#: After an answer: a second device with the same id would have answered by then.
TWIN_S = 0.008

Found = TypeVar("Found")
#: What distinguishes one device type of a dialect from another.
M = TypeVar("M", bound=AnyModel)


class CanServoDevice(ABC, Generic[M]):
    """One device. `serial`, when given, is the only one accepted; `limits` may only tighten those of the model."""

    def __init__(
        self,
        name: str,
        address: int,
        model: M,
        serial: str | None = None,
        *,
        limits: Mapping[Mode, float] | None = None,
    ) -> None:
        first, last = self.addresses()
        if not first <= address <= last:
            raise ValueError(f"{name}: address {address} is outside {first}…{last}")
        limits = limits or {}
        self.name, self.address, self.model = name, address, model
        self.limits = {
            Mode.POSITION: math.inf,
            Mode.VELOCITY: min(model.max_speed_rad_s, limits.get(Mode.VELOCITY, math.inf)),
            Mode.TORQUE: min(model.max_torque, limits.get(Mode.TORQUE, math.inf)),
        }
        self.counters = {"timeout": 0, "nak": 0, "missed": 0, "late": 0, "implausible": 0}
        self.cycle_s = 0.0
        self._serial = serial
        self._bus: FrameBus | None = None
        self._on_other: Callable[[Frame], None] = lambda _: None
        self._forget()

    def _forget(self) -> None:
        """Everything known of the device; limits and counters stay."""
        self.fault: DeviceFault | None = None
        self._unread: DeviceFault | None = None
        self.lost = self.armed = False

    # ── what a dialect fills in ──

    @staticmethod
    @abstractmethod
    def addresses() -> tuple[int, int]:
        """First and last."""

    @abstractmethod
    def identifiers(self) -> frozenset[tuple[bool, int]]:
        """(extended, identifier) of every frame it may send or listens to, as far as they may collide with others'."""

    @abstractmethod
    def identify(self) -> Identity: ...

    @abstractmethod
    def prepare(self) -> None:
        """Torque off, old fault cleared, limits written where the protocol reads them back."""

    @abstractmethod
    def arm_watchdog(self, timeout_s: float) -> None:
        """Raises WatchdogRefused."""

    def warm_up(self) -> None:
        """Last of the start: what a device needs so that the first cycle has all readings."""
        return

    def disarm_watchdog(self) -> None:
        """At an orderly end only."""
        self.armed = False

    @abstractmethod
    def disable(self) -> None:
        """Torque is no longer wanted."""

    # ── start-up: these wait ──

    def attach(self, bus: FrameBus, on_other: Callable[[Frame], None], cycle_s: float) -> None:
        """A bus has been opened: everything known so far is forgotten."""
        self._forget()
        self._bus, self._on_other, self.cycle_s = bus, on_other, cycle_s

    def detach(self) -> None:
        self._bus = None

    @property
    def bus(self) -> FrameBus:
        if self._bus is None:
            raise DriverError(self.name, "the bus is not open")
        return self._bus

    def ask(
        self,
        question: Frame,
        match: Callable[[Frame], Found | None],
        *,
        timeout_s: float = ANSWER_S,
        attempts: int = 1,
    ) -> Found:
        """Send and wait. More than one attempt only for questions that change nothing. Raises TransportTimeout."""
        for _ in range(attempts):
            self.bus.send(question)
            found = self.listen(match, timeout_s)
            if found:
                return found[0]
            self.counters["timeout"] += 1
        raise TransportTimeout(
            self.name,
            f"address {self.address} does not answer",
            "check power, cable, bit rate and the address in the bench file",
        )

    def listen(
        self, match: Callable[[Frame], Found | None], timeout_s: float, *, most: int = 1
    ) -> list[Found]:
        """What matches within the time, at most `most`."""
        found: list[Found] = []
        until = clock.now() + timeout_s
        while len(found) < most:
            try:
                frame = self.bus.recv(until)
            except TransportTimeout:
                break
            item = match(frame)
            if item is None:
                self._on_other(frame)
            else:
                found.append(item)
        return found

    # ── faults ──

    def fail(self, what: str, code: int, hint: str) -> None:
        """Latch a fault; the first cause is kept and raised once."""
        if self.fault is None:
            self.fault = self._unread = DeviceFault(self.name, what, code, hint)
            self.disable()

    def lose(self, what: str) -> None:
        self.fail(what, 0x8130, "check power and cable, then reopen the bench")
        self.lost = True

    def take_fault(self) -> DeviceFault | None:
        """The fault that nobody has been told of yet."""
        fault, self._unread = self._unread, None
        return fault

    def fault_text(self, bits: int, table: Mapping[int, str]) -> str:
        """All bits in words."""
        words = [text for mask, text in table.items() if bits & mask]
        return ", ".join(words) if words else "a fault that the table does not know"
