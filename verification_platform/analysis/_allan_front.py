"""The short averaging times of an Allan accumulator: every window, straight from the samples.

For m = 1, 2, 4 … up to a limit, the sums over m of a piece of signal are doubled in place of being stored: a piece
stays in the cache for all m, and only a few samples in front of it are looked at again. What leaves are the sums
over twice the limit, for the levels above (`_allan_levels`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .blocks import Float
from .moments import inner

_PIECE = 16384
Sink = Callable[[Float, int], None]


class Front:
    """Sums of squares of all terms for m = 1 … limit (powers of two).

    order, triangular: as in `_allan_levels`. sink(sums, begin) is handed the sums over 2·limit samples, the first
    one beginning at sample `begin`, one per sample.
    """

    def __init__(self, limit: int, order: int, triangular: bool) -> None:
        self.limit, self.order, self.triangular = limit, order, triangular
        self.factors = [1 << k for k in range(limit.bit_length())]
        self.squares = dict.fromkeys(self.factors, 0.0)
        self.terms = dict.fromkeys(self.factors, 0)
        self.halo = 4 * limit  # samples that a window of any kind can reach back
        self.head: Float = np.empty(0)  # the first and the last `halo` samples
        self.tail: Float = np.empty(0)
        self.end: int | None = None  # number of the next sample
        self._work: list[Float] = []

    def feed(self, samples: Float, begin: int, sink: Sink) -> None:
        """Samples (n,), the first one being number `begin`."""
        if self.end is None:
            self.end = begin
        if len(self.head) < self.halo:
            self.head = np.append(self.head, samples[: self.halo - len(self.head)])
        size = max(_PIECE, 4 * self.halo)
        for start in range(0, len(samples), size):
            stop = min(start + size, len(samples))
            old = len(self.tail)
            inside = start >= old
            new = samples[start - old if inside else start : stop]
            joined = new if inside else np.concatenate((self.tail, new))
            self._windows(joined, old, len(joined), self.end - old, sink)
            self.end += stop - start
            self.tail = joined[max(len(joined) - self.halo, 0) :]
        self.tail = self.tail.copy()

    def join(self, later: Front, sink: Sink) -> None:
        """Append `later`, which holds at least `halo` samples: its terms and the windows across the seam."""
        joined, old = np.concatenate((self.tail, later.head)), len(self.tail)
        assert self.end is not None
        self._windows(joined, old, old, self.end - old, sink)
        if len(self.head) < self.halo:
            self.head = np.append(self.head, later.head)[: self.halo]
        self.tail, self.end = later.tail.copy(), later.end
        for m in self.factors:
            self.squares[m] += later.squares[m]
            self.terms[m] += later.terms[m]

    def _windows(self, x: Float, old: int, first_new: int, begin: int, sink: Sink) -> None:
        """Count windows of x (n,) that do not lie in its first `old` samples and begin before `first_new`."""
        n = len(x)
        if not self._work or len(self._work[0]) < n:
            self._work = [np.empty(n) for _ in range(3)]
        sums = x
        for turn, m in enumerate(self.factors):
            reach = (self.order + 1) * m if not self.triangular else 3 * m - 1  # samples of one term
            low, high = max(old - reach + 1, 0), min(n - reach + 1, first_new)
            if high > low:
                self._count(sums, m, low, high)
            sums = _double(sums, m, self.triangular, self._work[turn % 2])
            if not len(sums):
                return
        span = n - len(sums) + 1  # samples of one sum
        low, high = max(old - span + 1, 0), min(len(sums), first_new)
        if high > low:
            sink(sums[low:high], begin + low)

    def _count(self, sums: Float, m: int, low: int, high: int) -> None:
        last = self.order * m
        term = np.subtract(sums[low + last : high + last], sums[low + last - m : high + last - m],
                           out=self._work[2][: high - low])  # fmt: skip
        if self.order == 2:
            term -= sums[low + m : high + m]
            term += sums[low:high]
        self.squares[m] += inner(term, term)
        self.terms[m] += high - low


def _double(sums: Float, m: int, triangular: bool, out: Float) -> Float:
    """Sums over 2m from sums over m, (n,) → (n − m,), or (n − 2m,) for triangular ones, written to `out`."""
    n = len(sums) - (2 * m if triangular else m)
    if n <= 0:
        return sums[:0]
    result = np.add(sums[:n], sums[m : m + n] if not triangular else sums[2 * m : 2 * m + n], out=out[:n])
    if triangular:
        result += sums[m : m + n]
        result += sums[m : m + n]
    return result


def long_times(sums: Float, m: int, order: int, triangular: bool) -> dict[int, tuple[float, int]]:
    """Sums of squares and numbers of terms for m, 2m, 4m … from all sums over m (n,), which are overwritten."""
    found: dict[int, tuple[float, int]] = {}
    scratch = np.empty(_PIECE)
    n = len(sums)
    while n > order * m:
        squares, terms, doubled = 0.0, n - order * m, max(n - (2 * m if triangular else m), 0)
        for low in range(0, max(terms, doubled), _PIECE):
            high = min(low + _PIECE, terms)
            if high > low:
                last = order * m
                term = np.subtract(
                    sums[low + last : high + last],
                    sums[low + last - m : high + last - m],
                    out=scratch[: high - low],
                )
                if order == 2:
                    term -= sums[low + m : high + m]
                    term += sums[low:high]
                squares += inner(term, term)
            high = min(low + _PIECE, doubled)
            if high > low and triangular:
                more = np.multiply(sums[low + m : high + m], 2.0, out=scratch[: high - low])
                more += sums[low + 2 * m : high + 2 * m]
                sums[low:high] += more
            elif high > low:
                sums[low:high] += sums[low + m : high + m]
        found[m] = (squares, terms)
        n, m = doubled, 2 * m
    return found
