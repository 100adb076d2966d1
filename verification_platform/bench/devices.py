"""From the bench description to real drivers: one group a bus, on hardware and on emulated wires alike.

Channels of the description become the columns of the group's rows, under their own names. What the
description asks of a device that its model does not offer is said here, in one line, before anything is
opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drivers.canopen import model as canopen
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.group import CanopenGroup, Column
from drivers.canopen.node import CanopenNode
from drivers.device import Group, Mode, Signal
from drivers.modbus import model as modbus
from drivers.modbus.device import ModbusDevice
from drivers.modbus.group import ModbusGroup

from .description import BenchDescription, BenchError, Device

#: The `uri` that stands for "start the emulated devices and use what they listen on".
EMULATED = "emulated"


def with_uris(bench: BenchDescription, uris: Mapping[str, str], clock: str | None = None) -> BenchDescription:
    """The same bench with the transports of some buses replaced (those that an emulator or the command line
    names), and the emulator's clock.

    Raises BenchError for a bus that the bench does not have.
    """
    for bus in uris:
        if bus not in bench.bus:
            raise BenchError(f"bench {bench.bench.id} has no bus {bus!r}, only {', '.join(bench.bus)}")
    buses = {n: b.model_copy(update={"uri": uris[n]}) if n in uris else b for n, b in bench.bus.items()}
    header = bench.bench if clock is None else bench.bench.model_copy(update={"clock": Path(clock)})
    return bench.model_copy(update={"bus": buses, "bench": header})


def family(bench: BenchDescription, bus: str) -> str:
    """Device family of a bus: ``canopen`` or ``modbus``. Raises BenchError for an unknown model or a mixed
    bus.
    """
    if bus not in bench.bus:
        raise BenchError(f"bench {bench.bench.id} has no bus {bus!r}, only {', '.join(bench.bus)}")
    families: dict[str, str] = {}
    for name, device in devices_on(bench, bus).items():
        if device.model in canopen.known_models():
            families[name] = "canopen"
        elif device.model in modbus.known_models():
            families[name] = "modbus"
        else:
            known = ", ".join((*canopen.known_models(), *modbus.known_models()))
            raise BenchError(f"device {name}: unknown model {device.model!r}; known are {known}")
    found = sorted(set(families.values()))
    if len(found) != 1:
        what = f"devices of the families {', '.join(found)}" if found else "no device"
        raise BenchError(f"bus {bus} has {what}; a bus carries devices of one family")
    return found[0]


def devices_on(bench: BenchDescription, bus: str) -> dict[str, Device]:
    """Devices of a bus, in the order of the file."""
    return {name: device for name, device in bench.device.items() if device.bus == bus}


def group_for(bench: BenchDescription, bus: str) -> Group:
    """The drivers of a bus, not opened yet. Raises BenchError, one clear line."""
    kind = family(bench, bus)
    if bench.bus[bus].uri == EMULATED:
        raise BenchError(
            f"bus {bus}: uri 'emulated' names no wire; start the emulated devices and use the uri they print"
        )
    try:
        return _canopen_group(bench, bus) if kind == "canopen" else _modbus_group(bench, bus)
    except ValueError as error:
        raise BenchError(f"bus {bus}: {error}") from None


def check_devices(bench: BenchDescription) -> None:
    """Check every bus as `group_for` would, without asking for a transport. Raises BenchError."""
    for bus, record in bench.bus.items():
        group_for(with_uris(bench, {bus: "unix:/"}) if record.uri == EMULATED else bench, bus)


def resolutions(bench: BenchDescription) -> dict[str, float]:
    """One digit of every channel, in the channel's SI unit, from the table of its device's model. Raises
    BenchError.
    """
    digits: dict[str, float] = {}
    for bus in bench.bus:
        load = canopen.load_model if family(bench, bus) == "canopen" else modbus.load_model
        for channel, record in bench.channels_on(bus).items():
            offered = load(bench.device[record.device].model).offered()
            digits[channel] = next((s.resolution for s in offered if s.name == record.signal), 0.0)
    return digits


def _canopen_group(bench: BenchDescription, bus: str) -> CanopenGroup:
    nodes: list[CanopenNode] = []
    for name, device in devices_on(bench, bus).items():
        model = canopen.load_model(device.model)
        _check_channels(bench, name, device, model.offered())
        if model.targets:
            nodes.append(Cia402Drive(name, device.address, model, device.serial, limits=_limits(bench, name)))
        else:
            _check_no_actuator(bench, name, device)
            nodes.append(Cia406Encoder(name, device.address, model, device.serial))
    record = bench.bus[bus]
    return CanopenGroup(
        bus,
        nodes,
        [Column(channel, c.device, c.signal) for channel, c in bench.channels_on(bus).items()],
        uri=record.uri,
        bitrate=record.bitrate,
        period_s=record.cycle,
        watchdog_s=bench.interlock.watchdog,
    )


def _modbus_group(bench: BenchDescription, bus: str) -> ModbusGroup:
    devices = []
    for name, device in devices_on(bench, bus).items():
        model = modbus.load_model(device.model)
        _check_channels(bench, name, device, model.offered())
        _check_no_actuator(bench, name, device)
        devices.append(ModbusDevice(name, device.address, model, device.serial))
    record = bench.bus[bus]
    return ModbusGroup(
        bus,
        devices,
        [(channel, c.device, c.signal) for channel, c in bench.channels_on(bus).items()],
        uri=record.uri,
        baudrate=record.bitrate,
        period_s=record.cycle,
    )


def _limits(bench: BenchDescription, device: str) -> dict[Mode, float]:
    """The tightest limits of the actuator roles that the device plays."""
    roles = [role for role in bench.actuator.values() if role.device == device]
    if not roles:
        return {}
    return {Mode.VELOCITY: min(r.max_speed for r in roles), Mode.TORQUE: min(r.max_torque for r in roles)}


def _check_channels(bench: BenchDescription, name: str, device: Device, offered: tuple[Signal, ...]) -> None:
    units = {signal.name: signal.unit for signal in offered}
    for channel, record in bench.channel.items():
        if record.device != name:
            continue
        if record.signal not in units:
            raise BenchError(
                f"channel {channel}: model {device.model} of device {name} has no signal {record.signal!r}; "
                f"it offers {', '.join(units)}"
            )
        if record.unit != units[record.signal]:
            raise BenchError(
                f"channel {channel}: model {device.model} delivers {units[record.signal]}, not {record.unit}"
            )


def _check_no_actuator(bench: BenchDescription, name: str, device: Device) -> None:
    for role, record in bench.actuator.items():
        if record.device == name:
            raise BenchError(f"actuator {role}: model {device.model} of device {name} takes no set-points")
