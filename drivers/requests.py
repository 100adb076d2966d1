"""What other threads ask of the thread that owns a bus: it is done there, between two cycles, and answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from drivers.device import CommandRefused, DriverError


class Requests:
    """Actions for the bus `name`, in the order in which they were asked for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: deque[tuple[Callable[[], None], Future[None]]] = deque()

    # ── any thread ──

    def ask(self, action: Callable[[], None], timeout_s: float) -> None:
        """Have `action` done and wait for it. Raises what it raises, and CommandRefused when it is not done in time."""
        answer: Future[None] = Future()
        self._waiting.append((action, answer))
        try:
            answer.result(timeout_s)
        except TimeoutError:
            answer.cancel()
            raise CommandRefused(
                self._name, f"the bus thread did not answer within {timeout_s:g} s"
            ) from None

    def leave(self, action: Callable[[], None]) -> None:
        """Have `action` done, which tells by itself what comes of it."""
        self._waiting.append((action, Future()))

    # ── the bus thread ──

    def serve(self) -> None:
        while self._waiting:
            action, answer = self._waiting.popleft()
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                action()
            except DriverError as error:
                answer.set_exception(error)
            else:
                answer.set_result(None)

    def refuse(self, reason: str) -> None:
        """Nothing is done any more."""
        while self._waiting:
            _, answer = self._waiting.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_exception(CommandRefused(self._name, reason))
