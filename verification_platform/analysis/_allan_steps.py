"""Averaging times m, 2m, 4m … of one array in the cache: the terms at each, then the sums for the next.

Plain sums are doubled by S_2m[i] = S_m[i] + S_m[i+m]; triangular ones, of the modified variance, by adding neighbours
twice: T_2m[i] = T_m[i] + 2·T_m[i+m] + T_m[i+2m]. Terms are differences S_m[i+m] − S_m[i], or second differences.
Never a cumulative sum, nor a difference of sums of squares: they would cost digits.

Where only some values per averaging time are kept, the sums for the next one are every second value.

A pass over some ten thousand values takes microseconds, and so do the calls and views around it. Two buffers take
turns, and the views are made once for all arrays of a length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .blocks import Float
from .moments import ROW


class Views:
    """Cuts (n,) of an array from `starts` on, taking each `step`-th value: made once of a buffer, anew each time of
    the array given (None).
    """

    __slots__ = ("_made", "_slices", "n")

    def __init__(self, buffer: Float | None, starts: Iterable[int], n: int, step: int = 1) -> None:
        self.n = n
        self._slices = [slice(start, start + n * step, step) for start in starts]
        self._made = None if buffer is None else [buffer[each] for each in self._slices]

    def of(self, array: Float) -> list[Float]:
        return self._made or [array[each] for each in self._slices]


class Step:
    """The terms of one averaging factor, and the additions that lead to the next one.

    neighbours: the sums over m that a term is made of. The terms are written to `spare`, which holds nothing that
    is read later.
    """

    __slots__ = ("_neighbours", "_rest", "_rows", "_sums", "_term", "m", "terms")

    def __init__(self, m: int, neighbours: Views, spare: Float) -> None:
        self.m, self.terms = m, neighbours.n
        self._neighbours, self._term = neighbours, spare[: neighbours.n]
        whole = neighbours.n // ROW * ROW
        self._rows, self._rest = self._term[:whole].reshape(-1, ROW), self._term[whole:]
        self._sums: list[tuple[Views, Float]] = []

    def then_add(self, halves: Views, out: Float) -> None:
        self._sums.append((halves, out[: halves.n]))

    def run(self, array: Float) -> float:
        """Sum of the squares of the terms; after it, the additions."""
        term, neighbours = self._term, self._neighbours.of(array)
        np.subtract(neighbours[-1], neighbours[-2], term)
        if len(neighbours) == 3:
            term -= neighbours[1]
            term += neighbours[0]
        squares = float(sum(np.vecdot(self._rows, self._rows).tolist()))
        if len(self._rest):
            squares += float(self._rest.dot(self._rest))
        for halves, out in self._sums:
            low, high = halves.of(array)
            np.add(low, high, out)
        return squares


class Steps:
    """Steps for arrays (n,) of sums, at 1, 2, 4 … limit times their averaging factor; neighbours stand `lag` apart.

    order: 1 for differences, 2 for second differences. buffers: two of n values, one is enough for limit 1. array:
    a buffer that is always worked on, if so. old, last: terms and sums are counted that do not lie in the first `old`
    values and begin before `last`. keep: values kept per averaging time, all of them if None. Where neighbours stand
    that far apart, the next sums are every second one: those whose number, counted from `phase`, is a multiple.

    parts: views of two arrays whose sum is what is handed on; its first value begins at `first`.
    """

    def __init__(
        self,
        n: int,
        lag: int,
        limit: int,
        order: int,
        triangular: bool,
        buffers: Sequence[Float],
        *,
        array: Float | None = None,
        old: int = 0,
        last: int | None = None,
        keep: int | None = None,
        phase: int = 0,
    ) -> None:
        self.steps: list[Step] = []
        self.parts = Views(None, (), 0)
        self.first = 0
        sums, spare, other = array, buffers[0], buffers[-1]
        span, m, last = 1, 1, n if last is None else last  # span: values that a sum is made of
        begin, stride = 0, 1  # where the first of the sums begins, and from each one to the next
        while True:
            low, high = _counted(n, span + order * lag * stride, old, last)
            low, high = _ceil(low - begin, stride), _ceil(high - begin, stride)
            step = Step(m, Views(sums, range(low, low + order * lag + 1, lag), max(high - low, 0)), spare)
            self.steps.append(step)
            span += lag * stride * (2 if triangular else 1)
            if span > n:
                return
            low, high = (0, n - span + 1) if m < limit else _counted(n, span, old, last)
            thin = 2 if lag == keep else 1
            low += (-phase - low) % (stride * thin)
            count, at = max(_ceil(high - low, stride * thin), 0), (low - begin) // stride
            halves = Views(sums, (at, at + lag), count, thin)
            if triangular and count:
                step.then_add(Views(sums, (at, at + lag), count + lag // thin, thin), spare)
                halves = Views(spare, (0, lag // thin), count)
            if m == limit or not count:
                self.parts, self.first = halves, low
                return
            if triangular:
                step.then_add(halves, other)
                sums = other
            else:
                step.then_add(halves, spare)
                sums, spare, other = spare, other, spare
            m, lag, begin, stride = 2 * m, 2 * lag // thin, low, stride * thin

    def run(self, array: Float) -> list[float]:
        """Sums of squares of the terms, step by step."""
        with np.errstate(over="ignore", invalid="ignore"):
            return [step.run(array) for step in self.steps]


def _counted(n: int, reach: int, old: int, last: int) -> tuple[int, int]:
    """Where the windows of `reach` values begin (from, to) that are counted."""
    return max(old - reach + 1, 0), min(n - reach + 1, last)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
