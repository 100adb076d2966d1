"""What an emulated SCPI instrument listens on: a pty that takes the time of a serial line, or a TCP socket on loopback.

Several messages may be under way; they are answered in the order in which they came, as instruments do.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable
from functools import partial

from drivers.bus.event_loop import EventLoop
from drivers.emulators.pty_line import PtyLine
from drivers.emulators.scpi_instrument import ScpiInstrument

Send = Callable[[bytes], object]


class ScpiDesk:
    """Cuts what comes into messages and sends the answers when they are due. The switches are faults for tests."""

    def __init__(
        self,
        loop: EventLoop,
        advance: Callable[[float], None],
        instrument: ScpiInstrument,
        send: Send,
        byte_s: float,
    ) -> None:
        self.instrument = instrument
        self.mute = False
        self.extra_delay_s = 0.0
        self.cut = 0  # so many answers end too early
        self.garble = 0  # so many answers have one character exchanged
        self._loop, self._advance, self._send, self._byte_s = loop, advance, send, byte_s
        self._buffer = bytearray()
        self._free_s = -math.inf  # when the last answer will have gone out

    def on_bytes(self, chunk: bytes, now_s: float) -> None:
        self._buffer += chunk
        while (end := self._buffer.find(b"\n")) >= 0:
            message = bytes(self._buffer[:end]).decode("ascii", errors="replace").strip()
            del self._buffer[: end + 1]
            if message and not self.mute:
                due = now_s + end * self._byte_s + self.instrument.model.turnaround_s + self.extra_delay_s
                self._free_s = max(due, self._free_s)
                self._loop.call_at(self._free_s, partial(self._answer, message))

    def forget(self) -> None:
        """The master has gone."""
        self._buffer.clear()

    def _answer(self, message: str, now_s: float) -> None:
        self._advance(now_s)
        answer = self.instrument.answer(message)
        if answer is None:
            return
        data = bytearray(answer + self.instrument.model.terminator)
        if self.garble > 0:
            self.garble -= 1
            data[len(data) // 2] ^= 0x01
        if self.cut > 0:
            self.cut -= 1
            del data[len(data) // 2 :]
        self._free_s = max(now_s, self._free_s) + len(data) * self._byte_s
        self._loop.call_at(self._free_s, partial(self._deliver, bytes(data)))

    def _deliver(self, data: bytes, _now_s: float) -> None:
        self._send(data)


class ScpiSerial:
    """Implements `drivers.emulators.host.EmulatedLine` on a pty."""

    def __init__(
        self, loop: EventLoop, advance: Callable[[float], None], instrument: ScpiInstrument, baudrate: int
    ) -> None:
        self._line = PtyLine(loop, baudrate, lambda chunk, now_s: self.desk.on_bytes(chunk, now_s))
        self.desk = ScpiDesk(loop, advance, instrument, self._line.send, self._line.byte_s)
        self.uri, self.path, self.close = self._line.uri, self._line.path, self._line.close

    def excuse(self, frozen_s: float) -> None:
        """Instruments watch nobody."""


class ScpiSocket:
    """Implements `drivers.emulators.host.EmulatedLine` on a TCP port of loopback; one master at a time."""

    def __init__(self, loop: EventLoop, advance: Callable[[float], None], instrument: ScpiInstrument) -> None:
        self._loop = loop
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self._master: socket.socket | None = None
        self.desk = ScpiDesk(loop, advance, instrument, self._send, 0.0)
        self.port: int = self._server.getsockname()[1]
        self.uri = f"tcp:127.0.0.1:{self.port}"
        self._open = True
        loop.watch(self._server, self._on_master)

    def excuse(self, frozen_s: float) -> None:
        """Instruments watch nobody."""

    def close(self) -> None:
        """Pull the network cable, as far as a socket can: the connection ends and no other is taken."""
        if self._open:
            self._open = False
            self._hang_up()
            self._loop.unwatch(self._server)
            self._server.close()

    def _on_master(self, _now_s: float) -> None:
        with contextlib.suppress(OSError):  # it has gone again
            master, _ = self._server.accept()
            self._hang_up()
            master.setblocking(False)
            master.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._master = master
            self._loop.watch(master, self._on_readable, self.uri)

    def _on_readable(self, now_s: float) -> None:
        if self._master is None:
            return
        try:
            chunk = self._master.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self.desk.on_bytes(chunk, now_s)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._master is not None:
            self._loop.unwatch(self._master)
            self._master.close()
            self._master = None
        self.desk.forget()

    def _send(self, data: bytes) -> None:
        if self._master is not None:
            with contextlib.suppress(OSError):
                self._master.sendall(data)
