"""The watch over the bench: whatever the run waits for, it waits here, and everything that matters is looked at.

At least every 20 ms of real time the watch renews the lease (`BenchPort.poll`), takes what was sampled, and ends the run on
abort, on a trip, on lost or missing samples and on a clock that stands still. Journalling waits here too, for the disk may
take its time and the lease must not lapse meanwhile."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from verification_platform.metrology.result import RunStatus

from .conditions import Evaluator
from .journal import Entry, Journal
from .port import BenchPort
from .progress import ProgressMeter
from .stream import Stream, StreamError

#: Longest pause between two looks at the bench, s of its clock.
POLL_S: Mapping[str, float] = {"real": 0.02, "virtual": 0.5}
#: A group that delivers nothing for so long is dead, s of the bench clock.
SILENCE_S = 1.0
#: The bench clock must move within so long of wall time, s.
STALL_S = 30.0
SHORTEST_POLL_S = 0.005


class StopRunError(Exception):
    """Ends the run with a status and a reason."""

    def __init__(self, status: RunStatus, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class BenchWatch:
    """The only one who polls the bench. `stream` is what arrived, `poll_s` the longest pause between two looks."""

    def __init__(
        self,
        bench: BenchPort,
        journal: Journal,
        abort: threading.Event,
        progress: ProgressMeter,
        clock: Literal["real", "virtual"],
    ) -> None:
        self.stream, self.progress, self.poll_s = Stream(), progress, POLL_S[clock]
        self._bench, self._journal, self._abort = bench, journal, abort
        self._shortest_s = SHORTEST_POLL_S if clock == "virtual" else 1e-4
        self._moved_to_s, self._moved_at = -math.inf, time.monotonic()
        self._writer = ThreadPoolExecutor(1, "journal") if clock == "real" else None

    def poll(self, longest_s: float, evaluator: Evaluator | None = None) -> None:
        """Let a little time pass, and look at everything that matters.

        Raises StopRunError, StreamError, BenchTrip: whatever must end the run.
        """
        self.check_abort()
        timeout_s = max(longest_s, self._shortest_s)
        for block in self._bench.poll(timeout_s):
            self.stream.take(block)
            if evaluator is not None:
                evaluator.update(block)
        now_s = self._bench.now_s()
        for group in self.stream.silent(now_s, SILENCE_S + timeout_s):
            raise StreamError(f"{group}: no samples for {SILENCE_S:g} s; check the bus")
        self._check_clock(now_s)
        self.progress.tell(now_s, self.stream.live)

    def check_abort(self) -> None:
        """Raises StopRunError when the operator has aborted the run."""
        if self._abort.is_set():
            raise StopRunError(RunStatus.INVALID, "aborted by the operator")

    def log(self, event: str, **data: Any) -> None:
        """Journal with the bench time, synced to the disk before the run goes on; the lease is renewed
        meanwhile on a real clock."""
        data["bench_s"] = self._bench.now_s()
        if self._writer is None:
            self._journal.append(event, **data)
            return
        pending: Future[Entry] = self._writer.submit(self._journal.append, event, **data)
        while not pending.done():
            self.poll(SHORTEST_POLL_S)
        pending.result()

    def close(self) -> None:
        """Wait until everything that was logged is on the disk."""
        if self._writer is not None:
            self._writer.shutdown(wait=True)

    def _check_clock(self, now_s: float) -> None:
        if now_s > self._moved_to_s:
            self._moved_to_s, self._moved_at = now_s, time.monotonic()
        elif time.monotonic() - self._moved_at > STALL_S:
            raise StreamError(f"the clock of the bench stood still for {STALL_S:g} s")
