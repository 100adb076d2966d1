"""Emulated buses by family: the devices of a `BusPlan`, built from the same model tables as their drivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from drivers.canopen import model as canopen
from drivers.emulators.canservo_plan import canservo_plan
from drivers.emulators.host import CanSeatPlan, EmulatorHost
from drivers.emulators.modbus_slave import EmulatedSlave
from drivers.family import BusPlan, DevicePlan
from drivers.modbus import model as modbus

#: (host, bus, folder for sockets, whether CAN frames take their time) → the URI on which the devices listen.
Emulate = Callable[[EmulatorHost, BusPlan, Path, bool], str]


def serial_number(device: DevicePlan) -> int:
    """Serial number of an emulated device: what the bench expects, else one of its own."""
    wanted = device.serial
    return int(wanted) if wanted is not None and wanted.isdigit() else 26_000_000 + device.address


def _canopen(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    seats = [
        CanSeatPlan(d.name, d.address, canopen.load_model(d.model), serial_number(d)) for d in plan.devices
    ]
    return host.can(plan.name, folder / f"{plan.name}.sock", plan.bitrate, seats, paced=paced)


def _modbus(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    slaves = [
        EmulatedSlave(d.name, d.address, modbus.load_model(d.model), host.plant, serial_number(d))
        for d in plan.devices
    ]
    return host.serial(plan.name, plan.bitrate, slaves)


def _canservo(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    nodes = [canservo_plan(d, plan.watchdog_s) for d in plan.devices]
    return host.can(plan.name, folder / f"{plan.name}.sock", plan.bitrate, nodes, paced=paced)


#: By the name of the family.
EMULATED: Mapping[str, Emulate] = {"canopen": _canopen, "canservo": _canservo, "modbus": _modbus}
