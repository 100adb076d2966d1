"""Our emulated moteus under the maker's own master, the PyPI package `moteus`: queries, commands, watchdog, console.

It has no simulator, so our master meets our emulator only, which this master has vouched for.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import can
import pytest

from drivers.device import Command, Mode
from drivers.emulators.canservo_plan import canservo_plan
from drivers.emulators.host import EmulatorHost
from drivers.family import DevicePlan

from .test_canservo_foreign import TURN, Rotor


@pytest.fixture(params=[1, 33], ids=["11-bit answers", "29-bit answers"])
def drive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Rotor, str, int, list[Any], Any]]:
    """An emulated controller; plant, the hub's path, its id, what was switched, the node."""
    rotor, power = Rotor(), []
    host = EmulatorHost(rotor, lambda _name, on, reason, _now: power.append((on, reason)))
    plan = canservo_plan(DevicePlan("MT", request.param, "moteus_r4"), 0.2)
    uri = host.can("can0", tmp_path / "can0.sock", 1_000_000, [plan])
    thread = threading.Thread(target=host.run)
    thread.start()
    yield rotor, uri.removeprefix("unix:"), request.param, power, host.racks["can0"].nodes["MT"]
    host.stop()
    thread.join(5)
    assert not thread.is_alive()
    host.close()


def run(
    path: str, device: int, monkeypatch: pytest.MonkeyPatch, session: Callable[[Any, Any], Awaitable[None]]
) -> None:
    """`session` with a controller of theirs, on their transport over python-can."""
    import moteus
    from moteus.pythoncan_device import PythonCanDevice

    monkeypatch.setattr(can, "rc", {})  # their transport writes into it

    async def live() -> None:
        with PythonCanDevice(interface="pilotbench", channel=path, fd=True) as link:
            transport = moteus.Transport([link])
            await asyncio.wait_for(session(moteus, moteus.Controller(id=device, transport=transport)), 20)

    asyncio.run(live())


async def until(ask: Callable[[], Awaitable[Any]], what: Callable[[dict[int, Any]], bool]) -> dict[int, Any]:
    """Repeat a command until its result is as wanted."""
    for _ in range(200):
        values: dict[int, Any] = (await ask()).values
        if what(values):
            return values
        await asyncio.sleep(0.005)
    raise AssertionError(values)


def test_the_makers_master_drives_our_emulated_controller(
    drive: tuple[Rotor, str, int, list[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rotor, path, device, power, _ = drive

    async def session(moteus: Any, controller: Any) -> None:
        of = moteus.Register
        values = (await controller.query()).values
        assert values[of.MODE] == moteus.Mode.STOPPED
        assert (values[of.VOLTAGE], values[of.TEMPERATURE], values[of.FAULT]) == (24.0, 33.0, 0)
        go = lambda: controller.set_position(  # noqa: E731
            position=math.nan, velocity=0.5, watchdog_timeout=0.2, query=True
        )
        values = await until(go, lambda v: v[of.POSITION] > 0.1)
        assert values[of.MODE] == moteus.Mode.POSITION
        assert values[of.VELOCITY] == pytest.approx(0.5)
        assert rotor.now == Command(Mode.VELOCITY, pytest.approx(0.5 * TURN))
        there = lambda: controller.set_position(position=1.5, velocity=0.0, query=True)  # noqa: E731
        await until(there, lambda v: abs(v[of.POSITION] - 1.5) < 1e-6)
        push = lambda: controller.set_position(  # noqa: E731
            position=math.nan,
            feedforward_torque=0.25,
            kp_scale=0.0,
            kd_scale=0.0,
            ilimit_scale=0.0,
            maximum_torque=0.2,
            query=True,
        )
        await until(push, lambda v: abs(v[of.TORQUE] - 0.2) < 1e-6)
        assert rotor.now == Command(Mode.TORQUE, pytest.approx(0.2)), "held at its greatest torque"
        await controller.set_stop()
        values = (await controller.query()).values
        assert values[of.MODE] == moteus.Mode.STOPPED

    run(path, device, monkeypatch, session)
    assert power == [(True, "command"), (False, "stop")]


def test_the_makers_master_meets_an_expired_watchdog(
    drive: tuple[Rotor, str, int, list[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode 11 takes no set-point until a stop (docs/troubleshooting/timeout-mode-11.md)."""
    _, path, device, power, node = drive
    node.console.settings["servo.timeout_mode"] = 0

    async def session(moteus: Any, controller: Any) -> None:
        mode = moteus.Register.MODE
        go = lambda: controller.set_position(  # noqa: E731
            position=math.nan, velocity=0.5, watchdog_timeout=0.05, query=True
        )
        await until(go, lambda v: v[mode] == moteus.Mode.POSITION)
        await until(controller.query, lambda v: v[mode] == moteus.Mode.TIMEOUT)
        await go()
        assert (await controller.query()).values[mode] == moteus.Mode.TIMEOUT
        await controller.set_stop()
        assert (await controller.query()).values[mode] == moteus.Mode.STOPPED

    run(path, device, monkeypatch, session)
    assert power == [(True, "command"), (False, "watchdog")]


def test_the_makers_master_reads_and_writes_settings(
    drive: tuple[Rotor, str, int, list[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path, device, _, node = drive

    async def session(moteus: Any, controller: Any) -> None:
        stream = moteus.Stream(controller, use_flow_control=False)
        await stream.command(b"tel stop")
        await stream.flush_read(0.05)
        name = b"servo.default_timeout_s"
        assert float(await stream.command(b"conf get " + name, allow_any_response=True)) == 0.1
        await stream.command(b"conf set " + name + b" 0.25")
        assert float(await stream.command(b"conf get " + name, allow_any_response=True)) == 0.25
        listed = await stream.command(b"conf enumerate")  # longer than a frame
        assert b"servo.timeout_mode 12" in listed
        with pytest.raises(moteus.CommandError, match="unknown group"):
            await stream.command(b"conf get nonsense.of")

    run(path, device, monkeypatch, session)
    assert node.console.settings["servo.default_timeout_s"] == 0.25


def test_the_makers_master_reads_what_identifies_it(
    drive: tuple[Rotor, str, int, list[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path, device, _, node = drive

    async def session(moteus: Any, controller: Any) -> None:
        of = moteus.Register
        wanted = dict.fromkeys(
            (of.FIRMWARE_VERSION, of.REGISTER_MAP_VERSION, of.SERIAL_NUMBER1), moteus.INT32
        )
        values = (await controller.custom_query(wanted)).values
        assert values[of.FIRMWARE_VERSION] == 0x010100
        assert values[of.REGISTER_MAP_VERSION] == 5
        assert values[of.SERIAL_NUMBER1] == node.serial

    run(path, device, monkeypatch, session)
