"""Set-points of a bus move by one period's worth a cycle, whatever the clock says and whoever replaces them."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.axes import Axes
from drivers.device import Command, DeviceState, Mode, Setpoint

PERIOD_S = 0.002


class Drives:
    """As much of a group as set-points need."""

    period_s = PERIOD_S

    def __init__(self, measured: float = 0.0) -> None:
        self.states = {"AX1": DeviceState.ENABLED, "AX2": DeviceState.READY}
        self.position = measured

    def state(self, device: str) -> DeviceState:
        return self.states[device]

    def measured(self, device: str, mode: Mode) -> float:
        return self.position


def advance(axes: Axes, drives: Drives) -> dict[str, Command]:
    return axes.advance(drives)  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.floats(-100.0, 100.0), st.floats(0.1, 1000.0), st.integers(1, 40)),
        min_size=1,
        max_size=6,
    )
)
def test_no_step_is_larger_than_one_periods_worth(told: list[tuple[float, float, int]]) -> None:
    axes, drives, values, largest = Axes(), Drives(3.0), [3.0], []
    for target, rate, cycles in told:
        axes.tell("AX1", Setpoint(Mode.VELOCITY, target, rate), 100.0)
        for _ in range(cycles):
            values.append(advance(axes, drives)["AX1"].value)
            largest.append(rate * PERIOD_S)
    for (before, after), most in zip(itertools.pairwise(values), largest, strict=True):
        assert abs(after - before) <= most * (1 + 1e-9) + 1e-12


def test_a_ramp_begins_where_the_drive_stands_once_it_is_enabled() -> None:
    axes, drives = Axes(), Drives(0.5)
    axes.tell("AX2", Setpoint(Mode.POSITION, 1.5, 10.0), 100.0)
    assert advance(axes, drives) == {}
    assert axes.moving("AX2")
    assert axes.commanded("AX2") is None
    drives.position, drives.states["AX2"] = 0.75, DeviceState.ENABLED
    assert advance(axes, drives) == {"AX2": Command(Mode.POSITION, 0.75)}


def test_a_drive_whose_reading_is_unknown_begins_at_zero() -> None:
    axes = Axes()
    axes.tell("AX1", Setpoint(Mode.TORQUE, 1.0, 1.0), 100.0)
    assert advance(axes, Drives(math.nan)) == {"AX1": Command(Mode.TORQUE, 0.0)}


def test_another_mode_begins_anew() -> None:
    axes, drives = Axes(), Drives(2.0)
    axes.tell("AX1", Setpoint(Mode.VELOCITY, 5.0, 1e6), 100.0)
    for _ in range(2):
        advance(axes, drives)
    assert not axes.moving("AX1")
    axes.tell("AX1", Setpoint(Mode.POSITION, 3.0, 1.0), 100.0)
    assert advance(axes, drives)["AX1"] == Command(Mode.POSITION, pytest.approx(2.0))
