"""How late cycles began, counted from the first to the last: a histogram with eight steps an octave.

Percentiles of a whole run, not of its last minute, in a few hundred numbers that can be subtracted: what a bus did
during one run is what it had done at its end less what it had done at its start. A percentile is the upper edge of its
step, so it is told at most 9 % too large and never too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from drivers.device import CycleStatistics

_FINEST_S = 1e-6
_STEPS = 8
#: The last step takes everything from half a minute on.
_COUNT = 25 * _STEPS


class Lateness:
    """Counts lateness, s. `add` takes a fraction of a microsecond and allocates nothing."""

    __slots__ = ("_counts", "max_s")

    def __init__(self) -> None:
        self._counts = [0] * _COUNT
        self.max_s = 0.0

    def add(self, late_s: float) -> None:
        if late_s > self.max_s:
            self.max_s = late_s
        step = 0 if late_s <= _FINEST_S else math.ceil(_STEPS * math.log2(late_s / _FINEST_S))
        self._counts[min(step, _COUNT - 1)] += 1

    def counts(self) -> tuple[int, ...]:
        """Cycles by step, as far as any has come."""
        last = max((n for n, count in enumerate(self._counts) if count), default=-1)
        return tuple(self._counts[: last + 1])


def percentile(counts: Sequence[int], share: float, max_s: float) -> float:
    """Lateness that `share` of the cycles did not exceed, s; `max_s` is the largest that was seen."""
    wanted = share * sum(counts)
    seen = 0
    for step, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return min(_FINEST_S * math.pow(2.0, step / _STEPS), max_s)
    return 0.0


def during(before: CycleStatistics, after: CycleStatistics) -> CycleStatistics:
    """What happened between two readings of the same bus, which was not opened anew in between."""
    if after.cycles < before.cycles or after.elapsed_s <= before.elapsed_s:
        return after
    padded = (*before.lateness_counts, *[0] * len(after.lateness_counts))
    counts = tuple(b - a for a, b in zip(padded, after.lateness_counts, strict=False))
    elapsed = after.elapsed_s - before.elapsed_s
    return replace(
        after,
        cycles=after.cycles - before.cycles,
        missed=after.missed - before.missed,
        lateness_p50_s=percentile(counts, 0.50, after.lateness_max_s),
        lateness_p99_s=percentile(counts, 0.99, after.lateness_max_s),
        lateness_max_s=percentile(counts, 1.00, after.lateness_max_s),
        lateness_counts=counts,
        elapsed_s=elapsed,
        bus_load=(after.bus_load * after.elapsed_s - before.bus_load * before.elapsed_s) / elapsed,
        counters={
            device: {kind: n - before.counters.get(device, {}).get(kind, 0) for kind, n in counted.items()}
            for device, counted in after.counters.items()
        },
    )
