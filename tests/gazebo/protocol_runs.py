"""Runs short enough to be made three times over, and what they must find."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from verification_platform.bench.plant import Truth
from verification_platform.metrology.result import Result
from verification_platform.records.recording import Recording

#: Where a run through ROS takes place, as it is frozen.
ROS = {"clock": "real", "transport": "ros"}

RUNS: Mapping[str, Mapping[str, Any]] = {
    "RED-TE": {
        "output_speed": "5 r/min", "acceleration": "150 rad/s²", "samples_per_cycle": 15, "revolutions": 1, "repeats": 1,
        "loads": [0.0], "settle": "0.3 s",
    },
    "RED-HYS": {
        "rate": "60 %/s", "small_rate": "8 %/s", "points_per_quarter": 100, "preload_cycles": 1, "loops": 1, "positions": 1,
        "settle": "0.2 s", "zero_time": "0.5 s", "open_coupling_for_zero": False,
    },
    "SRV-STEP": {"repeats": 4, "settle": "0.3 s", "hold": "0.2 s", "position_step": 0},
}  # fmt: skip

#: Of the drive's velocity loop, s and 1: what `truth` of tests/protocols/test_srv_step.py gives, the same to 0.01 ms in both directions and for
#: any seed.
STEP_TRUTH = {
    "t_d": 1.677e-3,
    "t_r": 3.059e-3,
    "t_90": 3.460e-3,
    "t_100": 4.226e-3,
    "M_p": 0.1708,
    "t_p": 8.592e-3,
    "t_s5": 19.74e-3,
    "t_s2": 25.16e-3,
    "e_inf": 0.0,
}
#: How well the plant itself is known there, with integration steps of 0.5 ms.
STEP_TRUTH_WITHIN = {"M_p": 0.002, "e_inf": 1e-4 * math.pi}


def misses(results: Sequence[Result], truth: Truth, coverage: ModuleType, *, times: float = 1.0) -> list[str]:
    """Results that do not contain the plant's truth within so many `times` their U; at least five must have been compared."""
    compared, missed = 0, []
    for result in results:
        true = (
            STEP_TRUTH.get(result.quantity)
            if "step" in result.conditions
            else coverage.true_value(result, truth)
        )
        if true is None:
            continue
        compared += 1
        slack = STEP_TRUTH_WITHIN.get(result.quantity, 0.0)
        if abs(result.value - true) > times * result.U + slack:
            missed.append(
                f"{result.quantity} {dict(result.conditions)}: {result.value:.6g} ± {result.U:.2g}, true {true:.6g}"
            )
    assert compared >= 5
    return missed


def stamps_off(recording: Recording) -> float:
    """By how much the stamps of a SRV-STEP miss the instants of their angles, s (rms): the angle's residuals about its line over the
    last fifth of each step, as time at that speed. The encoder's own errors and noise are in it, 1.6 µs.
    """
    squares: list[float] = []
    for segment in recording.segments():
        samples = segment.read("input_angle")
        last = round(0.8 * len(samples.stamps_s))
        t, theta = samples.stamps_s[last:], np.unwrap(samples.values[:, 0])[last:]
        t, theta = t - t.mean(), theta - theta.mean()
        speed = float(t @ theta) / float(t @ t)
        squares += ((theta - speed * t) / speed).tolist()
    return math.sqrt(float(np.mean(np.square(squares))))
