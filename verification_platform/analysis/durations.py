"""A histogram of times over many decades, in bounded memory: jitter, latency, stop times.

Bins are logarithmic: 256 in each octave from 2⁻⁴⁰ s (1 ps) to 2²⁴ s (half a year), so that a quantile is never
more than 0.4 % too high and never too low; what lies outside is counted in the end bins. Counts are integers:
any partition and any order of merging gives the identical histogram. Tails are never extrapolated: a quantile
beyond the number of data is the largest value seen.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Float, Int, as_block, pieces
from .errors import AnalysisError, NotEnoughDataError

_OCTAVES = (-40, 24)
_PER_OCTAVE_BITS = 8
_SHIFT = 52 - _PER_OCTAVE_BITS
_BINS = (_OCTAVES[1] - _OCTAVES[0]) << _PER_OCTAVE_BITS


def _code(value: float) -> int:
    return int(np.float64(value).view(np.int64)) >> _SHIFT


_FIRST = _code(2.0 ** _OCTAVES[0])


def bin_edges() -> Float:
    """Edges of the bins of magnitude, s, shape (16385,); the first is 0."""
    codes = (np.arange(_BINS + 1, dtype=np.int64) + _FIRST) << _SHIFT
    edges = codes.view(np.float64).copy()
    edges[0] = 0.0
    return edges


class DurationHistogram:
    """Histogram of |duration|, kept apart for positive and negative durations (s).

    >>> h = DurationHistogram()
    >>> h.update([1e-3, 2e-3, -4e-3])
    >>> h.count, h.largest, round(h.quantile(0.5) * 1e3, 1)
    (3, 0.004, 2.0)
    """

    def __init__(self) -> None:
        self._counts: Int = np.zeros((2, _BINS), dtype=np.int64)
        self.count = 0
        self.smallest = math.inf
        self.largest = 0.0

    def update(self, durations_s: ArrayLike) -> None:
        """Add durations (s), shape (n,). Raises NotFiniteError for a NaN or an infinity."""
        for piece in pieces(as_block(durations_s, "durations"), self.count, "durations"):
            self.add(piece)

    def add(self, piece: Float) -> None:
        """`update` for a short piece that is known to be finite."""
        if piece.size == 0:
            return
        magnitude = np.abs(piece)
        self.largest = max(self.largest, float(magnitude.max()))
        self.smallest = min(self.smallest, float(magnitude.min()))
        code = (magnitude.view(np.int64) >> _SHIFT) - _FIRST
        np.clip(code, 0, _BINS - 1, out=code)
        code += _BINS * (piece < 0)
        low = int(code.min())
        seen = np.bincount(code - low)
        self._counts.reshape(-1)[low : low + seen.size] += seen
        self.count += piece.size

    def merge(self, other: DurationHistogram) -> None:
        """Add the counts of `other`."""
        self._counts += other._counts
        self.count += other.count
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    @property
    def positive(self) -> Int:
        """Counts of durations ≥ 0, shape (16384,), bins as `bin_edges`."""
        return np.array(self._counts[0])

    @property
    def negative(self) -> Int:
        """Counts of durations < 0 by magnitude, shape (16384,)."""
        return np.array(self._counts[1])

    def quantile(self, p: float) -> float:
        """The smallest edge with at least p·n magnitudes at or below it, s, at most the largest value seen.

        Raises AnalysisError for p outside (0, 1], NotEnoughDataError without data.
        """
        if not 0 < p <= 1:
            raise AnalysisError(f"a quantile needs 0 < p ≤ 1, got {p}")
        if self.count == 0:
            raise NotEnoughDataError("no durations yet")
        cumulated: NDArray[np.int64] = np.cumsum(self._counts.sum(axis=0))
        at = int(np.searchsorted(cumulated, math.ceil(p * self.count * (1 - 1e-15))))
        edge = float(np.int64((at + 1 + _FIRST) << _SHIFT).view(np.float64)) if at < _BINS - 1 else math.inf
        return min(edge, self.largest)
