"""Modbus drives, brakes and a transducer on one line, served from a thread of the test process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from drivers.device import (
    Command,
    Mode,
)
from drivers.emulators.host import EmulatorHost
from drivers.emulators.modbus_actuator import emulated_unit
from drivers.family import BusPlan, Column, DevicePlan
from drivers.modbus.family import MODBUS
from drivers.modbus.group import ModbusGroup
from drivers.modbus.model import load_model

from ..served import PowerLog, Served, serving

UNITS = {
    "AX1": (1, "modbus_servo_750w"),
    "AX2": (2, "modbus_servo_3kw"),
    "BR1": (3, "modbus_brake_powder_50nm"),
    "BR2": (4, "modbus_brake_hysteresis_5nm"),
    "TQ1": (5, "modbus_torque_5nm"),
}
ACTUATORS = ("AX1", "AX2", "BR1", "BR2")
PERIOD_S = 0.05
#: Generous, because the test's own thread shares two busy cores with everything else.
WATCHDOG_S = 0.4


class Shafts:
    """Velocity and torque are at once what is commanded; positions follow."""

    def __init__(self) -> None:
        self.t = 0.0
        self.angle = dict.fromkeys(UNITS, 0.0)
        self.speed = dict.fromkeys(UNITS, 0.0)
        self.torque = dict.fromkeys(UNITS, 0.0)
        self.commands: dict[str, Command | None] = dict.fromkeys(UNITS)
        self.history: list[tuple[str, Command | None]] = []

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        for name in UNITS:
            self.angle[name] += self.speed[name] * dt

    def command(self, device: str, command: Command | None) -> None:
        self.history.append((device, command))
        self.commands[device] = command
        if command is None:
            self.speed[device] = self.torque[device] = 0.0
        elif command.mode is Mode.VELOCITY:
            self.speed[device] = command.value
        elif command.mode is Mode.TORQUE:
            self.torque[device] = command.value
        else:
            self.angle[device] = command.value

    def read(self, device: str, signal: str) -> float:
        if device == "TQ1":
            return 1.25
        return {
            "position": self.angle[device],
            "velocity": self.speed[device],
            "torque": self.torque[device],
            "temperature": 300.0,
        }[signal]


@dataclass
class Line(Served):
    plant: Shafts
    uri: str
    slaves: dict[str, Any]

    def events(self, device: str) -> list[tuple[bool, str]]:
        return [(on, reason) for name, on, reason, _ in self.power if name == device]

    def wait_off(self, device: str) -> tuple[str, float]:
        """Why and when it went off."""
        return self.wait_power(device, False)[2:]


@pytest.fixture
def line() -> Iterator[Line]:
    plant, log = Shafts(), PowerLog()
    host = EmulatorHost(plant, log)
    slaves = {
        name: emulated_unit(name, unit, load_model(model), plant, 300 + unit, log)
        for name, (unit, model) in UNITS.items()
    }
    uri = host.serial("rs485", 115_200, list(slaves.values()))
    with serving(host):
        yield Line(host, plant, uri, slaves, log=log)


def make_group(
    line: Line, names: tuple[str, ...], watchdog_s: float = WATCHDOG_S, **limits: float
) -> ModbusGroup:
    columns = [
        Column(f"{name} {signal}", name, signal)
        for name in names
        for signal in ("torque", "current")
        if signal in load_model(UNITS[name][1]).readings
    ]
    tightened = {Mode(mode): value for mode, value in limits.items()}
    devices = [DevicePlan(name, *UNITS[name], limits=tightened) for name in names]
    return MODBUS.group(BusPlan("rs485", line.uri, 115_200, PERIOD_S, watchdog_s, devices, columns))


@pytest.fixture
def group(line: Line) -> Iterator[ModbusGroup]:
    """Opened; closed after the test."""
    group = make_group(line, (*ACTUATORS, "TQ1"))
    group.open()
    yield group
    group.close()
