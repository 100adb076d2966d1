"""The start of a Dynamixel group against emulated servos on a real pty; the scan of a line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from drivers.device import (
    DeviceFault,
    DriverError,
    IdentityMismatch,
)
from drivers.dynamixel.family import DYNAMIXEL
from drivers.dynamixel.master import LATENCY_S, adapter_latency_s
from drivers.dynamixel.model import load_model
from drivers.dynamixel.servo import DynamixelServo
from drivers.family import BusPlan, DevicePlan

from .conftest import BAUD, WATCHDOG_S, Bench, serve
from .cycles import all_good


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
