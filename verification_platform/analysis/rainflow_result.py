"""What rainflow counting finds: a histogram, or a table of cycles; see `rainflow` for the definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .blocks import Float, Int
from .errors import AnalysisError

Row = tuple[Float, Float, Int, Int]  # ranges, means, start, end of many cycles


@dataclass(frozen=True, slots=True)
class CycleTable:
    """One row a cycle, in order of the later point: all arrays (n,).

    count is 1 for a closed loop and 0.5 for a range of the residue; start and end are sample indices of the
    two turning points (of the last sample, where a turning point is a plateau).
    """

    range: Float
    mean: Float
    count: Float
    start: Int
    end: Int

    def __len__(self) -> int:
        return len(self.range)


@dataclass(frozen=True, slots=True)
class RainflowResult:
    """Counts of a signal; ranges and means in the unit of the signal.

    counts: (bins,) cycles per range bin, bin k covering k·range_width <= range < (k+1)·range_width (half
    cycles count 0.5). matrix: (bins, mean bins) or None; its column m covers (first_mean+m)·mean_width and up.
    residue: values of the turning points left open. damage: Miner sum, or None without an S–N curve.
    """

    n_samples: int
    cycles: float
    range_width: float
    counts: Float
    mean_width: float | None
    first_mean: int
    matrix: Float | None
    residue: Float
    damage: float | None
    table: CycleTable | None

    @property
    def range_edges(self) -> Float:
        """(bins + 1,) edges of the range bins."""
        return np.arange(len(self.counts) + 1, dtype=np.float64) * self.range_width

    @property
    def mean_edges(self) -> Float:
        """(mean bins + 1,) edges of the columns of the matrix."""
        if self.matrix is None or self.mean_width is None:
            raise AnalysisError("no means were counted: give mean_width")
        return (self.first_mean + np.arange(self.matrix.shape[1] + 1, dtype=np.float64)) * self.mean_width


def cycle_table(full: list[Row], half: list[Row]) -> CycleTable:
    """Rows of closed loops and of half cycles as one table, in order of the later point."""
    count = np.repeat([1.0, 0.5], [sum(len(row[0]) for row in full), sum(len(row[0]) for row in half)])
    none: Row = (np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    ranges, means, start, end = (np.concatenate(column) for column in zip(none, *full, *half, strict=True))
    order = np.lexsort((-start, end))
    return CycleTable(ranges[order], means[order], count[order], start[order], end[order])
