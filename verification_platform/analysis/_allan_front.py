"""The short averaging times of an Allan accumulator: every window, straight from the samples.

For m = 1, 2, 4 … up to a limit, the sums over m of a piece of signal are doubled in place of being stored, while the
piece is in the cache; only few samples in front of it are looked at again. What leaves are the parts that the sums
over twice the limit are made of, for the levels above (`_allan_levels`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._allan_steps import Steps
from .blocks import Float, buffers, refuse_not_finite

_PIECE = 24 * 8192  # samples: in shorter ones the calls show
_SPARSE = 997  # a prime: whatever repeats in the signal, its mean is met
Sink = Callable[[list[Float], int], None]


class Front:
    """Sums of squares of all terms for m = 1 … limit (powers of two).

    points: values kept per averaging time, a power of two, or None for all. order, triangular: as in `_allan_levels`.
    begin: number of the first sample. `feed` and `join` call sink(parts, first) with two arrays (n,) that add up to sums
    over 2·limit samples; these begin at sample `first` and at each multiple of `stride` from there on.
    """

    def __init__(self, limit: int, points: int | None, order: int, triangular: bool, begin: int = 0) -> None:
        self.limit, self.points, self.order, self.triangular = limit, points, order, triangular
        self.stride = 1 if points is None else max(1, 2 * limit // points)
        self.factors = [1 << k for k in range(limit.bit_length())]
        self.squares = dict.fromkeys(self.factors, 0.0)
        self.terms = dict.fromkeys(self.factors, 0)
        self.halo = max(4 if triangular else 2, order + 1) * limit  # samples that a window can reach back
        self.head: Float = np.empty(0)  # the first and the last `halo` samples
        self.tail: Float = np.empty(0)
        self.begin = self.end = begin  # numbers of the first sample and of the next one
        self._form: tuple[int, ...] = ()
        self._steps: Steps | None = None
        self._room: list[Float] = []
        self._centred: Float | None = None  # where the samples go without their mean, if they do

    def __getstate__(self) -> dict[str, Any]:
        """Without the views of buffers, which a copy would not share, and the buffers."""
        return self.__dict__ | {"_form": (), "_steps": None, "_room": [], "_centred": None}

    def feed(self, samples: Float, sink: Sink) -> None:
        """Samples (n,) that follow. Raises NotFiniteError; the pieces in front of that sample have then been taken."""
        size = max(_PIECE, 8 * self.halo)
        for start in range(0, len(samples), size):
            stop = min(start + size, len(samples))
            old = len(self.tail)
            if start >= old:
                joined = samples[start - old : stop]
            else:
                joined = np.concatenate((self.tail, samples[start:stop]))
            self._windows(joined, old, len(joined), sink)
            if len(self.head) < self.halo:
                self.head = np.append(self.head, samples[start:stop])[: self.halo]
            self.tail = joined[max(len(joined) - self.halo, 0) :].copy()
            self.end += stop - start

    def join(self, later: Front, sink: Sink) -> None:
        """Append `later`, which holds at least `halo` samples: its terms and the windows across the seam."""
        joined, old = np.concatenate((self.tail, later.head)), len(self.tail)
        self._windows(joined, old, old, sink)
        if len(self.head) < self.halo:
            self.head = np.append(self.head, later.head)[: self.halo]
        self.tail, self.end = later.tail, later.end
        for m in self.factors:
            self.squares[m] += later.squares[m]
            self.terms[m] += later.terms[m]

    def _windows(self, x: Float, old: int, last: int, sink: Sink) -> None:
        """Count windows of x (n,) that do not lie in its first `old` samples and begin before `last`. The sample
        x[old] is number `end`.
        """
        begin, n = self.end - old, len(x)
        form = n, old, last, begin % self.stride
        if self._steps is None or form != self._form:
            self._form, self._steps = form, self._cut(n, old, last, begin)
        steps, centre = self._steps, 0.0
        if self._centred is not None:
            centre = _near_mean(x)
            np.subtract(x, centre, self._centred)
        squares = steps.run(x)
        first = steps.steps[0]
        if not (first.terms and math.isfinite(squares[0])):
            refuse_not_finite(x, begin - self.begin)
        for step, found in zip(steps.steps, squares, strict=True):
            self.squares[step.m] += found
            self.terms[step.m] += step.terms
        if steps.parts.n:
            if centre and steps.sums is not None:
                steps.sums += self.limit * centre
            sink(steps.parts.of(x), begin + steps.first)

    def _cut(self, n: int, old: int, last: int, begin: int) -> Steps:
        if not self._room or len(self._room[0]) < n:
            self._room = buffers(2, n)
        one, two = self._room
        plain = self.order == 1 and not self.triangular
        centred = plain and last == n and old == self.halo <= n - old
        self._centred = two[:n] if centred else None
        return Steps(
            n,
            1,
            self.limit,
            self.order,
            self.triangular,
            (one, two),
            array=self._centred,
            old=old,
            last=last,
            keep=self.points,
            phase=begin,
            centred=centred,
        )


def _near_mean(x: Float) -> float:
    """The mean of some samples of x (n,), from all over it; zero if it overflows or one of them is not finite."""
    some = x[::_SPARSE]
    mean = float(np.add.reduce(some)) / len(some)
    return mean if math.isfinite(mean) else 0.0
