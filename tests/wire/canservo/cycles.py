"""What the tests of a group do with its cycles."""

from __future__ import annotations

import time
from collections.abc import Mapping

from drivers.canservo.group import CanServoGroup
from drivers.device import (
    Command,
    DeviceFault,
    DeviceState,
    Mode,
    Quality,
    Row,
)

from .conftest import PERIOD_S


def cycles(group: CanServoGroup, count: int, commands: Mapping[str, Command] | None = None) -> list[Row]:
    rows = []
    for _ in range(count):
        begin = time.monotonic()
        rows.append(group.cycle(commands or {}))
        time.sleep(max(0.0, begin + PERIOD_S - time.monotonic()))
    return rows


def enabled(group: CanServoGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    for _ in range(150):
        cycles(group, 1)
        if group.state(device) is DeviceState.ENABLED:
            return
    raise AssertionError(f"{device} stands at {group.state(device)}")


def fault_of(group: CanServoGroup, within: int = 200) -> DeviceFault:
    for _ in range(within):
        try:
            cycles(group, 1)
        except DeviceFault as fault:
            return fault
    raise AssertionError("no fault")


def value(group: CanServoGroup, row: Row, channel: str) -> tuple[float, int]:
    at = group.channels.index(channel)
    return row.values[at], row.quality[at]


def good(group: CanServoGroup, channel: str, commands: Mapping[str, Command] | None = None) -> float:
    """The next GOOD reading."""
    for _ in range(100):
        found, quality = value(group, cycles(group, 1, commands)[-1], channel)
        if quality == Quality.GOOD:
            return found
    raise AssertionError(f"{channel} never became good: {group.counters()}")
