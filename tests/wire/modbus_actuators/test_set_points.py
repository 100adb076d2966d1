"""Set-points of Modbus drives and brakes: every one checked, and written once."""

from __future__ import annotations

import pytest

from drivers.device import (
    Command,
    CommandRefused,
    DeviceState,
    Mode,
)
from drivers.modbus.group import ModbusGroup

from .conftest import Line, make_group
from .cycles import cycle_until, enable


@pytest.mark.parametrize(
    ("device", "mode", "value"),
    [
        ("AX1", Mode.VELOCITY, -30.0),
        ("AX1", Mode.TORQUE, 2.4),
        ("AX1", Mode.POSITION, -0.2),
        ("AX2", Mode.VELOCITY, 100.0),
        ("AX2", Mode.TORQUE, -20.0),
    ],
)
def test_a_drive_is_enabled_told_and_disabled(
    line: Line, group: ModbusGroup, device: str, mode: Mode, value: float
) -> None:
    assert group.state(device) in (DeviceState.OFF, DeviceState.READY)
    enable(group, device, mode)
    command = Command(mode, value)
    cycle_until(
        group, lambda: group.measured(device, mode) == pytest.approx(value, abs=0.06), {device: command}
    )
    group.disable(device)
    cycle_until(
        group, lambda: group.state(device) is not DeviceState.ENABLED and not line.slaves[device].torque_on
    )
    assert [on for on, _ in line.events(device)] == [True, False]


def test_a_brake_loads_against_the_motion_and_moves_nothing(line: Line, group: ModbusGroup) -> None:
    enable(group, "BR1", Mode.TORQUE)
    command = {"BR1": Command(Mode.TORQUE, 30.0)}
    for speed, torque in ((5.0, -30.0), (-5.0, 30.0), (0.0, 0.0)):
        line.on_loop(lambda speed=speed: line.plant.speed.update(BR1=speed))
        cycle_until(group, lambda torque=torque: line.plant.torque["BR1"] == pytest.approx(torque), command)
    row = group.cycle(command)
    assert row.values[group.channels.index("BR1 current")] == pytest.approx(30.0 * 0.04)


def test_a_brake_takes_no_negative_torque_and_no_speed(group: ModbusGroup) -> None:
    for device in ("BR1", "BR2"):
        with pytest.raises(CommandRefused, match="has no velocity mode"):
            group.enable(device, Mode.VELOCITY)
        enable(group, device, Mode.TORQUE)
        with pytest.raises(CommandRefused, match="torque has no sign"):
            group.cycle({device: Command(Mode.TORQUE, -1.0)})
        assert group.limits(device, Mode.VELOCITY)[1] == 0.0
    assert group.measured("BR2", Mode.TORQUE) >= 0.0


@pytest.mark.parametrize(
    ("device", "command", "words"),
    [
        ("AX1", Command(Mode.VELOCITY, 315.0), "exceeds 314.159"),
        ("AX1", Command(Mode.VELOCITY, float("nan")), "exceeds"),
        ("AX1", Command(Mode.TORQUE, 1.0), "enabled for velocity"),
        ("AX2", Command(Mode.VELOCITY, -210.0), "exceeds 209.44"),
    ],
)
def test_a_refused_set_point_is_never_sent(
    line: Line, group: ModbusGroup, device: str, command: Command, words: str
) -> None:
    enable(group, device, Mode.VELOCITY)
    before = line.plant.commands[device]
    with pytest.raises(CommandRefused, match=words):
        group.cycle({device: command})
    assert line.plant.commands[device] == before


def test_all_set_points_are_checked_before_the_first_is_written(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.VELOCITY)
    enable(group, "AX2", Mode.VELOCITY)
    with pytest.raises(CommandRefused, match="AX2"):
        group.cycle({"AX1": Command(Mode.VELOCITY, 10.0), "AX2": Command(Mode.VELOCITY, 1e3)})
    assert line.plant.commands["AX1"] == Command(Mode.VELOCITY, 0.0)


def test_a_position_set_point_does_not_jump(group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.POSITION)
    with pytest.raises(CommandRefused, match="jumps by 100 rad"):
        group.cycle({"AX1": Command(Mode.POSITION, 100.0)})


def test_the_limits_of_the_bench_are_written_to_the_drive(line: Line) -> None:
    group = make_group(line, ("AX1",), velocity=100.0, torque=3.0)
    group.open()
    holding = line.slaves["AX1"]._holding
    assert int.from_bytes(holding[0x0210], "big") == 955  # r/min, rounded up
    assert int.from_bytes(holding[0x0211], "big") == 1250  # 1/1000 of rated torque
    assert group.limits("AX1", Mode.VELOCITY)[1] == 100.0
    assert group.limits("AX1", Mode.TORQUE)[1] == 3.0
    group.close()
