"""The dry run: what will be sent, how long it takes, and what no bench could do."""

from __future__ import annotations

import pytest

from drivers.device import Mode
from verification_platform.bench.dut import Order
from verification_platform.engine.dry_run import DryRun, count_records, dry_run
from verification_platform.engine.protocol import ProtocolError
from verification_platform.engine.steps import (
    Cycles,
    Near,
    Prompt,
    Record,
    Rest,
    Seconds,
    Set,
    Steady,
    Step,
    Together,
    Turns,
    Wait,
)


def plan(order: Order, *steps: Step, **accelerations: float) -> DryRun:
    return dry_run(steps, order.dut, accelerations)


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ((Set("drive", Mode.VELOCITY, 100.0, 50.0),), 2.0),
        ((Set("load", Mode.TORQUE, 20.0, 5.0), Set("load", Mode.TORQUE, -20.0, 5.0)), 4.0 + 8.0),
        ((Wait(Seconds(3.0), 10.0),), 3.0),
        ((Wait(Near("x", 0.0, 1.0, 2.0), 10.0),), 3.0),
        ((Wait(Steady("x", 5.0, 0.1), 60.0),), 10.0),
        ((Wait(Seconds(3.0) & Seconds(5.0), 10.0),), 5.0),
        ((Wait(Seconds(3.0) | Seconds(5.0), 10.0),), 3.0),
        ((Wait(Turns("output_angle", 1.0), 25.0),), 25.0),  # nothing turns: the limit
        ((Prompt("k", "", ""),), 30.0),
        ((Cycles(1000, (Wait(Seconds(2.0), 3.0),)),), 2000.0),
        ((Together((Wait(Seconds(1.0), 3.0), Record((Wait(Seconds(2.0), 3.0),)))),), 3.0),
    ],
)
def test_durations(order: Order, steps: tuple[Step, ...], seconds: float) -> None:
    assert plan(order, *steps).total_s == pytest.approx(seconds)


def test_turns_of_the_output_take_the_ratio_into_account(order: Order) -> None:
    found = plan(
        order, Set("drive", Mode.VELOCITY, 62.83185307179586, 1e6), Wait(Turns("output_angle", 2.0), 1e3)
    )
    assert found.durations_s[1] == pytest.approx(20.0)


def test_a_position_move_is_a_trapezoid(order: Order) -> None:
    assert plan(order, Set("drive", Mode.POSITION, 10.0, 5.0), drive=10.0).total_s == pytest.approx(2.5)


def test_the_first_cycle_starts_elsewhere_than_the_others(order: Order) -> None:
    body = (Set("load", Mode.TORQUE, -10.0, 10.0), Set("load", Mode.TORQUE, 10.0, 10.0))
    assert plan(order, Cycles(3, body)).total_s == pytest.approx(3.0 + 2 * 4.0)


def test_everything_that_will_be_sent_is_listed(order: Order) -> None:
    step = Together((Set("load", Mode.TORQUE, 5.0, 1.0), Cycles(9, (Set("load", Mode.TORQUE, 7.0, 1.0),))))
    assert [(s.place, s.setpoint.target) for s in plan(order, step).sent] == [("0.0", 5.0), ("0.1.0", 7.0)]


def test_records_are_counted(order: Order) -> None:
    record = Record((Wait(Seconds(1.0), 2.0),))
    assert count_records(Cycles(4, (record, Together((record, record))))) == 12


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((Set("drive", Mode.VELOCITY, 10.0, 0.0),), "positive rate"),
        ((Set("drive", Mode.VELOCITY, float("nan"), 1.0),), "finite target"),
        (
            (Set("drive", Mode.VELOCITY, 10.0, 1.0), Set("drive", Mode.POSITION, 1.0, 1.0)),
            "zero or rest first",
        ),
        ((Step(),), "not a step"),
    ],
)
def test_what_no_bench_could_do_is_refused(order: Order, steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        plan(order, *steps)


def test_a_rest_makes_every_mode_possible_again(order: Order) -> None:
    plan(
        order,
        Set("drive", Mode.VELOCITY, 10.0, 1.0),
        Rest(("drive",)),
        Set("drive", Mode.POSITION, 1.0, 1.0),
    )
