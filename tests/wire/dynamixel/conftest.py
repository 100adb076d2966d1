"""Servos on shafts of their own, served from a thread of the test process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from drivers.device import Command, Mode
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.model import load_model
from drivers.dynamixel.servo import DynamixelServo
from drivers.emulators.dynamixel_line import DynamixelLine
from drivers.emulators.dynamixel_servo import EmulatedDynamixel
from drivers.emulators.host import EmulatorHost
from drivers.family import Column

from ..served import PowerLog, Served, serving

BAUD = 1_000_000
WATCHDOG_S = 0.2
#: Generous: devices and master share this process, and it shares the machine.
LATENCY_S = 0.05


class Shafts:
    """No inertia, no noise: a velocity is reached at once, a position too, a torque turns nothing."""

    def __init__(self) -> None:
        self.t = 0.0
        self.angle: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.commands: dict[str, Command | None] = {}
        self.rolling: dict[str, float] = {}  # turned from outside, rad/s, from angle 0 at time 0

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        for name, command in self.commands.items():
            moving = command is not None and command.mode is Mode.VELOCITY
            self.speed[name] = command.value if command is not None and moving else 0.0
            self.angle[name] = self.angle.get(name, 0.0) + self.speed[name] * dt
            if command is not None and command.mode is Mode.POSITION:
                self.angle[name] = command.value
        for name, rate in self.rolling.items():
            self.angle[name] = rate * t_s

    def command(self, device: str, command: Command | None) -> None:
        self.commands[device] = command

    def read(self, device: str, signal: str) -> float:
        command = self.commands.get(device)
        torque = command.value if command is not None and command.mode is Mode.TORQUE else 0.0
        table = {"position": self.angle.get(device, 0.0), "velocity": self.speed.get(device, 0.0)}
        return {**table, "torque": torque}[signal]


@dataclass
class Bench(Served):
    """Served servos, and what they told."""

    plant: Shafts
    line: DynamixelLine
    servos: dict[str, EmulatedDynamixel]
    models: dict[str, str]
    groups: list[DynamixelGroup] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return self.line.uri

    def group(
        self, *, period_s: float = 0.02, watchdog_s: float = WATCHDOG_S, **servo_options: object
    ) -> DynamixelGroup:
        """A group of all servos with position and velocity of each; closed after the test."""
        servos = [
            DynamixelServo(name, self.servos[name].id, load_model(model), **servo_options)  # type: ignore[arg-type]
            for name, model in self.models.items()
        ]
        columns = [Column(f"{n}_{s}", n, s) for n in self.models for s in ("position", "velocity", "torque")]
        group = DynamixelGroup(
            "dxl",
            servos,
            columns,
            uri=self.uri,
            baudrate=BAUD,
            period_s=period_s,
            watchdog_s=watchdog_s,
            latency_s=LATENCY_S,
        )
        self.groups.append(group)
        return group


def serve(models: dict[str, str], **options: object) -> Iterator[Bench]:
    """Servos with ids 1, 2, 3, …; `options` go to each."""
    plant, log = Shafts(), PowerLog()
    host = EmulatorHost(plant, log)
    settings = {"baudrate": BAUD, "return_delay": 0, **options}
    servos = {
        name: EmulatedDynamixel(name, n, load_model(model), host.around, **settings)  # type: ignore[arg-type]
        for n, (name, model) in enumerate(models.items(), start=1)
    }
    line = DynamixelLine(host.loop, host.advance, list(servos.values()), BAUD)
    host.line("dxl", line)
    bench = Bench(host, plant, line, servos, models, log=log)
    with serving(host):
        yield bench
        for group in bench.groups:
            group.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Two X servos with the firmware for fast reads."""
    yield from serve({"DX1": "dynamixel_xm430_w350", "DX2": "dynamixel_xm430_w350"})


@pytest.fixture
def six() -> Iterator[Bench]:
    yield from serve({f"DX{n}": "dynamixel_xm430_w350" for n in range(1, 7)})


@pytest.fixture
def old_six() -> Iterator[Bench]:
    """Firmware 42: no fast reads."""
    yield from serve({f"DX{n}": "dynamixel_xm430_w350" for n in range(1, 7)}, firmware=42)


@pytest.fixture
def mixed() -> Iterator[Bench]:
    """Two series, so two control tables: bulk read and bulk write."""
    yield from serve({"DX1": "dynamixel_xm430_w350", "DP2": "dynamixel_ph54_200_s500"})
