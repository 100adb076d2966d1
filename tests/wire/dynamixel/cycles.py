"""What the tests of a group do with its cycles."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from drivers.device import (
    DeviceState,
    Mode,
    Quality,
    Row,
)
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.model import load_model

from .conftest import Bench

GOOD, STALE, BAD = Quality.GOOD, Quality.STALE, Quality.BAD
DIGIT = load_model("dynamixel_xm430_w350").readings["position"].digit


def cycle_until(
    group: DynamixelGroup, wanted: Callable[[Row], bool], commands: Any = None, timeout_s: float = 5.0
) -> Row:
    """Cycle until `wanted(row)`; returns that row."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        row = group.cycle(commands or {})
        if wanted(row):
            return row
        time.sleep(0.002)
    raise AssertionError(f"last row {row}, counters {group.counters()}")


def enable(group: DynamixelGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    cycle_until(group, lambda _: group.state(device) is DeviceState.ENABLED)


def all_good(row: Row) -> bool:
    return all(q is GOOD for q in row.quality)


def instructions(bench: Bench) -> list[int]:
    return [packet.instruction for packet in bench.line.instructions]
