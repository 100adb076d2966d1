"""A small event loop for emulated devices: file descriptors and absolute deadlines on one thread, to the
microsecond.

asyncio rounds its waits to milliseconds (epoll); a serial slave at 115 200 Bd answers within fractions of
one.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
from collections.abc import Callable, Sequence
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
        self._selector = selectors.SelectSelector()
        self._addresses: dict[Any, str] = {}
        self._timers: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        self._posted: list[Action] = []

    def watch(self, source: Any, on_readable: Action, address: str = "") -> None:
        """`address` is that of the line on which a device is asked, by which its master tells when it did (`clock.request`)."""
        self._selector.register(source, selectors.EVENT_READ, on_readable)
        self._addresses[source] = address

    def unwatch(self, source: Any) -> None:
        self._addresses.pop(source, None)
        with contextlib.suppress(KeyError, ValueError):  # already gone
            self._selector.unregister(source)

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
            due = self._timers[0][0] if self._timers else None
            until = due
            if clock.waits():
                horizon = self.clock() + HORIZON_S
                until = horizon if due is None else min(due, horizon)
                clock.waiting(until)
            clock.look()
            events = self._selector.select(None if until is None else self._left_s(until))
            if due is not None and self.on_frozen is not None and self.clock() - due > FROZEN_S:
                self.on_frozen(self.clock() - due)
            clock.look(works=True)
            if clock.waits():
                now_s = self.clock()
                clock.waiting(now_s)
                self._catch_up([(key.fileobj, key.data) for key, _ in events], now_s)
                continue
            for key, _ in events:
                key.data(self.clock())
            while self._timers and self._timers[0][0] <= self.clock():
                heapq.heappop(self._timers)[2](self.clock())

    def _catch_up(self, arrived: Sequence[tuple[Any, Action]], now_s: float) -> None:
        """Do what has become due by now in its order and each at its time: requests when they were sent, appointments when due.

        Of what has come since `now_s` nothing can be older than what is done here.
        """
        asked = [(clock.asked_s(self._addresses.get(source, ""), now_s), act) for source, act in arrived]
        for asked_s, act in sorted(asked, key=itemgetter(0)):
            self._keep(asked_s, now_s)
            act(asked_s)
        self._keep(now_s, now_s)

    def _keep(self, until_s: float, now_s: float) -> None:
        """The appointments due until then. One that is kept very late (this process did not run) is kept now."""
        while self._timers and self._timers[0][0] <= until_s:
            due_s, _, action = heapq.heappop(self._timers)
            action(due_s if now_s - due_s < FROZEN_S else now_s)

    def _left_s(self, until_s: float) -> float:
        return clock.left_s(until_s) if clock.waits() else max(until_s - self.clock(), 0.0)

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def close(self) -> None:
        self._selector.close()
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
