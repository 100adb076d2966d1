"""When the cycles of a bus begin: each due at a time of its own, begun once or not at all, and never in a burst."""

from __future__ import annotations

import math


class Schedule:
    """Cycle n is due `n` periods after the first, whatever became of those before it.

    What is late is begun all the same, for a row that comes late is better than one that is missing, but:

    * Two begins are never closer together than half a period: a drive gets the next SYNC and set-point before it has
      followed the last one, and a slow one the next request before it is done with that.
    * After a cycle that took too long, the next one begins at most half a period late; what is later is skipped. It is
      nearer to the one after it then.
    * Who was woken up late begins at once, as long as the period of that cycle lasts: a machine that is always late by more than half
      a period would otherwise never begin one.

    Pure: it reads no clock and does not wait. Every two seconds; a cycle that takes 2.5 s, then a wake-up 5.25 s late:

    >>> schedule = Schedule(first_due_s=0.0, period_s=2.0)
    >>> schedule.begin(0.0), schedule.next(2.5), schedule.begin(2.5), schedule.skipped
    (0.0, 2.0, 0.5, 0)
    >>> schedule.next(3.0), schedule.begin(9.25), schedule.skipped, schedule.next(9.5)
    (4.0, 1.25, 2, 10.25)
    """

    __slots__ = ("_earliest_s", "_first_due_s", "_number", "_period_s", "begun", "skipped")

    def __init__(self, first_due_s: float, period_s: float) -> None:
        self._first_due_s, self._period_s = first_due_s, period_s
        self._number = 0  # of the cycle that is due next
        self._earliest_s = -math.inf
        self.begun = self.skipped = 0

    @property
    def due_s(self) -> float:
        """When the next cycle is due; multiplied and not added up, so that nothing drifts."""
        return self._first_due_s + self._number * self._period_s

    def next(self, now_s: float) -> float:
        """When to begin the next cycle, now that the last one is done, s. It may have passed."""
        self._skip_until(now_s - 0.5 * self._period_s)
        return max(self.due_s, self._earliest_s)

    def begin(self, now_s: float) -> float:
        """A cycle begins, not before `next` said; returns how late it is, s."""
        self._skip_until(now_s - self._period_s)
        late_s = now_s - self.due_s
        self._number += 1
        self.begun += 1
        self._earliest_s = now_s + 0.5 * self._period_s
        return late_s

    def _skip_until(self, time_s: float) -> None:
        """What was due before is not begun any more."""
        behind_s = time_s - self.due_s
        if behind_s > 0.0:
            skipped = math.ceil(behind_s / self._period_s)
            self._number += skipped
            self.skipped += skipped
