"""The Dynamixel group against emulated servos on a real pty."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.device import (
    Block,
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    DriverError,
    IdentityMismatch,
    Mode,
    Quality,
    Row,
    Setpoint,
    TransportLost,
    WatchdogRefused,
)
from drivers.dynamixel import codec
from drivers.dynamixel.codec import Instruction
from drivers.dynamixel.family import DYNAMIXEL
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.master import LATENCY_S, adapter_latency_s
from drivers.dynamixel.model import load_model
from drivers.dynamixel.servo import DynamixelServo
from drivers.family import BusPlan, Column, DevicePlan
from drivers.runner import BusRunner

from .conftest import BAUD, WATCHDOG_S, Bench, serve

GOOD, STALE, BAD = Quality.GOOD, Quality.STALE, Quality.BAD
DIGIT = load_model("dynamixel_xm430_w350").readings["position"].digit


def cycle_until(
    group: DynamixelGroup, wanted: Callable[[Row], bool], commands: Any = None, timeout_s: float = 5.0
) -> Row:
    """Cycle until `wanted(row)`; returns that row."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        row = group.cycle(commands or {})
        if wanted(row):
            return row
        time.sleep(0.002)
    raise AssertionError(f"last row {row}, counters {group.counters()}")


def enable(group: DynamixelGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    cycle_until(group, lambda _: group.state(device) is DeviceState.ENABLED)


def all_good(row: Row) -> bool:
    return all(q is GOOD for q in row.quality)


def instructions(bench: Bench) -> list[int]:
    return [packet.instruction for packet in bench.line.instructions]


# ── start ──


def test_open_identifies_sets_up_and_arms(bench: Bench) -> None:
    group = bench.group()
    assert [(i.device, i.model, i.serial, i.firmware) for i in group.open()] == [
        ("DX1", "dynamixel_xm430_w350", "none", "48"),
        ("DX2", "dynamixel_xm430_w350", "none", "48"),
    ]
    for servo in bench.servos.values():
        assert servo.get("bus_watchdog") == round(WATCHDOG_S / 0.02)
        assert servo.get("torque_enable") == 0
    assert bench.power == []


def test_another_model_than_described_is_refused(bench: Bench) -> None:
    bench.models["DX2"] = "dynamixel_xl330_m288"
    with pytest.raises(IdentityMismatch, match="DX2: model number is 1020, dynamixel_xl330_m288 has 1200"):
        bench.group().open()
    assert bench.servos["DX2"].get("bus_watchdog") == 0, "nothing was written"


def test_a_servo_that_does_not_answer_is_named(bench: Bench) -> None:
    bench.servos["DX2"].mute = True
    with pytest.raises(DriverError, match="DX2: id 2 does not answer"):
        bench.group().open()


def test_a_reversed_servo_is_refused(bench: Bench) -> None:
    bench.servos["DX1"].put("drive_mode", 1)
    with pytest.raises(IdentityMismatch, match="drive_mode is 1"):
        bench.group().open()


def test_torque_left_on_is_switched_off_at_the_start(bench: Bench) -> None:
    bench.on_loop(lambda: bench.servos["DX1"].write(64, b"\1", time.monotonic()))
    bench.group().open()
    assert [e[:2] for e in bench.power] == [("DX1", True), ("DX1", False)]


@pytest.mark.parametrize("level", [0, 1])
def test_a_status_return_level_that_hides_answers_is_set(bench: Bench, level: int, caplog: Any) -> None:
    bench.servos["DX1"].put("status_return_level", level)
    group = bench.group()
    group.open()
    assert bench.servos["DX1"].get("status_return_level") == 2
    assert f"status return level was {level}" in caplog.text
    assert all_good(group.cycle({}))


def test_return_delay_is_reported_with_its_cure(caplog: Any) -> None:
    for bench in serve({"DX1": "dynamixel_xm430_w350"}, return_delay=250):
        group = bench.group()
        group.open()
        assert "answers only after 500 µs; set return delay time (address 9) to 0" in caplog.text
        assert all_good(group.cycle({}))


def test_a_line_that_return_delays_make_too_slow_is_refused() -> None:
    for bench in serve(
        {f"DX{n}": "dynamixel_xm430_w350" for n in range(1, 7)}, return_delay=250, firmware=42
    ):
        with pytest.raises(DriverError, match="set return delay time to 0"):
            bench.group(period_s=0.005).open()


def test_a_line_that_cannot_carry_the_cycle_is_refused(six: Bench) -> None:
    with pytest.raises(ValueError, match="keep the line busy"):
        six.group(period_s=0.002)


def test_the_latency_timer_of_an_adapter(tmp_path: Any) -> None:
    timer = tmp_path / "ttyUSB0" / "device" / "latency_timer"
    timer.parent.mkdir(parents=True)
    timer.write_text("16\n")
    assert adapter_latency_s("serial:/dev/ttyUSB0@1000000", tmp_path) == pytest.approx(0.017)
    timer.write_text("1\n")
    assert adapter_latency_s("serial:/dev/ttyUSB0", tmp_path) == LATENCY_S
    assert adapter_latency_s("record:/tmp/x.log|serial:/dev/ttyUSB0@57600", tmp_path) == LATENCY_S
    assert adapter_latency_s("tcp:localhost:4000", tmp_path) == LATENCY_S


def test_a_hardware_error_from_before_is_refused_at_the_start(bench: Bench) -> None:
    bench.on_loop(lambda: bench.servos["DX2"].fail(0x20, 0.0))
    with pytest.raises(DeviceFault, match="DX2: hardware error: overload"):
        bench.group().open()


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


# ── health ──


def test_a_servo_that_falls_silent_is_stale_then_lost_and_comes_back(six: Bench) -> None:
    group = six.group(period_s=0.1)
    group.open()
    cycle_until(group, all_good)
    six.servos["DX3"].mute = True
    row = group.cycle({})
    assert row.quality[6] is STALE
    row = cycle_until(group, lambda _: group.state("DX3") is DeviceState.LOST)
    row = cycle_until(group, lambda row: sum(q is not GOOD for q in row.quality) == 3)
    assert group.counters()["DX3"]["timeout"] >= 1
    six.line.instructions.clear()
    for _ in range(20):
        row = group.cycle({})
        assert all(q is GOOD for n, q in enumerate(row.quality) if not 6 <= n < 9), (
            "it costs the others nothing"
        )
    assert not [p for p in six.line.instructions if p.id == 3], "not asked again before a second has passed"
    six.servos["DX3"].mute = False
    cycle_until(group, all_good)
    assert next(p.instruction for p in six.line.instructions if p.id == 3) == Instruction.PING, (
        "identity first"
    )
    assert group.state("DX3") is DeviceState.READY


def test_an_exchanged_servo_does_not_come_back(bench: Bench) -> None:
    group = bench.group()
    group.open()
    bench.servos["DX1"].mute = True
    cycle_until(group, lambda _: group.state("DX1") is DeviceState.LOST)

    def exchange() -> None:
        bench.servos["DX1"].firmware = 49
        bench.servos["DX1"].mute = False

    bench.on_loop(exchange)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert group.cycle({}).quality[0] is not GOOD
        time.sleep(0.01)


def test_a_driven_servo_that_falls_silent_is_a_fault(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.servos["DX1"].mute = True
    with pytest.raises(DeviceFault, match="DX1: does not answer"):
        cycle_until(group, lambda _: False, {"DX1": Command(Mode.VELOCITY, 1.0)})


def test_a_hardware_error_is_latched_with_its_first_cause(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.on_loop(lambda: bench.servos["DX1"].fail(0x20, time.monotonic()))
    with pytest.raises(DeviceFault, match="hardware error: overload") as caught:
        cycle_until(group, lambda _: False, {"DX1": Command(Mode.VELOCITY, 1.0)})
    assert caught.value.code == 0x20
    bench.on_loop(lambda: bench.servos["DX1"].fail(0x04, time.monotonic()))
    for _ in range(5):
        group.cycle({})
    assert group.state("DX1") is DeviceState.FAULT
    with pytest.raises(CommandRefused, match="overload"):
        group.enable("DX1", Mode.VELOCITY)


def test_a_restart_in_mid_run_is_a_fault_and_never_a_number(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    bench.plant.angle["DX1"] = 2.0
    cycle_until(group, lambda row: row.values[0] == pytest.approx(2.0, abs=DIGIT))

    def restart() -> None:
        bench.servos["DX1"].reboot(time.monotonic())
        bench.servos["DX1"]._ready_s = 0.0  # within one cycle

    bench.on_loop(restart)
    rows = []
    with pytest.raises(DeviceFault, match="restarted in mid-run"):
        cycle_until(group, lambda row: bool(rows.append(row)), {"DX1": Command(Mode.VELOCITY, 0.0)})
    assert all(row.values[0] == pytest.approx(2.0, abs=DIGIT) for row in rows if row.quality[0] is GOOD)
    row = group.cycle({})
    assert row.quality[0] is not GOOD


def test_a_restart_without_torque_is_set_up_again(bench: Bench) -> None:
    group = bench.group()
    group.open()
    bench.on_loop(lambda: bench.servos["DX2"].reboot(time.monotonic()))
    cycle_until(group, lambda row: row.quality[3] is not GOOD)
    cycle_until(group, all_good)
    assert bench.servos["DX2"].get("bus_watchdog") == round(WATCHDOG_S / 0.02)


def test_a_tripped_bus_watchdog_is_a_fault_and_stays(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    group.cycle({"DX1": Command(Mode.VELOCITY, 2.0)})
    _, _, reason, _ = bench.wait_power("DX1", False)  # nobody cycles
    assert reason == "bus watchdog"
    assert bench.plant.commands["DX1"] == Command(Mode.VELOCITY, 0.0)
    with pytest.raises(DeviceFault, match="its bus watchdog heard nobody"):
        group.cycle({"DX1": Command(Mode.VELOCITY, 2.0)})
    for _ in range(5):
        group.cycle({})
    assert bench.servos["DX1"].get("bus_watchdog") == -1, "nobody clears it within a run"
    with pytest.raises(CommandRefused):
        group.enable("DX1", Mode.VELOCITY)
    group.close()
    group.open()
    assert bench.servos["DX1"].get("bus_watchdog") == round(WATCHDOG_S / 0.02)


def test_a_late_answer_is_not_taken_for_a_new_one(bench: Bench) -> None:
    """Protocol 2.0 has no transaction numbers; the sample's own clock tells."""
    group = bench.group()
    group.open()
    cycle_until(group, all_good)
    held: list[bytes] = []

    def hold(frame: bytes) -> list[tuple[float, bytes]]:
        """Every answer comes when the next one should."""
        held.append(frame)
        return [(0.0, held.pop(0))] if len(held) > 2 else []

    bench.on_loop(lambda: setattr(bench.line, "disturb_answers", hold))
    for n in range(10):
        bench.on_loop(lambda n=n: bench.plant.angle.update({"DX1": 0.1 * n}))
        row = group.cycle({})
        assert row.quality[0] is not GOOD or row.values[0] == pytest.approx(0.1 * n, abs=DIGIT)
        time.sleep(0.01)


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


# ── the wire ──


def test_a_closed_pty_is_a_lost_transport(bench: Bench) -> None:
    group = bench.group()
    group.open()
    group.cycle({})
    bench.on_loop(bench.line.close)
    with pytest.raises(TransportLost, match="dxl: serial line is gone"):
        cycle_until(group, lambda _: False)
    group.safe_stop()
    group.close()


def test_safe_stop_is_bounded_when_nobody_answers(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    for servo in bench.servos.values():
        servo.mute = True
    begin = time.monotonic()
    group.safe_stop()
    assert time.monotonic() - begin < 3.0


def test_an_orderly_end_leaves_torque_off_and_no_watchdog(bench: Bench) -> None:
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    group.close()
    for servo in bench.servos.values():
        assert (servo.get("torque_enable"), servo.get("bus_watchdog")) == (0, 0)
    with pytest.raises(TransportLost, match="not open"):
        group.cycle({})


def test_torque_off_is_repeated_until_it_shows(bench: Bench) -> None:
    """A packet to all is answered by nobody, so the first may be lost."""
    group = bench.group()
    group.open()
    enable(group, "DX1", Mode.VELOCITY)
    lost = []

    def lose(chunk: bytes) -> list[tuple[float, bytes]]:
        if len(lost) < 3:
            lost.append(chunk)
            broken = bytearray(chunk)
            broken[8] ^= 0x55
            return [(0.0, bytes(broken))]
        return [(0.0, chunk)]

    bench.on_loop(lambda: setattr(bench.line, "disturb_instructions", lose))
    group.disable("DX1")
    cycle_until(group, lambda _: group.state("DX1") is DeviceState.READY)
    assert bench.power[-1][:2] == ("DX1", False)
    assert len(lost) == 3


def test_a_flood_of_foreign_bytes_ends_with_the_deadline() -> None:
    import tty

    end, other = os.openpty()
    tty.setraw(other)
    from drivers.bus.serial_stream import open_serial
    from drivers.dynamixel.master import DynamixelMaster

    stream = open_serial("dxl", f"serial:{os.ttyname(other)}", BAUD)
    try:
        os.write(end, bytes(range(256)) * 8)
        master = DynamixelMaster(stream)
        write = stream.write

        def flood(data: bytes) -> None:
            write(data)
            os.write(end, (codec.HEADER + b"\x09\xff\x00") * 300)

        stream.write = flood  # type: ignore[method-assign]
        begin = time.monotonic()
        with pytest.raises(DriverError, match="garbled"):
            master.ask("DX1", 1, codec.ping(1), 3, 0.0, {"crc": 0, "timeout": 0, "nak": 0})
        assert time.monotonic() - begin < 1.0
    finally:
        stream.close()
        os.close(end)
        os.close(other)


# ── bench description, scan ──


def test_scan_finds_every_servo_and_its_model(mixed: Bench) -> None:
    found = DYNAMIXEL.scan("dxl", mixed.uri, BAUD)
    assert [(f.address, f.model) for f in found] == [
        (1, "dynamixel_xm430_w350"),
        (2, "dynamixel_ph54_200_s500"),
    ]
    assert "firmware" in found[0].description
    assert mixed.power == []


def test_a_serial_number_cannot_be_asked_for() -> None:
    device = DevicePlan("DX1", 1, "dynamixel_xm430_w350", serial="4711")
    with pytest.raises(ValueError, match="no serial number"):
        DYNAMIXEL.group(BusPlan("dxl", "serial:/dev/null", BAUD, 0.01, 0.1, [device], []))


@pytest.mark.parametrize("number", [-1, 253, 254])
def test_impossible_ids_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        DynamixelServo("DX1", number, load_model("dynamixel_xm430_w350"))
