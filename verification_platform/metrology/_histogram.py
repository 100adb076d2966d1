"""Distribution of an output quantity in bounded memory: a fine histogram beside exact sums (JCGM 101:2008, 7.5–7.7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .budget import BudgetError

Floats = NDArray[np.float64]

#: Bins are a power of two wide, so the range has this many to a factor of √2.
_BINS = 4096
#: Values worked on at a time: a count of all bins for each is nothing beside them.
_PIECE = 32768
#: Values in one scalar product: longer ones would wake further threads.
_DOT = 8192
#: Bins from the middle within which an index is counted without a look at its size.
_REACH = 2.0**20
#: Values whose mean is within this many ranges of 0 are squared as they are: 10 digits of the variance are left.
_NEAR = 64
#: From here to twice this, consecutive doubles are consecutive whole numbers; `_WHOLE`·w: consecutive multiples of w.
_WHOLE = 2.0**52
_ONES = np.ones(_DOT)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a histogram at the end of a block."""

    n: int
    total: float
    square: float
    counts: NDArray[np.int64]


class Histogram:
    """Streaming distribution of y: bounded memory, mergeable, quantiles by interpolation within fine bins.

    The range comes from the first block (± its spread), cut into about `bins` bins; what falls outside is kept exactly,
    since it is rare.
    """

    def __init__(self, first: Floats, bins: int = _BINS) -> None:
        low, high, self._shift = float(first.min()), float(first.max()), float(first.mean())
        pad = max(0.25 * (high - low) or abs(low) * 1e-9, 1e-300)
        self._origin = 0.0 if abs(self._shift) < _NEAR * (high - low) else self._shift
        # bin k is what rounds to (start + k)·width: adding `_to_bins` rounds, and leaves k in the last bits
        width = 2.0 ** round(math.log2((high - low + 2 * pad) / bins))
        start = math.floor((low - pad - self._origin) / width)
        self.bins = math.ceil((high + pad - self._origin) / width) - start
        self.low = self._origin + (start - 0.5) * width
        self.high = self.low + self.bins * width
        self._width = width
        # arrays, since numpy takes longer to understand a float than to add it; bin k counts as k + 1: 0 is below all
        self._to_bins = np.array((_WHOLE + 1 - start) * width)
        self._zero = np.array(_WHOLE * width).view(np.int64)
        self.counts = np.zeros(self.bins, dtype=np.int64)
        self.outside: list[Floats] = []
        self._x, self._place = np.empty(_PIECE), np.empty(_PIECE)
        self.n = 0
        self._sum = self._square = 0.0

    def update(self, y: Floats) -> None:
        """Add values, shape (n,). Raises BudgetError for NaN or infinity: the model is not defined there."""
        for start in range(0, y.size, _PIECE):
            self._add(y[start : start + _PIECE])

    def _add(self, y: Floats) -> None:
        x = np.subtract(y, self._origin, out=self._x[: y.size]) if self._origin else y
        total, square = self._sums(x)
        if not math.isfinite(square) and not np.isfinite(y).all():
            raise BudgetError(
                "the model gives NaN or infinity for possible inputs: restrict their distributions"
            )
        self._sum += total
        self._square += square
        self.n += y.size
        if square < (_REACH * self._width) ** 2:  # then no value is further than that from the mean
            number = np.add(x, self._to_bins, out=self._place[: y.size]).view(np.int64)
            number -= self._zero
            counts = _counted(number, self.bins + 1)
            if counts is not None:
                self.counts += counts[1:]
                return
        place = x + self._to_bins
        inside = (place > _WHOLE * self._width) & (place < (_WHOLE + self.bins + 1) * self._width)
        self.outside.append(y[~inside])
        number = place[inside].view(np.int64) - self._zero
        self.counts += np.bincount(number, minlength=self.bins + 1)[1:]

    def _sums(self, x: Floats) -> tuple[float, float]:
        """Sum of the differences from the mean of the first block, and of their squares."""
        total = square = 0.0
        for start in range(0, x.size, _DOT):
            piece = x[start : start + _DOT]
            total += float(np.dot(piece, _ONES[: piece.size]))
            square += float(np.dot(piece, piece))
        shift = self._shift - self._origin
        return total - x.size * shift, square - shift * (2 * total - x.size * shift)

    def since(self, earlier: Snapshot, probability: float) -> tuple[float, float, float, float]:
        """Mean, u and ends of the equal-tailed interval of what came after a snapshot."""
        n = self.n - earlier.n
        total, square = self._sum - earlier.total, self._square - earlier.square
        u = math.sqrt(max(square - total**2 / n, 0.0) / (n - 1))
        # values outside the bins are rare and cannot move a quantile between blocks
        below = np.cumsum(self.counts - earlier.counts)
        tail = (1 - probability) / 2
        low, high = np.interp([tail * n, (1 - tail) * n], below, np.arange(1, self.bins + 1) * self._width)
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
        edges = self.low + np.arange(self.bins + 1, dtype=np.float64) * self._width
        below = np.concatenate(([0.0], np.cumsum(self.counts, dtype=np.float64)))
        if self.outside:
            out = np.sort(np.concatenate(self.outside))
            left, right = out[out <= self.low], out[out >= self.high]
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


def _counted(index: NDArray[np.int64], size: int) -> NDArray[np.int64] | None:
    """How often each of 0 … size − 1 occurs in `index`; None if anything else, or 0, does.

    Looking after the event is cheaper than passes for the smallest and the largest value before it.
    """
    try:
        counts = np.bincount(index, minlength=size)
    except ValueError:  # a negative one
        return None
    return counts if len(counts) == size and not counts[0] else None
