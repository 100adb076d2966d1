"""Faults of Modbus drives and brakes: told once in words, latched, and nothing written twice."""

from __future__ import annotations

import time
from typing import Any

import pytest

from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    Mode,
    Quality,
    TransportLost,
    WatchdogRefused,
)
from drivers.emulators.modbus_actuator import EmulatedActuator
from drivers.family import BusPlan, DevicePlan
from drivers.modbus.family import MODBUS
from drivers.modbus.group import ModbusGroup

from .conftest import ACTUATORS, UNITS, Line, make_group
from .cycles import cycle_until, enable


@pytest.mark.parametrize(
    ("device", "code", "text"),
    [("AX1", 0x0030, "motor overheated"), ("AX2", 21, "motor temperature"), ("BR1", 1, "coil open")],
)
def test_a_fault_is_told_once_in_words_and_latched(
    line: Line, group: ModbusGroup, device: str, code: int, text: str
) -> None:
    enable(group, device, Mode.TORQUE)
    line.on_loop(lambda: line.slaves[device].fail(code, line.host.loop.clock()))
    with pytest.raises(DeviceFault, match=f"{device}: reports a fault: {text}") as caught:
        cycle_until(group, lambda: False)
    assert caught.value.code == code
    group.cycle({})
    assert group.state(device) is DeviceState.FAULT
    with pytest.raises(CommandRefused, match=text):
        group.enable(device, Mode.TORQUE)
    group.close()
    group.open()  # resets what can be reset
    enable(group, device, Mode.TORQUE)


def test_a_fault_that_stays_is_refused_at_open(line: Line) -> None:
    slave = line.slaves["AX1"]

    class Stays:
        def __get__(self, *_: Any) -> int:
            return 0x0021

        def __set__(self, *_: Any) -> None:
            return

    line.on_loop(lambda: setattr(slave, "__class__", type("Faulty", (EmulatedActuator,), {"fault": Stays()})))
    with pytest.raises(DeviceFault, match="cannot be reset: DC bus under-voltage"):
        make_group(line, ("AX1",)).open()


def test_torque_that_goes_off_by_itself_is_a_fault(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX2", Mode.TORQUE)
    line.on_loop(lambda: line.slaves["AX2"].table.steps[0] and setattr(line.slaves["AX2"], "_word", 0))
    line.on_loop(lambda: setattr(line.slaves["AX2"], "_obey", lambda: None))
    with pytest.raises(DeviceFault, match="switched off by itself"):
        cycle_until(group, lambda: False)


def test_a_drive_that_never_gives_torque_is_a_fault(line: Line, group: ModbusGroup) -> None:
    line.on_loop(lambda: setattr(line.slaves["AX1"], "_obey", lambda: None))
    group.enable("AX1", Mode.TORQUE)
    with pytest.raises(DeviceFault, match=r"does not give torque \(status 0000h\)"):
        cycle_until(group, lambda: False)


def test_a_lost_drive_is_told_and_stays_refused_when_it_comes_back(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.VELOCITY)
    line.slaves["AX1"].mute = True
    with pytest.raises(DeviceFault, match="AX1: does not answer any more"):
        cycle_until(group, lambda: False, {"AX1": Command(Mode.VELOCITY, 5.0)})
    assert group.state("AX1") is DeviceState.LOST
    assert line.wait_off("AX1")[0] == "master no longer heard"
    line.slaves["AX1"].mute = False
    cycle_until(group, lambda: group.state("AX1") is DeviceState.FAULT)
    with pytest.raises((CommandRefused, WatchdogRefused)):
        group.enable("AX1", Mode.VELOCITY)
    assert [on for on, _ in line.events("AX1")] == [True, False]


@pytest.mark.parametrize("fault", ["garble", "truncate"])
@pytest.mark.parametrize("device", ACTUATORS)
def test_a_garbled_answer_is_stale_and_nothing_is_written_twice(
    line: Line, group: ModbusGroup, device: str, fault: str
) -> None:
    enable(group, device, Mode.TORQUE)
    column = next(n for n, channel in enumerate(group.channels) if channel.startswith(device))
    command = {device: Command(Mode.TORQUE, 1.0)}
    cycle_until(group, lambda: group.state(device) is DeviceState.ENABLED, command)
    received: list[bytes] = []
    slave = line.slaves[device]
    respond = slave.respond

    def listen(pdu: bytes) -> bytes:
        received.append(pdu)
        return respond(pdu)

    line.on_loop(lambda: setattr(slave, "respond", listen))
    setattr(slave, fault, 1)
    row = group.cycle(command)
    assert row.quality[column] is Quality.STALE
    assert len(received) == 1, "the write whose answer was lost is not repeated, and nothing follows it"
    assert group.counters()[device]["crc"] == 1


def test_safe_stop_takes_every_torque_off_and_is_idempotent(line: Line, group: ModbusGroup) -> None:
    for device in ACTUATORS:
        enable(group, device, Mode.TORQUE)
    begin = time.monotonic()
    group.safe_stop()
    assert time.monotonic() - begin < 1.0
    assert not any(line.slaves[device].torque_on for device in ACTUATORS)
    group.safe_stop()


def test_safe_stop_is_bounded_on_a_line_where_nobody_answers(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.TORQUE)
    for slave in line.slaves.values():
        slave.mute = True
    begin = time.monotonic()
    group.safe_stop()
    assert time.monotonic() - begin < 2.0
    assert line.wait_off("AX1")[0] == "master no longer heard"


def test_a_pulled_adapter_is_a_lost_transport_and_the_watchdogs_act(line: Line, group: ModbusGroup) -> None:
    enable(group, "BR2", Mode.TORQUE)
    line.on_loop(line.host.lines["rs485"].close)
    with pytest.raises(TransportLost, match="rs485"):
        cycle_until(group, lambda: False)
    group.safe_stop()
    assert line.wait_off("BR2")[0] == "master no longer heard"


def test_an_unknown_device_and_a_sensor_take_no_commands(group: ModbusGroup) -> None:
    with pytest.raises(CommandRefused, match="is not on bus rs485"):
        group.cycle({"XX": Command(Mode.TORQUE, 1.0)})
    with pytest.raises(CommandRefused, match="takes no set-points"):
        group.cycle({"TQ1": Command(Mode.TORQUE, 1.0)})


def test_a_cycle_that_the_line_cannot_carry_is_refused() -> None:
    devices = [DevicePlan(f"AX{n}", n, "modbus_servo_3kw") for n in range(1, 4)]
    with pytest.raises(ValueError, match="of the line's time"):
        MODBUS.group(BusPlan("rs485", "serial:/x", 115_200, 0.01, 0.1, devices, []))


def test_a_scan_finds_drives_and_brakes(line: Line) -> None:
    from drivers.bus.byte_streams import open_stream
    from drivers.modbus.family import _ask
    from drivers.modbus.rtu import RtuMaster

    stream = open_stream("rs485", line.uri, 115_200)
    master = RtuMaster(stream)
    found = [f for unit in range(1, 7) if (f := _ask(master, unit)) is not None]
    stream.close()
    assert [(f.address, f.model) for f in found] == list(UNITS.values())
