"""A small event loop for emulated devices: file descriptors and absolute deadlines on one thread, to the
microsecond.

asyncio rounds its waits to milliseconds (epoll); a serial slave at 115 200 Bd answers within fractions of
one.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
import select
from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Any

from drivers import clock

Action = Callable[[float], None]

FROZEN_S = 0.02
#: The bench's clock may go on for so long while nothing arrives: requests that wait for this process then hold it.
HORIZON_S = 0.003


class EventLoop:
    """`watch` descriptors, `call_at` deadlines, then `run` until `stop` (which any thread or signal handler
    may call).
    """

    def __init__(self, clock: Callable[[], float] = clock.now) -> None:
        self.clock = clock
        #: Told how long this process was not scheduled, when that is longer than `FROZEN_S`.
        self.on_frozen: Action | None = None
        # By descriptor: what to do, and on which line. Without `selectors`, which takes as long as the call itself.
        self._readers: dict[int, tuple[Action, str]] = {}
        self._descriptors: dict[Any, int] = {}
        self._timers: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._posted: list[Action] = []
        self.watch(self._wake_read, self._woken)

    def watch(self, source: Any, on_readable: Action, address: str = "") -> None:
        """`address` is that of the line on which a device is asked, by which its master tells when it did (`clock.request`)."""
        descriptor = source if isinstance(source, int) else source.fileno()
        self._descriptors[source] = descriptor
        self._readers[descriptor] = on_readable, address

    def unwatch(self, source: Any) -> None:
        descriptor = self._descriptors.pop(source, None)
        if descriptor is not None:
            del self._readers[descriptor]

    def call_at(self, when_s: float, action: Action) -> None:
        heapq.heappush(self._timers, (when_s, next(self._order), action))

    def wake_at(self, when_s: float | None, action: Action) -> None:
        if when_s is not None:
            self.call_at(when_s, action)

    def every(self, period_s: float, action: Action) -> None:
        """Run `action` each `period_s`; late calls are skipped, not made up for."""

        def again(now_s: float) -> None:
            action(now_s)
            due[0] = max(now_s, due[0] + period_s)
            self.call_at(due[0], again)

        due = [self.clock() + period_s]
        self.call_at(due[0], again)

    def post(self, action: Action) -> None:
        """Run `action` in the loop's thread; the one method (with `stop`) that other threads may call."""
        self._posted.append(action)
        self._wake()

    def run(self) -> None:
        with clock.seat(emulator=True):
            self._serve()

    def _serve(self) -> None:
        while not self._stopping:
            if clock.waits():
                self._turn_when_time_waits()
            else:
                self._turn()

    def _turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        now, timers, readers = self.clock, self._timers, self._readers
        due_s = timers[0][0] if timers else math.inf
        arrived = _readable(readers, None if due_s == math.inf else max(due_s - now(), 0.0))
        now_s = now()
        if now_s - due_s > FROZEN_S and self.on_frozen is not None:
            self.on_frozen(now_s - due_s)
        for descriptor in arrived:
            if descriptor in readers:  # nobody has closed it since
                readers[descriptor][0](now())
        while timers and timers[0][0] <= now():
            heapq.heappop(timers)[2](now())

    def _turn_when_time_waits(self) -> None:
        due_s = self._timers[0][0] if self._timers else math.inf
        until_s = min(due_s, self.clock() + HORIZON_S)
        clock.waiting(until_s)
        clock.look()
        arrived = _readable(self._readers, clock.left_s(until_s))
        now_s = self.clock()
        if now_s - due_s > FROZEN_S and self.on_frozen is not None:
            self.on_frozen(now_s - due_s)
        clock.look(works=True)
        now_s = self.clock()
        clock.waiting(now_s)
        self._catch_up(arrived, now_s)

    def _catch_up(self, arrived: Sequence[int], now_s: float) -> None:
        """Do what has become due by now in its order and each at its time: requests when they were sent, appointments when due.

        Of what has come since `now_s` nothing can be older than what is done here.
        """
        asked = [(clock.asked_s(self._readers[descriptor][1], now_s), descriptor) for descriptor in arrived]
        for asked_s, descriptor in sorted(asked, key=itemgetter(0)):
            self._keep(asked_s, now_s)
            if descriptor in self._readers:  # nobody has closed it since
                self._readers[descriptor][0](asked_s)
        self._keep(now_s, now_s)

    def _keep(self, until_s: float, now_s: float) -> None:
        """The appointments due until then. One that is kept very late (this process did not run) is kept now."""
        while self._timers and self._timers[0][0] <= until_s:
            due_s, _, action = heapq.heappop(self._timers)
            action(due_s if now_s - due_s < FROZEN_S else now_s)

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def close(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the pipe is full: the loop is awake already, or closed
            os.write(self._wake_write, b"x")

    def _woken(self, now_s: float) -> None:
        os.read(self._wake_read, 4096)
        posted, self._posted = self._posted, []
        for action in posted:
            action(now_s)


def _readable(descriptors: Collection[int], timeout_s: float | None) -> list[int]:
    """Those with something to read, after at most `timeout_s`."""
    return select.select(descriptors, (), (), timeout_s)[0]
