"""From the bench description to real drivers: one group a bus, on hardware and on emulated wires alike.

Channels of the description become the columns of the group's rows, under their own names. What the
description asks of a device that its model does not offer is said here, in one line, before anything is
opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drivers.device import Group, Mode
from drivers.families import models
from drivers.family import BusPlan, Column, DevicePlan, Family, ModelInfo

from .description import BenchDescription, BenchError, Device

#: The `uri` that stands for "start the emulated devices and use what they listen on".
EMULATED = "emulated"


def with_uris(bench: BenchDescription, uris: Mapping[str, str], clock: str | None = None) -> BenchDescription:
    """The same bench with the transports of some buses replaced (those that an emulator or the command line
    names), and the emulator's clock.

    Raises BenchError for a bus that the bench does not have.
    """
    for bus in uris:
        _known_bus(bench, bus)
    buses = {n: b.model_copy(update={"uri": uris[n]}) if n in uris else b for n, b in bench.bus.items()}
    header = bench.bench if clock is None else bench.bench.model_copy(update={"clock": Path(clock)})
    return bench.model_copy(update={"bus": buses, "bench": header})


def family(bench: BenchDescription, bus: str) -> Family:
    """Device family of a bus. Raises BenchError for an unknown model or a mixed bus."""
    _known_bus(bench, bus)
    families: dict[str, Family] = {}
    for name, device in devices_on(bench, bus).items():
        if device.model not in models():
            raise BenchError(
                f"device {name}: unknown model {device.model!r}; known are {', '.join(sorted(models()))}"
            )
        found = models()[device.model]
        families[found.name] = found
    if len(families) != 1:
        what = f"devices of the families {', '.join(sorted(families))}" if families else "no device"
        raise BenchError(f"bus {bus} has {what}; a bus carries devices of one family")
    return next(iter(families.values()))


def devices_on(bench: BenchDescription, bus: str) -> dict[str, Device]:
    """Devices of a bus, in the order of the file."""
    return {name: device for name, device in bench.device.items() if device.bus == bus}


def bus_plan(bench: BenchDescription, bus: str) -> BusPlan:
    """What the description says of a bus, for its family. Raises BenchError for what a model does not offer."""
    of = family(bench, bus)
    devices = []
    for name, device in devices_on(bench, bus).items():
        info = _described(of, name, device)
        _check_channels(bench, name, device, info)
        _check_actuators(bench, name, device, info)
        devices.append(DevicePlan(name, device.address, device.model, device.serial, _limits(bench, name)))
    record = bench.bus[bus]
    return BusPlan(
        name=bus,
        uri=record.uri,
        bitrate=record.bitrate,
        period_s=record.cycle,
        watchdog_s=bench.interlock.watchdog,
        devices=devices,
        columns=[Column(channel, c.device, c.signal) for channel, c in bench.channels_on(bus).items()],
    )


def group_for(bench: BenchDescription, bus: str) -> Group:
    """The drivers of a bus, not opened yet. Raises BenchError, one clear line."""
    of, plan = family(bench, bus), bus_plan(bench, bus)
    if plan.uri == EMULATED:
        raise BenchError(
            f"bus {bus}: uri 'emulated' names no wire; start the emulated devices and use the uri they print"
        )
    try:
        return of.group(plan)
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
        of = family(bench, bus)
        for channel, record in bench.channels_on(bus).items():
            offered = of.describe(bench.device[record.device].model).signals
            digits[channel] = next((s.resolution for s in offered if s.name == record.signal), 0.0)
    return digits


def _known_bus(bench: BenchDescription, bus: str) -> None:
    if bus not in bench.bus:
        raise BenchError(f"bench {bench.bench.id} has no bus {bus!r}, only {', '.join(bench.bus)}")


def _described(of: Family, name: str, device: Device) -> ModelInfo:
    try:
        return of.describe(device.model)
    except ValueError as error:
        raise BenchError(f"device {name}: the table of its model is wrong ({error})") from None


def _limits(bench: BenchDescription, device: str) -> dict[Mode, float]:
    """The tightest limits of the actuator roles that the device plays."""
    roles = [role for role in bench.actuator.values() if role.device == device]
    if not roles:
        return {}
    return {Mode.VELOCITY: min(r.max_speed for r in roles), Mode.TORQUE: min(r.max_torque for r in roles)}


def _check_channels(bench: BenchDescription, name: str, device: Device, info: ModelInfo) -> None:
    units = {signal.name: signal.unit for signal in info.signals}
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


def _check_actuators(bench: BenchDescription, name: str, device: Device, info: ModelInfo) -> None:
    for role, record in bench.actuator.items():
        if record.device == name and not info.modes:
            raise BenchError(f"actuator {role}: model {device.model} of device {name} takes no set-points")
