"""Seats of the emulated CAN bus for other processes: an AF_UNIX SOCK_SEQPACKET socket in front of a
`CanHub`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from drivers import clock
from drivers.bus.can_hub import CanHub
from drivers.bus.event_loop import EventLoop
from drivers.bus.frame import FRAME_BYTES, MOST_FRAMES, FdFrame, Frame

#: AF_UNIX paths are at most 108 bytes with the final NUL (unix(7)).
LONGEST_PATH = 107


class SocketSeat:
    """One connected process."""

    def __init__(self, server: HubServer, connection: socket.socket) -> None:
        self._server, self._socket = server, connection
        self._waiting: list[Frame] = []

    def deliver(self, frame: Frame, now_s: float) -> None:
        self._waiting.append(frame)
        if len(self._waiting) >= MOST_FRAMES:
            self.flush()

    def flush(self) -> None:
        """Send what was delivered."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        try:
            if FdFrame in map(type, waiting):
                for frame in waiting:  # one of CAN FD travels alone
                    self._socket.send(frame.pack())
            else:
                self._socket.send(Frame.join(waiting))
        except BlockingIOError:
            self._server.hub.overruns += len(waiting)  # like a controller whose receive buffer is not read
        except OSError:
            pass  # the process is gone; the reading side of the loop removes the seat

    def on_readable(self, now_s: float) -> None:
        """Each message is seen to before the next one is looked for: who has sent it waits."""
        hub, settle = self._server.hub, self._server.settle
        for _ in range(64):
            try:
                message = self._socket.recv(MOST_FRAMES * FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self.close()
                settle(now_s)
                return
            if clock.waits():
                now_s = max(now_s, clock.asked_s(self._server.uri, clock.now()))
            frames, _ = Frame.split(message)  # what is no frame, a controller could not have sent
            hub.transmit_all(self, frames, now_s)
            settle(now_s)

    def close(self) -> None:
        self._server.hub.leave(self)
        self._server.loop.unwatch(self._socket)
        self._server.seats.discard(self)
        self._socket.close()


class HubServer:
    """Listens at `path` until closed; removes the socket file then.

    `settle` is called after frames came in, to move them; the default pumps the hub and comes back when it is
    due.
    """

    def __init__(
        self, path: Path, hub: CanHub, loop: EventLoop, settle: Callable[[float], None] | None = None
    ) -> None:
        if len(str(path).encode()) > LONGEST_PATH:
            raise ValueError(
                f"{path}: longer than {LONGEST_PATH} bytes, which no UNIX socket can be bound to"
            )
        self.path, self.hub, self.loop = path, hub, loop
        self.uri = f"unix:{path}"
        self.settle = settle or self._pump
        self.seats: set[SocketSeat] = set()
        hub.on_idle = self._flush
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(16)
        loop.watch(self._listener, self._accept)

    def close(self) -> None:
        for seat in tuple(self.seats):
            seat.close()
        self.loop.unwatch(self._listener)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _pump(self, now_s: float) -> None:
        self.hub.pump(now_s)
        self.loop.wake_at(self.hub.next_due(), self._pump)

    def _flush(self) -> None:
        for seat in self.seats:
            seat.flush()

    def _accept(self, now_s: float) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the other side has changed its mind
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        seat = SocketSeat(self, connection)
        self.seats.add(seat)
        self.hub.join(seat)
        self.loop.watch(connection, seat.on_readable, self.uri)
