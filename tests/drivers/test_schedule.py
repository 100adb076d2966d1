"""The schedule of a bus against random work and random absences of the machine: nothing drifts, nothing bursts."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.schedule import Schedule

PERIOD_S = 0.002
FIRST_S = 1e5  # a machine that has been up for a day
#: The schedule computes with 1e5 s and more, in float64.
ROUNDING_S = 1e-9

#: What a cycle takes, and how long after the wanted instant the thread is woken up; the usual, and host stalls.
durations = st.one_of(st.floats(0.0, 1.2 * PERIOD_S), st.floats(0.0, 8 * PERIOD_S))
wake_ups = st.one_of(st.just(0.0), st.floats(0.0, 0.4 * PERIOD_S), st.floats(0.0, 8 * PERIOD_S))


@dataclass(frozen=True)
class Begun:
    at_s: float
    due_s: float
    late_s: float
    on_call: (
        bool  # at the instant that `next` said, or after it because of the cycle before: not woken up late
    )


def live(schedule: Schedule, cycles: list[tuple[float, float]]) -> list[Begun]:
    """As the bus thread does it, on a clock of its own."""
    now_s, begun = FIRST_S, []
    for takes_s, woken_s in cycles:
        wanted_s = schedule.next(now_s)
        waited = wanted_s > now_s
        if waited:
            now_s = wanted_s + woken_s
        late_s = schedule.begin(now_s)
        begun.append(Begun(now_s, now_s - late_s, late_s, not waited or woken_s == 0.0))
        now_s += takes_s
    return begun


cycles = st.lists(st.tuples(durations, wake_ups), min_size=1, max_size=60)


@given(cycles)
def test_two_begins_are_never_closer_than_half_a_period(cycles: list[tuple[float, float]]) -> None:
    begun = live(Schedule(FIRST_S, PERIOD_S), cycles)
    for before, after in itertools.pairwise(begun):
        assert after.at_s - before.at_s >= 0.5 * PERIOD_S - ROUNDING_S


@given(cycles)
@example([(0.0, 0.0)] * 60)
def test_every_due_time_is_begun_once_or_counted_as_skipped(cycles: list[tuple[float, float]]) -> None:
    schedule = Schedule(FIRST_S, PERIOD_S)
    begun = live(schedule, cycles)
    numbers = [round((b.due_s - FIRST_S) / PERIOD_S) for b in begun]
    assert numbers == sorted(set(numbers)), "none twice, in their order"
    assert schedule.begun == len(begun)
    assert schedule.skipped == numbers[-1] + 1 - len(begun)


@given(cycles)
def test_due_times_stay_multiples_of_the_period(cycles: list[tuple[float, float]]) -> None:
    for b in live(Schedule(FIRST_S, PERIOD_S), cycles):
        turns = (b.due_s - FIRST_S) / PERIOD_S
        assert abs(turns - round(turns)) * PERIOD_S <= ROUNDING_S


@given(cycles)
def test_a_cycle_begins_in_its_own_period_and_unless_woken_up_late_in_the_first_half_of_it(
    cycles: list[tuple[float, float]],
) -> None:
    for b in live(Schedule(FIRST_S, PERIOD_S), cycles):
        assert -ROUNDING_S <= b.late_s <= PERIOD_S + ROUNDING_S
        if b.on_call:
            assert b.late_s <= 0.5 * PERIOD_S + ROUNDING_S


@given(cycles)
def test_nothing_is_skipped_but_for_what_took_or_came_too_long(cycles: list[tuple[float, float]]) -> None:
    """A stall of less than half a period before or in a cycle costs none, however many follow each other in time."""
    short = [(0.5 * takes_s % (0.5 * PERIOD_S), woken_s % (0.5 * PERIOD_S)) for takes_s, woken_s in cycles]
    schedule = Schedule(FIRST_S, PERIOD_S)
    live(schedule, short)
    assert schedule.skipped == 0


def test_a_machine_that_always_wakes_up_late_begins_every_second_cycle_at_least() -> None:
    schedule = Schedule(FIRST_S, PERIOD_S)
    live(schedule, [(0.0, 0.9 * PERIOD_S)] * 100)
    assert schedule.skipped < schedule.begun == 100


def test_a_cycle_that_ends_just_after_the_next_is_due_costs_nothing() -> None:
    schedule = Schedule(FIRST_S, PERIOD_S)
    begun = live(schedule, [(1.01 * PERIOD_S, 0.0), (0.2 * PERIOD_S, 0.0), (0.0, 0.0)])
    assert schedule.skipped == 0
    assert [b.late_s for b in begun] == pytest.approx([0.0, 0.01 * PERIOD_S, 0.0], abs=ROUNDING_S)


def test_one_that_ends_when_the_next_is_more_than_half_over_costs_that_one() -> None:
    schedule = Schedule(FIRST_S, PERIOD_S)
    begun = live(schedule, [(1.51 * PERIOD_S, 0.0), (0.0, 0.0)])
    assert schedule.skipped == 1
    assert begun[1].late_s == pytest.approx(0.0, abs=ROUNDING_S)
    assert not math.isclose(begun[1].at_s, begun[0].at_s + PERIOD_S)
