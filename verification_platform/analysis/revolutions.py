"""Whole revolutions out of a stream: the machine behind the time-synchronous average and the transmission
error.

A signal is cut at whole turns of an angle, counted from the first sample, and folded. A revolution is
booked when its samples cover it completely; what lies before the first and behind the last whole one is
reported, not used.

Speed: as many neighbouring samples as fit into 0.8 angle bins are summed before they are folded; their spread enters the
moments of the `Fold`, so nothing is lost. Sums are taken over groups counted from the first sample of
the run, which makes any partition of the run add up to the same groups. Many groups and many revolutions are taken in
one step (`_period_sums`, `_booking`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np

from ._booking import Booked, Booking
from ._period_sums import Frame, PeriodSums
from .blocks import CHUNK, refuse_not_finite
from .errors import AnalysisError, NotMergeableError
from .fold import Floats, Fold
from .samples import CoverageError, as_blocks

_LARGEST_GROUP = 1024
#: Bins that a group reaches over: with clearly less than one, no bin of a nearly even motion stays empty.
_GROUP_BINS = 0.8
#: Groups folded at a time: enough to hide the cost of a numpy call.
_GROUPS = 1 << 17
_LARGEST_CHUNK = 1 << 19
_SETTLE_LIMIT = 2_000_000


@dataclass(slots=True)
class _Open:
    """A revolution that is not complete yet; its samples have indices first … stop − 1 of the run."""

    fold: Fold
    first: int
    stop: int


class Revolutions:
    """Folds y = scale·x + slope·θ (both from their first sample on) over whole periods of θ.

    period: of θ, rad; max_order: highest order per period that is kept (8 bins a cycle); direction: ±1 of
    θ, found from the data when None; widths: is the peak-to-peak of every revolution wanted? Everything public
    is readable: `total` (Fold of the booked periods, each with its mean removed), `booked`, `open`, `samples`, `travel`,
    `pitch` and `widest` (the widest step that left a bin empty) in periods.
    """

    def __init__(
        self,
        max_order: int,
        *,
        period: float = 2 * math.pi,
        scale: float = 1.0,
        slope: float = 0.0,
        direction: int | None = None,
        names: tuple[str, str] = ("angle", "signal"),
        widths: bool = True,
    ) -> None:
        if max_order < 1 or not (math.isfinite(period) and period > 0):
            raise AnalysisError(f"max_order >= 1 and period > 0 are needed, got {max_order} and {period}")
        if direction not in (None, -1, 1):
            raise AnalysisError(f"the direction is +1 or -1, got {direction}")
        self.max_order, self.period, self.scale, self.slope = max_order, period, scale, slope
        self.direction = direction
        self.names = names
        self._widths = widths
        self.bins = 1 << math.ceil(math.log2(8 * max(max_order, 2)))
        self.origin: tuple[float, float] | None = None
        self.group = 0  # samples summed before they are folded; 0 until the pitch is known
        self._period_sums: PeriodSums | None = None
        self._clear(0)

    def _clear(self, first_index: int) -> None:
        self._booking = Booking(self.bins, self.max_order, self.group, widths=self._widths)
        self.open: dict[int, _Open] = {}
        self.samples = 0
        self.travel = self.widest = 0.0
        self._loose: dict[
            int, list[tuple[int, Floats, Floats]]
        ] = {}  # incomplete groups: samples as they came
        self._waiting: list[tuple[Floats, Floats]] = []
        self._index = first_index
        self._spans: list[tuple[int, int]] = []  # sample indices folded, as disjoint half-open intervals
        #: Where the last sample folded lies, in periods, and the index behind it.
        self._place: tuple[float, int] | None = None
        self._furthest = (-math.inf, 0.0)  # place of the last sample of all, and its step
        self._pieces = 0

    def fork(self, first_index: int) -> Revolutions:
        """An empty accumulator for the samples from `first_index` of the same run, to be merged into this
        one.

        Raises CoverageError before this one has seen enough to know origin and direction.
        """
        if not self.group:
            raise CoverageError(
                "origin and direction are not known yet: give the first block to this accumulator"
            )
        twin = copy.copy(self)
        twin._clear(first_index)
        twin._period_sums = copy.deepcopy(self._period_sums)
        return twin

    def update(self, theta: Floats, x: Floats) -> None:
        """Add a block: θ rad, unwrapped, and x, shapes (n,). Raises NotFiniteError, SampleError."""
        theta, x = as_blocks(theta, x)
        for start in range(0, theta.size, CHUNK):
            if self.group:
                self._fold(theta[start:], x[start:])
                return
            part = slice(start, start + CHUNK)
            self._waiting.append((theta[part].copy(), x[part].copy()))
            if self._settle():
                waiting, self._waiting = self._waiting, []
                for a, b in waiting:
                    self._fold(a, b)

    def _settle(self) -> bool:
        """Origin, direction and grouping from the first samples, once they span a few angle bins."""
        theta = np.concatenate([a for a, _ in self._waiting])
        x = np.concatenate([b for _, b in self._waiting])
        refuse_not_finite(theta, 0, self.names[0])
        refuse_not_finite(x, 0, self.names[1])
        width = self.period / self.bins
        away = np.flatnonzero(np.abs(theta - theta[0]) >= 16 * width)
        if away.size == 0:
            if theta.size > _SETTLE_LIMIT:
                raise CoverageError(f"{self.names[0]}: hardly any motion in {theta.size} samples")
            return False
        # decided by the first sample 16 bins away, so that it does not depend on the size of the blocks
        first = int(away[0])
        self.origin = (float(theta[0]), float(x[0]))
        if self.direction is None:
            self.direction = 1 if theta[first] > theta[0] else -1
        self.group = min(max(math.floor(_GROUP_BINS * first / 16), 1), _LARGEST_GROUP)
        self._booking.group = self.group
        frame = Frame(self.origin, self.direction, self.period, self.scale, self.slope, self.bins, self.names)
        self._period_sums = PeriodSums(frame)
        return True

    def _fold(self, theta: Floats, x: Floats) -> None:
        """Fold whole groups, hold back the samples of those that are not complete."""
        first = min(-self._index % self.group, theta.size)
        if first:
            self._keep(self._index, theta[:first], x[:first])
        whole = first + (theta.size - first) // self.group * self.group
        chunk = min(max(CHUNK, _GROUPS * self.group), _LARGEST_CHUNK) // self.group * self.group
        for start in range(first, whole, chunk):
            stop = min(start + chunk, whole)
            self._add(theta[start:stop], x[start:stop], self.group, self._index + start)
        if whole < theta.size:
            self._keep(self._index + whole, theta[whole:], x[whole:])
        self._index += theta.size

    def _keep(self, index: int, theta: Floats, x: Floats) -> None:
        """Hold back samples of a group that is not complete, and fold it once it is."""
        number = index // self.group
        held = self._loose.setdefault(number, [])
        held.append((index, theta.copy(), x.copy()))
        if sum(part.size for _, part, _ in held) == self.group:
            del self._loose[number]
            held.sort(key=lambda part: part[0])
            whole = [np.concatenate([part[k] for part in held]) for k in (1, 2)]
            self._add(whole[0], whole[1], self.group, number * self.group)

    @property
    def total(self) -> Fold:
        return self._booking.total

    @property
    def booked(self) -> Booked:
        return self._booking.booked()

    def _add(self, theta: Floats, x: Floats, group: int, index: int) -> None:
        """Fold consecutive samples from `index` on, whole groups."""
        assert self._period_sums is not None
        frame = self._period_sums.frame
        begin, end = frame.place(float(theta[0])), frame.place(float(theta[-1]))
        first, sums, widest = self._period_sums(theta, x, group, index)
        if group == self.group:
            self.widest = max(self.widest, widest)
        follows = self._place is not None and self._place[1] == index
        if follows and self._place is not None:
            self.widest = max(self.widest, begin - self._place[0] + (group - 1) * self.pitch)
            begin = self._place[0]
        self._pieces += not follows
        self.travel += end - begin
        self.samples += theta.size
        self._place = (end, index + theta.size)
        step = abs(float(theta[-1] - theta[-2])) / self.period if theta.size > 1 else end - begin
        self._furthest = max(self._furthest, (end, step))
        self._cover((index, index + theta.size))
        # noise may bring a few samples back over the end of a revolution
        until = end - 0.125
        self._sort(first, sums, index, until)
        self._book(until)

    def _sort(self, first: int, sums: Floats, index: int, until: float) -> None:
        """Book what lies whole within one block at once; the rest waits for its other samples."""
        periods, counts = sums.shape[1], np.add.reduce(sums[0], axis=1)
        stops = [index, *(index + np.cumsum(counts).astype(np.int64)).tolist()]
        begin, end = max(1, -first), min(periods - 1, math.floor(until) - first)
        if begin < end and counts.all() and self.open.keys().isdisjoint(range(first + begin, first + end)):
            self._booking.add(first + begin, sums[:, begin:end])
        else:
            begin = end = periods
        for k in (*range(begin), *range(end, periods)):
            if stops[k + 1] > stops[k]:
                self._opened(first + k, stops[k], stops[k + 1]).fold.sums += sums[:, k]

    def _opened(self, k: int, first: int, stop: int) -> _Open:
        """Revolution k, grown by samples first … stop − 1."""
        held = self.open.get(k)
        if held is None:
            held = self.open[k] = _Open(Fold.empty(self.bins), first, stop)
        else:
            held.first, held.stop = min(held.first, first), max(held.stop, stop)
        return held

    def _cover(self, span: tuple[int, int]) -> None:
        """Note which samples were folded; neighbouring intervals grow together."""
        if self._spans and self._spans[-1][1] == span[0]:
            self._spans[-1] = (self._spans[-1][0], span[1])
            return
        joined: list[tuple[int, int]] = []
        for start, stop in sorted([*self._spans, span]):
            if joined and joined[-1][1] == start:
                joined[-1] = (joined[-1][0], stop)
            else:
                joined.append((start, stop))
        self._spans = joined

    @property
    def pitch(self) -> float:
        """Mean step from sample to sample, in periods."""
        return abs(self.travel) / max(self.samples - self._pieces, 1)

    def _book(self, until: float) -> None:
        """Book complete revolutions that end before `until`, in order."""
        for k in sorted(self.open):
            if 0 <= k <= until - 1 and self._complete(k, self.open[k]):
                self._booking.add(k, self.open.pop(k).fold.sums[:, None])

    def _at_end(self, place: float) -> bool:
        """Is the last sample of all no more than about one step before `place`?"""
        last, step = self._furthest
        return last > place - 1.25 * max(step, self.pitch)

    def _complete(self, k: int, revolution: _Open) -> bool:
        """Are all samples there, and is there one behind the last (or the last one pitch before the end)?"""
        for start, stop in self._spans:
            if start <= revolution.first and revolution.stop <= stop:
                begun = start < revolution.first or revolution.first == 0
                ended = revolution.stop < stop or self._at_end(k + 1)
                return begun and ended
        return False

    def merge(self, other: Revolutions) -> None:
        """Add what a fork saw of the same run. Raises NotMergeableError for other settings or another
        origin."""
        if other.samples == 0 and not other._waiting and not other._loose:
            return
        same = ("max_order", "period", "scale", "slope", "direction", "origin", "group")
        differing = [name for name in same if getattr(self, name) != getattr(other, name)]
        if differing or not self.group:
            raise NotMergeableError(
                f"revolutions of different {', '.join(differing) or 'runs'} do not merge; use fork()"
            )
        self._booking.merge(other._booking)
        for k, revolution in other.open.items():
            self._opened(k, revolution.first, revolution.stop).fold.add(revolution.fold)
        self.travel += other.travel
        self._pieces += other._pieces
        self.widest = max(self.widest, other.widest)
        self.samples += other.samples
        self._place = None
        self._furthest = max(self._furthest, other._furthest)
        for span in other._spans:
            self._cover(span)
        for held in other._loose.values():
            for index, theta, x in held:
                self._keep(index, theta, x)
        self._index = max(self._index, other._index)
        self._book(max(self.open, default=0))

    def _copy(self) -> Revolutions:
        """A copy that may go its own way; what is never changed in place is shared, and so are the buffers."""
        twin = copy.copy(self)
        twin._booking = self._booking.copy()
        twin.open = {k: _Open(Fold(r.fold.sums.copy()), r.first, r.stop) for k, r in self.open.items()}
        twin._loose = {number: list(held) for number, held in self._loose.items()}
        twin._spans = list(self._spans)
        return twin

    def flushed(self) -> Revolutions:
        """A copy with every sample folded, the last ones singly, and every complete revolution booked.

        Raises CoverageError when θ did not move steadily in one direction.
        """
        if not self.group:
            raise CoverageError(f"{self.names[0]}: no motion")
        whole = self._copy()
        for held in whole._loose.values():
            for index, theta, x in sorted(held, key=lambda part: part[0]):
                whole._add(theta, x, 1, index)
        whole._loose = {}
        whole._book(math.inf)
        whole._booking.evaluate()
        if whole.travel <= 0:
            raise CoverageError(f"{self.names[0]}: no steady motion in one direction")
        return whole
