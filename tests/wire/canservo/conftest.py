"""CAN servos of all dialects (a moteus on a bus of its own), served from a thread of the test process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drivers.canservo.family import CANSERVO
from drivers.canservo.group import CanServoGroup
from drivers.device import (
    Command,
    Mode,
)
from drivers.emulators.canservo_plan import canservo_plan
from drivers.emulators.host import EmulatorHost
from drivers.family import BusPlan, Column, DevicePlan

from ..served import PowerLog, Served, serving

PERIOD_S = 0.01
#: Generous, because the test's own thread shares two busy cores with everything else.
WATCHDOG_S = 0.25

OD6 = DevicePlan("OD6", 4, "odrive_s1")
OD5 = DevicePlan("OD5", 5, "odrive_v36")
CG = DevicePlan("CG", 0x7F, "cybergear")
RS = DevicePlan("RS", 3, "robstride_03")
AK = DevicePlan("AK", 9, "ak80_9")
MT = DevicePlan("MT", 5, "moteus_r4")
MT2 = DevicePlan("MT2", 33, "moteus_r4")
#: Of classic CAN: may share a bus.
ALL = (OD6, OD5, CG, RS, AK)
EACH = pytest.mark.parametrize("device", [*ALL, MT], ids=lambda d: d.model)


class Rotors:
    """One frictionless rotor a device; its drive is perfect."""

    def __init__(self) -> None:
        self.t = 0.0
        self.angle: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.commands: dict[str, Command | None] = {}

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        for name, command in self.commands.items():
            if command is not None and command.mode is Mode.POSITION:
                self.angle[name], self.speed[name] = command.value, 0.0
            elif command is not None and command.mode is Mode.VELOCITY:
                self.speed[name] = command.value
                self.angle[name] = self.angle.get(name, 0.0) + command.value * dt
            else:
                self.speed[name] = 0.0

    def command(self, device: str, command: Command | None) -> None:
        self.commands[device] = command

    def read(self, device: str, signal: str) -> float:
        command = self.commands.get(device)
        torque = command.value if command is not None and command.mode is Mode.TORQUE else 0.0
        return {
            "position": self.angle.get(device, 0.0),
            "velocity": self.speed.get(device, 0.0),
            "torque": torque,
        }[signal]


@dataclass
class Bench(Served):
    """Served devices, and when their torque was switched."""

    path: Path
    plant: Rotors
    uri: str = ""
    groups: list[CanServoGroup] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def serve(self, *plans: Any) -> None:
        self.uri = self.host.can("can0", self.path / "can0.sock", 1_000_000, plans)
        self.stack.enter_context(serving(self.host))

    def serve_devices(self, *devices: DevicePlan, watchdog_s: float = WATCHDOG_S) -> None:
        self.serve(*(canservo_plan(d, watchdog_s) for d in devices))

    def node(self, name: str) -> Any:
        return self.host.racks["can0"].nodes[name]

    @property
    def hub(self) -> Any:
        return self.host.racks["can0"].hub

    def group(self, *devices: DevicePlan, watchdog_s: float = WATCHDOG_S) -> CanServoGroup:
        columns = [
            Column(f"{d.name}_{s.name}", d.name, s.name)
            for d in devices
            for s in CANSERVO.describe(d.model).signals
        ]
        made = CANSERVO.group(BusPlan("can0", self.uri, 1_000_000, PERIOD_S, watchdog_s, devices, columns))
        self.groups.append(made)
        return made


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Serves nothing until it is told what."""
    plant, log = Rotors(), PowerLog()
    made = Bench(EmulatorHost(plant, log), tmp_path, plant, log=log)
    with made.stack:
        yield made
        for group in made.groups:
            group.close()
    if not made.uri:
        made.host.close()
