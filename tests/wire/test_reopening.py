"""After a wire was lost: one error, then nothing but questions of identity until everybody has answered them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers import clock
from drivers.bus import serial_stream
from drivers.bus.frame import Frame
from drivers.bus.wire_log import read_log
from drivers.canopen.codec import NmtCommand, nmt
from drivers.device import BusOff, DeviceState, IdentityMismatch, Mode, Setpoint, TransportLost
from drivers.families import FAMILIES
from drivers.family import BusPlan, Column, DevicePlan
from drivers.runner import BusRunner, RunnerState

pytestmark = pytest.mark.faults


def plan(family: str, uri: str, serial: str | None = None) -> BusPlan:
    if family == "modbus":
        devices = [
            DevicePlan("TQ1", 1, "modbus_torque_5nm", serial),
            DevicePlan("TMP", 3, "modbus_pt100_2ch"),
        ]
        return BusPlan("rs485", uri, 115_200, 0.02, 0.2, devices, [Column("torque", "TQ1", "torque")])
    devices = [DevicePlan("AX1", 1, "cia402_servo_ax1", serial), DevicePlan("EN2", 3, "cia406_encoder_27bit")]
    return BusPlan("can0", uri, 1_000_000, 0.004, 0.2, devices, [Column("speed", "AX1", "velocity")])


def asks_identity(family: str) -> Callable[[Any], bool]:
    """Whether what was sent only reads who a device is."""
    if family == "modbus":
        return lambda telegram: telegram[1] == 0x03 and telegram[2:4] == b"\x01\x00"
    objects = (b"\x18\x10", b"\x08\x10", b"\x0a\x10")
    return lambda frame: (
        frame.can_id & 0x780 == 0x600
        and (frame.data[0] in (0x60, 0x70) or (frame.data[0] == 0x40 and frame.data[1:3] in objects))
    )


def uri_of(bench: Any, family: str) -> str:
    return str(bench.can_uri if family == "canopen" else bench.serial_uri)


def sent_in(path: Path) -> list[Any]:
    return [entry.payload for entry in read_log(path) if entry.sent]


@pytest.mark.parametrize("family", ["canopen", "modbus"])
def test_the_first_words_after_a_reopen_are_questions_of_identity(
    bench: Any, tmp_path: Path, family: str
) -> None:
    path = tmp_path / "wire.log"
    group = FAMILIES[family].group(plan(family, f"record:{path}|{uri_of(bench, family)}"))
    group.open()
    group.hush()
    before = len(sent_in(path))
    identities = group.open()
    group.hush()
    again = sent_in(path)[before:]
    asked = asks_identity(family)
    questions = next((n for n, payload in enumerate(again) if not asked(payload)), len(again))
    spoken_to = {p.can_id & 0x7F if isinstance(p, Frame) else p[0] for p in again[:questions]}
    assert spoken_to == {1, 3}, "everybody was asked before the first other word"
    assert [i.device for i in identities] == ["AX1" if family == "canopen" else "TQ1", identities[1].device]


@pytest.mark.parametrize("family", ["canopen", "modbus"])
def test_another_device_on_the_wire_is_told_nothing(bench: Any, tmp_path: Path, family: str) -> None:
    path = tmp_path / "wire.log"
    group = FAMILIES[family].group(plan(family, f"record:{path}|{uri_of(bench, family)}", serial="4711"))
    with pytest.raises(IdentityMismatch, match="serial number"):
        group.open()
    group.close()
    assert sent_in(path)
    assert all(map(asks_identity(family), sent_in(path)))


def test_a_stopped_node_is_woken_and_identified(bench: Any) -> None:
    def stop() -> None:
        rack, now = bench.host.racks["can0"], bench.host.loop.clock()
        rack.nodes["AX1"].on_frame(nmt(NmtCommand.STOP, 1), now)

    bench.on_loop(stop)
    group = FAMILIES["canopen"].group(plan("canopen", bench.can_uri))
    assert group.open()[0].serial == "101"
    group.close()


def test_bus_off_in_motion_ends_the_run_and_a_reopen_resumes_nothing(bench: Any) -> None:
    """The nodes are unknown afterwards: identified and configured anew, torque off, no set-point of before."""
    group = FAMILIES["canopen"].group(plan("canopen", bench.can_uri))
    runner = BusRunner(group, lambda _: None, block_rows=5, lease_s=5.0)
    runner.start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 3.0, 50.0), 500.0)
    bench.wait_power("AX1", True)
    bench.on_loop(lambda: bench.host.racks["can0"].hub.bus_off(clock.now()))
    runner._thread.join(5)
    assert runner.state is RunnerState.LOST
    assert runner.failure == (
        "can0: the CAN controller has left the bus — check wiring and bit rate, then reopen the bench"
    )
    assert bench.wait_power("AX1", False)[0] == "AX1"
    runner.stop()
    group.open()
    for _ in range(5):
        group.cycle({})
    assert group.state("AX1") is DeviceState.OFF
    assert bench.plant.commands["AX1"] is None
    group.close()


@pytest.mark.parametrize("family", ["canopen", "modbus"])
def test_a_pulled_adapter_is_one_lost_transport_for_every_call(bench: Any, family: str) -> None:
    group = FAMILIES[family].group(plan(family, uri_of(bench, family)))
    group.open()
    group.cycle({})
    bench.on_loop(bench.host.servers["can0"].close)
    bench.on_loop(bench.host.lines["rs485"].close)
    cycles = iter(lambda: group.cycle({}), None)
    with pytest.raises(TransportLost, match="gone"):
        [next(cycles) for _ in range(200)]
    with pytest.raises(TransportLost):
        group.cycle({})
    group.safe_stop()
    group.hush()
    with pytest.raises(TransportLost, match="not open"):
        group.cycle({})
    with pytest.raises(TransportLost, match=r"cannot open|no CAN hub"):
        group.open()


def test_bus_off_is_no_lost_transport() -> None:
    assert not issubclass(BusOff, TransportLost)


def test_a_device_that_restarts_in_mid_run_ends_it(bench: Any) -> None:
    group = FAMILIES["canopen"].group(plan("canopen", bench.can_uri))
    runner = BusRunner(group, lambda _: None, block_rows=5, lease_s=5.0)
    runner.start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 3.0, 50.0), 500.0)
    bench.wait_power("AX1", True)
    rack = bench.host.racks["can0"]

    def restart() -> None:
        rack.nodes["EN2"].power_cycle(bench.host.loop.clock())
        rack.settle(bench.host.loop.clock())

    bench.on_loop(restart)
    assert bench.wait_power("AX1", False)[2] == "controlword 0000h", (
        "the drive is stopped for the encoder's sake"
    )
    runner.stop()
    assert str(runner.failure).startswith("EN2: restarted in mid-run")


def test_a_slow_adapter_is_told_when_the_port_is_opened(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serial_stream, "latency_warning", lambda path: f"{path} holds answers back")
    serial_stream.open_serial("rs485", bench.serial_uri, 115_200).close()
    assert f"rs485: {bench.serial_uri.removeprefix('serial:')} holds answers back" in caplog.text
