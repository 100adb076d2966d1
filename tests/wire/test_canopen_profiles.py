"""Profile modes, homing, quick stop, halt and fault reset of CiA 402, against an emulated drive that has no cyclic modes."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.canopen.drive import Cia402Drive
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model
from drivers.device import Command, CommandRefused, DeviceFault, DeviceState, IdentityMismatch, Mode, Row
from drivers.emulators.host import CanSeatPlan
from drivers.family import Column

PERIOD_S = 0.004
MODEL = load_model("cia402_profile_ax3")
PLAN = CanSeatPlan("AX1", 1, MODEL, 301)


@pytest.fixture
def can_plans() -> tuple[CanSeatPlan, ...]:
    """The bench of this module: one drive."""
    return (PLAN,)


@pytest.fixture
def group(bench: Any) -> Iterator[CanopenGroup]:
    found = CanopenGroup(
        "can0",
        [Cia402Drive("AX1", 1, MODEL)],
        [
            Column("angle", "AX1", "position"),
            Column("speed", "AX1", "velocity"),
            Column("torque", "AX1", "torque"),
        ],
        uri=bench.can_uri,
        bitrate=1_000_000,
        period_s=PERIOD_S,
        watchdog_s=0.5,
    )
    yield found
    found.close()


def node(bench: Any) -> Any:
    return bench.host.racks["can0"].nodes["AX1"]


def cycles(group: CanopenGroup, commands: dict[str, Command], count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        rows.append(group.cycle(commands))
        time.sleep(PERIOD_S / 2)
    return rows


def enabled(group: CanopenGroup, mode: Mode) -> None:
    group.enable("AX1", mode)
    for _ in range(200):
        if group.state("AX1") is DeviceState.ENABLED:
            return
        cycles(group, {}, 1)
    raise AssertionError(f"AX1 stands at {group.state('AX1')}")


def until(
    group: CanopenGroup, commands: dict[str, Command], column: int, value: float, tolerance: float
) -> Row:
    for _ in range(500):
        row = cycles(group, commands, 1)[-1]
        if abs(row.values[column] - value) <= tolerance:
            return row
    raise AssertionError(f"stands at {row.values[column]}, wanted {value}")


def fault_of(group: CanopenGroup, commands: dict[str, Command]) -> DeviceFault:
    for _ in range(600):
        try:
            cycles(group, commands, 1)
        except DeviceFault as fault:
            return fault
    raise AssertionError("no fault")


def test_a_velocity_set_point_is_sent_as_profile_velocity(bench: Any, group: CanopenGroup) -> None:
    group.open()
    enabled(group, Mode.VELOCITY)
    until(group, {"AX1": Command(Mode.VELOCITY, -20.0)}, 1, -20.0, 1e-4)
    assert node(bench).objects.get(0x6061) == 3


def test_a_torque_set_point_is_sent_as_profile_torque(bench: Any, group: CanopenGroup) -> None:
    group.open()
    enabled(group, Mode.TORQUE)
    until(group, {"AX1": Command(Mode.TORQUE, 1.27)}, 2, 1.27, 1e-4)
    assert node(bench).objects.get(0x6061) == 4


def test_a_position_set_point_is_handed_over_by_the_handshake(bench: Any, group: CanopenGroup) -> None:
    words: list[int] = []

    def tap(frame: Any, _now: float) -> None:
        if frame.can_id in (0x201, 0x301, 0x401):
            words.append(int.from_bytes(frame.data[:2], "little"))

    group.open()
    bench.on_loop(lambda: setattr(bench.host.racks["can0"].hub, "on_frame", tap))
    enabled(group, Mode.POSITION)
    for step in range(40):
        cycles(group, {"AX1": Command(Mode.POSITION, 0.05 * step)}, 1)
    until(group, {"AX1": Command(Mode.POSITION, 1.95)}, 0, 1.95, 1e-5)
    bits = [word >> 4 & 1 for word in words if word & 0x0F == 0x0F]
    rises = sum(b > a for a, b in itertools.pairwise(bits))
    assert 5 < rises <= 40, "every set-point handed over has an edge of its own"
    assert all(word & 0x20 for word in words if word & 0x10), "and replaces the one under way"


def test_a_set_point_that_is_not_acknowledged_is_a_fault(bench: Any, group: CanopenGroup) -> None:
    group.open()
    bench.on_loop(lambda: setattr(node(bench), "ignores_set_points", True))
    enabled(group, Mode.POSITION)
    assert "does not acknowledge" in str(fault_of(group, {"AX1": Command(Mode.POSITION, 0.1)}))


def test_a_refused_operation_mode_is_an_error(bench: Any, group: CanopenGroup) -> None:
    group.open()
    bench.on_loop(lambda: setattr(node(bench), "refuses_mode", True))
    group.enable("AX1", Mode.TORQUE)
    fault = fault_of(group, {})
    assert "refuses operation mode PT" in str(fault)
    assert group.state("AX1") is DeviceState.FAULT


def test_a_drive_without_the_modes_of_its_table_is_refused_at_start(bench: Any, group: CanopenGroup) -> None:
    bench.on_loop(lambda: node(bench).objects.put(0x6502, 0, 0x01))
    with pytest.raises(IdentityMismatch, match="lack PV, PT, HM"):
        group.open()


def test_ramps_limits_quick_stop_and_homing_are_written_and_read_back(
    bench: Any, group: CanopenGroup
) -> None:
    group.open()
    objects, speed = node(bench).objects, MODEL.signals["velocity"].digit
    assert objects.get(0x6083) == round(5000.0 / speed)
    assert objects.get(0x6087) == 100_000, "thousandths of the rated torque per second"
    assert (objects.get(0x605A), objects.get(0x6098)) == (2, 34)
    assert objects.get(0x6099, 2) == round(math.pi / 2 / speed)


def test_halt_stops_on_the_ramp_and_keeps_the_torque(bench: Any, group: CanopenGroup) -> None:
    group.open()
    enabled(group, Mode.VELOCITY)
    command = {"AX1": Command(Mode.VELOCITY, 10.0)}
    until(group, command, 1, 10.0, 1e-4)
    group.halt("AX1", True)
    until(group, command, 1, 0.0, 1e-9)
    assert group.state("AX1") is DeviceState.ENABLED
    group.halt("AX1", False)
    until(group, command, 1, 10.0, 1e-4)


def test_homing_finds_the_index_takes_the_torque_off_and_counts_anew(bench: Any, group: CanopenGroup) -> None:
    bench.on_loop(lambda: bench.plant.angle.update(AX1=6.0))
    group.open()
    cycles(group, {}, 2)
    group.home("AX1")
    bench.wait_power("AX1", False)
    assert bench.plant.angle["AX1"] == pytest.approx(2 * math.pi, abs=1e-6), (
        "the next index in positive direction"
    )
    row = cycles(group, {}, 2)[-1]
    assert row.values[0] == pytest.approx(0.0, abs=1e-5)
    assert group.state("AX1") is DeviceState.OFF
    enabled(group, Mode.POSITION)
    until(group, {"AX1": Command(Mode.POSITION, 0.02)}, 0, 0.02, 1e-5)
    assert bench.plant.angle["AX1"] == pytest.approx(2 * math.pi + 0.02, abs=1e-5)


def test_homing_that_fails_is_told_and_not_repeated(bench: Any, group: CanopenGroup) -> None:
    group.open()
    bench.on_loop(lambda: setattr(node(bench), "homing_fails", True))
    with pytest.raises(CommandRefused, match="homing failed"):
        group.home("AX1")
    cycles(group, {}, 20)
    assert [event[1] for event in bench.power] == [True, False], "torque once, and off"


def test_homing_is_refused_while_torque_is_on_and_ended_by_a_reason(bench: Any, group: CanopenGroup) -> None:
    group.open()
    enabled(group, Mode.VELOCITY)
    with pytest.raises(CommandRefused, match="torque off"):
        group.home("AX1")
    group.disable("AX1")
    cycles(group, {}, 3)
    with pytest.raises(CommandRefused, match="door is open"):
        group.home("AX1", lambda _: "the door is open")
    cycles(group, {}, 2)
    assert group.state("AX1") is DeviceState.OFF
    assert [event[1] for event in bench.power] == [True, False], "never on for it"


@pytest.mark.parametrize("option", [0, 1, 2, 5, 6])
def test_a_safe_stop_begins_with_the_quick_stop(bench: Any, group: CanopenGroup, option: int) -> None:
    """Transitions 11, 12 or 9: the speed falls on the ramp, then the torque goes; verified by feedback."""
    group.open()
    bench.on_loop(lambda: node(bench).objects.put(0x605A, 0, option))
    enabled(group, Mode.VELOCITY)
    until(group, {"AX1": Command(Mode.VELOCITY, 50.0)}, 1, 50.0, 1e-3)
    speeds: list[float] = []

    def watch() -> None:
        told = bench.plant.command

        def command(device: str, wanted: Command | None) -> None:
            if wanted is not None and wanted.mode is Mode.VELOCITY:
                speeds.append(wanted.value)
            told(device, wanted)

        bench.plant.command = command

    bench.on_loop(watch)
    group.safe_stop()
    bench.wait_power("AX1", False)
    cycles(group, {}, 2)
    assert group.state("AX1") is DeviceState.OFF
    if option:
        assert speeds, "a ramp"
        assert speeds == sorted(speeds, reverse=True)
        assert speeds[-1] < 25.0, "down to the last step of the ramp before zero"


def test_a_drive_that_does_not_stop_loses_its_torque_all_the_same(bench: Any, group: CanopenGroup) -> None:
    group.open()
    bench.on_loop(lambda: node(bench).objects.put(0x6085, 0, 0))
    enabled(group, Mode.VELOCITY)
    until(group, {"AX1": Command(Mode.VELOCITY, 50.0)}, 1, 50.0, 1e-3)
    group.safe_stop()
    assert bench.wait_power("AX1", False)[2] == "controlword 0000h"


def test_a_fault_without_an_emergency_is_read_from_603f(bench: Any, group: CanopenGroup) -> None:
    group.open()
    enabled(group, Mode.VELOCITY)

    def burn() -> None:
        drive = node(bench)
        drive.emergency = lambda *_: None
        drive.fail(0x3220, bench.host.loop.clock())

    bench.on_loop(burn)
    fault = fault_of(group, {})
    assert fault.code == 0x3220
    assert "DC link under-voltage" in str(fault)


def test_after_a_restart_in_mid_run_everything_is_configured_anew(bench: Any, group: CanopenGroup) -> None:
    group.open()
    enabled(group, Mode.VELOCITY)
    rack = bench.host.racks["can0"]

    def restart() -> None:
        now = bench.host.loop.clock()
        rack.nodes["AX1"].power_cycle(now)
        rack.settle(now)

    bench.on_loop(restart)
    assert "restarted in mid-run" in str(fault_of(group, {}))
    with pytest.raises(CommandRefused, match="it has a fault"):
        group.enable("AX1", Mode.VELOCITY)
    assert node(bench).objects.get(0x1A00) == 0, "its mapping is lost"
    group.hush()
    group.open()
    enabled(group, Mode.VELOCITY)
    until(group, {"AX1": Command(Mode.VELOCITY, 3.0)}, 1, 3.0, 1e-4)
