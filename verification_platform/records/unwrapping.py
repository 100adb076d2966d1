"""Counters that wrap, made continuous block by block and from any row on.

A single-turn encoder jumps by 2π once a revolution; two samples lie less than half a turn apart. Whole turns
are counted as integers and added to the reading once, so nothing accumulates, and a worker that knows the
turns before its first row gets the same bits as one that read the recording from its beginning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Unwrapping:
    """Continuous values of k channels that wrap at `period`.

    `last` are the readings (k,) of the row before the first block and `turns` (k,) the whole turns counted up
    to it; without them the first row is taken as it is.
    """

    def __init__(self, period: float, last: Floats | None = None, turns: Floats | None = None) -> None:
        self.period = period
        self.turns: Floats | float = 0.0 if turns is None else turns
        self._last = last

    def __call__(self, values: Floats) -> Floats:
        """The next rows (n, k), continuous; each step is the shortest one. The columns lie contiguous."""
        out = values.T.copy()
        start = np.broadcast_to(self.turns, (len(out),))
        for column, before, (at, jumps) in zip(out, start, self._advance(out), strict=True):
            if column.size and (at.size or before):
                turns = np.zeros(column.size)
                turns[at] = jumps
                turns[0] += before
                np.cumsum(turns, out=turns)
                turns *= self.period
                column -= turns
        return out.T

    def count(self, values: Floats) -> None:
        """Count the turns in the next rows (n, k), no more."""
        self._advance(values.T.copy())

    def _advance(self, columns: Floats) -> list[tuple[NDArray[np.intp], Floats]]:
        """Go past rows (k, n): for every channel the rows at which it jumped, and by how many turns."""
        if not columns.size:
            return [(np.empty(0, np.intp), np.empty(0)) for _ in columns]
        before = columns[:, 0] if self._last is None else self._last
        found = []
        for column, last in zip(columns, before, strict=True):
            steps = np.diff(column, prepend=last)
            at = np.flatnonzero(np.abs(steps) > 0.5 * self.period)
            found.append((at, np.round(steps[at] / self.period)))
        self._last = columns[:, -1].copy()
        self.turns = self.turns + np.array([jumps.sum() for _, jumps in found])
        return found
