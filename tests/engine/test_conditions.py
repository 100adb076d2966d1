"""Conditions on the stream: the instant they report is that of the sample that decided."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.device import Block, Quality
from verification_platform.engine.conditions import channels_of, start
from verification_platform.engine.steps import Above, Below, Condition, Near, Seconds, Steady, Turns


def blocks(
    stamps: np.ndarray, values: np.ndarray, size: int, quality: np.ndarray | None = None
) -> list[Block]:
    flags = np.zeros(len(stamps), np.uint8) if quality is None else quality
    parts = [slice(first, first + size) for first in range(0, len(stamps), size)]
    return [
        Block("g", n, part.start, ("x",), stamps[part], values[part, None], flags[part, None])
        for n, part in enumerate(parts)
    ]


def met(
    condition: Condition, stamps: np.ndarray, values: np.ndarray, size: int = 7, **rest: np.ndarray
) -> float | None:
    """Instant at which `condition`, begun at 0, was met; the clock ticks at the end of each block."""
    evaluator = start(condition, 0.0)
    for block in blocks(stamps, values, size, **rest):
        evaluator.update(block)
        evaluator.tick(float(block.stamps_s[-1]))
        if evaluator.met_s is not None:
            return evaluator.met_s
    return None


T = np.arange(1, 1001) * 0.01


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        (Seconds(2.5), T, 2.5),
        (Turns("x", 1.0), 2 * math.pi * (T - 0.01) / 3, 3.01),
        (Turns("x", 1.0), -2 * math.pi * (T - 0.01) / 3, 3.01),
        (Above("x", 4.0), T, 4.0),
        (Below("x", 4.0), 10 - T, 6.0),
        (Near("x", 5.0, 0.5), T, 4.5),
        (Near("x", 5.0, 0.5, 0.4), np.where((T > 2) & (T < 2.2), 5.0, np.where(T > 6, 5.0, 0.0)), 6.41),
        (Above("x", 3.0) & Seconds(5.0), T, 5.0),
        (Above("x", 3.0) | Seconds(5.0), T, 3.0),
    ],
)
def test_met_at_the_deciding_sample_however_the_stream_is_cut(
    condition: Condition, values: np.ndarray, expected: float, size: int
) -> None:
    assert met(condition, T, values, size) == pytest.approx(expected, abs=1e-9)


def test_turns_follows_a_single_turn_encoder_over_its_jump() -> None:
    angle = (6.0 + 2 * math.pi * (T - 0.01)) % (2 * math.pi)
    assert met(Turns("x", 3.0), T, angle) == pytest.approx(3.01)


def test_turns_counts_the_net_rotation() -> None:
    back_and_forth = 2 * math.pi * 0.4 * np.sin(T)
    assert met(Turns("x", 0.5), T, back_and_forth) is None


def test_turns_gives_the_engine_a_hint_that_does_not_overshoot() -> None:
    evaluator = start(Turns("x", 1.0), 0.0)
    evaluator.update(blocks(T[:100], 2 * math.pi * T[:100] / 8, 100)[0])
    assert 6.0 < evaluator.horizon_s(1.0) < 7.0


@pytest.mark.parametrize("flag", [Quality.STALE, Quality.BAD, Quality.SUBSTITUTED])
def test_only_good_samples_count(flag: Quality) -> None:
    quality = np.where((T > 4) & (T < 6), flag, Quality.GOOD).astype(np.uint8)
    assert met(Above("x", 4.5), T, T, quality=quality) == pytest.approx(6.0)


def test_nan_is_never_near_anything() -> None:
    assert met(Near("x", 0.0, 1e9), T, np.full(1000, math.nan)) is None


def test_samples_before_the_step_do_not_count() -> None:
    evaluator = start(Above("x", 1.0), 5.0)
    for block in blocks(T, np.where(T <= 5.0, 9.0, 0.0), 10):
        evaluator.update(block)
    assert evaluator.met_s is None


@pytest.mark.parametrize("size", [1, 9, 1000])
def test_steady_compares_two_successive_windows(size: int) -> None:
    decaying = np.exp(-T)
    # means over [0,1], [1,2] … fall by (1 − 1/e) each; |difference| < 0.05 a second first between windows 3 and 4
    means = [float(decaying[(k < T) & (k + 1 >= T)].mean()) for k in range(10)]
    first = next(k for k in range(1, 10) if abs(means[k] - means[k - 1]) < 0.05)
    assert met(Steady("x", 1.0, 0.05), T + 1e-6, decaying, size) == pytest.approx(first + 1.0, abs=1e-5)


def test_steady_relative_scales_with_the_mean() -> None:
    falling = 100 * (1 - 0.001 * T)
    assert met(Steady("x", 1.0, 0.0011, relative=True), T, falling) == pytest.approx(2.0, abs=0.02)
    assert met(Steady("x", 1.0, 0.0009, relative=True), T, falling) is None


def test_all_parts_must_hold_together() -> None:
    values = np.where((T > 2) & (T < 3), 5.0, 0.0)
    assert met(Above("x", 4.0) & Seconds(6.0), T, values) is None


def test_channels_of_a_condition() -> None:
    assert channels_of(Above("a", 1.0) & (Below("b", 2.0) | Seconds(1.0))) == {"a", "b"}


def test_an_unknown_condition_is_refused() -> None:
    with pytest.raises(TypeError, match="not known"):
        start(Condition(), 0.0)
