"""Counting into bins of fixed width whose number is not known in advance.

Bin k covers k·width <= value < (k+1)·width. The array grows with the data, so no value is ever put into an
overflow bin, and two grids of the same width add exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .blocks import Float
from .errors import AnalysisError, NotMergeableError

MAX_CELLS = 1 << 20  # 8 MB of counters: more means that the width is wrong


class BinGrid:
    """Counts over (range) or (range, mean). Ranges are >= 0, means of any sign."""

    def __init__(self, range_width: float, mean_width: float | None = None) -> None:
        for width in (range_width, mean_width):
            if width is not None and not (np.isfinite(width) and width > 0):
                raise AnalysisError(f"bin width must be a positive number, not {width}")
        self.range_width = float(range_width)
        self.mean_width = None if mean_width is None else float(mean_width)
        self.first_mean = 0
        self.counts: NDArray[np.int64] = np.zeros((0, 1 if mean_width is None else 0), dtype=np.int64)

    def add(self, ranges: Float, means: Float | None, times: int = 1) -> None:
        """Count every range (n,), with its mean (n,) if the grid has means, `times` times."""
        if not len(ranges):
            return
        row = self._index(ranges, self.range_width)
        if self.mean_width is None or means is None:
            got = np.bincount(row)
            self._grow(len(got), 0, 1)
            self.counts[: len(got), 0] += times * got
            return
        column = self._index(np.floor(means / self.mean_width), 1.0)
        low, high = int(column.min()), int(column.max())
        self._grow(int(row.max()) + 1, low, high + 1)
        width = self.counts.shape[1]
        flat = np.bincount(row * width + (column - self.first_mean), minlength=self.counts.size)
        self.counts += times * flat.reshape(self.counts.shape)

    def merge(self, other: BinGrid) -> None:
        if (self.range_width, self.mean_width) != (other.range_width, other.mean_width):
            raise NotMergeableError("histograms of different bin widths cannot be merged")
        rows, columns = other.counts.shape
        if rows and columns:
            self._grow(rows, other.first_mean, other.first_mean + columns)
            at = other.first_mean - self.first_mean
            self.counts[:rows, at : at + columns] += other.counts

    def copy(self) -> BinGrid:
        twin = BinGrid(self.range_width, self.mean_width)
        twin.first_mean, twin.counts = self.first_mean, self.counts.copy()
        return twin

    def _index(self, values: Float, width: float) -> NDArray[np.int64]:
        scaled = values if width == 1.0 else values / width
        if max(-float(scaled.min()), float(scaled.max())) >= MAX_CELLS:
            raise AnalysisError(f"more than {MAX_CELLS} bins: choose a larger width than {width:g}")
        return scaled.astype(np.int64)

    def _grow(self, rows: int, first: int, end: int) -> None:
        have_rows, have_columns = self.counts.shape
        if self.mean_width is not None and have_columns:
            first, end = min(first, self.first_mean), max(end, self.first_mean + have_columns)
        rows, columns = max(rows, have_rows), end - first
        if (rows, columns) == (have_rows, have_columns):
            return
        if rows * columns > MAX_CELLS:
            raise AnalysisError(f"{rows} × {columns} bins: choose larger widths")
        grown = np.zeros((rows, columns), dtype=np.int64)
        at = self.first_mean - first if have_columns else 0
        grown[:have_rows, at : at + have_columns] = self.counts
        self.first_mean, self.counts = first, grown
