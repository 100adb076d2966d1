"""RED-NL on synthetic recordings: vector T-NL, bench drag, ranges, ripple."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from verification_platform.bench.dut import Order
from verification_platform.metrology.records import FixtureRecord
from verification_platform.metrology.result import LimitType, RunStatus
from verification_platform.metrology.units import RPM

LEVELS = (500, 1000, 1500, 2000)


def friction(n: float) -> float:
    """T of vector T-NL, N·m at n r/min."""
    return 0.10 + 2e-5 * n


def level(
    n: float, direction: int, torque: float, **more: Any
) -> tuple[tuple[np.ndarray, dict[str, np.ndarray]], ...]:
    """A little more than one output revolution at n r/min: angles at 500 Hz, torque and temperature at 100 Hz."""
    omega = direction * n * RPM
    seconds = 1.02 * 2 * math.pi * 100 / abs(omega)
    fast, slow = np.arange(0, seconds, 0.002), np.arange(0, seconds, 0.01)
    ripple = more.get("ripple", 0.0) * direction * np.sin(12 * abs(omega) * slow + 0.4)
    angles = {"input_angle": omega * fast, "output_angle": -omega * fast / 100}
    values = {"input_torque": torque + ripple, "housing_temperature": np.full(slow.size, 300.0)}
    return (fast, angles), (slow, values)


def tag(n: float, direction: int) -> dict[str, Any]:
    return {"band": 0, "level": 0, "speed": n * RPM, "direction": direction}


def fill(
    recording: Any, *, offset: float = 0.013, levels: tuple[int, ...] = LEVELS, slip: float = 0.0, **more: Any
) -> None:
    for n in levels:
        for direction in (1, -1):
            turned = n * (1 + slip)
            T = direction * (friction(turned) + more.get("drag", 0.0)) + offset
            recording.add(tag(n, direction), *level(turned, direction, T, **more))


def test_T_NL(recording: Any, evaluate: Any) -> None:
    fill(recording)
    assert evaluate("RED-NL", recording).status is RunStatus.VALID
    for n in LEVELS:
        at = {"speed": n * RPM}
        assert evaluate.result("T_NL", **at).value == pytest.approx(friction(n), abs=1e-6)
        assert evaluate.result("T_NL_output", **at).value == pytest.approx(100 * friction(n), abs=1e-4)
        assert evaluate.result("TQ1_offset", **at).value == pytest.approx(0.013, abs=1e-6)
    assert evaluate.result("T_C").value == pytest.approx(0.100, abs=1e-6)
    assert evaluate.result("T_v").value * RPM == pytest.approx(2.0e-5, rel=1e-4)


def test_T_NL_at_the_rated_speed_is_judged(recording: Any, evaluate: Any) -> None:
    fill(recording)
    found = evaluate("RED-NL", recording)
    judged = [r for r in found.results if r.limit_type is not LimitType.REPORT_ONLY]
    assert [(r.quantity, r.conditions["speed"]) for r in judged] == [("T_NL", 2000 * RPM)]


def test_without_a_level_at_the_rated_speed_the_law_is_judged(recording: Any, evaluate: Any) -> None:
    fill(recording, levels=(500, 1000, 1500))
    evaluate("RED-NL", recording)
    judged = evaluate.result("T_NL", how="from the friction law")
    assert judged.value == pytest.approx(friction(2000), abs=1e-6)
    assert judged.limit_type is LimitType.MAX


def test_the_drag_of_the_bench_is_taken_off(recording: Any, evaluate: Any) -> None:
    recording.fixture = FixtureRecord(drag_coulomb=0.005, drag_U=0.002)
    fill(recording, drag=0.005)
    evaluate("RED-NL", recording)
    at_rated = evaluate.result("T_NL", speed=2000 * RPM)
    assert at_rated.value == pytest.approx(friction(2000), abs=1e-6)
    (line,) = [line for line in at_rated.budget if line.source == "bench drag"]
    assert line.share == pytest.approx(0.001)


def test_a_level_turned_a_little_faster_is_taken_back(recording: Any, evaluate: Any) -> None:
    fill(recording, slip=0.01)
    evaluate("RED-NL", recording)
    assert evaluate.result("T_NL", speed=2000 * RPM).value == pytest.approx(friction(2000), abs=1e-6)


def test_ripple_of_the_input_enters_the_mean_only_when_sampling_is_commensurate(
    recording: Any, evaluate: Any, bench: Any
) -> None:
    """At 2000 r/min order 12 is 400 Hz: at 100 Hz every sample sees the same phase. Turned 1 % faster it averages out."""
    fill(recording, ripple=0.01)
    evaluate("RED-NL", recording)
    fooled = abs(evaluate.result("T_NL", speed=2000 * RPM).value - friction(2000))
    other = type(recording)(recording.channels)
    fill(other, ripple=0.01, slip=0.01)
    evaluate("RED-NL", other)
    right = abs(evaluate.result("T_NL", speed=2000 * RPM).value - friction(2000))
    assert fooled > 1e-3
    assert right < 1e-4


def test_a_range_that_is_hardly_used_is_remarked(recording: Any, evaluate: Any) -> None:
    fill(recording)
    found = evaluate("RED-NL", recording)
    assert any("2.8% of the range of TQ1" in text.en for text in found.findings)
    assert found.status is RunStatus.VALID


def test_a_level_that_was_run_one_way_only_does_not_count(recording: Any, evaluate: Any) -> None:
    fill(recording, levels=(500, 1000))
    recording.add(tag(2000, 1), *level(2000, 1, friction(2000)))
    evaluate("RED-NL", recording)
    assert evaluate.result("T_NL", how="from the friction law").n == 2


def test_less_than_one_revolution_is_refused(recording: Any, evaluate: Any) -> None:
    (fast, angles), (slow, values) = level(2000, 1, 0.1)
    for direction in (1, -1):
        short = {name: direction * column[: column.size // 2] for name, column in angles.items()}
        recording.add(
            tag(2000, direction),
            (fast[: fast.size // 2], short),
            (slow[: slow.size // 2], {name: column[: slow.size // 2] for name, column in values.items()}),
        )
    found = evaluate("RED-NL", recording)
    assert found.status is RunStatus.INVALID
    assert "whole period" in found.findings[0].en


def test_full_parameters_are_the_ten_levels(order: Order) -> None:
    from test_protocols import get

    assert [round(speed / RPM) for speed in get("RED-NL").Parameters().speeds] == [
        100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500,
    ]  # fmt: skip
