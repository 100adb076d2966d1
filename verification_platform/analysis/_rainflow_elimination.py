"""Closing hysteresis loops in a sequence of turning points, many at a time.

Turning points are kept *signed*: U = +value at a peak, −value at a valley. Two neighbours then span the range
r[i] = U[i] + U[i+1], and r[i+1] <= r[i] is exactly U[i+2] <= U[i]: one comparison, no subtraction, no rounding.
A range that is smaller than the one before and not larger than the one after is a closed loop (ASTM E1049-85,
5.4.4: full cycle); its two points are taken out, whatever is closed elsewhere. The order does not matter, so:

* `rake` takes out every local minimum of the ranges at once;
* `spindles` takes care of what rake is slow at, loops nested in loops (a decaying oscillation followed by a
  growing one): a falling and a rising arm are two sorted lists, the loops close in the order of their merge,
  and consecutive elements of the merged list are the loops. All spindles of the sequence go at once, too.

What stays grows and then shrinks: the residue.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .blocks import Bool, Float, Int

Index = NDArray[np.intp]
Sink = Callable[[Int | None, Float, Float, Index, Index], None]

_STALLED = (
    40  # fewer loops than one in so many points: one more rake costs more than a pass over the spindles
)

_EXCHANGES = 6  # rounds of exchanging neighbours before an order is worked out the long way


def eliminate(U: Float, at: Int | None, enough: int, sink: Sink) -> tuple[Float, Int | None]:
    """Close loops until none is left, or until at most `enough` points are left.

    U (n,) signed turning points, at (n,) their sample indices or None; sink(at, U[i], U[j], i, j) is told the
    two points of each loop of a pass, the positions i and j into `at` in either order. Returns what is left of
    U and at; U[0] always stays.
    """
    tie_parity: int | None = None
    idle = 0
    while len(U) > max(enough, 3):
        closed = rake(U, tie_parity)
        k = closed.nonzero()[0]
        loops, stays = np.empty(0, dtype=np.intp), None
        if _STALLED * len(k) < len(U):
            tie_parity = 0 if tie_parity is None else 1 - tie_parity
            loops, stays = spindles(U)
        if stays is not None and len(loops) > 2 * len(k):
            values = U.take(loops)
            sink(at, values[0::2], values[1::2], loops[0::2], loops[1::2])
        elif len(k):
            sink(at, U[1:].take(k), U[2:].take(k), k + 1, k + 2)
            stays = kept_after_rake(closed)
        else:
            idle += 1
            if idle == 3:  # neither with ties undecided nor with either parity
                break
            continue
        U, at = U.take(stays), None if at is None else at.take(stays)
        idle = 0
    return U, at


def rake(U: Float, tie_parity: int | None = None) -> Bool:
    """Which ranges are closed loops: closed[k] stands for points k+1 and k+2; shape (len(U) − 3,).

    Of equal neighbouring ranges only the last counts as smaller, so a run of them (constant-amplitude duty)
    would take as many passes as it has points. With `tie_parity` 0 or 1, equal ranges count as falling at
    positions of that parity and as rising at the others: every other range of the run closes at once, and
    two neighbours never both do.
    """
    falls = np.less_equal(U[2:], U[:-2])
    if tie_parity is not None:
        equal = np.equal(U[2:], U[:-2])
        equal[tie_parity::2] = False
        np.logical_xor(falls, equal, out=falls)
    return np.greater(falls[:-1], falls[1:])


def kept_after_rake(closed: Bool) -> Index:
    """Positions that stay when the loops marked in `closed` have been taken out."""
    stays = np.ones(len(closed) + 3, dtype=np.bool_)
    np.logical_not(closed, out=stays[1:-2])
    np.greater(stays[2:-1], closed, out=stays[2:-1])
    return stays.nonzero()[0]


def spindles(U: Float) -> tuple[Index, Index]:
    """Loops that close within single spindles: positions of their points, (2·loops,), the two of a loop in turn,
    and the positions of the points that stay.

    A spindle is a run of falling ranges from position f to c followed by a run of rising ranges from c to g.
    Points f … c are its falling arm, c+1 … g+1 its rising arm. Rising point j closes every point q of the
    falling arm of its own kind (peak or valley) with U[q] <= U[j], as long as the range in front stays the
    larger one: up to and including the first j that passes the arm's outermost point of its kind, and never
    the arm's first two points (those are left to `rake`).
    """
    falls = np.less_equal(U[2:], U[:-2])
    turns = np.not_equal(falls[1:], falls[:-1]).nonzero()[0] + 1
    if len(falls) and falls[0]:
        turns = np.append(np.zeros(1, dtype=np.intp), turns)
    count = len(turns) // 2
    if count == 0:
        return np.empty(0, dtype=np.intp), np.arange(len(U))
    f, c = turns[0 : 2 * count : 2], turns[1::2]
    bounds = np.append(turns[: 2 * count : 2], turns[2 * count] if len(turns) % 2 else len(falls)) + 2

    # By position − bounds[0], for rising points: the lowest falling point closed so far by one of its kind.
    lowest = np.empty(bounds[-1] - bounds[0], dtype=np.intp)
    last = bounds[1:] - 1
    for kind in (0, 1):
        last = np.minimum(last, _closed_by_kind(U, kind, f, c, bounds, lowest))
    lowest[c + 1 - bounds[0]] = c + 1  # the point at which the arms meet

    # Event j is rising point j = c+2 … last. Together with the event in front, which is of the other kind, it
    # leaves the falling arm with `top − 1` as its uppermost point; j itself is then on top of that.
    top = np.minimum(lowest[1:], lowest[:-1])  # of event j at j − 1 − bounds[0]
    end = top.take(last - 1 - bounds[0]) - 1
    waiting = np.where((last - end) & 1, 1, 2)  # rising points that stay open
    events, taken = np.maximum(last - c - 1 - waiting, 0), c - end
    # What closes lies between the points that stay open, from `end` + 1 on.
    size = last - end - waiting
    some = size.nonzero()[0]
    first = end.take(some) + 1
    begin = np.append(np.zeros(1, dtype=np.intp), first + size.take(some))
    stays = _ranges(begin, np.append(first, len(U)) - begin)
    # In the order of closing, rising and falling points merge into one list; consecutive elements are loops.
    offset = np.cumsum(size) - size
    j = _ranges(c + 2, events)
    place = j - top.take(j - (1 + bounds[0]))
    place += np.repeat(offset, events)
    merged, is_falling = np.empty(int(size.sum()), dtype=np.intp), np.ones(int(size.sum()), dtype=np.bool_)
    merged[place] = j
    is_falling[place] = False
    merged[offset[some]] = c[some] + 1
    is_falling[offset[some]] = False
    merged[is_falling.nonzero()[0]] = _ranges(c, taken, -1)
    return merged, stays


def _ranges(first: Index, sizes: Index, step: int = 1) -> Index:
    """first[k], first[k] + step, … for sizes[k] numbers each, one range behind the other; step is 1 or −1."""
    ends = np.cumsum(sizes)
    numbers: Index = np.repeat(first - step * (ends - sizes), sizes)
    (np.add if step > 0 else np.subtract)(numbers, np.arange(len(numbers)), out=numbers)
    return numbers


def _closed_by_kind(U: Float, kind: int, f: Index, c: Index, bounds: Index, lowest: Index) -> Index:
    """For the points at even (kind 0) or odd (1) positions, write the lowest falling point that each rising
    point closes into `lowest`; return the position of each spindle's last event of this kind.

    Spindle k has the points bounds[k] … bounds[k+1]−1: falling up to c[k]+1, rising from there on.
    """
    begin = bounds + ((bounds ^ kind) & 1)  # first position of this kind
    rising_from = c + 2 + (((c + 2) ^ kind) & 1)
    n_all = (begin[1:] - begin[:-1]) // 2
    n_falling = (rising_from - begin[:-1]) // 2
    n_rising = n_all - n_falling
    values = np.positive(U[begin[0] : begin[-1] : 2])  # every look at a strided view would copy it
    rising = _ranges(np.cumsum(n_all) - n_rising, n_rising)
    is_rising = np.zeros(len(values), dtype=np.bool_)
    is_rising[rising] = True
    order = _order_in_groups(values, n_all)
    rank = is_rising.take(order).nonzero()[0]  # of rising points, in their own order
    # Falling points below it in its spindle: rank − rising points in front − falling points of spindles in front
    closed = np.repeat(rising_from + 2 * (np.cumsum(n_falling) - n_falling), n_rising)
    rank -= np.arange(len(rank))
    rank *= 2
    closed -= rank
    lowest[int(begin[0] - bounds[0]) :: 2][rising] = closed
    passed = np.greater_equal(values.take(rising), np.repeat(U[f + ((f ^ kind) & 1)], n_rising)).nonzero()[0]
    final = np.cumsum(n_rising)
    first_passed = np.append(passed, len(rising))[np.searchsorted(passed, final - n_rising)]
    never = bounds[1:] - 1
    return np.where(first_passed < final, rising_from + 2 * (first_passed - final + n_rising), never)


def _order_in_groups(values: Float, sizes: Index) -> Index:
    """Stable order of `values` within consecutive groups of the given sizes.

    Groups are set apart by adding multiples of the span, so that one sort sees the sorted runs that the arms
    are. The addition may round close neighbours into a tie; such are exchanged afterwards, or, should there
    be many in a row, everything is sorted the long way.
    """
    if not len(values):
        return np.empty(0, dtype=np.intp)
    span = 2.0 * float(np.maximum.reduce(values) - np.minimum.reduce(values))
    apart = np.repeat(np.arange(len(sizes)) * span, sizes)
    apart += values
    order = apart.argsort(kind="stable")
    ends = np.cumsum(sizes)[:-1]
    ends = ends[(ends > 0) & (ends < len(values))] - 1
    for _ in range(_EXCHANGES):
        ordered = values.take(order)
        wrong = np.less(ordered[1:], ordered[:-1])
        wrong[ends] = False
        np.greater(wrong[1:], wrong[:-1], out=wrong[1:])
        at = wrong.nonzero()[0]
        if not len(at):
            return order
        order[at], order[at + 1] = order[at + 1], order[at]
    group = np.repeat(np.arange(len(sizes), dtype=np.uint16 if len(sizes) < 65536 else np.int64), sizes)
    order = values.argsort(kind="stable")
    return order.take(group.take(order).argsort(kind="stable"))
