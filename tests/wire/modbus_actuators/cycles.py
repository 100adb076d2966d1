"""What the tests of a group do with its cycles."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from drivers.device import (
    Command,
    DeviceState,
    Mode,
)
from drivers.modbus.group import ModbusGroup


def cycle_until(
    group: ModbusGroup, wanted: Callable[[], Any], commands: dict[str, Command] | None = None
) -> None:
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        group.cycle({d: c for d, c in (commands or {}).items() if group.state(d) is DeviceState.ENABLED})
        if wanted():
            return
    raise AssertionError("did not come about in 5 s")


def enable(group: ModbusGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    cycle_until(group, lambda: group.state(device) is DeviceState.ENABLED)
