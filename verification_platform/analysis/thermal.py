"""Thermal steady state, temperature rise, winding temperature and duty cycles.

Protocol specification §0.6 (`thermal_steady`), RED-TR, SRV-S1, SRV-S3; IEC 60034-1 (gradient over successive
intervals, resistance method). The instantaneous slope of an exponential falls below 2 K/h long before the
machine is warm and is never used: the rule asks for the least-squares slope over two successive half hours.

`ThermalRecord` keeps means over ten seconds on a fixed grid, 24 bytes each, so that a run of a thousand hours
needs 9 MB, and the records of its parts add up in any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import CHUNK, Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError

#: Length of each of the two windows, s, and largest slope in both, K/h.
WINDOW_S, LIMIT_K_H = 1800.0, 2.0
#: k of the resistance method for copper: 1/temperature coefficient at 0 °C, less 0 °C, in K.
COPPER_K = 235.0

_GAP_SHARE = 0.1
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class ThermalResult:
    """State of a warm-up. Times in s on the clock of the stamps.

    steady: instant when the rule was first met, None if never; rise: mean of T − T_amb over the last window
    (up to `steady` where that exists); temperature, ambient: the means behind it; slope: of the last window,
    K/h; ambient_slope: likewise, None without ambient; ambient_subtracted: the ambient drifted by more than
    the limit, so the rule was applied to T − T_amb.
    """

    steady_s: float | None
    rise_k: float | None
    temperature: float
    ambient: float | None
    slope_k_h: float
    ambient_slope_k_h: float | None
    ambient_subtracted: bool
    duration_s: float


class ThermalRecord:
    """Temperatures of a run, averaged on a grid of `resolution_s`, s.

    with_ambient: an ambient temperature comes with every reading. `update` with blocks, `merge` with records
    of other parts of the run in any order, `result` at any time, live or after the run. Temperatures in °C or
    K; only differences count.
    """

    def __init__(self, *, with_ambient: bool = True, resolution_s: float = 10.0) -> None:
        if not resolution_s > 0:
            raise AnalysisError(f"the resolution must be positive, got {resolution_s}")
        self.with_ambient = with_ambient
        self.resolution_s = resolution_s
        self._first = 0
        #: readings, Σ(t − start of the bin), ΣT, ΣT_amb; one column a bin from bin `_first` on
        self._bins = np.zeros((4, 0))

    def update(self, times_s: ArrayLike, temperature: ArrayLike, ambient: ArrayLike | None = None) -> None:
        """Add readings: times (n,), s, and temperatures (n,). Raises AnalysisError for unequal lengths or an
        ambient that is missing or not wanted, NotFiniteError for NaN.
        """
        columns = [as_block(times_s, "times"), as_block(temperature, "temperature")]
        if (ambient is not None) != self.with_ambient:
            raise AnalysisError("the ambient temperature must come with every block, or with none")
        if ambient is not None:
            columns.append(as_block(ambient, "ambient"))
        if len({len(c) for c in columns}) != 1:
            raise AnalysisError(f"blocks of unequal length: {', '.join(str(len(c)) for c in columns)}")
        for column, what in zip(columns, ("times", "temperature", "ambient"), strict=False):
            refuse_not_finite(column, 0, what)
        for start in range(0, len(columns[0]), CHUNK):
            self._add([c[start : start + CHUNK] for c in columns])

    def _add(self, columns: list[Float]) -> None:
        index = np.floor(columns[0] / self.resolution_s).astype(np.int64)
        low, high = int(index.min()), int(index.max())
        self._reach(low, high)
        index -= self._first
        columns[0] = columns[0] - (index + self._first) * self.resolution_s
        size = self._bins.shape[1]
        self._bins[0] += np.bincount(index, minlength=size)
        for row, column in enumerate(columns, start=1):
            self._bins[row] += np.bincount(index, column, size)

    def _reach(self, low: int, high: int) -> None:
        """Make room for bins low … high."""
        if self._bins.shape[1] == 0:
            self._first = low
        before = max(0, self._first - low)
        after = max(0, high - self._first - self._bins.shape[1] + 1)
        if before + after > 10_000_000:
            raise AnalysisError(f"stamps {before + after} bins apart: not one clock")
        if before or after:
            self._bins = np.pad(self._bins, ((0, 0), (before, after)))
            self._first -= before

    def merge(self, other: ThermalRecord) -> None:
        """Add the readings of another part of the run. Raises NotMergeableError if the settings differ."""
        if (self.with_ambient, self.resolution_s) != (other.with_ambient, other.resolution_s):
            raise NotMergeableError("records of other resolution, or with and without ambient, do not mix")
        if other._bins.shape[1] == 0:
            return
        self._reach(other._first, other._first + other._bins.shape[1] - 1)
        at = other._first - self._first
        self._bins[:, at : at + other._bins.shape[1]] += other._bins

    def _means(self) -> tuple[Float, Float, Float]:
        """(times, T, T_amb) of the bins that hold readings; T_amb is 0 without ambient."""
        full = np.flatnonzero(self._bins[0])
        count, offset, temperature, ambient = self._bins[:, full]
        return (full + self._first) * self.resolution_s + offset / count, temperature / count, ambient / count

    def result(
        self, *, window_s: float = WINDOW_S, limit_k_h: float = LIMIT_K_H, earliest_s: float = 0.0
    ) -> ThermalResult:
        """State at the end of what was read. earliest: the rule is not applied before (s from the first
        reading; RED-TR asks for 7200). Raises NotEnoughDataError for less than one window.
        """
        t, temperature, ambient = self._means()
        if t.size < 3 or t[-1] - t[0] < window_s - 2 * self.resolution_s:
            raise NotEnoughDataError(f"less than one window of {window_s} s of temperatures")
        ambient_slope = float(_last_slope(t, ambient, window_s)) if self.with_ambient else None
        subtract = ambient_slope is not None and abs(ambient_slope) > limit_k_h
        judged = temperature - ambient if subtract else temperature
        steady = _steady_at(t, judged, window_s, limit_k_h, float(t[0]) + earliest_s)
        end = float(t[-1]) if steady is None else steady
        last = np.flatnonzero((t > end - window_s) & (t <= end))
        mean, mean_ambient = float(temperature[last].mean()), float(ambient[last].mean())
        return ThermalResult(
            steady_s=steady,
            rise_k=mean - mean_ambient if self.with_ambient else None,
            temperature=mean,
            ambient=mean_ambient if self.with_ambient else None,
            slope_k_h=float(_last_slope(t, judged, window_s)),
            ambient_slope_k_h=ambient_slope,
            ambient_subtracted=subtract,
            duration_s=float(t[-1] - t[0]),
        )


def thermal_steady(
    times_s: ArrayLike, temperature: ArrayLike, window_s: float = WINDOW_S, limit_k_h: float = LIMIT_K_H
) -> float | None:
    """First instant (s) at which the least-squares slopes of the last two successive windows are both at most
    `limit_k_h` in magnitude; None if never (protocol specification §0.6).

    times: (n,), s, increasing; temperature: (n,), K or °C, averaged over ten seconds here. A window with a
    hole longer than a tenth of it says nothing. Raises AnalysisError for times that do not increase.
    """
    record = ThermalRecord(with_ambient=False)
    record.update(times_s, temperature)
    if np.any(np.diff(as_block(times_s)) <= 0):
        raise AnalysisError("the clock of the temperatures does not run forward")
    try:
        return record.result(window_s=window_s, limit_k_h=limit_k_h).steady_s
    except NotEnoughDataError:
        return None


def _steady_at(t: Float, y: Float, window: float, limit_k_h: float, earliest: float) -> float | None:
    slopes, known = _slopes(t, y, window)
    # the window before ends where this one begins
    before = np.searchsorted(t, t - window, side="right") - 1
    joined = (before >= 0) & (t - window - t[before] <= _GAP_SHARE * window)
    quiet = known & (np.abs(slopes) <= limit_k_h)
    met = quiet & joined & quiet[before] & (t >= earliest)
    return float(t[np.argmax(met)]) if met.any() else None


def _last_slope(t: Float, y: Float, window: float) -> float:
    last = np.flatnonzero(t > t[-1] - window)
    x = t[last] - t[last].mean()
    return float(np.dot(x, y[last]) / np.dot(x, x)) * _HOUR


def _slopes(t: Float, y: Float, window: float) -> tuple[Float, NDArray[np.bool_]]:
    """Slope (K/h) over (t_j − window, t_j] for every j, and whether that window is full and without holes."""
    slopes, known = np.zeros(t.size), np.zeros(t.size, dtype=bool)
    steps = np.diff(t)
    first = np.searchsorted(t, t - window, side="right")
    holes = np.concatenate([[0], np.cumsum(steps > _GAP_SHARE * window)])
    late = t[first] - (t - window) > _GAP_SHARE * window
    full = t - t[0] >= window - 1.5 * float(np.median(steps))
    for j in np.flatnonzero(full & ~late & (holes == holes[first])):
        i = first[j]
        x = t[i : j + 1] - t[i : j + 1].mean()
        slopes[j] = float(np.dot(x, y[i : j + 1])) / float(np.dot(x, x)) * _HOUR
        known[j] = True
    return slopes, known


def cyclic_steady(peak_times_s: ArrayLike, peaks: ArrayLike, limit_k_h: float = LIMIT_K_H) -> int | None:
    """Index of the first peak of an intermittent duty that differs from the one before by at most `limit_k_h`
    (both (n,)); None if never. SRV-S3.
    """
    t, y = as_block(peak_times_s, "times"), as_block(peaks, "peaks")
    if len(t) != len(y) or np.any(np.diff(t) <= 0):
        raise AnalysisError("every peak needs its time, and times must increase")
    refuse_not_finite(y, 0, "peaks")
    quiet = np.abs(np.diff(y) / np.diff(t)) * _HOUR <= limit_k_h
    return int(np.argmax(quiet)) + 1 if quiet.any() else None


def winding_temperature(
    resistance: float, reference_resistance: float, reference_temperature_c: float, k: float = COPPER_K
) -> float:
    """Winding temperature, °C, by resistance: (R₂/R₁)(k + θ₁) − k (IEC 60034-1; SRV-S1).

    Resistances in one unit; k in K, 235 for copper, 225 for aluminium. Raises AnalysisError for resistances
    that are not positive.
    """
    if not (resistance > 0 and reference_resistance > 0):
        raise AnalysisError(f"resistances must be positive, got {resistance} and {reference_resistance}")
    return resistance / reference_resistance * (k + reference_temperature_c) - k


def equivalent_torque(
    torques_n_m: Sequence[float], durations_s: Sequence[float], cooling: Sequence[float] | None = None
) -> float:
    """Thermally equivalent torque of a duty cycle: √(Σ T²t / Σ βt), N·m (SRV-S3).

    cooling: weight β of each segment's cooling, 1 by default, less for a machine cooled by its own motion
    while it stands still. Raises AnalysisError for unequal numbers or a cycle without duration.
    """
    torque, duration = as_block(torques_n_m, "torques"), as_block(durations_s, "durations")
    weight = np.ones(len(duration)) if cooling is None else as_block(cooling, "cooling")
    if not len(torque) == len(duration) == len(weight):
        raise AnalysisError("every segment of a duty cycle needs its torque, duration and cooling weight")
    total = float(np.dot(weight, duration))
    if not total > 0 or np.any(duration < 0):
        raise AnalysisError("durations must not be negative and must not all be zero")
    return math.sqrt(float(np.dot(torque * torque, duration)) / total)
