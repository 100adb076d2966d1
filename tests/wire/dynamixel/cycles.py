"""What the tests of a group do with its cycles."""

from __future__ import annotations

from drivers.device import (
    DeviceState,
    Mode,
    Quality,
    Row,
)
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.model import load_model

from ..served import cycle_until
from .conftest import Bench

GOOD, STALE, BAD = Quality.GOOD, Quality.STALE, Quality.BAD
DIGIT = load_model("dynamixel_xm430_w350").readings["position"].digit


def enable(group: DynamixelGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    cycle_until(group, lambda _: group.state(device) is DeviceState.ENABLED)


def all_good(row: Row) -> bool:
    return all(q is GOOD for q in row.quality)


def instructions(bench: Bench) -> list[int]:
    return [packet.instruction for packet in bench.line.instructions]
