"""Whoever drives a servo falls silent: the servo's own bus watchdog takes the motion away, and it stays away.

How soon after SIGKILL and SIGSTOP stands in `tests/faults/test_master_deaths.py`, for every model of every family. Here: what it
looks like at the servo, to which every silence is the same.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.device import Command, Mode

from .conftest import BAUD, Bench

WATCHDOG_S = 0.12
#: What the bar allows beyond the watchdog, and what this shared machine may add to both ends of the measurement.
MARGIN_S, MACHINE_S = 0.02, 0.04

DRIVING = f"""
import sys, time
from drivers.device import Command, DeviceState, Mode
from drivers.dynamixel.family import DYNAMIXEL
from drivers.family import BusPlan, DevicePlan

devices = [DevicePlan(f"DX{{n}}", n, "dynamixel_xm430_w350") for n in (1, 2)]
group = DYNAMIXEL.group(BusPlan("dxl", sys.argv[1], {BAUD}, 0.01, {WATCHDOG_S}, devices, []))
group.open()
group._master.latency_s = 0.05
group.enable("DX1", Mode.VELOCITY)
said = False
while True:
    on = group.state("DX1") is DeviceState.ENABLED
    group.cycle({{"DX1": Command(Mode.VELOCITY, 2.0)}} if on else {{}})
    if on and not said and abs(group.measured("DX1", Mode.VELOCITY) - 2.0) < 0.1:
        said = True
        print("turning", flush=True)
    time.sleep(0.005)
"""


@pytest.fixture
def driver(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVING, bench.uri],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 20)[0], "no word from the process"
    assert process.stdout.readline() == "turning\n"
    yield process
    process.kill()
    process.wait(5)
    process.stdout.close()


def assert_stopped(bench: Bench) -> float:
    """Wait until the servo has stopped by itself, and stands; when that was."""
    _, _, reason, off_s = bench.wait_power("DX1", False)
    assert reason == "bus watchdog"
    assert bench.plant.commands["DX1"] == Command(Mode.VELOCITY, 0.0)
    assert bench.servos["DX1"].get("bus_watchdog") == -1
    return off_s


@pytest.mark.faults
def test_the_servo_stops_when_the_cable_is_pulled(
    bench: Bench, driver: subprocess.Popen[str], record_property: Callable[[str, object], None]
) -> None:
    bench.on_loop(bench.line.close)
    pulled_s = time.monotonic()
    took_s = assert_stopped(bench) - pulled_s
    record_property("stopped after the cable was pulled, ms", round(took_s * 1000.0, 1))
    assert took_s <= WATCHDOG_S + MARGIN_S + MACHINE_S
    assert took_s >= WATCHDOG_S - 0.03, "not before its time"
    assert driver.wait(5) != 0, "TransportLost ends the process"


@pytest.mark.faults
def test_a_stopped_process_that_goes_on_does_not_go_on_driving(
    bench: Bench, driver: subprocess.Popen[str]
) -> None:
    driver.send_signal(signal.SIGSTOP)
    assert_stopped(bench)
    before = len(bench.servos["DX1"].set_points)
    driver.send_signal(signal.SIGCONT)
    assert driver.wait(5) != 0, "the tripped watchdog is a fault"
    assert len(bench.servos["DX1"].set_points) == before
    assert [e[1] for e in bench.power] == [True, False]
