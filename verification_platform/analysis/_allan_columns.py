"""The long averaging times of a whole array, every window.

Sums over m whose beginnings differ by a multiple of m belong together and need no others: written in rows of m, they
fall into columns. They are stored some columns at a time, as many as fit into the cache, and these go through all
averaging times there (`_allan_steps`): the sums are written once and read once, not once for each.
"""

from __future__ import annotations

import numpy as np

from ._allan_steps import Steps
from .blocks import Float, buffers

_VALUES = 262144  # worked on at a time, at most
_NARROW = 8  # columns, a line of the cache


class Columns:
    """Room for the sums over m (a power of two) of n samples; a sum has the place of its last sample.

    order, triangular: as in `_allan_levels`. `put` takes the sums in order; what it is given ends with a row, or with
    the array.
    """

    def __init__(self, n: int, m: int, order: int, triangular: bool) -> None:
        self.n, self.m, self.order, self.triangular = n, m, order, triangular
        self._back = 2 * m - 2 if triangular else m - 1  # from the first sample of a sum to the last one
        rows = -(-n // m)
        width = min(max(_VALUES // max(rows, 1), _NARROW), m)
        width = 1 << (width.bit_length() - 1)
        (memory,) = buffers(1, rows * m)
        self._bands = memory.reshape(m // width, rows, width)

    def put(self, parts: list[Float], first: int) -> None:
        """Two arrays (k,) that add up to sums, the first one over the samples from `first` on."""
        m, (_, _, width) = self.m, self._bands.shape
        low, high = parts
        row, before = divmod(first + self._back, m)
        done = min(-before % m, len(low))
        if before:
            self._row(row, low[:done], high[:done], before)
            row += 1
        whole = (len(low) - done) // m
        stop = done + whole * m
        shape = whole, m // width, width
        out = self._bands[:, row : row + whole].transpose(1, 0, 2)
        np.add(low[done:stop].reshape(shape), high[done:stop].reshape(shape), out=out)
        if stop < len(low):
            self._row(row + whole, low[stop:], high[stop:], 0)

    def _row(self, row: int, low: Float, high: Float, before: int) -> None:
        """A row that begins or ends elsewhere than the others."""
        sums = np.zeros(self.m)
        np.add(low, high, out=sums[before : before + len(low)])
        self._bands[:, row] = sums.reshape(-1, self._bands.shape[2])

    def squares(self) -> dict[int, tuple[float, int]]:
        """Sums of squares and numbers of terms for m, 2m, 4m …"""
        found: dict[int, tuple[float, int]] = {}
        many, _, width = self._bands.shape
        room = [np.empty(0)] * 2
        steps, n = None, 0
        for band in range(many):
            begin, end = (self._places(stop, band) for stop in (self._back, self.n))
            if end <= begin:
                continue
            if steps is None or n != end - begin:
                n = end - begin
                if len(room[0]) < n:
                    room = buffers(2, n)
                steps = Steps(n, width, 1 << n.bit_length(), self.order, self.triangular, room)
            for step, more in zip(
                steps.steps, steps.run(self._bands[band].reshape(-1)[begin:end]), strict=True
            ):
                squares, terms = found.get(self.m * step.m, (0.0, 0))
                found[self.m * step.m] = squares + more, terms + step.terms
        return {factor: each for factor, each in found.items() if each[1]}

    def _places(self, stop: int, band: int) -> int:
        """How many places of a band belong to samples in front of sample `stop`."""
        width = self._bands.shape[2]
        rows, rest = divmod(stop, self.m)
        return rows * width + min(max(rest - band * width, 0), width)
