"""Quantiles of any number of samples in constant memory, with a stated bound on the rank error.

    sketch = QuantileSketch()
    for block in recording: sketch.update(block)
    p9999 = sketch.result().quantile(0.9999)

The 64 smallest and 64 largest samples are kept as they are, so extreme quantiles are exact and a few spikes
spoil nothing. Everything between them is counted in at most 32768 bins whose width is a power of two and whose
edges are its multiples. When the range outgrows the bins, neighbours are joined and the width doubles. The
width is thus a function of the data alone: any partition and merge tree gives the same counts, exactly.

A quantile is interpolated within its bin, so its rank is off by at most the count of that bin, which the
result states. For signals whose density is smooth the true error is much smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, Int, as_block, buffers, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError

BINS = 32768
KEPT = 64
_PIECE = 65536
_MIN_EXPONENT = -1022


@dataclass(frozen=True, slots=True)
class QuantileResult:
    """Distribution of n samples: kept values low (m,) and high (k,), sorted, and bins between them.

    Bin i covers (first + i)·width <= x < (first + i + 1)·width.
    """

    n: int
    low: Float
    high: Float
    counts: Int
    first: int
    width: float

    @property
    def minimum(self) -> float:
        return float(self.low[0])

    @property
    def maximum(self) -> float:
        return float(self.high[-1] if len(self.high) else self.low[-1])

    def quantile(self, p: float) -> float:
        """Value below which the share p of the samples lies, in their unit (linear interpolation of ranks, as
        numpy's default). Raises AnalysisError for p outside [0, 1].
        """
        if not 0.0 <= p <= 1.0:
            raise AnalysisError(f"quantile: p must lie in 0 … 1, not {p}")
        rank = p * (self.n - 1)
        below = math.floor(rank)
        value = self._order_statistic(below)
        return value + (rank - below) * (self._order_statistic(min(below + 1, self.n - 1)) - value)

    def rank_error(self, p: float) -> float:
        """Bound on |true rank share of quantile(p) − p|; 0 where the samples are kept as they are."""
        rank = math.ceil(p * (self.n - 1))
        if rank < len(self.low) or rank >= self.n - len(self.high):
            return 0.0
        cumulative = np.cumsum(self.counts)
        return float(self.counts[np.searchsorted(cumulative, rank - len(self.low), side="right")] / self.n)

    def share_below(self, value: float) -> float:
        """Share of the samples smaller than `value` (interpolated within a bin)."""
        total = float(np.searchsorted(self.low, value) + np.searchsorted(self.high, value))
        if len(self.counts):
            position = value / self.width - self.first
            whole = min(max(math.floor(position), 0), len(self.counts))
            total += float(self.counts[:whole].sum())
            if 0 <= position < len(self.counts):
                total += float(self.counts[whole]) * (position - whole)
        return total / self.n

    def _order_statistic(self, rank: int) -> float:
        """The rank-th smallest sample, counted from 0."""
        if rank < len(self.low):
            return float(self.low[rank])
        if rank >= self.n - len(self.high):
            return float(self.high[rank - self.n + len(self.high)])
        inside = rank - len(self.low)
        cumulative = np.cumsum(self.counts)
        at = int(np.searchsorted(cumulative, inside, side="right"))
        into = (inside - (cumulative[at] - self.counts[at]) + 0.5) / self.counts[at]
        value = (self.first + at + float(into)) * self.width
        upper = float(self.high[0]) if len(self.high) else math.inf
        return min(max(value, float(self.low[-1])), upper)


class QuantileSketch:
    """Accumulator: `update(block)`, `merge(other)`, `result()`. About 1 MB whatever the number of samples."""

    def __init__(self) -> None:
        self.n = 0
        self._low: Float = np.empty(0)  # the KEPT smallest and largest samples, sorted
        self._high: Float = np.empty(0)
        self._exponent = _MIN_EXPONENT  # bin width 2^exponent
        self._first = 0  # index of the first bin: bin i covers (first + i)·2^exponent …
        self._counts: Int = np.zeros(BINS, dtype=np.int64)
        self._core_min, self._core_max = math.inf, -math.inf
        self._scaled, keys = buffers(2, _PIECE)
        self._keys: Int = keys.view(np.int64)

    def update(self, samples: ArrayLike) -> None:
        """Samples (n,), any n. Raises NotFiniteError for NaN or infinity."""
        block = as_block(samples)
        for start in range(0, len(block), _PIECE):
            piece = block[start : start + _PIECE]
            low, high = float(np.minimum.reduce(piece)), float(np.maximum.reduce(piece))
            if not (math.isfinite(low) and math.isfinite(high)):
                refuse_not_finite(piece, self.n)
            self._add(piece, low, high)
            self.n += len(piece)

    def merge(self, other: QuantileSketch) -> None:
        """Add the samples of `other`, which is left as it was."""
        if other.n == 0:
            return
        if other._core_min <= other._core_max:
            self._make_room(other._core_min, other._core_max, other._exponent)
            used = other._counts.nonzero()[0]
            bins = (used + other._first) >> (self._exponent - other._exponent)
            np.add.at(self._counts, bins - self._first, other._counts[used])
        kept = np.concatenate((other._low, other._high))
        self._add(kept, float(kept.min()), float(kept.max()))
        self.n += other.n

    def result(self) -> QuantileResult:
        """Raises NotEnoughDataError without a sample."""
        if self.n == 0:
            raise NotEnoughDataError("quantiles: no samples")
        used = self._counts.nonzero()[0]
        begin, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        low, high = self._low, self._high
        if not len(used):
            low, high = np.sort(np.concatenate((low, high))), high[:0]
        return QuantileResult(
            n=self.n,
            low=low.copy(),
            high=high.copy(),
            counts=self._counts[begin:end].copy(),
            first=self._first + begin,
            width=math.ldexp(1.0, self._exponent),
        )

    def _add(self, piece: Float, low: float, high: float) -> None:
        """Keep what belongs to the extremes and count the rest, also what is no longer extreme.

        low, high: the smallest and the largest sample of the piece.
        """
        if len(self._low) < KEPT or len(self._high) < KEPT:
            piece, low, high = self._fill_extremes(piece)
            if len(piece):
                self._make_room(low, high, _MIN_EXPONENT)
                self._count(piece, np.empty(0, dtype=np.int64), piece[:0])
            return
        # As many samples cease to be extreme as there are new ones: they are counted in their places.
        places: Int = np.empty(0, dtype=np.int64)
        values: Float = np.empty(0)
        new_low, new_high = low < self._low[-1], high > self._high[0]
        if new_low:
            places = (piece < self._low[-1]).nonzero()[0]
            extremes = np.sort(np.concatenate((self._low, piece.take(places))))
            self._low, values = extremes[:KEPT], extremes[KEPT:]
            low, high = values[0], max(high, values[-1])
        if new_high:
            at = (piece > self._high[0]).nonzero()[0]
            extremes = np.sort(np.concatenate((self._high, piece.take(at))))
            self._high, gone = extremes[-KEPT:], extremes[:-KEPT]
            low, high = min(low, gone[0]), gone[-1]
            places, values = np.concatenate((places, at)), np.concatenate((values, gone))
        self._make_room(float(low), float(high), _MIN_EXPONENT)
        self._count(piece, places, values)

    def _fill_extremes(self, piece: Float) -> tuple[Float, float, float]:
        """While there are too few samples: sort all there are, fill the low list first, then the high one."""
        everything = np.sort(np.concatenate((self._low, piece, self._high)))
        self._low, rest = everything[:KEPT].copy(), everything[KEPT:]
        cut = max(len(rest) - KEPT, 0)
        self._high, rest = rest[cut:].copy(), rest[:cut]
        return rest, float(rest[0]) if len(rest) else 0.0, float(rest[-1]) if len(rest) else 0.0

    def _make_room(self, low: float, high: float, exponent: int) -> None:
        """Choose the smallest width, at least 2^exponent, that puts everything counted so far and low … high
        into BINS bins, and move the counts there.
        """
        low, high = min(low, self._core_min), max(high, self._core_max)
        if low == self._core_min and high == self._core_max and exponent <= self._exponent:
            return
        largest = max(abs(low), abs(high))
        floor = math.frexp(largest)[1] - 52 if largest > 0 else _MIN_EXPONENT  # bin numbers stay exact
        span = high - low
        start = math.frexp(span)[1] - BINS.bit_length() if span > 0 else _MIN_EXPONENT
        new = max(exponent, self._exponent if self._core_min <= self._core_max else _MIN_EXPONENT)
        new = max(new, floor, start, _MIN_EXPONENT)
        while math.floor(math.ldexp(high, -new)) - math.floor(math.ldexp(low, -new)) >= BINS:
            new += 1
        first = math.floor(math.ldexp(low, -new))
        last = math.floor(math.ldexp(high, -new))
        if new == self._exponent and self._first <= first and last < self._first + BINS:
            self._core_min, self._core_max = low, high  # there is room
            return
        if self._core_min <= self._core_max:
            moved = np.zeros(BINS, dtype=np.int64)
            used = self._counts.nonzero()[0]
            bins = (used + self._first) >> (new - self._exponent)
            # Spread the room: a range that grows at one end should not move the counts every time.
            first = max(first - (BINS - (last - first + 1)) // 2, -(2**62))
            np.add.at(moved, bins - first, self._counts[used])
            self._counts = moved
        else:
            first = max(first - (BINS - (last - first + 1)) // 2, -(2**62))
        self._first, self._exponent = first, new
        self._core_min, self._core_max = low, high

    def _count(self, piece: Float, places: Int, values: Float) -> None:
        """Count the samples of a piece, at `places` the values (m,) instead of those of the piece."""
        scaled, keys = self._scaled[: len(piece)], self._keys[: len(piece)]
        scale = math.ldexp(1.0, -self._exponent)
        with np.errstate(over="ignore"):  # of samples that are replaced
            np.multiply(piece, scale, out=scaled)
        scaled[places] = values * scale
        np.floor(scaled, out=scaled)
        np.subtract(scaled, float(self._first), out=scaled)
        np.copyto(keys, scaled, casting="unsafe")
        self._counts += np.bincount(keys, minlength=BINS)


def quantiles(samples: ArrayLike, shares: ArrayLike) -> Float:
    """One-call form: the quantiles of samples (n,) at shares (m,) in 0 … 1; shape (m,)."""
    sketch = QuantileSketch()
    sketch.update(samples)
    result = sketch.result()
    return np.array([result.quantile(float(p)) for p in np.atleast_1d(np.asarray(shares, dtype=np.float64))])
