"""Emulated buses by family: the devices of a `BusPlan`, built from the same model tables as their drivers.

Each imports what it builds, so that a bench loads the families it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from drivers.canopen import model as canopen
from drivers.emulators.host import CanSeatPlan, EmulatorHost
from drivers.family import BusPlan, DevicePlan

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
    from drivers.emulators.modbus_actuator import emulated_unit
    from drivers.modbus import model as modbus

    slaves = [
        emulated_unit(
            d.name,
            d.address,
            modbus.load_model(d.model),
            host.plant,
            serial_number(d),
            host.around.on_power,
        )
        for d in plan.devices
    ]
    return host.serial(plan.name, plan.bitrate, slaves)


def _scpi(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    from drivers.emulators.scpi_instrument import ScpiInstrument
    from drivers.emulators.scpi_line import ScpiSerial, ScpiSocket
    from drivers.scpi import model as scpi

    device = plan.devices[0]
    instrument = ScpiInstrument(device.name, scpi.load_model(device.model), host.plant, serial_number(device))
    if instrument.model.emulated_on == "tcp":
        return host.line(plan.name, ScpiSocket(host.loop, host.advance, instrument))
    return host.line(plan.name, ScpiSerial(host.loop, host.advance, instrument, plan.bitrate))


def _dynamixel(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    from drivers.dynamixel import model as dynamixel
    from drivers.emulators.dynamixel_line import DynamixelLine
    from drivers.emulators.dynamixel_servo import EmulatedDynamixel

    servos = [
        EmulatedDynamixel(
            d.name,
            d.address,
            dynamixel.load_model(d.model),
            host.around,
            baudrate=plan.bitrate,
            return_delay=0,
        )
        for d in plan.devices
    ]
    return host.line(plan.name, DynamixelLine(host.loop, host.advance, servos, plan.bitrate))


def _dbc(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    from drivers.dbc import model as dbc
    from drivers.emulators.dbc_sensor import DbcSensorPlan

    seats = [
        DbcSensorPlan(d.name, d.address, dbc.load_model(d.model), serial_number(d)) for d in plan.devices
    ]
    return host.can(plan.name, folder / f"{plan.name}.sock", plan.bitrate, seats, paced=paced)


def _canservo(host: EmulatorHost, plan: BusPlan, folder: Path, paced: bool) -> str:
    from drivers.emulators.canservo_plan import canservo_plan

    nodes = [canservo_plan(d, plan.watchdog_s) for d in plan.devices]
    return host.can(plan.name, folder / f"{plan.name}.sock", plan.bitrate, nodes, paced=paced)


#: By the name of the family.
EMULATED: Mapping[str, Emulate] = {
    "canopen": _canopen,
    "canservo": _canservo,
    "dbc": _dbc,
    "dynamixel": _dynamixel,
    "modbus": _modbus,
    "scpi": _scpi,
}
