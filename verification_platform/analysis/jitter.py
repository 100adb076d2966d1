"""Cycle jitter of a controller from the instants of its cycles.

Protocol specification CTL-JIT (platform method; practice of IEC 61800-7 and of distributed clocks). The stamps
come from an external counter: a controller that is late is late in its own log as well.

Two different questions, two answers:

* How regular is each cycle? Period jitter J_k = T_k − T_nom.
* How far from its place in time is it? Offset jitter o_k = t_k − (a + b·k) about the least-squares line; b also
  gives the error of the clock. k counts slots of the nominal period: a cycle that took two periods left one
  slot empty, and is counted as missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, pieces
from .durations import DurationHistogram
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError

#: The first stamp as a set of one point at k = 0, d = 0.
_FIRST_STAMP = np.array([1.0, 0, 0, 0, 0, 0])


@dataclass(frozen=True, slots=True)
class JitterResult:
    """Cycle jitter; all in seconds.

    mean_period: mean of T_k; clock_error: b/T_nom − 1 (1e-6 = 1 ppm); period_deviation: σ_T (n − 1) of all
    cycles, the missed ones included; p99 … p9999: quantiles of |J|, at most 0.4 % too high; largest: max|J|;
    missed: cycles with T_k > 1.5·T_nom; offset_deviation: σ_o (n − 2), largest_offset: max|o|. The histogram
    holds J with its sign.
    """

    cycles: int
    mean_period_s: float
    clock_error: float
    period_deviation_s: float
    p99_s: float
    p999_s: float
    p9999_s: float
    largest_s: float
    missed: int
    offset_deviation_s: float
    largest_offset_s: float
    histogram: DurationHistogram = field(repr=False)


class CycleJitter:
    """Jitter of a stream of stamps, in one pass.

    nominal_s: nominal period. `update` with blocks of stamps (s, increasing), `merge` with the accumulator of
    the stamps that follow directly, `result`. Memory: 0.5 MB and the convex hull of the offsets, which is all
    that max|o| about a line not yet known needs (tens of points under noise).
    """

    def __init__(self, nominal_s: float) -> None:
        if not nominal_s > 0 or not math.isfinite(nominal_s):
            raise AnalysisError(f"the nominal period must be positive, got {nominal_s}")
        self.nominal_s = nominal_s
        self._stamps = 0
        self._first = self._last = math.nan
        self._slot = 0.0
        self._missed = 0
        self._histogram = DurationHistogram()
        #: n, mean, Σ(x − mean)² of J
        self._period = np.zeros(3)
        #: n, mean of k, mean of d, S_kk, S_kd, S_dd with d = t − t_first − k·T_nom, without the first stamp
        self._line = np.zeros(6)
        self._upper = self._lower = np.empty((2, 0))

    def update(self, stamps_s: ArrayLike) -> None:
        """Add stamps, shape (n,), s. Raises AnalysisError if they do not increase, NotFiniteError for NaN."""
        for piece in pieces(as_block(stamps_s, "stamps"), self._stamps, "stamps"):
            if self._stamps == 0:
                self._first = self._last = float(piece[0])
                self._stamps, piece = 1, piece[1:]
            if piece.size:
                self._cycles(piece)

    def _cycles(self, stamps: Float) -> None:
        periods = np.diff(stamps, prepend=self._last)
        if float(periods.min()) <= 0:
            at = self._stamps + int(np.argmax(periods <= 0))
            raise AnalysisError(f"stamps[{at}] is not later than the one before: repeat the measurement")
        slots = np.maximum(np.rint(periods / self.nominal_s), 1.0)
        self._missed += int(np.count_nonzero(periods > 1.5 * self.nominal_s))
        jitter = periods - self.nominal_s
        self._histogram.add(jitter)
        mean = float(jitter.mean())
        about = jitter - mean
        self._period = _pool(self._period, np.array([jitter.size, mean, float(np.dot(about, about))]))
        index = np.cumsum(slots) + self._slot
        self._place(index, (stamps - self._first) - index * self.nominal_s)
        self._slot = float(index[-1])
        self._last = float(stamps[-1])
        self._stamps += stamps.size

    def _place(self, index: Float, offset: Float) -> None:
        k, d = index - index.mean(), offset - offset.mean()
        row = (index.size, index.mean(), offset.mean(), np.dot(k, k), np.dot(k, d), np.dot(d, d))
        self._line = _pool_line(self._line, np.array(row))
        points = np.stack([index, offset])
        self._upper = _upper_hull(np.concatenate([self._upper, _upper_hull(points)], axis=1))
        points[1] *= -1
        self._lower = _upper_hull(np.concatenate([self._lower, _upper_hull(points)], axis=1))

    def merge(self, other: CycleJitter) -> None:
        """Append the cycles of the stamps that follow directly; the period between the two counts.

        Raises NotMergeableError for another nominal period, AnalysisError if `other` is not later.
        """
        if other.nominal_s != self.nominal_s:
            raise NotMergeableError(f"nominal periods {self.nominal_s} s and {other.nominal_s} s do not mix")
        if other._stamps == 0:
            return
        self.update([other._first])
        # other's first stamp is in now; the rest of other lies relative to it
        slots, shift = self._slot, (other._first - self._first) - self._slot * self.nominal_s
        self._histogram.merge(other._histogram)
        self._period = _pool(self._period, other._period)
        self._missed += other._missed
        self._line = _pool_line(self._line, other._line + np.array([0, slots, shift, 0, 0, 0]))
        for name, sign in (("_upper", 1), ("_lower", -1)):
            moved = getattr(other, name) + np.array([[slots], [sign * shift]])
            setattr(self, name, _upper_hull(np.concatenate([getattr(self, name), moved], axis=1)))
        self._slot += other._slot
        self._last = other._last
        self._stamps += other._stamps - 1

    def result(self) -> JitterResult:
        """Raises NotEnoughDataError below 100 cycles."""
        cycles = self._stamps - 1
        if cycles < 100:
            raise NotEnoughDataError(f"{max(cycles, 0)} cycles: jitter needs 100 or more (1e5 for a report)")
        n, mean_k, mean_d, s_kk, s_kd, s_dd = (float(v) for v in _pool_line(_FIRST_STAMP, self._line))
        slope = s_kd / s_kk
        largest = max(
            max(
                -sign * (mean_d - slope * mean_k),
                float((hull[1] - sign * (mean_d + slope * (hull[0] - mean_k))).max()),
            )
            for hull, sign in ((self._upper, 1), (self._lower, -1))
        )
        histogram = DurationHistogram()
        histogram.merge(self._histogram)
        return JitterResult(
            cycles=cycles,
            mean_period_s=(self._last - self._first) / cycles,
            clock_error=slope / self.nominal_s,
            period_deviation_s=math.sqrt(float(self._period[2]) / (cycles - 1)),
            p99_s=histogram.quantile(0.99),
            p999_s=histogram.quantile(0.999),
            p9999_s=histogram.quantile(0.9999),
            largest_s=histogram.largest,
            missed=self._missed,
            offset_deviation_s=math.sqrt(max(s_dd - slope * s_kd, 0.0) / (n - 2)),
            largest_offset_s=largest,
            histogram=histogram,
        )


def cycle_jitter(stamps_s: ArrayLike, nominal_s: float) -> JitterResult:
    """`CycleJitter` of stamps that are in memory, shape (n,), s."""
    jitter = CycleJitter(nominal_s)
    jitter.update(stamps_s)
    return jitter.result()


def _pool(a: Float, b: Float) -> Float:
    """Pool (n, mean, sum of squares about the mean) of two sets (Chan, Golub, LeVeque 1983)."""
    n = a[0] + b[0]
    if n == 0:
        return a
    step = b[1] - a[1]
    return np.array([n, a[1] + step * b[0] / n, a[2] + b[2] + step * step * a[0] * b[0] / n])


def _pool_line(a: Float, b: Float) -> Float:
    """The same for (n, mean k, mean d, S_kk, S_kd, S_dd)."""
    n = a[0] + b[0]
    if n == 0:
        return a
    k, d, weight = b[1] - a[1], b[2] - a[2], a[0] * b[0] / n
    share = b[0] / n
    sums = a[3:] + b[3:] + weight * np.array([k * k, k * d, d * d])
    return np.concatenate([[n, a[1] + k * share, a[2] + d * share], sums])


def _upper_hull(points: Float) -> Float:
    """Vertices of the upper convex hull of points (2, n) with increasing first row.

    A point on or below the chord of its neighbours is no vertex, and may go together with all others like it
    without changing the hull. About half go each pass.
    """
    while points.shape[1] > 2:
        run, rise = np.diff(points, axis=1)
        keep = np.ones(points.shape[1], dtype=bool)
        keep[1:-1] = rise[:-1] * run[1:] > rise[1:] * run[:-1]
        if keep.all():
            break
        points = points[:, np.flatnonzero(keep)]
    return points
