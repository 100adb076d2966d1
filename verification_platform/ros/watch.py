"""What the supervisor hears of its children: events on their output, and their deaths."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from typing import Any

from .children import Child


class Watch:
    """Waits for whatever happens first. `ended` is how the first child that died ended, one phrase; empty before."""

    def __init__(self) -> None:
        self.ended = ""
        self.ended_s = 0.0
        self._selector = selectors.DefaultSelector()
        self._partial: dict[int, bytes] = {}
        self._events: list[dict[str, Any]] = []

    def add(self, child: Child) -> None:
        self._selector.register(child.pidfd, selectors.EVENT_READ, ("death", child))
        if child.process.stdout is not None:
            descriptor = child.process.stdout.fileno()
            os.set_blocking(descriptor, False)
            self._partial[descriptor] = b""
            self._selector.register(descriptor, selectors.EVENT_READ, ("lines", child))

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """The next thing a child said, waiting at most `timeout_s`; None when nothing was said. Notes every death."""
        if not self._events:
            for key, _ in self._selector.select(timeout_s):
                kind, child = key.data
                if kind == "death":
                    self._selector.unregister(key.fd)
                    self.note_death(child)
                else:
                    self._read(key.fd)
        return self._events.pop(0) if self._events else None

    def note_death(self, child: Child) -> None:
        """The first death is the cause; the others follow from it."""
        if self.ended:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(0.5)
        self.ended, self.ended_s = child.how_it_ended() or f"{child.name} no longer listens", time.monotonic()

    def close(self) -> None:
        self._selector.close()

    def _read(self, descriptor: int) -> None:
        data = os.read(descriptor, 65536)
        if not data:
            self._selector.unregister(descriptor)
            return
        *lines, self._partial[descriptor] = (self._partial[descriptor] + data).split(b"\n")
        self._events += [json.loads(line) for line in lines if line.startswith(b"{")]
