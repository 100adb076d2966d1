"""What counts as a pressed emergency stop, whoever asks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.device import Block, Quality
from verification_platform.bench.estop import EmergencyStops

LIMIT_S = 0.4
PRESSED = ("door", "emergency stop: door is pressed, or its wire is broken")


def rows(*values: float, quality: Quality = Quality.GOOD, age_s: float | None = None) -> Block:
    n = len(values)
    ages = None if age_s is None else np.full((n, 2), age_s, np.float32)
    table = np.column_stack([np.zeros(n), values])
    return Block("io", 0, 0, ("angle", "door"), np.zeros(n), table, np.full((n, 2), quality, np.uint8), ages)


@pytest.fixture
def stops() -> EmergencyStops:
    return EmergencyStops(["door"], LIMIT_S)


def test_a_contact_is_closed_as_long_as_that_is_known(stops: EmergencyStops) -> None:
    assert stops.take(rows(1.0, 1.0), 1.0) is None
    assert (stops.open(), stops.unheard(1.0 + LIMIT_S)) == ("", None)
    said = ("door", "emergency stop: door has not been heard for 401 ms")
    assert stops.unheard(1.401) == said


def test_one_open_row_is_a_press_even_when_it_is_let_go_in_the_same_block(stops: EmergencyStops) -> None:
    assert stops.take(rows(1.0, 0.0, 1.0), 1.0) == PRESSED
    assert stops.open() == ""
    assert stops.take(rows(1.0, 0.0), 1.1) == PRESSED
    assert stops.open() == "door"


def test_a_contact_that_was_never_heard_is_no_closed_one(stops: EmergencyStops) -> None:
    assert stops.unheard(0.0) == ("door", "emergency stop: door has not been heard yet")


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.SUBSTITUTED, Quality.BAD])
def test_what_is_not_good_says_nothing(stops: EmergencyStops, quality: Quality) -> None:
    assert stops.take(rows(1.0, quality=quality), 0.0) is None
    assert stops.unheard(0.0) is not None
    assert stops.take(rows(0.0, quality=quality), 0.0) is None
    assert stops.open() == ""


def test_a_value_counts_from_when_it_was_sampled_not_from_when_it_came(stops: EmergencyStops) -> None:
    stops.take(rows(1.0, age_s=0.3), 1.0)
    assert stops.unheard(1.09) is None
    assert stops.unheard(1.11) is not None
    stops.take(rows(1.0, age_s=0.9), 1.05)  # an older one later takes nothing away
    assert stops.unheard(1.09) is None
    stops.take(rows(1.0, age_s=-0.1), 1.2)  # sampled within its row's cycle, a little after the stamp
    assert stops.unheard(1.2 + LIMIT_S - 0.01) is None


def test_a_good_value_of_no_age_is_none(stops: EmergencyStops) -> None:
    stops.take(rows(1.0, age_s=math.nan), 1.0)
    assert stops.unheard(1.0) is not None


def test_a_bench_without_stops_says_nothing() -> None:
    none = EmergencyStops([], LIMIT_S)
    assert none.take(rows(0.0), 0.0) is None
    assert (none.open(), none.unheard(1e9)) == ("", None)
