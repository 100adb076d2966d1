"""The long averaging times of an Allan accumulator, one above the other.

Averages over 2m samples are built from averages over m, never from a cumulative sum:
S_2m[i] = S_m[i] + S_m[i+m] for plain sums, T_2m[i] = T_m[i] + 2·T_m[i+m] + T_m[i+2m] for the triangular sums of
the modified variance. A term of the variance is the difference S_m[i+m] − S_m[i]. Each level works in a buffer
of its own, on values that are in the cache, and hands its sums to the next level.

A level keeps one value per `stride` samples, at multiples of the stride counted from the beginning of the
whole recording, so pieces of it fit together: `head` and `tail` are what a merge needs to work out the sums
and terms that straddle the seam.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._allan_steps import Steps
from .blocks import Float, buffers
from .moments import inner

_ROW = 32768  # values worked on at a time, in the cache


class Level:
    """Sums over m samples, one per stride; order 1 has terms for Allan, order 2 for Hadamard variances."""

    __slots__ = (
        "_buffer",
        "_done",
        "_fill",
        "_form",
        "_head",
        "_rows",
        "end",
        "m",
        "order",
        "reach",
        "seen",
        "squares",
        "stride",
        "terms",
        "triangular",
    )

    def __init__(self, m: int, stride: int, order: int, triangular: bool) -> None:
        self.m, self.stride, self.order, self.triangular = m, stride, order, triangular
        self.reach = m // stride  # values from one average to the next one beside it
        self.squares, self.terms = 0.0, 0
        self.seen, self.end = 0, 0  # number of values; sample at which the next value will begin
        self._head: Float = np.empty(2 * self.reach)
        self._buffer: Float = np.empty(2 * self.reach + max(_ROW, 2 * self.reach))
        self._fill = self._done = 0
        self._form = 0, 0, 0
        self._rows: list[tuple[int, Steps]] = []

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Without the views of buffers, which a copy would not share."""
        state = {name: getattr(self, name) for name in self.__slots__}
        return None, state | {"_form": (0, 0, 0), "_rows": []}

    @property
    def head(self) -> Float:
        """The first 2·reach values, or all if there are fewer."""
        return self._head[: min(self.seen, len(self._head))]

    @property
    def tail(self) -> Float:
        """The last 2·reach values, or all if there are fewer."""
        return self._buffer[max(self._fill - len(self._head), 0) : self._fill]

    @property
    def room(self) -> int:
        return len(self._buffer) - self._fill

    def slot(self, n: int) -> Float:
        """Where the next n values (n ≤ room) go, to be filled in and then confirmed by `added`."""
        return self._buffer[self._fill : self._fill + n]

    def added(self, n: int, begin: int) -> None:
        """n values were written to `slot`; the first one begins at sample `begin`."""
        if self.seen == 0:
            self.end = begin
        if self.seen < len(self._head):
            more = min(n, len(self._head) - self.seen)
            self._head[self.seen : self.seen + more] = self._buffer[self._fill : self._fill + more]
        self._fill += n
        self.seen += n
        self.end += n * self.stride

    def work(self, chain: Chain) -> None:
        """Count the terms that end in the values not yet done; hand the sums on to the level above."""
        begin = self.end // self.stride - self._fill  # number of the first value in the buffer
        form = self._done, self._fill, begin % 2
        if form != self._form:
            self._form, self._rows = form, self._cut(chain, begin)
        for start, steps in self._rows:
            if steps.parts.n:  # before the scratch, which is shared, is in use
                chain.make_room(2 * self.m, steps.parts.n)
            self.squares += steps.run(self._buffer)[0]
            self.terms += steps.steps[0].terms
            if steps.parts.n:
                parts = steps.parts.of(self._buffer)
                chain.put(2 * self.m, parts, (begin + start + steps.first) * self.stride)
        keep = len(self._head)
        if self._fill > keep:
            self._buffer[:keep] = self._buffer[self._fill - keep : self._fill].copy()
            self._fill = keep
        self._done = self._fill

    def _cut(self, chain: Chain, begin: int) -> list[tuple[int, Steps]]:
        """Steps for the values not yet done, row by row, with the place in the buffer that each looks back to."""
        rows = []
        for start in range(self._done, self._fill, _ROW):
            stop, back = min(start + _ROW, self._fill), max(start - len(self._head), 0)
            steps = Steps(
                stop - back,
                self.reach,
                1,
                self.order,
                self.triangular,
                [chain.scratch(stop - back)],
                array=self._buffer[back:stop],
                old=start - back,
                keep=chain.points,
                phase=begin + back,
            )
            rows.append((back, steps))
        return rows

    @property
    def span(self) -> int:
        """Values from the first to the last one that a sum of the level above is made of."""
        return 2 * self.reach if self.triangular else self.reach

    def join(self, missing: Float, later: Level | None) -> None:
        """Append the values `missing` that straddle the seam, and the values and terms of `later`."""
        none = np.empty(0)
        head, tail = (none, none) if later is None else (later.head, later.tail)
        around = np.concatenate((self.tail, missing, head))
        starts = _straddling(around, self.order * self.reach, len(self.tail), len(head))
        if len(starts):
            term = around[starts + self.reach] - around[starts]
            if self.order == 2:
                term = around[starts + 2 * self.reach] - around[starts + self.reach] - term
            self.squares += inner(term, term)
            self.terms += len(starts)
        keep = len(self._head)
        if self.seen < keep:
            joined = np.concatenate((self.head, missing, head))[:keep]
            self._head[: len(joined)] = joined
        joined = np.concatenate((self.tail, missing, tail))[-keep:]
        self._buffer[: len(joined)] = joined
        self._fill = self._done = len(joined)
        self.seen += len(missing)
        self.end += len(missing) * self.stride
        if later is not None and later.seen:
            self.squares += later.squares
            self.terms += later.terms
            self.seen += later.seen
            self.end = later.end


class Chain:
    """Levels for first_m, 2·first_m … `points` values per averaging time are kept, all of them if None."""

    def __init__(self, first_m: int, points: int | None, order: int, triangular: bool) -> None:
        self.first_m, self.points, self.order, self.triangular = first_m, points, order, triangular
        self.levels: list[Level] = []
        self._scratch: Float = np.empty(0)

    def __getstate__(self) -> dict[str, Any]:
        """Without the scratch."""
        return self.__dict__ | {"_scratch": np.empty(0)}

    def stride(self, m: int) -> int:
        return 1 if self.points is None else max(1, m // self.points)

    def feed(self, parts: list[Float], begin: int) -> None:
        """Two arrays (n,) that add up to sums over first_m samples, one per stride from sample `begin` on."""
        self.put(self.first_m, parts, begin)

    def put(self, m: int, parts: list[Float], begin: int) -> None:
        """Two arrays (n,) that add up to sums over m samples, one per stride from sample `begin` on."""
        level = self._level((m // self.first_m).bit_length() - 1)
        low, high = parts
        done, n = 0, len(low)
        while done < n:
            stop = min(done + level.room, n)
            np.add(low[done:stop], high[done:stop], out=level.slot(stop - done))
            level.added(stop - done, begin + done * level.stride)
            done = stop
            if level.room == 0:
                level.work(self)

    def make_room(self, m: int, n: int) -> None:
        """See to it that the level for m takes n values (n ≤ _ROW) without a stop."""
        level = self._level((m // self.first_m).bit_length() - 1)
        if level.room < n:
            level.work(self)

    def scratch(self, n: int) -> Float:
        """Room for n values that nobody needs for longer than a row."""
        if len(self._scratch) < n:
            (self._scratch,) = buffers(1, n)
        return self._scratch

    def drain(self) -> None:
        """Work off everything that waits in the buffers."""
        number = 0
        while number < len(self.levels):
            self.levels[number].work(self)
            number += 1

    def join(self, missing: Float, begin: int, later: Chain) -> None:
        """Append a later chain, both drained; `missing`: sums across the seam, one per stride from `begin` on."""
        number = 0
        while number < max(len(self.levels), len(later.levels)) or len(missing):
            other = later.levels[number] if number < len(later.levels) else None
            own = self._level(number)
            if own.seen == 0:
                own.end = begin if len(missing) or other is None else other.end - other.seen * other.stride
            before, after = len(own.tail), 0 if other is None else len(other.head)
            around = np.concatenate((own.tail, missing, np.empty(0) if other is None else other.head))
            first = own.end - before * own.stride
            own.join(missing, other)
            missing, begin = self._sums_across(own, around, first, before, after)
            number += 1

    def _sums_across(
        self, level: Level, around: Float, first: int, before: int, after: int
    ) -> tuple[Float, int]:
        """Sums for the level above from the values `around` a seam, the first one beginning at sample `first`,
        that lie neither wholly in the first `before` nor in the last `after` of them.
        """
        where = _straddling(around, level.span, before, after)
        begins = first + where * level.stride
        where = where[begins % self.stride(2 * level.m) == 0]
        sums = around[where] + around[where + level.span]
        if level.triangular:
            sums += 2 * around[where + level.reach]
        return sums, first + int(where[0]) * level.stride if len(where) else 0

    def _level(self, number: int) -> Level:
        if number == len(self.levels):
            m = self.first_m << number
            self.levels.append(Level(m, self.stride(m), self.order, self.triangular))
        return self.levels[number]


def _straddling(values: Float, span: int, before: int, after: int) -> NDArray[np.intp]:
    """Beginnings of windows of span + 1 values that lie neither wholly in the first `before` nor in the last
    `after` of the values.
    """
    low = max(before - span, 0)
    high = min(len(values) - after, len(values) - span)
    return np.arange(low, max(high, low))
