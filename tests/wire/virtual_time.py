"""Time that is computed: master and emulated devices on one thread, as fast as the processor goes, the same every time.

`VirtualTime` stands in for the page of `drivers.clock`. Nobody ever sleeps: when the master's thread is about to block
until `t`, the emulator's event loop is stepped from appointment to appointment until then, on that same thread. So a run
has no race, no load on the machine makes an answer late, and a seed that fails fails again.
"""

from __future__ import annotations

import heapq
import itertools
import math
import select
from collections.abc import Callable

import pytest

from drivers import clock
from drivers.bus.byte_streams import SCHEMES
from drivers.bus.event_loop import EventLoop
from drivers.device import TransportLost, TransportTimeout
from drivers.emulators.pty_line import BITS_PER_BYTE, PtyLine

#: Looking at the clock takes this long, so that no loop that looks at it runs for ever.
_TICK_S = 1e-6
#: Real time that a real socket or pty is given to hand over what has just been written to it.
_HANDOVER_S = 0.02


class VirtualTime:
    """See `drivers.clock.Page`, whose part it plays. `loop` is the emulator's, stepped and never run."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.loop: EventLoop | None = None
        self._written = False

    def now(self) -> float:
        self.time_s += _TICK_S
        return self.time_s

    def hold(self, _seat: int, until_s: float) -> None:
        while True:
            self._settle()
            timers = self.loop._timers if self.loop is not None else []
            if not timers or timers[0][0] > until_s:
                break
            self.time_s = max(self.time_s, timers[0][0])
        self.time_s = max(self.time_s, until_s)
        self._settle()

    def _settle(self) -> None:
        """Everything that is due now."""
        loop = self.loop
        if loop is None:
            return
        busy = True
        while busy:
            readers = loop._readers
            arrived = select.select(readers, (), (), _HANDOVER_S if self._written else 0.0)[0]
            self._written, busy = False, bool(arrived)
            for descriptor in arrived:
                if descriptor in readers:
                    readers[descriptor][0](self.now())
            while loop._timers and loop._timers[0][0] <= self.time_s:
                busy = True
                heapq.heappop(loop._timers)[2](self.now())

    def knock(self, _address: str) -> float:
        self._written = True
        return self.time_s

    def asked_s(self, _address: str, now_s: float) -> float:
        return now_s

    def answered_by(self) -> float:
        return 0.0

    def answered(self, _look: float) -> bool:
        return True

    def look(self, *, works: bool) -> None:
        """Nobody waits for a look."""

    def sit(self, *, emulator: bool = False) -> int:
        return int(emulator)

    def rise(self, _seat: int) -> None:
        """The seat is anybody's."""

    def close(self) -> None:
        """There is no page."""


def install(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Go by virtual time until the test ends, with serial lines in memory."""
    time = VirtualTime()
    monkeypatch.setattr(clock, "_page", time)
    _MemoryLine.numbers = itertools.count()
    for name in ("__init__", "uri", "send", "close"):
        monkeypatch.setattr(PtyLine, name, _MemoryLine.__dict__[name])
    monkeypatch.setitem(SCHEMES, "memory", lambda name, uri, baudrate: MemoryStream(name, uri, baudrate))
    return time


class _MemoryLine:
    """What of `PtyLine` is replaced: the kernel hands bytes over a pty on a thread of its own, in its own time."""

    numbers = itertools.count()
    lines: dict[str, PtyLine] = {}

    def __init__(self, loop: EventLoop, baudrate: int, on_bytes: Callable[[bytes, float], None]) -> None:
        self._on_bytes = on_bytes
        self.byte_s = BITS_PER_BYTE / baudrate
        self.path = f"{next(_MemoryLine.numbers)}"
        self.inbox: bytearray | None = bytearray()
        _MemoryLine.lines[self.path] = self  # type: ignore[assignment]

    @property
    def uri(self) -> str:
        return f"memory:{self.path}"

    def send(self, frame: bytes) -> bool:
        if self.inbox is None:
            return False
        self.inbox += frame
        return True

    def close(self) -> None:
        self.inbox = None


class MemoryStream:
    """`ByteStream` to a `_MemoryLine`."""

    def __init__(self, name: str, uri: str, baudrate: int) -> None:
        self.name, self.baudrate = name, baudrate
        self._line: _MemoryLine = _MemoryLine.lines[uri.removeprefix("memory:")]  # type: ignore[assignment]

    def write(self, data: bytes) -> None:
        self._inbox()
        self._line._on_bytes(data, clock.now())

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        while len(self._inbox()) < count:
            if clock.wait_s(deadline_s) <= 0:
                break
        inbox = self._inbox()
        if len(inbox) < count:
            raise TransportTimeout(self.name, f"{len(inbox)} of {count} bytes before the deadline")
        taken = bytes(inbox[:count])
        del inbox[:count]
        return taken

    def drain(self) -> int:
        dropped = len(self._inbox())
        self._inbox().clear()
        return dropped

    def close(self) -> None:
        """The line stays, as a pty does."""

    def _inbox(self) -> bytearray:
        if self._line.inbox is None:
            raise TransportLost(self.name, "serial line is gone")
        return self._line.inbox
