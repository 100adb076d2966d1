"""The emulated CAN bus without python-can in between: what the drivers themselves use for ``unix:`` URIs.

python-can's message objects and loggers cost more per frame than the socket; its plug-in
(`drivers.bus.unix_can`) is for everybody else.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Iterable

from drivers import clock
from drivers.bus.frame import ERROR_BUS_OFF, FRAME_BYTES, MOST_FRAMES, FdFrame, Frame
from drivers.device import BusOff, TransportLost, TransportTimeout

_LONGEST = MOST_FRAMES * FRAME_BYTES


class UnixFrameBus:
    """`FrameBus` on a seat at the hub listening at `path`. Raises TransportLost when nobody listens."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.counters = {"rx": 0, "tx": 0, "error_frames": 0, "garbled": 0, "tx_full": 0}
        self._arrived: deque[Frame] = deque()
        self._request = clock.request(f"unix:{path}")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            hint = "start the emulated devices first"
            raise TransportLost(name, f"no CAN hub listens at {path} ({error.strerror})", hint) from error
        self._socket.setblocking(False)
        self._sockets = (self._socket.fileno(),)
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        self._waiting = waiting.poll

    def send(self, frame: Frame) -> None:
        self._put(frame.pack(), 1)

    def send_all(self, frames: Iterable[Frame]) -> None:
        frames = tuple(frames)
        if FdFrame in map(type, frames):
            for frame in frames:  # one of CAN FD travels alone
                self.send(frame)
            return
        message = Frame.join(frames)
        for start in range(0, len(message), _LONGEST):
            part = message[start : start + _LONGEST]
            self._put(part, len(part) // FRAME_BYTES)

    def poll(self) -> Frame | None:
        # Whether there is one is asked first: an exception takes longer.
        while self._arrived or (self._waiting(0) and self._fetch()):
            frame = self._next()
            if frame is not None:
                return frame
        return None

    def recv(self, deadline_s: float) -> Frame:
        if not self._arrived and clock.waits():
            self._fetch()  # what is there has come before anything that time may go on to
        while (frame := self._next()) is None:
            left = clock.wait_s(deadline_s)
            # At the deadline, too: it may have passed while this thread did not run. poll() would round up to milliseconds.
            if select.select(self._sockets, (), (), left)[0]:
                self._fetch()
            elif left <= 0:
                raise TransportTimeout(self.name, "no frame before the deadline")
        return frame

    def recv_all(self, deadline_s: float) -> list[Frame]:
        frames, arrived = [self.recv(deadline_s)], self._arrived
        if True not in [error for _, _, _, _, error, _ in arrived]:  # all at once
            frames += arrived
            arrived.clear()
        while arrived and not arrived[0].error:
            frames.append(arrived.popleft())
        return frames

    def _next(self) -> Frame | None:
        """Of what has been fetched."""
        arrived = self._arrived
        while arrived:
            frame = arrived.popleft()
            if not frame.error:
                return frame
            if frame.can_id & ERROR_BUS_OFF:
                hint = "check wiring and bit rate, then reopen the bench"
                raise BusOff(self.name, "the CAN controller has left the bus", hint)
        return None

    def close(self) -> None:
        self._socket.close()

    def _put(self, message: bytes, frames: int) -> None:
        try:
            with self._request:
                self._socket.send(message)
        except BlockingIOError as error:
            self.counters["tx_full"] += 1
            raise TransportTimeout(
                self.name, "transmit queue is full", "the emulated bus has stopped"
            ) from error
        except OSError as error:
            raise self._lost(error) from error
        self.counters["tx"] += frames

    def _fetch(self) -> bool:
        """Take the next message; False when there is none. All its frames arrived with it, so they have one stamp."""
        try:
            message = self._socket.recv(_LONGEST)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._lost(error) from error
        if not message:
            raise self._lost(OSError("end of file"))
        frames, garbled = Frame.split(message, clock.now())
        errors = sum([error for _, _, _, _, error, _ in frames])
        self.counters["rx"] += len(frames) - errors
        self.counters["error_frames"] += errors
        self.counters["garbled"] += garbled
        self._arrived.extend(frames)
        return True

    def _lost(self, error: OSError) -> TransportLost:
        hint = "restart the emulated devices, then reopen the bench"
        return TransportLost(self.name, f"CAN adapter is gone ({error})", hint)
