"""The Dynamixel group against emulated servos on a real pty: what it reads and commands."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from drivers.device import (
    Block,
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    Mode,
    Setpoint,
    WatchdogRefused,
)
from drivers.dynamixel.codec import Instruction
from drivers.dynamixel.family import DYNAMIXEL
from drivers.dynamixel.model import load_model
from drivers.family import BusPlan, Column, DevicePlan
from drivers.runner import BusRunner

from ..served import cycle_until
from .conftest import BAUD, WATCHDOG_S, Bench, serve
from .cycles import DIGIT, all_good, enable, instructions

# ── reading ──


@pytest.mark.parametrize(
    ("fixture", "instruction"),
    [
        ("six", Instruction.FAST_SYNC_READ),
        ("old_six", Instruction.SYNC_READ),
        ("mixed", Instruction.FAST_BULK_READ),
    ],
)
def test_values_in_si_by_the_best_instruction(
    fixture: str, instruction: int, request: pytest.FixtureRequest
) -> None:
    bench: Bench = request.getfixturevalue(fixture)
    group = bench.group()
    group.open()
    names = list(bench.models)
    bench.on_loop(lambda: bench.plant.angle.update({name: 1.0 + n for n, name in enumerate(names)}))
    row = group.cycle({})
    assert all_good(row)
    for n, (name, model) in enumerate(bench.models.items()):
        digit = load_model(model).readings["position"].digit
        assert row.values[group.channels.index(f"{name}_position")] == pytest.approx(1.0 + n, abs=digit)
    assert instructions(bench)[-1] == instruction


def test_old_and_new_firmware_on_one_line_are_read_by_bulk_read_if_tables_differ() -> None:
    for bench in serve({"DX1": "dynamixel_xm430_w350", "DP2": "dynamixel_ph54_200_s500"}, firmware=11):
        group = bench.group()
        group.open()
        assert all_good(group.cycle({}))
        assert instructions(bench)[-1] == Instruction.BULK_READ


def test_temperature_and_voltage_only_when_asked_for(bench: Bench) -> None:
    plan = BusPlan(
        "dxl",
        bench.uri,
        BAUD,
        0.02,
        WATCHDOG_S,
        [DevicePlan("DX1", 1, "dynamixel_xm430_w350"), DevicePlan("DX2", 2, "dynamixel_xm430_w350")],
        [Column("temperature", "DX1", "temperature"), Column("supply", "DX2", "voltage")],
    )
    group = DYNAMIXEL.group(plan)
    bench.groups.append(group)
    group.open()
    row = cycle_until(group, all_good)
    assert row.values == pytest.approx([298.15, 12.0])


def test_eeprom_is_written_only_when_it_differs(mixed: Bench) -> None:
    """The P series keeps its indirect addresses in EEPROM."""
    group = mixed.group()
    group.open()
    group.close()
    mixed.line.instructions.clear()
    group.open()
    p = load_model("dynamixel_ph54_200_s500")
    writes = [q for q in mixed.line.instructions if q.id == 2 and q.instruction == Instruction.WRITE]
    assert all(int.from_bytes(q.parameters[:2], "little") >= p.ram for q in writes)


# ── torque ──


@pytest.mark.parametrize(("mode", "value"), [(Mode.VELOCITY, 2.0), (Mode.TORQUE, 1.5), (Mode.POSITION, 0.05)])
def test_set_points_in_every_mode(bench: Bench, mode: Mode, value: float) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", mode)
    assert bench.wait_power("DX1", True)
    target = load_model("dynamixel_xm430_w350").targets[mode]
    cycle_until(
        group,
        lambda _: group.measured("DX1", mode) == pytest.approx(value, abs=target.digit),
        {"DX1": Command(mode, value)},
    )
    assert bench.servos["DX1"].get("operating_mode") == target.code
    group.disable("DX1")
    cycle_until(group, lambda _: group.state("DX1") is DeviceState.READY)
    assert bench.power[-1][:3] == ("DX1", False, "torque enable 0")


def test_modes_change_only_with_torque_off(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    enable(group, "DX1", Mode.TORQUE)
    assert [e[1] for e in bench.power] == [True, False, True]
    assert bench.servos["DX1"].get("operating_mode") == 0


def test_enabling_makes_no_bump(bench: Bench) -> None:
    """Whatever stands in the goal registers from before."""
    for register, value in (("goal_position", 3000), ("goal_velocity", 300), ("goal_current", 500)):
        bench.servos["DX1"].put(register, value)
    bench.plant.angle["DX1"] = 1.0
    group = bench.group()
    group.open()
    for mode in Mode:
        enable(group, "DX1", mode)
        for _ in range(5):
            group.cycle({})
        assert bench.plant.angle["DX1"] == pytest.approx(1.0, abs=DIGIT)
        assert bench.plant.speed["DX1"] == 0.0
        group.disable("DX1")
        cycle_until(group, lambda _: group.state("DX1") is DeviceState.READY)


def test_mixed_series_are_commanded_by_one_packet(mixed: Bench) -> None:
    group = mixed.group()
    group.open()
    for device in mixed.models:
        enable(group, device, Mode.VELOCITY)
    commands = {"DX1": Command(Mode.VELOCITY, 1.0), "DP2": Command(Mode.VELOCITY, -1.0)}
    cycle_until(
        group, lambda _: mixed.plant.speed == pytest.approx({"DX1": 1.0, "DP2": -1.0}, abs=0.02), commands
    )
    assert instructions(mixed).count(Instruction.BULK_WRITE) >= 1


def test_torque_is_refused_without_a_bus_watchdog() -> None:
    """330 models up to firmware 51 say that it has tripped, and go on turning."""
    for bench in serve({"DX1": "dynamixel_xl330_m288"}, firmware=51):
        group = bench.group()
        group.open()
        assert all_good(group.cycle({})), "reading is no matter of torque"
        with pytest.raises(WatchdogRefused, match="DX1"):
            group.enable("DX1", Mode.VELOCITY)


def test_a_watchdog_shorter_than_it_can_be_is_refused(bench: Bench) -> None:
    group = bench.group(watchdog_s=0.019)
    group.open()
    with pytest.raises(WatchdogRefused):
        group.enable("DX1", Mode.VELOCITY)


def test_a_watchdog_that_somebody_cleared_is_noticed(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.on_loop(lambda: bench.servos["DX1"].put("bus_watchdog", 0))
    with pytest.raises(DeviceFault, match="its watchdog is gone"):
        cycle_until(group, lambda _: False, {"DX1": Command(Mode.VELOCITY, 1.0)})


@pytest.mark.parametrize(
    ("mode", "value"),
    [(Mode.VELOCITY, 4.9), (Mode.TORQUE, -4.2), (Mode.VELOCITY, math.nan), (Mode.POSITION, 1.0)],
)
def test_set_points_beyond_limits_are_refused_and_not_sent(bench: Bench, mode: Mode, value: float) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", mode)
    before = len(bench.servos["DX1"].set_points)
    with pytest.raises(CommandRefused):
        group.cycle({"DX1": Command(mode, value)})
    assert len(bench.servos["DX1"].set_points) == before


def test_the_limits_of_the_bench_and_of_the_servo_count(bench: Bench) -> None:
    bench.servos["DX2"].put("velocity_limit", 100)
    group = bench.group(limits={Mode.VELOCITY: 3.0})
    group.open()
    assert group.limits("DX1", Mode.VELOCITY)[1] == 3.0
    assert group.limits("DX2", Mode.VELOCITY)[1] == pytest.approx(100 * 0.229 * math.pi / 30)


def test_registers_for_good_only_with_torque_off_verified_and_once(bench: Bench) -> None:
    group = bench.group()
    group.open()
    bench.line.instructions.clear()
    assert group.store("DX1", "temperature_limit", 70) == 80
    assert bench.servos["DX1"].get("temperature_limit") == 70
    assert instructions(bench).count(Instruction.WRITE) == 1
    with pytest.raises(CommandRefused, match="no writable register"):
        group.store("DX1", "present_position", 0)
    enable(group, "DX1", Mode.VELOCITY)
    with pytest.raises(CommandRefused, match="torque is on"):
        group.store("DX1", "temperature_limit", 60)


# ── under the runner ──


def test_the_runner_drives_it_and_a_trip_takes_the_torque(bench: Bench) -> None:
    blocks: list[Block] = []
    runner = BusRunner(bench.group(watchdog_s=1.0), blocks.append, block_rows=5, lease_s=10.0)
    try:
        runner.start()
        runner.command("DX1", Setpoint(Mode.VELOCITY, 2.0, 5.0), 20.0)
        until = time.monotonic() + 20
        while runner.measured("DX1", Mode.VELOCITY) < 1.9 and time.monotonic() < until:
            runner.renew_lease()
            time.sleep(0.01)
        assert runner.failure is None
        assert runner.measured("DX1", Mode.VELOCITY) == pytest.approx(2.0, abs=0.03)
        runner.trip("somebody opened the guard")
        assert bench.wait_power("DX1", False)[2] == "torque enable 0"
    finally:
        runner.stop()
    assert runner.failure == "somebody opened the guard"
    speeds = np.concatenate([block.column("DX1_velocity") for block in blocks])
    assert np.diff(speeds).max() < 0.5, "a ramp, no step"
