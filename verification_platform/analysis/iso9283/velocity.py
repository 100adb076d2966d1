"""Path velocity AV, RV, FV and weaving.

ISO 9283:1998 cl. 8.6, 11; protocol specification ROB-PATH, ROB-WV.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float, as_block, refuse_not_finite
from ..errors import AnalysisError, NotEnoughDataError
from ..samples import as_times
from ._points import as_record, need_cycles


@dataclass(frozen=True, slots=True)
class VelocityCharacteristics:
    """AV = (v̄ − v_c)/v_c and RV = ±3·S_v/v_c as shares (1 = 100 %), FV = largest max − min of a cycle, m/s."""

    accuracy: float
    repeatability: float
    fluctuation_m_s: float
    mean_m_s: float
    cycles: int


@dataclass(frozen=True, slots=True)
class Weaving:
    """WS and WF: relative errors of stroke and frequency (1 = 100 %), with their means, m and Hz."""

    stroke_error: float
    frequency_error: float
    stroke_m: float
    frequency_hz: float
    periods: int


def path_velocity(times_s: ArrayLike, positions_m: ArrayLike, window_s: float = 0.02) -> tuple[Float, Float]:
    """(times, speed) along a recorded path: slope of the local parabola over `window_s` (Savitzky–Golay, 2nd
    order).

    times (n,) with a constant period (1 % tolerance), positions (n, 3), m. Returns shapes (n − w + 1,), where w
    is the odd number of samples in the window, at least 3. Position noise σ adds about 12·σ²/(w³·T²) to v² in
    each direction. Raises AnalysisError for a clock with gaps, NotEnoughDataError for less than a window.
    """
    times, positions = as_record(times_s, positions_m)
    steps = np.diff(times)
    period = float(np.median(steps))
    if float(np.abs(steps - period).max()) > 0.01 * period:
        raise AnalysisError("velocity needs a constant sampling period: cut the recording at its gaps")
    half = max(1, round(window_s / period) // 2)
    if len(times) < 2 * half + 1:
        raise NotEnoughDataError(f"{len(times)} samples are less than a window of {2 * half + 1}")
    k = np.arange(-half, half + 1, dtype=np.float64)
    weights = k / (np.dot(k, k) * period)
    components = [np.convolve(positions[:, axis], weights[::-1], mode="valid") for axis in range(3)]
    return times[half : len(times) - half], np.sqrt(sum(c * c for c in components))


def velocity_characteristics(
    command_m_s: float, speeds_m_s: Sequence[ArrayLike], *, cycles: int = 10
) -> VelocityCharacteristics:
    """AV, RV and FV (cl. 8.6) from the speed in the steady part of every cycle, one array (m,) a cycle.

    Raises NotEnoughDataError below `cycles` or for an empty cycle, AnalysisError for a command that is not
    positive.
    """
    if not command_m_s > 0:
        raise AnalysisError(f"the command velocity must be positive, got {command_m_s}")
    need_cycles(len(speeds_m_s), cycles, "path velocity")
    means, ranges = [], []
    for j, speeds in enumerate(speeds_m_s):
        v = as_block(speeds, f"speeds of cycle {j}")
        refuse_not_finite(v, 0, f"speeds of cycle {j}")
        if v.size == 0:
            raise NotEnoughDataError(f"cycle {j} has no speed in its steady part")
        means.append(float(v.mean()))
        ranges.append(float(np.ptp(v)))
    mean = float(np.mean(means))
    return VelocityCharacteristics(
        accuracy=(mean - command_m_s) / command_m_s,
        repeatability=3 * float(np.std(means, ddof=1)) / command_m_s,
        fluctuation_m_s=max(ranges),
        mean_m_s=mean,
        cycles=len(means),
    )


def weaving(
    times_s: ArrayLike, lateral_m: ArrayLike, command_stroke_m: float, command_frequency_hz: float
) -> Weaving:
    """WS and WF (cl. 11) from the deflection across the path: times (n,), lateral (n,), m.

    A period runs between rising crossings of the middle, counted with a hysteresis of a quarter stroke; the
    stroke of a period is its max − min. Raises NotEnoughDataError below one whole period.
    """
    if not (command_stroke_m > 0 and command_frequency_hz > 0):
        raise AnalysisError("command stroke and frequency must be positive")
    y = as_block(lateral_m, "lateral")
    times = as_times(times_s, len(y), "deflections")
    refuse_not_finite(y, 0, "lateral")
    if y.size == 0:
        raise NotEnoughDataError("no deflection")
    middle = 0.5 * (float(y.max()) + float(y.min()))
    rises = _rising(y - middle, 0.25 * float(np.ptp(y)))
    if len(rises) < 2:
        raise NotEnoughDataError("weaving needs one whole period or more")
    before = rises - 1
    share = (middle - y[before]) / (y[rises] - y[before])
    crossings = times[before] + share * (times[rises] - times[before])
    strokes = [float(np.ptp(y[a : b + 1])) for a, b in itertools.pairwise(rises)]
    stroke = float(np.mean(strokes))
    frequency = float((len(crossings) - 1) / (crossings[-1] - crossings[0]))
    return Weaving(
        stroke_error=(stroke - command_stroke_m) / command_stroke_m,
        frequency_error=(frequency - command_frequency_hz) / command_frequency_hz,
        stroke_m=stroke,
        frequency_hz=frequency,
        periods=len(strokes),
    )


def _rising(y: Float, hysteresis: float) -> np.ndarray:
    """Indices of the last sample-to-sample rise through 0 between y ≤ −hysteresis and y ≥ hysteresis."""
    marks = np.flatnonzero(np.abs(y) >= hysteresis)
    sign = y[marks] > 0
    found = []
    for k in np.flatnonzero(~sign[:-1] & sign[1:]):
        between = np.flatnonzero(y[marks[k] : marks[k + 1]] < 0)
        found.append(int(marks[k] + between[-1] + 1))
    return np.array(found, dtype=np.intp)
