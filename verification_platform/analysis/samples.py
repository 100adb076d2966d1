"""The policy for bad samples, in one place: flag, count, refuse; never silently interpolate, drop or repair.

A real recording holds NaN from a dead sensor, gaps from a full queue, values pinned to the end of a range and
clocks that jump. The platform's answer is always the same:

* *flag*: `SampleCheck` finds and counts them, channel by channel, block by block;
* *count*: the counts travel into the report (protocol specification §0.5, §0.6);
* *refuse*: more than 0.1 % lost or clipped makes a run INVALID, and a NaN, an infinity or a clock that runs
  backwards is refused by the accumulators of this package (see `blocks`).

Accumulators take blocks that passed this check; none of them interpolates over a hole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError

#: Largest share of lost or clipped samples in a VALID run (protocol specification §0.5).
LOSS_LIMIT = 1e-3

Floats = NDArray[np.float64]


class SampleError(AnalysisError):
    """Samples that must not be analysed: of unequal length, lost, clipped, or with a clock that runs
    backwards.
    """


class UndersampledError(NotEnoughDataError):
    """Too few samples for the highest order asked for."""


class CoverageError(NotEnoughDataError):
    """The data do not cover what the characteristic is defined on (a revolution, a torque range, a step)."""


def as_blocks(*arrays: ArrayLike) -> tuple[Floats, ...]:
    """1-d float64 views of equal length. Raises SampleError for unequal lengths, AnalysisError for other
    shapes.
    """
    out = tuple(as_block(a) for a in arrays)
    if len({a.size for a in out}) != 1:
        raise SampleError(
            f"blocks sampled together must be of equal length, got {', '.join(str(a.size) for a in out)}"
        )
    return out


def as_times(times_s: ArrayLike, count: int, what: str) -> Floats:
    """Instants (n,), s, of `count` samples of `what`: finite, each later than the one before. Raises SampleError, and
    AnalysisError for what is not finite.
    """
    times = as_block(times_s, "times")
    if len(times) != count:
        raise SampleError(f"{len(times)} times and {count} {what}")
    refuse_not_finite(times, 0, "times")
    if np.any(np.diff(times) <= 0):
        raise SampleError("the clock of the recording does not run forward")
    return times


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What `SampleCheck` found. Counts are samples; `first_bad` is the stream index of the first one, −1 if
    none.
    """

    samples: int
    not_finite: int
    clipped: int
    gaps: int
    lost: int
    backwards: int
    longest_gap_s: float
    first_bad: int

    @property
    def loss(self) -> float:
        """Share of samples that are lost, not finite or clipped."""
        expected = self.samples + self.lost
        return (self.lost + self.not_finite + self.clipped) / expected if expected else 0.0

    @property
    def valid(self) -> bool:
        """At most 0.1 % lost, not finite or clipped, and a clock that only moves forward."""
        return self.backwards == 0 and self.loss <= LOSS_LIMIT

    @property
    def clean(self) -> bool:
        """Nothing at all was found."""
        return not (self.not_finite or self.clipped or self.gaps or self.backwards)

    def refuse(self, what: str) -> None:
        """Raise SampleError with the counts when the samples are not `valid`."""
        if not self.valid:
            raise SampleError(
                f"{what}: {self.lost} lost, {self.not_finite} not finite, {self.clipped} clipped of"
                f" {self.samples + self.lost} samples, clock backwards {self.backwards} times (first at"
                f" sample {self.first_bad}); repeat the measurement"
            )


class SampleCheck:
    """Counts bad samples of one channel over a stream of blocks.

    period_s: nominal sampling interval; a step above 1.5 periods is a gap of round(step/period) − 1 lost
    samples. clip: readings with |x| ≥ clip are clipped (the end of the sensor's range, in the channel's
    unit).

    >>> check = SampleCheck(period_s=0.1, clip=10.0)
    >>> check.update([0.0, 0.1, 0.5], [1.0, float("nan"), 10.0])
    >>> report = check.result()
    >>> (report.not_finite, report.clipped, report.gaps, report.lost, report.valid)
    (1, 1, 1, 3, False)
    """

    def __init__(self, period_s: float, clip: float = math.inf) -> None:
        if not period_s > 0:
            raise AnalysisError(f"the sampling period must be positive, got {period_s}")
        self.period_s = period_s
        self.clip = clip
        self._n = self._not_finite = self._clipped = self._gaps = self._lost = self._backwards = 0
        self._longest = 0.0
        self._first_bad = -1
        self._first_stamp = self._last_stamp = math.nan

    def update(self, stamps_s: ArrayLike, values: ArrayLike) -> None:
        """Add a block of stamps (s) and readings, shapes (n,). Raises SampleError for shapes that do not
        fit.
        """
        t, x = as_blocks(stamps_s, values)
        if t.size == 0:
            return
        finite = np.isfinite(x) & np.isfinite(t)
        clipped = np.abs(x) >= self.clip
        clipped &= finite
        self._mark(finite, expected=True)
        self._mark(clipped, expected=False)
        self._not_finite += t.size - int(np.count_nonzero(finite))
        self._clipped += int(np.count_nonzero(clipped))
        if math.isnan(self._first_stamp):
            self._first_stamp = float(t[0])
        else:
            self._count_steps(np.array([t[0] - self._last_stamp]), self._n - 1)
        self._count_steps(np.diff(t), self._n)
        self._last_stamp = float(t[-1])
        self._n += t.size

    def _mark(self, flags: NDArray[np.bool_], *, expected: bool) -> None:
        odd = np.flatnonzero(flags != expected)
        if odd.size:
            self._note(self._n + int(odd[0]))

    def _note(self, index: int) -> None:
        self._first_bad = index if self._first_bad < 0 else min(self._first_bad, index)

    def _count_steps(self, steps: Floats, start: int) -> None:
        back = np.flatnonzero(steps <= 0)
        wide = np.flatnonzero(steps > 1.5 * self.period_s)
        self._backwards += back.size
        self._gaps += wide.size
        if wide.size:
            self._lost += int(np.sum(np.rint(steps[wide] / self.period_s))) - wide.size
            self._longest = max(self._longest, float(steps[wide].max()))
        for found in (back, wide):
            if found.size:
                self._note(start + 1 + int(found[0]))

    def merge(self, other: SampleCheck) -> None:
        """Append the check of the samples that follow directly after these. Raises NotMergeableError if
        settings differ.
        """
        if (self.period_s, self.clip) != (other.period_s, other.clip):
            raise NotMergeableError("only checks with the same period and clipping limit can be merged")
        if other._n == 0:
            return
        if self._n:
            self._count_steps(np.array([other._first_stamp - self._last_stamp]), self._n - 1)
        else:
            self._first_stamp = other._first_stamp
        if other._first_bad >= 0:
            self._note(self._n + other._first_bad)
        for name in ("_n", "_not_finite", "_clipped", "_gaps", "_lost", "_backwards"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._longest = max(self._longest, other._longest)
        self._last_stamp = other._last_stamp

    def result(self) -> SampleReport:
        return SampleReport(
            self._n,
            self._not_finite,
            self._clipped,
            self._gaps,
            self._lost,
            self._backwards,
            self._longest,
            self._first_bad,
        )


def check_samples(
    stamps_s: ArrayLike, values: ArrayLike, period_s: float, clip: float = math.inf
) -> SampleReport:
    """`SampleCheck` of arrays that are in memory: shapes (n,), seconds and the channel's unit."""
    check = SampleCheck(period_s, clip)
    check.update(stamps_s, values)
    return check.result()


def find_outliers(x: ArrayLike, window: int = 11, limit: float = 5.0) -> NDArray[np.intp]:
    """Indices of spikes by the Hampel rule |x − median| > limit·1.4826·MAD in a sliding window (odd length).

    Flags only (protocol specification §0.6: removed points are counted and listed, more than 0.1 % is
    INVALID). Windows are shortened at the ends. A window whose MAD is 0 flags any departure from its
    median.
    """
    (x,) = as_blocks(x)
    if window < 3 or window % 2 == 0:
        raise AnalysisError(f"the Hampel window must be odd and at least 3, got {window}")
    half = window // 2
    found = []
    for first in range(0, x.size, 16384):
        last = min(first + 16384, x.size)
        lo, hi = max(first - half, 0), min(last + half, x.size)
        padded = np.full(last - first + 2 * half, np.nan)
        padded[lo - first + half : hi - first + half] = x[lo:hi]
        views = np.lib.stride_tricks.sliding_window_view(padded, window)
        middle = np.nanmedian(views, axis=1)
        spread = np.nanmedian(np.abs(views - middle[:, None]), axis=1)
        found.append(first + np.flatnonzero(np.abs(x[first:last] - middle) > limit * 1.4826 * spread))
    return np.concatenate(found) if found else np.empty(0, np.intp)
