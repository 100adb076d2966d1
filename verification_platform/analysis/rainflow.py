"""Rainflow counting (ASTM E1049-85 (2017), 5.4.4): streaming, mergeable, exact.

    counter = RainflowCounter(range_width=5.0)
    for block in recording: counter.update(block)
    result = counter.result()            # histogram, residue, damage …

One pass, any block lengths, any partition: `merge` appends the later piece, and the counts are those of one
uninterrupted pass, exactly. Closed loops are full cycles; the ranges of the residue are half cycles, which
gives the counts of the standard. Loops are closed in passes over many turning points at once
(`_rainflow_elimination`).

Memory: the turning points still open, usually some tens to hundreds. A signal whose amplitude only shrinks or
grows keeps all of them open; `class_width` rounds the samples to classes first (as counting in classes does)
and so bounds the residue to 2·classes − 1 points.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._bins import BinGrid
from ._rainflow_elimination import Index, eliminate
from .blocks import Float, Int, as_block, pieces
from .damage import SNCurve
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError
from .rainflow_result import CycleTable, RainflowResult, Row, cycle_table

_BUFFER = 131072  # turning points collected before loops are closed


class RainflowCounter:
    """Accumulator: `update(block)`, `merge(later)`, `result()`.

    range_width, mean_width: bin widths of histogram and range × mean matrix. damage: S–N curve whose Miner sum
    is taken over the exact ranges, not over bins. table: keep every cycle with its indices (memory grows with
    the cycles; indices of plateaus need a slower search). class_width: round samples to class mid-points first.
    """

    def __init__(
        self,
        range_width: float,
        mean_width: float | None = None,
        *,
        damage: SNCurve | None = None,
        table: bool = False,
        class_width: float | None = None,
    ) -> None:
        if class_width is not None and not class_width > 0:
            raise AnalysisError(f"class_width must be positive, not {class_width}")
        self.damage_curve, self.class_width, self.keeps_table = damage, class_width, table
        self.n_samples = 0
        self._grid = BinGrid(range_width, mean_width)
        self._damage = 0.0
        self._rows: list[Row] = []
        self._gathered: list[tuple[Float, Float | None, tuple[Int, Int] | None]] = []
        # Signed turning points found so far, the first sample among them but not the last one.
        self._U: Float = np.empty(0)
        self._at: Int = np.empty(0, dtype=np.int64)
        self._size = 0
        self._settled = 0
        self._first_is_peak = False
        self._last = 0.0
        self._last_at = (
            -1
        )  # index of the last sample, −1 before the first (kept up to date with a table only)
        self._lead_at = -1  # index of the last repetition of the first sample
        self._rising = False
        self._up = np.empty(0, dtype=np.bool_)
        self._turns = np.empty(0, dtype=np.bool_)

    def update(self, samples: ArrayLike) -> None:
        """Count on; samples (n,), any n. Raises NotFiniteError for NaN or infinity."""
        block = as_block(samples)
        for piece in pieces(block, self.n_samples):
            start = self.n_samples
            self.n_samples += len(piece)
            if self.class_width is not None:
                piece = (np.floor(piece / self.class_width) + 0.5) * self.class_width
            if self.keeps_table:
                self._feed_indexed(piece, np.arange(start, self.n_samples))
            else:
                self._feed(piece, None)

    def merge(self, later: RainflowCounter) -> None:
        """Append the counts of the piece of signal that follows this one. `later` is left as it was."""
        mine = (self.class_width, self.damage_curve, self.keeps_table)
        if mine != (later.class_width, later.damage_curve, later.keeps_table):
            raise NotMergeableError("rainflow counters of different settings cannot be merged")
        self._grid.merge(later._grid)
        self._damage += later._damage
        offset = self.n_samples
        self._rows += [(r, m, start + offset, end + offset) for r, m, start, end in later._rows]
        self.n_samples += later.n_samples
        if later.n_samples == 0:
            return
        values = np.append(later._open_values(), later._last)
        if self.keeps_table:
            at = np.append(later._at[: later._size], later._last_at)
            at[0] = later._lead_at  # no longer the beginning: index of the last repetition
            self._feed_indexed(values, at + offset)
        else:
            self._feed(values, None)

    def result(self) -> RainflowResult:
        """Counts so far; the counter may be updated further. Raises NotEnoughDataError without a sample."""
        if self.n_samples == 0:
            raise NotEnoughDataError("rainflow: no samples")
        full = self._twin()
        if full._size:
            full._push(np.array([full._last]), np.array([full._last_at]))
        full._close(enough=0)
        half = full._twin()
        half._grid = BinGrid(self._grid.range_width, self._grid.mean_width)
        half._damage, half._rows = 0.0, []
        open_ranges = np.arange(max(half._size - 1, 0))
        half._gather(
            half._at, half._U[: half._size][:-1], half._U[: half._size][1:], open_ranges, open_ranges + 1
        )
        half._count_gathered()
        full._grid.counts *= 2
        full._grid.merge(half._grid)
        matrix = full._grid.counts / 2.0
        counts = matrix.sum(axis=1)
        return RainflowResult(
            n_samples=self.n_samples,
            cycles=float(counts.sum()),
            range_width=full._grid.range_width,
            counts=counts,
            mean_width=full._grid.mean_width,
            first_mean=full._grid.first_mean,
            matrix=None if full._grid.mean_width is None else matrix,
            residue=_without_repeats(full._open_values() if full._size else np.array([self._last])),
            damage=None if self.damage_curve is None else full._damage + half._damage / 2.0,
            table=cycle_table(full._rows, half._rows) if self.keeps_table else None,
        )

    def _twin(self) -> RainflowCounter:
        """A copy that shares no array which either may change."""
        twin = copy(self)
        twin._grid, twin._rows = self._grid.copy(), list(self._rows)
        twin._U, twin._at = self._U[: self._size].copy(), self._at[: self._size].copy()
        twin._gathered = []
        return twin

    # -- turning points ---------------------------------------------------------------------------------------

    def _open_values(self) -> Float:
        """Values of the turning points in the buffer, without their signs."""
        values = self._U[: self._size].copy()
        values[(1 if self._first_is_peak else 0) :: 2] *= -1.0
        return values

    def _feed_indexed(self, values: Float, at: Int) -> None:
        """Drop repeated samples, so that each value carries the index of its last repetition; shapes (n,)."""
        ends = np.append((values[1:] != values[:-1]).nonzero()[0], len(values) - 1)
        values, at = values.take(ends), at.take(ends)
        if self._last_at >= 0 and values[0] == self._last:
            self._last_at = int(at[0])
            if self._size == 0:
                self._lead_at = self._last_at
            values, at = values[1:], at[1:]
        if len(values):
            self._feed(values, at)

    def _feed(self, values: Float, at: Int | None) -> None:
        """Find turning points in values (n,), which follow the values fed before; at (n,): their indices.

        A plateau counts as falling. Where the signal rises through a plateau this makes a peak and a valley of
        equal value: a loop of range 0, which is closed like any other and not counted.
        """
        if self._last_at < 0:
            self._last = float(values[0])
            self._last_at = self._lead_at = 0 if at is None else int(at[0])
            values, at = values[1:], None if at is None else at[1:]
            if not len(values):
                return
        rising = bool(values[0] > self._last)
        if self._size == 0:
            self._first_is_peak = not rising
            self._push(np.array([self._last]), np.zeros(1, dtype=np.int64))
        elif rising != self._rising:
            self._push(np.array([self._last]), np.array([self._last_at]))
        self._rising = rising
        n = len(values)
        if n > 1:
            if len(self._up) < n:
                self._up, self._turns = np.empty(n, dtype=np.bool_), np.empty(n, dtype=np.bool_)
            up = np.greater(values[1:], values[:-1], out=self._up[: n - 1])
            if bool(up[0]) != rising:
                self._push(values[:1], None if at is None else at[:1])
            where = np.not_equal(up[1:], up[:-1], out=self._turns[: n - 2]).nonzero()[0]
            self._push(values[1:], None if at is None else at[1:], where)
            self._rising = bool(up[-1])
        self._last = float(values[-1])
        self._last_at = 0 if at is None else int(at[-1])

    def _push(self, values: Float, at: Int | None, where: Index | None = None) -> None:
        """Append alternating turning points (those at `where`, or all), signed; close loops if enough have gathered."""
        begin = self._size
        end = begin + len(values if where is None else where)
        if end > len(self._U):
            room = max(2 * len(self._U), end, 4096)
            self._U = np.concatenate((self._U[:begin], np.empty(room - begin)))
            if self.keeps_table:
                self._at = np.concatenate((self._at[:begin], np.empty(room - begin, dtype=np.int64)))
        if where is None:
            self._U[begin:end] = values
        else:  # straight into place; "clip" for the check that "raise" makes in a copy
            values.take(where, out=self._U[begin:end], mode="clip")
        valleys = self._U[begin + ((begin % 2 == 0) == self._first_is_peak) : end : 2]
        np.negative(valleys, out=valleys)
        if self.keeps_table and at is not None:
            self._at[begin:end] = at if where is None else at.take(where)
        self._size = end
        if end - self._settled >= max(_BUFFER, self._settled):
            self._close(enough=end >> 3)

    # -- loops ------------------------------------------------------------------------------------------------

    def _close(self, enough: int) -> None:
        """Take closed loops out of the buffer until none, or no more than `enough` points, are left."""
        at = self._at[: self._size] if self.keeps_table else None
        U, at = eliminate(self._U[: self._size], at, enough, self._gather)
        self._size = self._settled = len(U)
        self._U[: len(U)] = U
        if at is not None:
            self._at[: len(U)] = at
        self._count_gathered()

    def _gather(self, at: Int | None, first: Float, second: Float, i: Index, j: Index) -> None:
        """Take note of the cycles between the signed points at positions i and j (of different kind)."""
        means = None
        if self.keeps_table or self._grid.mean_width is not None:
            means = (first - second) / 2.0
            np.negative(means, out=means, where=(i % 2 == 0) != self._first_is_peak)
        indices = None
        if self.keeps_table and at is not None:
            one, other = at.take(i), at.take(j)
            indices = (np.minimum(one, other), np.maximum(one, other))
        self._gathered.append((first + second, means, indices))

    def _count_gathered(self) -> None:
        if not self._gathered:
            return
        columns: list[NDArray[Any]] = [np.concatenate([r for r, _, _ in self._gathered])]
        if self._gathered[0][1] is not None:
            columns.append(np.concatenate([m for _, m, _ in self._gathered if m is not None]))
        if self.keeps_table:
            columns += [
                np.concatenate([at[k] for _, _, at in self._gathered if at is not None]) for k in (0, 1)
            ]
        if len(columns[0]) and np.minimum.reduce(columns[0]) == 0:  # plateaus
            real = columns[0].nonzero()[0]
            columns = [column.take(real) for column in columns]
        ranges, means = columns[0], columns[1] if len(columns) > 1 else None
        self._grid.add(ranges, means)
        if self.damage_curve is not None:
            self._damage += float(self.damage_curve.damage_per_cycle(ranges).sum())
        if self.keeps_table:
            self._rows.append((columns[0], columns[1], columns[2], columns[3]))
        self._gathered = []


def _without_repeats(values: Float) -> Float:
    changes = np.append(True, values[1:] != values[:-1])
    return values.take(changes.nonzero()[0])


def rainflow(
    samples: ArrayLike,
    range_width: float,
    mean_width: float | None = None,
    *,
    damage: SNCurve | None = None,
    table: bool = False,
    class_width: float | None = None,
) -> RainflowResult:
    """One-call form of `RainflowCounter` for samples (n,)."""
    counter = RainflowCounter(range_width, mean_width, damage=damage, table=table, class_width=class_width)
    counter.update(samples)
    return counter.result()


def rainflow_table(samples: ArrayLike) -> CycleTable:
    """Every cycle of samples (n,) with its range, mean, count and the indices of its turning points."""
    block = as_block(samples)
    span = float(block.max() - block.min()) if len(block) else 0.0
    table = rainflow(block, range_width=span if np.isfinite(span) and span > 0 else 1.0, table=True).table
    assert table is not None
    return table


def count_cycles(samples: ArrayLike) -> dict[float, float]:
    """Number of cycles of each range that occurs, as in the example of ASTM E1049, figure 6: {range: count}.

    For short records: the number of different ranges grows with the samples.
    """
    table = rainflow_table(samples)
    ranges, inverse = np.unique(table.range, return_inverse=True)
    counts = np.bincount(inverse, weights=table.count, minlength=len(ranges))
    return {float(r): float(c) for r, c in zip(ranges, counts, strict=True)}
