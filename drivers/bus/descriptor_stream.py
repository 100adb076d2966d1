"""Reading with absolute deadlines from a file descriptor: what serial lines and TCP connections have in common.

The owner of the descriptor says how to write and how to close (`SerialStream`, `TcpStream`); everything that waits is
here. Whatever the descriptor's end looks like (hang-up, reset, a pulled adapter), it becomes one `TransportLost`.
"""

from __future__ import annotations

import os
import select
import termios

from drivers import clock
from drivers.device import TransportLost, TransportTimeout

_BITS_PER_BYTE = 10.0  # 8N1
#: What is due so soon is not slept for; and how much later than the line carries it, it may still come.
_MOMENT_S, _MARGIN_S = 0.0003, 0.0001

#: What a descriptor raises whose other end is gone.
GONE: tuple[type[Exception], ...] = (OSError, termios.error)


class DescriptorStream:
    """The reading half of a `ByteStream`. `kind` is the word for it in messages: "serial line", "connection"."""

    def __init__(self, name: str, fd: int, kind: str, hint: str) -> None:
        self.name = name
        self._fd, self._kind, self._hint = fd, kind, hint
        self._buffer = bytearray()

    def read_exactly(self, count: int, deadline_s: float) -> bytes:
        while len(self._buffer) < count:
            if clock.waits() and self._fill(0.0):  # such a clock is told before blocking, and only then
                continue
            if self._buffer and not clock.waits() and self._look(count, deadline_s):
                continue
            left = clock.wait_s(deadline_s)
            if not self._fill(left) and left <= 0:
                raise TransportTimeout(self.name, f"{len(self._buffer)} of {count} bytes before the deadline")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    @property
    def baudrate(self) -> int:
        raise NotImplementedError

    def _look(self, count: int, deadline_s: float) -> bool:
        """The rest of an answer that has begun is there in a moment: look for it without sleeping, which would take longer.

        Whoever carries the bytes here may need this processor, hence the yields. False when it did not come.
        """
        rest_s = (count - len(self._buffer)) * _BITS_PER_BYTE / self.baudrate
        if rest_s > _MOMENT_S:
            return False
        until_s = min(clock.now() + rest_s + _MARGIN_S, deadline_s)
        while not (come := self._fill(0.0)) and clock.now() < until_s:
            os.sched_yield()
        return come

    def drain(self) -> int:
        while self._fill(0.0):
            pass
        dropped = len(self._buffer)
        self._buffer.clear()
        return dropped

    def _fill(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` and take what is there; False when nothing came."""
        try:
            if not select.select((self._fd,), (), (), timeout_s)[0]:  # poll() would round up to milliseconds
                return False
            chunk = os.read(self._fd, 4096)
            if not chunk:
                raise OSError("the other end has closed it")
            self._buffer += chunk
            return True
        except BlockingIOError:
            return False
        except ValueError as error:  # closed by ourselves
            raise self._lost(error) from error
        except GONE as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> TransportLost:
        return TransportLost(self.name, f"{self._kind} is gone ({error})", self._hint)
