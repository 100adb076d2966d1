"""The two kinds of wire a driver may own, as small protocols.

Both raise only `TransportTimeout`, `TransportLost` and `BusOff`; both count deadlines on the monotonic clock.
Exactly one thread owns a transport.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from drivers.bus.frame import Frame


class FrameBus(Protocol):
    """A CAN bus. `counters` are evidence: rx, tx, error_frames, garbled, tx_full."""

    @property
    def counters(self) -> dict[str, int]: ...

    def send(self, frame: Frame) -> None: ...

    def send_all(self, frames: Iterable[Frame]) -> None:
        """Send in this order; when one fails, none behind it is sent."""
        ...

    def recv(self, deadline_s: float) -> Frame:
        """The next frame, stamped at reception. Raises TransportTimeout when `deadline_s` passes without
        one.
        """
        ...

    def recv_all(self, deadline_s: float) -> Sequence[Frame]:
        """As `recv`, with the frames behind it that came together with it."""
        ...

    def poll(self) -> Frame | None:
        """A frame that has already arrived, or None. Never waits."""
        ...

    def close(self) -> None: ...


class OneByOne:
    """`FrameBus.send_all` and `recv_all` where there is no faster way."""

    def send(self, frame: Frame) -> None:
        raise NotImplementedError

    def send_all(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self.send(frame)

    def recv(self, deadline_s: float) -> Frame:
        raise NotImplementedError

    def recv_all(self, deadline_s: float) -> Sequence[Frame]:
        return (self.recv(deadline_s),)


class ByteStream(Protocol):
    """A serial line."""

    @property
    def baudrate(self) -> int: ...

    def write(self, data: bytes) -> None: ...

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        """`count` bytes. Raises TransportTimeout when they are not complete at `deadline_s`; what came stays
        readable.

        `due_s`: when the line will have carried them, where that is known and haste is worth a processor for a moment.
        """
        ...

    def drain(self) -> int:
        """Throw away everything received so far; returns how many bytes that were."""
        ...

    def close(self) -> None: ...
