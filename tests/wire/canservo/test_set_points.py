"""Opening, set-points and readings of CAN servos."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from drivers.canservo.model import load_model
from drivers.device import (
    Command,
    CommandRefused,
    DeviceState,
    Mode,
    Quality,
)
from drivers.family import DevicePlan

from .conftest import AK, ALL, CG, EACH, Bench
from .cycles import cycles, enabled, good, value


def test_one_of_each_on_one_bus_is_identified_and_torque_stays_off(bench: Bench) -> None:
    bench.serve_devices(*ALL)
    group = bench.group(*ALL)
    found = {i.device: i for i in group.open()}
    assert found["OD6"].firmware == "0.6.10"
    assert found["OD6"].serial == f"{26_000_004:012X}"
    assert found["OD5"].firmware == "0.5"
    assert found["CG"].serial == f"{26_000_000 + 0x7F:016X}"
    assert found["RS"].firmware == "0.3.1.41"
    for channel in group.channels:
        good(group, channel)
    assert all(group.state(d.name) is DeviceState.OFF for d in ALL)
    assert not any(on for _, on, _, _ in bench.power)
    assert 0.0 < group.load() < 0.6


@EACH
@pytest.mark.parametrize(("mode", "target"), [(Mode.VELOCITY, 3.0), (Mode.TORQUE, -0.75)])
def test_speed_and_torque_reach_the_shaft_in_SI(
    bench: Bench, device: DevicePlan, mode: Mode, target: float
) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, mode)
    command = {device.name: Command(mode, target)}
    cycles(group, 3, command)
    digit = load_model(device.model).digits[mode.value]
    assert good(group, f"{device.name}_{mode.value}", command) == pytest.approx(target, abs=2 * digit)
    last = bench.plant.commands[device.name]
    assert last is not None
    assert last.mode is mode
    assert last.value == pytest.approx(target, abs=2 * digit)
    group.disable(device.name)
    cycles(group, 30)
    assert group.state(device.name) is DeviceState.OFF
    bench.wait_power(device.name, False)


@EACH
def test_position_mode_starts_without_a_bump_and_follows(bench: Bench, device: DevicePlan) -> None:
    bench.plant.angle[device.name] = start = 4.25
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    good(group, f"{device.name}_position")
    enabled(group, device.name, Mode.POSITION)
    digit = load_model(device.model).digits["position"]
    assert bench.plant.angle[device.name] == pytest.approx(start, abs=2 * digit)
    here = group.measured(device.name, Mode.POSITION)
    for step in range(1, 6):
        cycles(group, 1, {device.name: Command(Mode.POSITION, here + 0.1 * step)})
    there = {device.name: Command(Mode.POSITION, here + 0.5)}
    cycles(group, 4, there)
    assert good(group, f"{device.name}_position", there) == pytest.approx(here + 0.5, abs=2 * digit)


@EACH
def test_set_points_outside_the_limits_are_refused_not_clamped(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    group = bench.group(replace(device, limits={Mode.VELOCITY: 5.0, Mode.TORQUE: 0.5}))
    group.open()
    with pytest.raises(CommandRefused, match="is not on bus"):
        group.enable("nobody", Mode.VELOCITY)
    enabled(group, device.name, Mode.VELOCITY)
    for command in (
        Command(Mode.VELOCITY, 5.01),
        Command(Mode.VELOCITY, math.nan),
        Command(Mode.TORQUE, 0.1),
    ):
        with pytest.raises(CommandRefused, match=device.name):
            group.cycle({device.name: command})
    last = bench.plant.commands[device.name]
    assert last is None or abs(last.value) < 0.05
    assert group.limits(device.name, Mode.TORQUE)[1] == 0.5


def test_a_multi_turn_position_of_a_cybergear_is_beyond_four_pi(bench: Bench) -> None:
    bench.plant.angle["CG"] = 100.0
    bench.serve_devices(CG)
    group = bench.group(CG)
    group.open()
    assert good(group, "CG_position") == pytest.approx(100.0, abs=1e-4)


def test_a_position_that_a_module_cannot_count_is_refused(bench: Bench) -> None:
    bench.plant.angle["AK"] = 12.4
    bench.serve_devices(AK)
    group = bench.group(AK)
    group.open()
    good(group, "AK_position")
    enabled(group, "AK", Mode.POSITION)
    with pytest.raises(CommandRefused, match="cannot count"):
        group.cycle({"AK": Command(Mode.POSITION, 12.6)})


def test_a_reading_at_the_end_of_its_range_is_bad(bench: Bench) -> None:
    bench.plant.angle["AK"] = 20.0
    bench.serve_devices(AK)
    group = bench.group(AK)
    group.open()
    for row in cycles(group, 5):
        assert value(group, row, "AK_position")[1] != Quality.GOOD
