"""Averaging times m, 2m, 4m … of one array in the cache: the terms at each, then the sums for the next.

Plain sums are doubled by S_2m[i] = S_m[i] + S_m[i+m]; triangular ones, of the modified variance, by adding neighbours
twice: T_2m[i] = T_m[i] + 2·T_m[i+m] + T_m[i+2m]. Terms are differences S_m[i+m] − S_m[i], or second differences.
Never a cumulative sum: it would cost digits.

Samples near their mean need no terms: Σ(a − b)² = 2·Σ(a² + b²) − Σ(a + b)², and the sums a + b are those of the next
averaging time, which needs their squares too. Where this difference is small the terms are worked out all the same,
so that less than two digits are lost.

Where only some values per averaging time are kept, the sums for the next one are every second value.

A pass over some ten thousand values takes microseconds, and so do the calls and views around it. Two buffers take
turns, and the views are made once for all arrays of a length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .blocks import Float
from .moments import ROW

_CANCELS = 64  # squares this many times their difference cost a digit and a half


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


class Inner:
    """Σ a·b of two views (n,) made once, row by row as `moments.inner`."""

    __slots__ = ("_rest", "_rows")

    def __init__(self, a: Float, b: Float) -> None:
        whole = len(a) // ROW * ROW
        self._rows = a[:whole].reshape(-1, ROW), b[:whole].reshape(-1, ROW)
        self._rest = a[whole:], b[whole:]

    def __call__(self) -> float:
        (a, b), (c, d) = self._rows, self._rest
        total = float(sum(np.vecdot(a, b).tolist())) if len(a) else 0.0
        return total + float(c.dot(d)) if len(c) else total


class Step:
    """The terms of one averaging factor, and the additions that lead to the next one.

    neighbours: the sums over m that a term is made of. The terms are written to `spare`, which holds nothing that
    is read later.
    """

    __slots__ = ("_neighbours", "_squares", "_sums", "_term", "m", "terms")

    def __init__(self, m: int, neighbours: Views, spare: Float) -> None:
        self.m, self.terms = m, neighbours.n
        self._neighbours, self._term = neighbours, spare[: neighbours.n]
        self._squares = Inner(self._term, self._term)
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
        squares = self._squares()
        self.add(array)
        return squares

    def add(self, array: Float) -> None:
        for halves, out in self._sums:
            low, high = halves.of(array)
            np.add(low, high, out)


class Pairs:
    """Sums of squares of both neighbours of the terms: sums over m that begin at low … high − 1 and m later."""

    __slots__ = ("_head", "_tail", "later", "products")

    def __init__(self, sums: Float, m: int, low: int, high: int) -> None:
        first, second = sums[low:high], sums[low + m : high + m]
        head, tail = sums[low : low + m], sums[high : high + m]
        self.later, self.products = Inner(second, second), Inner(first, second)
        self._head, self._tail = Inner(head, head), Inner(tail, tail)

    def both(self, later: float) -> float:
        return 2 * later + self._head() - self._tail()


class Steps:
    """Steps for arrays (n,) of sums, at 1, 2, 4 … limit times their averaging factor; neighbours stand `lag` apart.

    order: 1 for differences, 2 for second differences. buffers: two of n values, one is enough for limit 1. array:
    a buffer that is always worked on, if so. old, last: terms and sums are counted that do not lie in the first `old`
    values and begin before `last`. keep: values kept per averaging time, all of them if None. Where neighbours stand
    that far apart, the next sums are every second one: those whose number, counted from `phase`, is a multiple.
    centred: `array` holds samples that are near zero, of which all but the first `old` ≥ 2·limit are counted.

    parts: views of two arrays whose sum is what is handed on; its first value begins at `first`. sums: those over
    limit values, of which the parts are views.
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
        centred: bool = False,
    ) -> None:
        self.steps: list[Step] = []
        self._pairs: list[Pairs] = []
        self.parts = Views(None, (), 0)
        self.sums: Float | None = None
        self.first = 0
        sums, spare, other = array, buffers[0], buffers[-1]
        span, m, last = 1, 1, n if last is None else last  # span: values that a sum is made of
        held = n  # so many sums
        begin, stride = 0, 1  # where the first of the sums begins, and from each one to the next
        while True:
            low, high = _counted(n, span + order * lag * stride, old, last)
            low, high = _ceil(low - begin, stride), _ceil(high - begin, stride)
            step = Step(m, Views(sums, range(low, low + order * lag + 1, lag), max(high - low, 0)), spare)
            self.steps.append(step)
            if centred and stride == 1 and sums is not None:
                self._pairs.append(Pairs(sums, m, low, high))
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
                self.parts, self.first, self.sums = halves, low, None if sums is None else sums[:held]
                return
            if triangular:
                step.then_add(halves, other)
                sums = other
            else:
                step.then_add(halves, spare)
                sums, spare, other = spare, other, spare
            m, lag, begin, stride, held = 2 * m, 2 * lag // thin, low, stride * thin, count

    def run(self, array: Float) -> list[float]:
        """Sums of squares of the terms, step by step."""
        with np.errstate(over="ignore", invalid="ignore"):
            shared = self._shared(array) if self._pairs else []
            return shared + [step.run(array) for step in self.steps[len(shared) :]]

    def _shared(self, array: Float) -> list[float]:
        """The same from the squares of the sums, of the steps that keep all of them."""
        found = []
        later = self._pairs[0].later()
        for step, pairs, after in zip(self.steps, self._pairs, [*self._pairs[1:], None], strict=False):
            both = pairs.both(later)
            step.add(array)
            if after is None:
                squares = both - 2 * pairs.products()
            else:
                later = after.later()
                squares = 2 * both - later
            found.append(squares if squares * _CANCELS >= both else step.run(array))
        return found


def _counted(n: int, reach: int, old: int, last: int) -> tuple[int, int]:
    """Where the windows of `reach` values begin (from, to) that are counted."""
    return max(old - reach + 1, 0), min(n - reach + 1, last)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
