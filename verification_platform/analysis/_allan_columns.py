"""The long averaging times of a whole array, every window.

Sums over m whose beginnings differ by a multiple of m belong together and need no others: the array, written in
rows of m, falls into columns. Some columns at a time fit into the cache, and go through all averaging times there
(`_allan_steps`): the array is read once, not once for each.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ._allan_steps import Steps
from .blocks import Float

_VALUES = 131072  # worked on at a time
_NARROW = 8  # columns, a line of the cache


def long_times(sums: Float, m: int, order: int, triangular: bool) -> dict[int, tuple[float, int]]:
    """Sums of squares and numbers of terms for m, 2m, 4m … from all sums over m (n,)."""
    found: dict[int, tuple[float, int]] = {}
    rows, longer = divmod(len(sums), m)
    for begin, end, height in ((0, longer, rows + 1), (longer, m, rows)):
        if height <= order or begin == end:
            continue
        width = min(max(_VALUES // height, _NARROW), end - begin)
        steps: Steps | None = None
        for left in range(begin, end, width):
            columns = min(width, end - left)
            if steps is None or columns < width:
                table, n = np.empty((height, columns)), height * columns
                buffers = [np.empty(n) for _ in range(2)]
                steps = Steps(n, columns, 1 << height.bit_length(), order, triangular, buffers)
            np.copyto(table, as_strided(sums[left:], table.shape, (m * sums.itemsize, sums.itemsize)))
            values = table.reshape(-1)
            for step, more in zip(steps.steps, steps.run(values), strict=True):
                squares, terms = found.get(m * step.m, (0.0, 0))
                found[m * step.m] = squares + more, terms + step.terms
    return {factor: each for factor, each in found.items() if each[1]}
