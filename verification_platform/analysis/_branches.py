"""Sorting the samples of a torque–angle loop into its rising and falling branches, in one pass and mergeable.

Noise makes a torque signal locally non-monotonic, so a sample's branch cannot be read from its neighbour.
What is certain: the loop reaches a high region (T > +L) and a low region (T < −L) in turn. The highest
sample of a visit to the high region is a turning point, the lowest of a visit to the low region the next;
everything between two turning points is one *pass*, rising or falling. A pass is used when both its turning
points reach 90 % of the amplitude, so a virgin curve from zero, an aborted loop and the way home stay out.

Whether a sample lies before or after a turning point is known only later, so bins are kept for the
undecided parts:

    P  before the first turning point seen        F  the first pass (its start may still move when merging)
    C  the current pass, up to the running extreme            Q  after the running extreme
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Bins over ±SPAN times the amplitude; what lies beyond is counted in the outermost bins and not used.
BINS = 2048
SPAN = 1.1
_LEVEL = 0.5
_COMPLETE = 0.9


def _nothing() -> Floats:
    return np.zeros((3, BINS))


@dataclass(slots=True)
class Pass:
    """Sums (count, ΣT, Σφ) per torque bin, shape (3, BINS), between two turning points at these torques."""

    sums: Floats
    start: float
    end: float

    def complete(self, amplitude: float) -> bool:
        return min(abs(self.start), abs(self.end)) >= _COMPLETE * amplitude


@dataclass(slots=True)
class Track:
    """Turning points and passes of a stretch of samples; `append` joins the stretch that follows."""

    amplitude: float
    before: Floats = field(default_factory=_nothing)  # P
    after: Floats = field(default_factory=_nothing)  # Q
    first_state: int = 0  # +1 high, −1 low, 0: no region reached yet
    first_extreme: float = 0.0
    state: int = 0
    extreme: float = 0.0
    first: Pass | None = None  # F, once a second pass exists
    current: Pass | None = None  # C
    totals: dict[int, Floats] = field(default_factory=lambda: {1: _nothing(), -1: _nothing()})
    passes: dict[int, int] = field(default_factory=lambda: {1: 0, -1: 0})
    rejected: float = 0.0

    def append(self, other: Track) -> None:
        """Join the stretch that follows directly; `other` must not be used afterwards."""
        if other.first_state == 0:
            self.after += other.after
            return
        undecided: Floats | None = None
        between = self.after + other.before
        self.after = other.after
        if self.first_state == 0:
            self.before = between
            self.first_state, self.first_extreme = other.first_state, other.first_extreme
            self.state, self.extreme = self.first_state, self.first_extreme
        elif other.first_state != self.state:
            self._push(Pass(between, self.extreme, other.first_extreme), other.first_state)
        elif self.state * other.first_extreme > self.state * self.extreme:
            self._extend(between, other.first_extreme)
        else:
            undecided = between
        self._append_passes(other, undecided)

    def _append_passes(self, other: Track, undecided: Floats | None) -> None:
        """Passes of `other` behind its first turning point; `undecided` samples belong to the first of
        them."""
        follow = other.first or other.current
        if follow is None:
            if undecided is not None:
                self.after += undecided
            return
        if undecided is not None:
            follow = Pass(follow.sums + undecided, self.extreme, follow.end)
        self._push(follow, -other.first_state)
        if other.first is None or other.current is None:
            return
        for direction in (1, -1):
            self.totals[direction] += other.totals[direction]
            self.passes[direction] += other.passes[direction]
        self.rejected += other.rejected
        self._push(other.current, other.state)

    def _extend(self, sums: Floats, extreme: float) -> None:
        """The current region goes further: everything up to the new extreme lies before the turning point."""
        self.extreme = extreme
        if self.current is None:
            self.before += sums
            self.first_extreme = extreme
        else:
            self.current = Pass(self.current.sums + sums, self.current.start, extreme)

    def _push(self, new: Pass, state: int) -> None:
        if self.current is not None:
            if self.first is None:
                self.first = self.current
            else:
                self._book(self.current, self.totals, self.passes)
        self.current, self.state, self.extreme = new, state, new.end

    def _book(self, done: Pass, totals: dict[int, Floats], passes: dict[int, int]) -> None:
        direction = 1 if done.end > done.start else -1
        if done.complete(self.amplitude):
            totals[direction] += done.sums
            passes[direction] += 1
        else:
            self.rejected += float(done.sums[0].sum())

    def branches(self) -> tuple[dict[int, Floats], dict[int, int]]:
        """Sums and number of complete passes per direction, the first and the last one included."""
        totals = {direction: sums.copy() for direction, sums in self.totals.items()}
        passes = dict(self.passes)
        rejected = self.rejected
        for ready in (self.first, self.current):
            if ready is not None:
                self._book(ready, totals, passes)
        self.rejected = rejected
        return totals, passes


def track_block(torque: Floats, angle: Floats, weight: Floats | float, amplitude: float) -> Track:
    """The track of one block of points: torque N·m, angle rad, samples behind each; shapes (n,), n ≥ 1, finite."""
    track = Track(amplitude)
    low, high = float(torque.min()), float(torque.max())
    scaled = torque * (BINS / (2 * SPAN * amplitude))
    scaled += BINS / 2
    if max(high, -low) >= SPAN * amplitude:
        np.clip(scaled, 0, BINS - 1, out=scaled)
    index = scaled.astype(np.int64)
    turns, states = _turning_points(torque, _LEVEL * amplitude, low, high)
    if not turns:
        track.after = _sums(index, torque, angle, weight, 1)[0]
        return track
    values = [float(torque[t]) for t in turns]
    kinds = _kinds(turns, values, amplitude)
    edges = [0, *turns, torque.size]
    for a, b, kind in zip(edges[:-1], edges[1:], kinds, strict=True):
        if kind:
            index[a:b] += kind * BINS
    # P and Q always, the other kinds only where there is more than one turning point
    sums = _sums(index, torque, angle, weight, 2 if len(turns) == 1 else 7)
    track.before, track.after = sums[0], sums[1]
    track.first_state, track.state = states[0], states[-1]
    track.first_extreme, track.extreme = values[0], values[-1]
    if len(turns) > 1:
        track.current = Pass(sums[3], values[-2], values[-1])
    if len(turns) > 2:
        track.first = Pass(sums[2], values[0], values[1])
        track.totals = {1: sums[4], -1: sums[5]}
        track.passes = {1: kinds.count(4), -1: kinds.count(5)}
        track.rejected = float(sums[6][0].sum())
    return track


def _kinds(turns: list[int], values: list[float], amplitude: float) -> list[int]:
    """Where each stretch between turning points goes: 0 P, 1 Q, 2 F, 3 C, 4 rising, 5 falling, 6 not complete."""
    kinds = [0]
    for k in range(1, len(turns)):
        if k == len(turns) - 1:
            kinds.append(3)
        elif k == 1:
            kinds.append(2)
        elif min(abs(values[k - 1]), abs(values[k])) < _COMPLETE * amplitude:
            kinds.append(6)
        else:
            kinds.append(4 if values[k] > values[k - 1] else 5)
    return [*kinds, 1]


def _sums(
    index: NDArray[np.int64], torque: Floats, angle: Floats, weight: Floats | float, kinds: int
) -> list[Floats]:
    """Count, ΣT and Σφ per bin for each kind of stretch."""
    weighted: tuple[Floats | None, Floats, Floats] = (None, torque, angle)
    if not isinstance(weight, float):
        weighted = (weight, weight * torque, weight * angle)
    sums = np.empty((3, kinds * BINS))
    for row, w in zip(sums, weighted, strict=True):
        row[:] = np.bincount(index, w, kinds * BINS)
    if isinstance(weight, float) and weight != 1.0:
        sums *= weight
    return [sums[:, k * BINS : (k + 1) * BINS] for k in range(kinds)]


def _turning_points(torque: Floats, level: float, low: float, high: float) -> tuple[list[int], list[int]]:
    """Index of the extreme of each visit to the high or the low region, and the region's sign, in order."""
    if high <= level:
        return ([], []) if low >= -level else ([int(torque.argmin())], [-1])
    if low >= -level:
        return [int(torque.argmax())], [1]
    stretches = sorted([*_stretches(torque > level, 1), *_stretches(torque < -level, -1)])
    # stretches in one region are one visit as long as the other region was not reached in between
    visits: list[tuple[int, int, int]] = []
    for start, stop, state in stretches:
        if visits and visits[-1][2] == state:
            visits[-1] = (visits[-1][0], stop, state)
        else:
            visits.append((start, stop, state))
    turns = []
    for start, stop, state in visits:
        part = torque[start:stop]
        turns.append(start + int(part.argmax() if state > 0 else part.argmin()))
    return turns, [state for _, _, state in visits]


def _stretches(inside: NDArray[np.bool_], state: int) -> list[tuple[int, int, int]]:
    """(start, stop, state) of the runs of True."""
    edges: list[int] = (np.flatnonzero(inside[1:] != inside[:-1]) + 1).tolist()
    if inside[0]:
        edges.insert(0, 0)
    if inside[-1]:
        edges.append(inside.size)
    return [(a, b, state) for a, b in zip(edges[::2], edges[1::2], strict=True)]
