"""Our emulated ODrive under the master of the PyPI package `odrive-can`, and our master on that package's mock.

What both sides of this repository understand alike proves nothing; what a program that others wrote understands does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import can
import pytest

from drivers.bus.can_hub import CanHub
from drivers.bus.event_loop import EventLoop
from drivers.bus.hub_server import HubServer
from drivers.canservo.group import CanServoGroup
from drivers.canservo.model import OdriveModel, Watchdog, WatchdogBy, load_model
from drivers.canservo.odrive_axis import OdriveAxis
from drivers.device import Command, DeviceState, Mode, Quality
from drivers.emulators.canservo_plan import canservo_plan
from drivers.emulators.host import EmulatorHost
from drivers.family import Column, DevicePlan

from .served import serving

TURN = 6.283185307179586


class Rotor:
    """Turns as it is told."""

    def __init__(self) -> None:
        self.t = self.angle = 0.0
        self.now: Command | None = None

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        if self.now is not None and self.now.mode is Mode.VELOCITY:
            self.angle += self.now.value * dt
        elif self.now is not None and self.now.mode is Mode.POSITION:
            self.angle = self.now.value

    def command(self, device: str, command: Command | None) -> None:
        self.now = command

    def read(self, device: str, signal: str) -> float:
        now = self.now
        if signal == "position":
            return self.angle
        return now.value if now is not None and now.mode.value == signal else 0.0


@pytest.fixture
def axis(tmp_path: Path) -> Iterator[tuple[Rotor, str, list[tuple[bool, str]]]]:
    """An emulated 0.6 axis with node id 1; the plant, the hub's path, what was switched."""
    rotor, power = Rotor(), []
    host = EmulatorHost(rotor, lambda _name, on, reason, _now: power.append((on, reason)))
    uri = host.can(
        "can0", tmp_path / "can0.sock", 1_000_000, [canservo_plan(DevicePlan("OD", 1, "odrive_s1"), 0.2)]
    )
    with serving(host):
        yield rotor, uri.removeprefix("unix:"), power


def test_the_master_of_odrive_can_drives_our_emulated_axis(
    axis: tuple[Rotor, str, list[tuple[bool, str]]],
) -> None:
    from odrive_can.odrive import ODriveCAN

    rotor, path, power = axis
    seen: list[Any] = []

    async def session() -> None:
        bus = can.Bus(interface="pilotbench", channel=path)
        drive = ODriveCAN(axis_id=1, can_bus=bus)
        drive.feedback_callback = lambda message, _drive: seen.append(message.data)
        await asyncio.wait_for(drive.start(), 5)
        drive.check_alive()
        drive.check_errors()
        assert drive.axis_state == "IDLE"
        voltage = await drive.get_bus_voltage_current()
        assert voltage["Bus_Voltage"] == 48.0
        drive.set_controller_mode("VELOCITY_CONTROL", "PASSTHROUGH")
        await drive.set_axis_state("CLOSED_LOOP_CONTROL")
        drive.set_input_vel(2.5)
        for _ in range(100):
            if seen and seen[-1]["Vel_Estimate"] == 2.5 and seen[-1]["Pos_Estimate"] > 0.2:
                break
            await asyncio.sleep(0.02)
        assert seen[-1]["Vel_Estimate"] == 2.5
        assert rotor.now == Command(Mode.VELOCITY, 2.5 * TURN)
        drive.set_controller_mode("POSITION_CONTROL", "PASSTHROUGH")
        drive.set_input_pos(1.5)
        for _ in range(100):
            if seen[-1]["Pos_Estimate"] == pytest.approx(1.5, abs=1e-3):
                break
            await asyncio.sleep(0.02)
        assert seen[-1]["Pos_Estimate"] == pytest.approx(1.5, abs=1e-3)
        await drive.set_axis_state("IDLE")
        drive.stop()

    asyncio.run(session())
    assert [on for on, _ in power] == [True, False]


@pytest.fixture
def mock(tmp_path: Path) -> Iterator[str]:
    """The mock of `odrive-can`, axis id 0, on a hub of ours; the hub's path."""
    from odrive_can.mock import ODriveCANMock

    loop = EventLoop()
    server = HubServer(tmp_path / "can0.sock", CanHub(1_000_000), loop)
    hub = threading.Thread(target=loop.run)
    hub.start()
    box: dict[str, Any] = {}
    ready = threading.Event()

    async def live() -> None:
        bus = can.Bus(interface="pilotbench", channel=str(server.path))
        device = ODriveCANMock(axis_id=0, can_bus=bus)
        # Its reader is told by a thread, which does not wake the loop: give the notifier the loop, then it does.
        device.notifier.stop()  # and its reader with it
        device.can_reader = can.AsyncBufferedReader()
        device.notifier = can.Notifier(bus, [device.can_reader], loop=asyncio.get_running_loop())
        box["loop"], box["task"] = asyncio.get_running_loop(), asyncio.current_task()
        ready.set()
        try:
            await device.main()
        except asyncio.CancelledError:
            pass
        finally:
            device.notifier.stop()
            bus.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert ready.wait(10)
    yield server.uri
    box["loop"].call_soon_threadsafe(box["task"].cancel)
    thread.join(10)
    assert not thread.is_alive()
    loop.stop()
    hub.join(5)
    server.close()
    loop.close()


def test_our_master_drives_the_mock_of_odrive_can(mock: str) -> None:
    """It answers every question with zeros and has no watchdog: its table says so. What counts is what it does by itself."""
    table = load_model("odrive_s1")
    assert isinstance(table, OdriveModel)
    model = replace(
        table,
        firmware="0.0.0",
        endpoints={},
        polled=(),
        cyclic_s=0.1,
        heartbeat_s=0.2,
        digits={n: d for n, d in table.digits.items() if n != "temperature"},
        watchdog=Watchdog(WatchdogBy.OPERATOR, record="a mock"),
    )
    columns = [Column("angle", "M", "position"), Column("speed", "M", "velocity")]
    group = CanServoGroup(
        "can0", [OdriveAxis("M", 0, model)], columns, uri=mock, bitrate=1_000_000, period_s=0.02
    )
    try:
        assert group.open()[0].serial == "000000000000"

        def until(what: Any, commands: dict[str, Command], within_s: float = 8.0) -> None:
            end = time.monotonic() + within_s
            while time.monotonic() < end:
                row = group.cycle(commands)
                if what(row):
                    return
                time.sleep(0.015)
            raise AssertionError((row, group.counters(), group.state("M")))

        until(lambda row: row.quality == [Quality.GOOD] * 2, {})
        group.enable("M", Mode.VELOCITY)
        until(lambda _: group.state("M") is DeviceState.ENABLED, {})
        go = {"M": Command(Mode.VELOCITY, 2.5 * TURN)}
        until(lambda row: row.values[1] == pytest.approx(2.5 * TURN) and row.quality[1] == Quality.GOOD, go)
        before = group.measured("M", Mode.POSITION)
        until(lambda row: row.values[0] > before + TURN, go)
        group.disable("M")
        until(lambda _: group.state("M") is DeviceState.OFF and not group._members["M"].drives, {})
    finally:
        group.close()
