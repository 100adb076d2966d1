"""Percentiles of a whole run from a histogram, and what happened between two readings."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.device import CycleStatistics
from drivers.lateness import Lateness, during, percentile


@given(
    st.lists(st.floats(0.0, 20.0, allow_nan=False), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_a_percentile_is_told_never_too_small_and_at_most_a_step_too_large(
    late: list[float], share: float
) -> None:
    lateness = Lateness()
    for value in late:
        lateness.add(value)
    found = percentile(lateness.counts(), share, lateness.max_s)
    exact = float(np.quantile(late, share, method="inverted_cdf"))
    assert found >= exact * (1 - 1e-12)
    assert found <= max(exact * 2 ** (1 / 8) * (1 + 1e-12), 1e-6)
    assert found <= max(late)


def test_nothing_counted_is_nothing_late() -> None:
    assert percentile((), 0.99, 0.0) == 0.0
    assert Lateness().counts() == ()


def reading(late: list[float], elapsed: float, load: float, crc: int) -> CycleStatistics:
    lateness = Lateness()
    for value in late:
        lateness.add(value)
    counts = lateness.counts()
    return CycleStatistics(
        0.002, len(late), len(late) // 10, lateness_max_s=lateness.max_s, bus_load=load, elapsed_s=elapsed,
        counters={"TQ1": {"crc": crc}}, lateness_counts=counts, warning="no SCHED_FIFO",
    )  # fmt: skip


def test_between_two_readings_only_what_happened_then_counts() -> None:
    before = reading([5e-3] * 100, 10.0, 0.5, 7)
    after = reading([5e-3] * 100 + [20e-6] * 300, 40.0, 0.2, 9)
    run = during(before, after)
    assert (run.cycles, run.missed, run.elapsed_s) == (300, 30, 30.0)
    assert run.lateness_max_s == pytest.approx(20e-6, rel=0.1), "the late ones were before"
    assert run.lateness_p50_s == pytest.approx(20e-6, rel=0.1)
    assert run.bus_load == pytest.approx(0.1)
    assert run.counters == {"TQ1": {"crc": 2}}
    assert run.warning == "no SCHED_FIFO", "the warning reaches the run"
    assert during(CycleStatistics(), after) == during(CycleStatistics(), after)
    assert during(after, before) == before, "the bus was opened anew in between"


def test_a_reading_survives_its_way_as_text() -> None:
    told = {key: json.loads(json.dumps(value)) for key, value in asdict(reading([1e-3], 1.0, 0.1, 0)).items()}
    assert during(CycleStatistics(), CycleStatistics(**told)).lateness_p99_s == pytest.approx(1e-3, rel=0.1)
