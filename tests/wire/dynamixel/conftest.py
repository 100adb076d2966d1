"""Servos on shafts of their own, served from a thread of the test process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
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
class Bench:
    """Served servos, and what they told."""

    host: EmulatorHost
    plant: Shafts
    line: DynamixelLine
    servos: dict[str, EmulatedDynamixel]
    models: dict[str, str]
    power: list[tuple[str, bool, str, float]] = field(default_factory=list)
    switched: threading.Condition = field(default_factory=threading.Condition)
    groups: list[DynamixelGroup] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return self.line.uri

    def on_loop(self, action: Callable[[], None]) -> None:
        """Run `action` in the emulator's thread and wait for it."""
        done = threading.Event()

        def run(_now: float) -> None:
            action()
            done.set()

        self.host.loop.post(run)
        assert done.wait(5)

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

    def wait_power(self, device: str, on: bool, timeout_s: float = 5.0) -> tuple[str, bool, str, float]:
        def last() -> tuple[str, bool, str, float] | None:
            return next((e for e in reversed(self.power) if e[0] == device and e[1] is on), None)

        with self.switched:
            assert self.switched.wait_for(lambda: last() is not None, timeout_s), f"{device} did not switch"
            event = last()
            assert event is not None
            return event


def serve(models: dict[str, str], **options: object) -> Iterator[Bench]:
    """Servos with ids 1, 2, 3, …; `options` go to each."""
    plant, power, switched = Shafts(), [], threading.Condition()

    def on_power(device: str, on: bool, reason: str, now_s: float) -> None:
        with switched:
            power.append((device, on, reason, now_s))
            switched.notify_all()

    host = EmulatorHost(plant, on_power)
    settings = {"baudrate": BAUD, "return_delay": 0, **options}
    servos = {
        name: EmulatedDynamixel(name, n, load_model(model), host.around, **settings)  # type: ignore[arg-type]
        for n, (name, model) in enumerate(models.items(), start=1)
    }
    line = DynamixelLine(host.loop, host.advance, list(servos.values()), BAUD)
    host.line("dxl", line)
    thread = threading.Thread(target=host.run)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)  # devices and master share this interpreter
    bench = Bench(host, plant, line, servos, models, power, switched)
    yield bench
    for group in bench.groups:
        group.close()
    sys.setswitchinterval(interval)
    host.stop()
    thread.join(5)
    assert not thread.is_alive()
    host.close()


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
