"""Torque only behind a watchdog that was set and read back; a master that is gone loses it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from drivers.device import (
    Command,
    Mode,
    TransportLost,
    WatchdogRefused,
)

from .conftest import ACTUATORS, PERIOD_S, UNITS, Line, make_group
from .cycles import enable


@pytest.mark.parametrize("device", ACTUATORS)
def test_a_master_that_falls_silent_loses_the_torque(line: Line, device: str) -> None:
    group = make_group(line, (device,), watchdog_s=0.2)
    group.open()
    enable(group, device, Mode.TORQUE)
    last_s = time.monotonic()
    group.cycle({device: Command(Mode.TORQUE, 1.0)})
    group.hush()
    reason, at_s = line.wait_off(device)
    assert reason == "master no longer heard"
    assert 0.15 <= at_s - last_s <= 0.2 + PERIOD_S + 0.1


@pytest.mark.parametrize("device", ACTUATORS)
def test_torque_is_refused_where_the_watchdog_cannot_be_set(line: Line, device: str) -> None:
    line.slaves[device].refuse_watchdog = True
    group = make_group(line, (device,))
    with pytest.raises(WatchdogRefused, match=f"{device}: its watchdog cannot be set .*reads back 0000"):
        group.open()
    assert line.events(device) == []


@pytest.mark.parametrize(
    ("device", "timeout_s"), [("AX2", 0.004), ("AX2", 11.0), ("BR1", 0.009), ("AX1", 61.0)]
)
def test_a_watchdog_that_the_device_cannot_keep_is_refused(line: Line, device: str, timeout_s: float) -> None:
    with pytest.raises(WatchdogRefused, match="no watchdog of"):
        make_group(line, (device,), watchdog_s=timeout_s).open()


def test_the_watchdog_is_never_longer_than_asked_for(line: Line) -> None:
    group = make_group(line, ("AX2",), watchdog_s=0.128)
    group.open()
    assert int.from_bytes(line.slaves["AX2"]._holding[0x0041], "big") == 12  # of 10 ms
    group.close()
    assert int.from_bytes(line.slaves["AX2"]._holding[0x0041], "big") == 0, "disarmed at an orderly end"


def test_a_watchdog_without_the_right_reaction_would_do_nothing(line: Line) -> None:
    """Why the reaction is written and read back: the emulated device obeys it, like a real one."""
    group = make_group(line, ("AX1",), watchdog_s=0.1)
    group.open()
    enable(group, "AX1", Mode.TORQUE)
    line.on_loop(lambda: line.slaves["AX1"]._holding.update({0x0221: b"\0\1"}))
    group.hush()
    time.sleep(0.4)
    assert [on for on, _ in line.events("AX1")] == [True]


def test_torque_is_refused_before_the_group_is_open(line: Line) -> None:
    group = make_group(line, ("AX1",))
    with pytest.raises(WatchdogRefused, match="not armed"):
        group.enable("AX1", Mode.TORQUE)
    with pytest.raises(TransportLost, match="not open"):
        group.cycle({})


#: A master in a process of its own: enables one device, says so, and goes on until it is ended.
_MASTER = """
import sys, time
from drivers.device import Command, DeviceState, Mode
from drivers.family import BusPlan, DevicePlan
from drivers.modbus.family import MODBUS
uri, unit, model = sys.argv[1:]
group = MODBUS.group(BusPlan("rs485", uri, 115_200, 0.02, 0.2, [DevicePlan("X", int(unit), model)], []))
group.open()
group.enable("X", Mode.TORQUE)
told = False
while True:
    on = group.state("X") is DeviceState.ENABLED
    group.cycle({"X": Command(Mode.TORQUE, 1.0)} if on else {})
    if on and not told:
        told = True
        print("on", flush=True)
    time.sleep(0.01)
"""


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda s: s.name)
@pytest.mark.parametrize("device", ACTUATORS)
def test_a_master_that_is_killed_or_stopped_loses_the_torque_in_time(
    line: Line, device: str, number: signal.Signals
) -> None:
    unit, model = UNITS[device]
    fed: list[float] = []
    slave = line.slaves[device]
    heard = slave.heard

    def listen(now_s: float) -> None:
        fed.append(now_s)
        heard(now_s)

    line.on_loop(lambda: setattr(slave, "heard", listen))
    master = subprocess.Popen(
        [sys.executable, "-c", _MASTER, line.uri, str(unit), model], stdout=subprocess.PIPE, text=True
    )
    try:
        assert master.stdout is not None
        assert master.stdout.readline() == "on\n"
        master.send_signal(number)
        reason, at_s = line.wait_off(device)
    finally:
        master.kill()
        master.wait(5)
        master.stdout.close()  # type: ignore[union-attr]
    assert reason == "master no longer heard"
    assert at_s - fed[-1] <= 0.2 + 0.02, "its watchdog and 20 ms after it was last heard"
