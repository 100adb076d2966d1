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
        """The next rows (n, k), continuous; each step is the shortest one."""
        if not len(values):
            return values
        before = values[:1] if self._last is None else self._last[None, :]
        turns = np.cumsum(np.round(np.diff(values, axis=0, prepend=before) / self.period), axis=0)
        turns += self.turns
        self._last, self.turns = values[-1], turns[-1]
        return values - self.period * turns
