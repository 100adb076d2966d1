"""A serial line on a pseudo-terminal, as emulated devices see it: bytes that come in, frames that go out.

A pty enforces no baud rate, so whoever answers waits for the time that its bytes would take (`byte_s`). It has a
buffer of 4 KB: only whole frames are ever dropped.
"""

from __future__ import annotations

import contextlib
import os
import tty
from collections.abc import Callable

from drivers.bus.event_loop import EventLoop

BITS_PER_BYTE = 10.0  # 8N1


class PtyLine:
    """`on_bytes(chunk, now_s)` is called in the loop's thread for what the master wrote."""

    def __init__(self, loop: EventLoop, baudrate: int, on_bytes: Callable[[bytes, float], None]) -> None:
        self._loop, self._on_bytes = loop, on_bytes
        self.byte_s = BITS_PER_BYTE / baudrate
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        loop.watch(self._master, self._on_readable, self.uri)

    @property
    def uri(self) -> str:
        return f"serial:{self.path}"

    def send(self, frame: bytes) -> bool:
        """Whether the frame went out: not when the adapter is pulled or the buffer is full."""
        if self._master < 0:
            return False
        with contextlib.suppress(OSError):
            os.write(self._master, frame)
            return True
        return False

    def close(self) -> None:
        """Pull the adapter."""
        if self._master >= 0:
            self._loop.unwatch(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1

    def _on_readable(self, now_s: float) -> None:
        try:
            chunk = os.read(self._master, 4096)
        except OSError:
            return
        self._on_bytes(chunk, now_s)
