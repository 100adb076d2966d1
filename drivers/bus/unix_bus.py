"""The emulated CAN bus without python-can in between: what the drivers themselves use for ``unix:`` URIs.

python-can's message objects and loggers cost more per frame than the socket; its plug-in
(`drivers.bus.unix_can`) is for everybody else.
"""

from __future__ import annotations

import select
import socket

from drivers import clock
from drivers.bus.frame import ERROR_BUS_OFF, FRAME_BYTES, Frame
from drivers.device import BusOff, TransportLost, TransportTimeout


class UnixFrameBus:
    """`FrameBus` on a seat at the hub listening at `path`. Raises TransportLost when nobody listens."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.counters = {"rx": 0, "tx": 0, "error_frames": 0, "garbled": 0, "tx_full": 0}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            hint = "start the emulated devices first"
            raise TransportLost(name, f"no CAN hub listens at {path} ({error.strerror})", hint) from error
        self._socket.setblocking(False)

    def send(self, frame: Frame) -> None:
        try:
            with clock.request():
                self._socket.send(frame.pack())
        except BlockingIOError as error:
            self.counters["tx_full"] += 1
            raise TransportTimeout(
                self.name, "transmit queue is full", "the emulated bus has stopped"
            ) from error
        except OSError as error:
            raise self._lost(error) from error
        self.counters["tx"] += 1

    def poll(self) -> Frame | None:
        while True:
            try:
                wire = self._socket.recv(FRAME_BYTES)
            except BlockingIOError:
                return None
            except OSError as error:
                raise self._lost(error) from error
            if not wire:
                raise self._lost(OSError("end of file"))
            try:
                frame = Frame.unpack(wire, clock.now())
            except ValueError:
                self.counters["garbled"] += 1
                continue
            if not frame.error:
                self.counters["rx"] += 1
                return frame
            self.counters["error_frames"] += 1
            if frame.can_id & ERROR_BUS_OFF:
                hint = "check wiring and bit rate, then reopen the bench"
                raise BusOff(self.name, "the CAN controller has left the bus", hint)

    def recv(self, deadline_s: float) -> Frame:
        while (frame := self.poll()) is None:
            left = clock.wait_s(deadline_s)
            if left <= 0:
                raise TransportTimeout(self.name, "no frame before the deadline")
            select.select((self._socket,), (), (), left)  # poll() would round up to milliseconds
        return frame

    def close(self) -> None:
        self._socket.close()

    def _lost(self, error: OSError) -> TransportLost:
        hint = "restart the emulated devices, then reopen the bench"
        return TransportLost(self.name, f"CAN adapter is gone ({error})", hint)
