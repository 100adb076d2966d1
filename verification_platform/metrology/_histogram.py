"""Distribution of an output quantity in bounded memory: a fine histogram beside exact sums (JCGM 101:2008, 7.5–7.7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .budget import BudgetError

Floats = NDArray[np.float64]

_BINS = 4096
#: Values worked on at a time: they stay in the second-level cache, and dot remains one thread's work.
_PIECE = 8192
#: Bins from the mean within which an index is counted without a look at its size.
_REACH = 2.0**20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a histogram at the end of a block."""

    n: int
    total: float
    square: float
    counts: NDArray[np.int64]


class Histogram:
    """Streaming distribution of y: bounded memory, mergeable, quantiles by interpolation within fine bins.

    The range comes from the first block (± its spread); what falls outside is kept exactly, since it is rare.
    """

    def __init__(self, first: Floats, bins: int = _BINS) -> None:
        low, high = float(first.min()), float(first.max())
        pad = 0.25 * (high - low) or abs(low) * 1e-9 or 1e-300
        self.low, self.high = low - pad, high + pad
        self.bins = bins
        self.counts = np.zeros(bins, dtype=np.int64)
        self.outside: list[Floats] = []
        self._x, self._index = np.empty(_PIECE), np.empty(_PIECE, dtype=np.int32)
        self._scale = bins / (self.high - self.low)
        self._shift = float(first.mean())
        self._to_bins = (
            self._shift - self.low
        ) * self._scale + 1  # bin k counts as k + 1: 0 is just below all
        self.n = 0
        self._sum = self._square = 0.0

    def update(self, y: Floats) -> None:
        """Add values, shape (n,). Raises BudgetError for NaN or infinity: the model is not defined there."""
        for start in range(0, y.size, _PIECE):
            self._add(y[start : start + _PIECE])

    def _add(self, y: Floats) -> None:
        x = np.subtract(y, self._shift, out=self._x[: y.size])
        square = float(np.dot(x, x))
        if not math.isfinite(square) and not np.isfinite(y).all():
            raise BudgetError(
                "the model gives NaN or infinity for possible inputs: restrict their distributions"
            )
        self._sum += float(np.add.reduce(x))
        self._square += square
        self.n += y.size
        x *= self._scale
        if square * self._scale**2 < _REACH**2:  # then no value is further than that from the mean
            index = np.add(x, self._to_bins, out=self._index[: y.size], casting="unsafe")
            counts = _counted(index, self.bins + 1)
            if counts is not None:
                self.counts += counts[1:]
                return
        x += self._to_bins
        inside = (x >= 1) & (x < self.bins + 1)
        self.outside.append(y[~inside])
        self.counts += np.bincount(x[inside].astype(np.intp), minlength=self.bins + 1)[1:]

    def since(self, earlier: Snapshot, probability: float) -> tuple[float, float, float, float]:
        """Mean, u and ends of the equal-tailed interval of what came after a snapshot."""
        n = self.n - earlier.n
        total, square = self._sum - earlier.total, self._square - earlier.square
        u = math.sqrt(max(square - total**2 / n, 0.0) / (n - 1))
        # values outside the bins are rare and cannot move a quantile between blocks
        below = np.cumsum(self.counts - earlier.counts)
        tail = (1 - probability) / 2
        low, high = np.interp([tail * n, (1 - tail) * n], below, np.arange(1, self.bins + 1) / self._scale)
        return total / n, u, float(low), float(high)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.n, self._sum, self._square, self.counts.copy())

    def merge(self, other: Histogram) -> None:
        """Add another histogram over the same bins."""
        if (self.low, self.high, self.bins, self._shift) != (other.low, other.high, other.bins, other._shift):
            raise BudgetError("histograms over different bins do not merge")
        self.counts += other.counts
        self.outside += other.outside
        self.n += other.n
        self._sum += other._sum
        self._square += other._square

    @property
    def mean(self) -> float:
        return self._shift + self._sum / self.n

    @property
    def u(self) -> float:
        return math.sqrt(max(self._square - self._sum**2 / self.n, 0.0) / (self.n - 1))

    def _cumulated(self) -> tuple[Floats, Floats]:
        """Points (y, number of values below y) of the cumulative distribution."""
        edges = self.low + np.arange(self.bins + 1) / self._scale
        below = np.concatenate(([0.0], np.cumsum(self.counts, dtype=np.float64)))
        if self.outside:
            out = np.sort(np.concatenate(self.outside))
            left, right = out[out < self.low], out[out >= self.high]
            edges = np.concatenate((left, edges, right))
            below = np.concatenate(
                (np.arange(left.size), below + left.size, left.size + below[-1] + 1 + np.arange(right.size))
            )
        return edges, below

    def intervals(self, probability: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """(shortest, equal-tailed) coverage intervals. The minimum of the width is flat: its position is not sharp."""
        edges, below = self._cumulated()
        level = below / self.n
        tails = np.interp([(1 - probability) / 2, (1 + probability) / 2], level, edges)
        starts = np.linspace(0.0, 1.0 - probability, 4097)
        low, high = np.interp(starts, level, edges), np.interp(starts + probability, level, edges)
        best = int(np.argmin(high - low))
        return (float(low[best]), float(high[best])), (float(tails[0]), float(tails[1]))


def _counted(index: NDArray[np.int32], size: int) -> NDArray[np.int64] | None:
    """How often each of 0 … size − 1 occurs in `index`; None if anything else, or 0, does.

    Looking after the event is cheaper than passes for the smallest and the largest value before it.
    """
    try:
        counts = np.bincount(index, minlength=size)
    except ValueError:  # a negative one
        return None
    return counts if len(counts) == size and not counts[0] else None
