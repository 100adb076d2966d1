"""A moteus on its CAN FD bus: watchdog and its action, modes, numbered answers. What all CAN servos do is in the files beside."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from drivers.bus.can_hub import Fault, FaultKind
from drivers.bus.frame import FdFrame, Frame, fd_wire_bits
from drivers.canservo import multiplex
from drivers.canservo.family import CANSERVO
from drivers.canservo.moteus import Register, State
from drivers.canservo.multiplex import Kind, Write
from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    IdentityMismatch,
    Mode,
    Quality,
    WatchdogRefused,
)
from drivers.family import DevicePlan

from .conftest import CG, MT, MT2, WATCHDOG_S, Bench
from .cycles import cycles, enabled, fault_of, good, value

NODES = pytest.mark.parametrize("device", [MT, MT2], ids=["11-bit answers", "29-bit answers"])
GO = {"MT": Command(Mode.VELOCITY, 2.0)}


def sent_to(bench: Bench) -> list[Frame]:
    """What leaves the master, as it happens."""
    sent: list[Frame] = []
    bench.hub.on_frame = lambda frame, _: sent.append(frame) if frame.can_id & 0xFF else None
    return sent


def commands(frames: list[Frame]) -> list[Write]:
    """What they write."""
    return [s for f in frames for s in multiplex.parse(f.data) if isinstance(s, Write)]


@NODES
def test_short_and_long_identifiers(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    heard: list[Frame] = []
    group = bench.group(device)
    bench.hub.on_frame = lambda frame, _: heard.append(frame)
    (identity,) = group.open()
    assert identity.serial == f"{26_000_000 + device.address:024X}"
    assert identity.firmware == "1.1.0"
    good(group, f"{device.name}_position")
    assert all(isinstance(frame, FdFrame) for frame in heard)
    answers = {(f.can_id, f.extended) for f in heard if not f.can_id & 0xFF}
    assert answers == {(device.address << 8, device.address > 7)}


def test_two_of_them_on_one_bus_and_their_load(bench: Bench) -> None:
    bench.serve_devices(MT, MT2)
    group = bench.group(MT, MT2)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    enabled(group, "MT2", Mode.TORQUE)
    both = {**GO, "MT2": Command(Mode.TORQUE, -0.5)}
    cycles(group, 3, both)
    assert good(group, "MT_velocity", both) == pytest.approx(2.0)
    assert good(group, "MT2_torque", both) == pytest.approx(-0.5)
    bits = fd_wire_bits(64, True) * 2 + fd_wire_bits(48, False) + fd_wire_bits(48, True)
    assert group.planned_load() == pytest.approx(bits / (0.01 * 1_000_000))
    assert 0.0 < group.load() < group.planned_load() * 2


def test_a_classic_device_on_the_same_bus_is_refused_when_planned(bench: Bench) -> None:
    with pytest.raises(
        ValueError, match=r"MT speaks CAN FD, whose frames CG's controller would destroy"
    ) as error:
        bench.group(CG, MT)
    assert "\n" not in str(error.value)


# ── watchdog ──


def test_time_and_action_are_written_and_restored(bench: Bench) -> None:
    bench.serve_devices(MT)
    settings = bench.node("MT").console.settings
    assert (settings["servo.default_timeout_s"], settings["servo.timeout_mode"]) == (0.1, 12)
    group = bench.group(MT)
    group.open()
    assert (settings["servo.default_timeout_s"], settings["servo.timeout_mode"]) == (WATCHDOG_S, 0)
    enabled(group, "MT", Mode.VELOCITY)
    assert bench.node("MT").watchdog_s == WATCHDOG_S, "of the set-point itself"
    group.close()
    assert bench.wait_power("MT", False)[2] == "stop"
    assert (settings["servo.default_timeout_s"], settings["servo.timeout_mode"]) == (0.1, 12)


@pytest.mark.parametrize("name", ["servo.default_timeout_s", "servo.timeout_mode"])
def test_a_setting_that_is_not_taken_over_refuses_torque(bench: Bench, name: str) -> None:
    bench.serve_devices(MT)
    bench.node("MT").console.forgetful.add(name)
    with pytest.raises(WatchdogRefused, match=rf"watchdog cannot be set \({name} reads 1?[02].* after"):
        bench.group(MT).open()


def test_a_command_that_does_not_take_the_watchdog_over_refuses_torque(bench: Bench) -> None:
    bench.serve_devices(MT)
    bench.node("MT").forgetful.add(Register.WATCHDOG_TIMEOUT)
    with pytest.raises(WatchdogRefused, match="register 027h reads 0 s"):
        bench.group(MT).open()


def test_a_firmware_without_the_setting_refuses_torque(bench: Bench) -> None:
    bench.serve_devices(MT)
    del bench.node("MT").console.settings["servo.timeout_mode"]
    with pytest.raises(WatchdogRefused, match=r"servo\.timeout_mode cannot be read"):
        bench.group(MT).open()


def test_by_default_a_drive_keeps_its_torque_when_its_watchdog_expires(bench: Bench) -> None:
    """Why the action is set: the emulated drive does what the documentation says of timeout mode 12."""
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    cycles(group, 3, GO)
    bench.on_loop(lambda: bench.node("MT").console.settings.update({"servo.timeout_mode": 12}))
    group.hush()
    time.sleep(2.0 * WATCHDOG_S)
    assert bench.node("MT").mode == State.TIMEOUT
    assert bench.plant.commands["MT"] == Command(Mode.VELOCITY, 0.0)
    assert bench.power[-1][1] is True


def test_an_expired_watchdog_is_told_and_a_reopened_bench_goes_on(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    cycles(group, 3, GO)
    time.sleep(1.5 * WATCHDOG_S)  # as a process that is stopped
    assert bench.wait_power("MT", False)[2] == "watchdog"
    assert bench.node("MT").mode == State.TIMEOUT
    fault = fault_of(group)
    assert "watchdog has expired" in str(fault)
    assert group.state("MT") is DeviceState.FAULT
    assert [on for _, on, _, _ in bench.power] == [True, False], "a set-point does not lead out of it"
    group.close()
    again = bench.group(MT)
    again.open()
    enabled(again, "MT", Mode.VELOCITY)


@pytest.mark.parametrize("driving", [True, False])
def test_a_drive_that_was_off_for_a_moment_gets_no_torque_again(bench: Bench, driving: bool) -> None:
    """It has forgotten what its watchdog is to do, and nothing else shows that."""
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    if driving:
        enabled(group, "MT", Mode.VELOCITY)
    cycles(group, 3)
    time.sleep(0.02)
    bench.on_loop(lambda: bench.node("MT").restart(time.monotonic()))
    assert bench.node("MT").console.settings["servo.timeout_mode"] == 12
    fault = fault_of(group)
    assert "was switched off and on" in str(fault)
    with pytest.raises((CommandRefused, WatchdogRefused)):
        group.enable("MT", Mode.VELOCITY)
    cycles(group, 5)
    assert not bench.node("MT").torque_on
    group.close()
    again = bench.group(MT)
    again.open()
    enabled(again, "MT", Mode.VELOCITY)


def test_reading_feeds_no_watchdog(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    begin = time.monotonic()
    group.hush()
    other = bench.group(MT)._open_bus("can0", bench.uri, 1_000_000)
    query = multiplex.request(MT.address, [multiplex.Read(0, Kind.INT16, 4)])
    while time.monotonic() < begin + 2.0 * WATCHDOG_S:
        other.send(query)
        time.sleep(0.01)
    other.close()
    off = bench.wait_power("MT", False)
    assert off[2] == "watchdog"
    assert off[3] - begin < WATCHDOG_S + 0.02


# ── commands ──


def test_every_set_point_carries_its_watchdog_and_its_limits(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(replace(MT, limits={Mode.TORQUE: 0.75}))
    group.open()
    enabled(group, "MT", Mode.TORQUE)
    sent = sent_to(bench)
    cycles(group, 5, {"MT": Command(Mode.TORQUE, 0.25)})
    bench.hub.on_frame = None
    assert len(sent) == 5
    for frame in sent:
        of = {w.start: w.values for w in commands([frame])}
        assert of[Register.MODE] == (State.POSITION,)
        assert math.isnan(of[Register.COMMAND_POSITION][0])
        assert of[Register.COMMAND_POSITION][1:] == (0.0, 0.25)
        assert (of[Register.KP_SCALE], of[Register.KI_LIMIT_SCALE]) == ((0, 0), (0,))
        assert of[Register.MAXIMUM_TORQUE] == (0.75,)
        assert of[Register.WATCHDOG_TIMEOUT] == (WATCHDOG_S, -1.0, -1.0)
        assert next(iter(of)) == Register.MODE, "written before any other register of a command"
        assert frame.fd
        assert len(frame.data) <= 64


def test_an_idle_drive_is_read_and_told_nothing(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    sent = sent_to(bench)
    cycles(group, 5)
    bench.hub.on_frame = None
    assert {w.start for w in commands(sent)} == {Register.STAY_WITHIN_LOWER}, "the number of the question"
    assert not bench.power


def test_a_position_that_it_cannot_count_is_refused(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    good(group, "MT_position")
    enabled(group, "MT", Mode.POSITION)
    with pytest.raises(CommandRefused, match="cannot count"):
        group.cycle({"MT": Command(Mode.POSITION, 32768 * 2 * math.pi)})


def test_a_register_that_a_command_writes_in_vain_is_no_answer(bench: Bench) -> None:
    """Its refusal stands in the answer: the drive is not taken for one that obeys."""
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    node = bench.node("MT")
    write = node._write
    node._write = lambda register, kind, raw: (
        1 if register == Register.ACCELERATION_LIMIT else write(register, kind, raw)
    )
    group.enable("MT", Mode.VELOCITY)
    fault = fault_of(group)
    assert group.state("MT") is DeviceState.LOST or "torque" in str(fault)
    assert group.counters()["MT"]["nak"] > 0


def test_a_mode_that_nobody_here_commanded_is_a_fault(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    node = bench.node("MT")
    bench.on_loop(lambda: setattr(node, "_obey", lambda _now: None))
    bench.on_loop(lambda: setattr(node, "mode", int(State.BRAKE)))
    assert "mode 15, which nobody here has commanded" in str(fault_of(group))


def test_limiting_is_no_fault(bench: Bench) -> None:
    """Codes from 96 on say what limits a drive that works (docs/protocol/registers.md, 0x00f)."""
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    bench.on_loop(lambda: setattr(bench.node("MT"), "fault", 102))
    cycles(group, 5, GO)
    assert group.state("MT") is DeviceState.ENABLED


def test_a_fault_of_before_is_cleared_at_the_start_and_one_that_stays_is_refused(bench: Bench) -> None:
    bench.serve_devices(MT)
    node = bench.node("MT")
    bench.on_loop(lambda: node.fail(39, time.monotonic()))
    group = bench.group(MT)
    group.open()
    group.close()
    stop = node._stop
    node._stop = lambda reason, now_s: (stop(reason, now_s), node.fail(34, now_s))
    with pytest.raises(DeviceFault, match="cannot be cleared: over-voltage"):
        bench.group(MT).open()


def test_another_register_map_is_refused_before_anything_is_written(bench: Bench) -> None:
    bench.serve_devices(MT)
    bench.node("MT").register_map = 4
    sent = sent_to(bench)
    with pytest.raises(IdentityMismatch, match="register map is 4"):
        bench.group(MT).open()
    assert not commands(sent)


# ── numbered answers ──


def test_an_answer_that_comes_a_cycle_late_is_dropped_and_costs_one_cycle(bench: Bench) -> None:
    bench.serve_devices(MT)
    group = bench.group(MT)
    group.open()
    enabled(group, "MT", Mode.VELOCITY)
    cycles(group, 5, GO)
    answers = MT.address << 8
    late = Fault(FaultKind.DELAY, can_id=answers, mask=0x1FFF_FFFF, delay_s=0.012)
    bench.on_loop(lambda: bench.hub.faults.append(late))
    before = dict(group.counters()["MT"])
    rows = cycles(group, 6, GO)
    after = group.counters()["MT"]
    assert after["missed"] - before["missed"] == 1
    assert after["late"] - before["late"] == 1
    assert sum(value(group, row, "MT_position")[1] == Quality.GOOD for row in rows) == 5


def test_scan_finds_them_where_nobody_else_is(bench: Bench) -> None:
    bench.serve_devices(MT, MT2)
    found = CANSERVO.scan("can0", bench.uri, 1_000_000)
    assert [(f.address, f.model) for f in found] == [(5, "moteus_r4"), (33, "moteus_r4")]
    assert found[0].description == "moteus controller, firmware 1.1.0"
    assert not bench.power
