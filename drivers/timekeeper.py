"""A thread's cycles on the bench's clock: it is let go when the next one begins, and how late that was is counted."""

from __future__ import annotations

import logging

from drivers import clock
from drivers.device import CommandRefused, CycleStatistics
from drivers.lateness import Lateness, percentile
from drivers.realtime import keep_time
from drivers.schedule import Schedule

log = logging.getLogger(__name__)


class Timekeeper:
    """Cycles of the bus `name`, every `period_s`; the first is due at `start`."""

    def __init__(self, name: str, period_s: float) -> None:
        self._name, self._period_s, self._realtime = name, period_s, False
        self.start()

    def claim(self, priority: int, processor: int | None) -> str | None:
        """Set up the calling thread (`realtime.keep_time`); returns None, or why it may miss cycles. Raises CommandRefused."""
        try:
            warning = keep_time(priority, self._period_s, processor)
        except OSError as error:
            what = f"processor {processor} is not to be had ({error.strerror})"
            hint = "correct 'processor' of the bus in the bench file"
            raise CommandRefused(self._name, what, hint) from error
        if warning is not None:
            log.warning("bus %s: %s", self._name, warning)
        self._realtime = warning is None
        return warning

    def start(self) -> None:
        """The first cycle is due; nothing has been counted yet."""
        self._begun_s = clock.now()
        self._schedule, self._lateness = Schedule(self._begun_s, self._period_s), Lateness()

    def await_cycle(self) -> float:
        """Return when the next cycle begins, the last one being done; the time then, s."""
        clock.meet(self._schedule.next(clock.now()))
        now_s = clock.now()
        self._lateness.add(self._schedule.begin(now_s))
        return now_s

    def statistics(self) -> CycleStatistics:
        """What this thread knows of them; may be called by any."""
        counts, late_s = self._lateness.counts(), self._lateness.max_s
        return CycleStatistics(
            period_s=self._period_s,
            cycles=self._schedule.begun,
            missed=self._schedule.skipped,
            lateness_p50_s=percentile(counts, 0.50, late_s),
            lateness_p99_s=percentile(counts, 0.99, late_s),
            lateness_max_s=late_s,
            realtime=self._realtime,
            elapsed_s=clock.now() - self._begun_s,
            lateness_counts=counts,
        )
