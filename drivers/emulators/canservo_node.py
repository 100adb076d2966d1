"""What the emulated CAN servos have in common: a power stage in front of the plant, and a watchdog on the loop's timers.

Built from the same model tables as the drivers, but not from the drivers' code: the two meet on the wire only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from drivers.bus.frame import Frame
from drivers.canservo.ranges import Range
from drivers.device import Command, Mode
from drivers.emulators.host import Surroundings


class EmulatedCanServo:
    """Base; see `drivers.emulators.host.EmulatedCanNode`. A watchdog of 0 s is off."""

    def __init__(self, name: str, around: Surroundings, send: Callable[[Frame], None]) -> None:
        self.name, self._around, self._put_on_bus = name, around, send
        self.mute = False  # fault injection: it hears, but does not answer
        self.torque_on = False
        self.watchdog_s = 0.0
        self._fed_s: float | None = None

    def start(self, now_s: float) -> None:
        """Power-up."""

    def next_due(self) -> float:
        return math.inf if self._fed_s is None or self.watchdog_s <= 0.0 else self._fed_s + self.watchdog_s

    def tick(self, now_s: float) -> None:
        if self._fed_s is not None and self.watchdog_s > 0.0 and now_s >= self._fed_s + self.watchdog_s:
            self._fed_s = None  # fires once
            self.expired(now_s)

    def excuse(self, frozen_s: float) -> None:
        if self._fed_s is not None:
            self._fed_s += frozen_s

    def expired(self, now_s: float) -> None:
        """Nobody has spoken to it in time."""

    def feed(self, now_s: float) -> None:
        self._fed_s = now_s

    def send(self, frame: Frame) -> None:
        if not self.mute:
            self._put_on_bus(frame)

    def power(self, on: bool, reason: str, now_s: float) -> None:
        if on != self.torque_on:
            self.torque_on = on
            self._around.on_power(self.name, on, reason, now_s)
        if not on:
            self._around.plant.command(self.name, None)

    def drive(self, mode: Mode, value: float, now_s: float) -> None:
        """Set-point of the inner loop, while the power stage is on."""
        self._around.advance(now_s)
        if self.torque_on:
            self._around.plant.command(self.name, Command(mode, value))

    def read(self, signal: str, now_s: float) -> float:
        self._around.advance(now_s)
        return self._around.plant.read(self.name, signal)


def digits_of(scale: Range, value: float) -> int:
    """As a firmware does it: clamped, rounded."""
    most = (1 << scale.bits) - 1
    return max(0, min(most, round((value - scale.low) / (scale.high - scale.low) * most)))


def value_of(scale: Range, digits: int) -> float:
    return scale.low + digits * (scale.high - scale.low) / ((1 << scale.bits) - 1)
