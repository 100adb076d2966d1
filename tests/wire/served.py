"""Emulated devices that are served from a thread of the test process, and what tests do with the group on the other side."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from drivers.device import Command, Row
from drivers.emulators.host import EmulatorHost

#: Device, whether its torque went on, why, when.
Switching = tuple[str, bool, str, float]


class PowerLog:
    """What emulated devices told of their torque; the `on_power` of a host."""

    def __init__(self) -> None:
        self.events: list[Switching] = []
        self._news = threading.Condition()

    def __call__(self, device: str, on: bool, reason: str, now_s: float) -> None:
        with self._news:
            self.events.append((device, on, reason, now_s))
            self._news.notify_all()

    def wait(self, device: str, on: bool, timeout_s: float = 5.0) -> Switching:
        """The last switching of a device to `on`, once there was one; to off, once that is its last of all."""

        def last() -> Switching | None:
            mine = [event for event in self.events if event[0] == device]
            if on:
                return next((event for event in reversed(mine) if event[1]), None)
            return mine[-1] if mine and not mine[-1][1] else None

        with self._news:
            assert self._news.wait_for(lambda: last() is not None, timeout_s), f"{device} did not switch"
            event = last()
            assert event is not None
            return event


@dataclass
class Served:
    """A host whose devices a test disturbs and watches."""

    host: EmulatorHost
    log: PowerLog = field(default_factory=PowerLog, kw_only=True)

    @property
    def power(self) -> list[Switching]:
        return self.log.events

    def wait_power(self, device: str, on: bool, timeout_s: float = 5.0) -> Switching:
        """See `PowerLog.wait`."""
        return self.log.wait(device, on, timeout_s)

    def on_loop(self, action: Callable[[], object]) -> None:
        """Run `action` in the emulator's thread and wait for it."""
        done = threading.Event()

        def run(_now: float) -> None:
            action()
            done.set()

        self.host.loop.post(run)
        assert done.wait(5)


@contextlib.contextmanager
def serving(host: EmulatorHost) -> Iterator[None]:
    """The host works in a thread of its own, and is closed in the end."""
    thread = threading.Thread(target=host.run)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)  # devices and master share this interpreter
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        host.stop()
        thread.join(5)
        assert not thread.is_alive()
        host.close()


class Cycling(Protocol):
    """A group, as far as its cycles go."""

    def cycle(self, commands: Mapping[str, Command]) -> Row: ...
    def counters(self) -> Mapping[str, Any]: ...


def cycle_until(
    group: Cycling,
    wanted: Callable[[Row], bool],
    commands: Mapping[str, Command] | None = None,
    timeout_s: float = 5.0,
) -> Row:
    """Cycle until `wanted(row)`; returns that row."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        row = group.cycle(commands or {})
        if wanted(row):
            return row
        time.sleep(0.002)
    raise AssertionError(f"last row {row}, counters {group.counters()}")
