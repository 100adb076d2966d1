"""A small plant with known motion, and emulated devices served from a thread of the test process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.canopen.drive import Cia402Drive
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model as canopen_model
from drivers.device import Command, Mode
from drivers.emulators.host import CanSeatPlan, EmulatorHost
from drivers.emulators.modbus_slave import EmulatedSlave
from drivers.family import Column
from drivers.modbus.device import ModbusDevice
from drivers.modbus.group import ModbusGroup
from drivers.modbus.model import load_model as modbus_model

from .served import PowerLog, Served, serving


class TwoShafts:
    """AX1 and AX2 on shafts of their own; EN2 sits on AX1's shaft, geared down by 100. No noise, no
    inertia.
    """

    def __init__(self) -> None:
        self.t = 0.0
        self.angle = {"AX1": 0.0, "AX2": 0.0}
        self.speed = {"AX1": 0.0, "AX2": 0.0}
        self.commands: dict[str, Command | None] = {"AX1": None, "AX2": None}
        self.constant = {
            ("TQ1", "torque"): 1.25,
            ("TQ2", "torque"): -87.654,
            ("TMP", "temperature_1"): 313.15,
            ("TMP", "temperature_2"): 296.15,
        }

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        assert dt >= 0
        for axis, command in self.commands.items():
            if command is None or command.mode is Mode.TORQUE:
                self.speed[axis] = 0.0
            elif command.mode is Mode.VELOCITY:
                self.speed[axis] = command.value
                self.angle[axis] += command.value * dt
            else:
                self.speed[axis] = 0.0
                self.angle[axis] = command.value

    def command(self, device: str, command: Command | None) -> None:
        self.commands[device] = command

    def read(self, device: str, signal: str) -> float:
        if device == "EN2":
            return self.angle["AX1"] / 100.0
        if device in self.angle:
            command = self.commands[device]
            torque = command.value if command is not None and command.mode is Mode.TORQUE else 0.0
            return {"position": self.angle[device], "velocity": self.speed[device], "torque": torque}[signal]
        return self.constant[device, signal]


@dataclass
class Bench(Served):
    """Served devices, and what they told."""

    plant: TwoShafts
    can_uri: str
    serial_uri: str
    slaves: dict[str, EmulatedSlave] = field(default_factory=dict)


#: Generous, because the test's own thread shares two busy cores with everything else.
WATCHDOG_S = 0.2

PLANS = (
    CanSeatPlan("AX1", 1, canopen_model("cia402_servo_ax1"), 101),
    CanSeatPlan("AX2", 2, canopen_model("cia402_servo_ax2"), 102),
    CanSeatPlan("EN2", 3, canopen_model("cia406_encoder_27bit"), 103),
)
UNITS = {"TQ1": (1, "modbus_torque_5nm"), "TQ2": (2, "modbus_torque_200nm"), "TMP": (3, "modbus_pt100_2ch")}


@pytest.fixture
def can_plans() -> tuple[CanSeatPlan, ...]:
    """Devices on the emulated CAN bus; a module may have others."""
    return PLANS


@pytest.fixture
def bench(tmp_path: Path, can_plans: tuple[CanSeatPlan, ...]) -> Iterator[Bench]:
    plant, log = TwoShafts(), PowerLog()
    host = EmulatorHost(plant, log)
    slaves = {
        name: EmulatedSlave(name, unit, modbus_model(model), plant, 200 + unit)
        for name, (unit, model) in UNITS.items()
    }
    can_uri = host.can("can0", tmp_path / "can0.sock", 1_000_000, can_plans)
    serial_uri = host.serial("rs485", 115_200, list(slaves.values()))
    with serving(host):
        yield Bench(host, plant, can_uri, serial_uri, slaves, log=log)


@pytest.fixture
def can_group(bench: Bench) -> Iterator[CanopenGroup]:
    """Not opened; closed after the test."""
    group = CanopenGroup(
        "can0",
        [
            Cia402Drive("AX1", 1, canopen_model("cia402_servo_ax1")),
            Cia402Drive("AX2", 2, canopen_model("cia402_servo_ax2")),
            Cia406Encoder("EN2", 3, canopen_model("cia406_encoder_27bit")),
        ],
        [
            Column("input_angle", "AX1", "position"),
            Column("input_speed", "AX1", "velocity"),
            Column("output_angle", "EN2", "position"),
            Column("load_torque_command", "AX2", "torque"),
        ],
        uri=bench.can_uri,
        bitrate=1_000_000,
        period_s=0.004,
        watchdog_s=WATCHDOG_S,
    )
    yield group
    group.close()


@pytest.fixture
def modbus_group(bench: Bench) -> Iterator[ModbusGroup]:
    group = ModbusGroup(
        "rs485",
        [ModbusDevice(name, unit, modbus_model(model)) for name, (unit, model) in UNITS.items()],
        [
            Column("input_torque", "TQ1", "torque"),
            Column("output_torque", "TQ2", "torque"),
            Column("housing_temperature", "TMP", "temperature_1"),
            Column("ambient_temperature", "TMP", "temperature_2"),
        ],
        uri=bench.serial_uri,
        baudrate=115_200,
        period_s=0.01,
    )
    yield group
    group.close()


def turns(count: float) -> float:
    return count * 2.0 * math.pi


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests meet devices in real time, and a shared machine may take its processors away for seconds."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("flaky") is None:
            item.add_marker(pytest.mark.flaky(reruns=3, reruns_delay=5))
