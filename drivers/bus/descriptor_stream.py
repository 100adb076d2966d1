"""Reading with absolute deadlines from a file descriptor: what serial lines and TCP connections have in common.

The owner of the descriptor says how to write and how to close (`SerialStream`, `TcpStream`); everything that waits is
here. Whatever the descriptor's end looks like (hang-up, reset, a pulled adapter), it becomes one `TransportLost`.

Waiting is sleeping, but for the last moment before what is known to be due: waking up takes longer than that (20 to 90 µs on
the machines we have).
"""

from __future__ import annotations

import math
import os
import select
import termios

from drivers import clock
from drivers.device import TransportLost, TransportTimeout

_BITS_PER_BYTE = 10.0  # 8N1
#: Bytes that are due are watched for without sleeping from so long before the line can have carried them, to allow for a sleep
#: that ends late, until so long after.
_LEAD_S, _PATIENCE_S = 0.00015, 0.00015
#: Whoever carries the bytes here (interrupt, kernel worker) needs a processor beside the one that watches.
_MAY_WATCH = (os.cpu_count() or 1) > 1

#: What a descriptor raises whose other end is gone.
GONE: tuple[type[Exception], ...] = (OSError, termios.error)


class DescriptorStream:
    """The reading half of a `ByteStream`. `kind` is the word for it in messages: "serial line", "connection"."""

    def __init__(self, name: str, fd: int, kind: str, hint: str) -> None:
        self.name = name
        self._fd, self._kind, self._hint = fd, kind, hint
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        """See `ByteStream`. The rest of an answer that has begun is due when the line has carried it."""
        while len(self._buffer) < count:
            if clock.waits():  # such a clock is told before blocking, and only then
                if self._fill(0.0):
                    continue
                left_s = clock.wait_s(deadline_s)
            else:
                if self._watch(count, deadline_s, due_s):
                    continue
                left_s = max(deadline_s - clock.now(), 0.0)
            if not self._fill(left_s) and left_s <= 0:
                raise TransportTimeout(self.name, f"{len(self._buffer)} of {count} bytes before the deadline")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    @property
    def baudrate(self) -> int:
        raise NotImplementedError

    def _watch(self, count: int, deadline_s: float, due_s: float) -> bool:
        """Sleep until shortly before `due_s`, then look without sleeping until shortly after. Whether something came."""
        if not _MAY_WATCH:
            return False
        now_s = clock.now()
        if self._buffer:
            due_s = now_s + (count - len(self._buffer)) * _BITS_PER_BYTE / self.baudrate
        until_s = min(due_s + _PATIENCE_S, deadline_s)
        if due_s == math.inf or now_s > until_s:
            return False
        sleep_s = min(due_s - _LEAD_S, deadline_s) - now_s
        if sleep_s > 0.0 and self._fill(sleep_s):
            return True
        while not (come := self._fill(0.0)) and clock.now() < until_s:
            pass
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
            if not self._readable(timeout_s):
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

    def _readable(self, timeout_s: float) -> bool:
        if timeout_s <= 0.0:
            return bool(self._poll.poll(0))  # half the price
        return bool(select.select((self._fd,), (), (), timeout_s)[0])  # poll() would round up to milliseconds

    def _lost(self, error: Exception) -> TransportLost:
        return TransportLost(self.name, f"{self._kind} is gone ({error})", self._hint)
