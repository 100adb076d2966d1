"""Wrappers that write down everything on a wire: ``record:FILE|URI`` as the `uri` of a bus.

A frame is stamped when it was sent or received. Bytes are stamped when the driver took them from the line, which is
within a read's time slice of their arrival; every byte is recorded once and in order. Those that the driver throws
away (`drain`) came at some time since it last looked, and are stamped in the middle of it. A controller that left the
bus is written as the error frame that told so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from drivers import clock
from drivers.bus.frame import ERROR_BUS_OFF, Frame
from drivers.bus.transport import ByteStream, FrameBus
from drivers.bus.wire_log import WireLog
from drivers.device import BusOff, TransportLost, TransportTimeout


def recorded_uri(name: str, uri: str) -> tuple[Path, str]:
    """File and wire of ``record:FILE|URI``. Raises TransportLost for anything else."""
    path, bar, inner = uri.removeprefix("record:").partition("|")
    if not path or not bar or not inner:
        raise TransportLost(name, f"{uri!r} names no file and wire", "write record:FILE|URI")
    return Path(path), inner


class RecordingStream:
    """A `ByteStream` that passes everything on and writes it down."""

    def __init__(self, stream: ByteStream, log: WireLog) -> None:
        self._stream, self._log = stream, log
        self._looked_s = clock.now()

    @property
    def baudrate(self) -> int:
        return self._stream.baudrate

    def write(self, data: bytes) -> None:
        self._looked_s = clock.now()
        self._log.put(self._looked_s, True, bytes(data))
        self._stream.write(data)

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        try:
            data = self._stream.read_exactly(count, deadline_s, due_s)
        finally:
            self._looked_s = clock.now()
        self._log.put(self._looked_s, False, data)
        return data

    def drain(self) -> int:
        before_s, now_s = self._looked_s, clock.now()
        dropped = bytearray()
        try:
            while True:  # one by one: how many there are, nobody tells
                dropped += self._stream.read_exactly(1, clock.now())
        except TransportTimeout:
            self._looked_s = now_s
        finally:
            if dropped:
                self._log.put(0.5 * (before_s + now_s), False, bytes(dropped))
        return len(dropped)

    def close(self) -> None:
        self._stream.close()
        self._log.close()


class RecordingBus:
    """A `FrameBus` that passes everything on and writes it down."""

    def __init__(self, bus: FrameBus, log: WireLog) -> None:
        self._bus, self._log = bus, log

    @property
    def counters(self) -> dict[str, int]:
        return self._bus.counters

    def send(self, frame: Frame) -> None:
        self._log.put(clock.now(), True, frame)
        self._bus.send(frame)

    def send_all(self, frames: Iterable[Frame]) -> None:
        frames, now = tuple(frames), clock.now()
        for frame in frames:
            self._log.put(now, True, frame)
        self._bus.send_all(frames)

    def recv(self, deadline_s: float) -> Frame:
        try:
            frame = self._bus.recv(deadline_s)
        except BusOff:
            self._log.put(clock.now(), False, Frame(ERROR_BUS_OFF, bytes(8), error=True))
            raise
        self._log.put(frame.stamp_s, False, frame)
        return frame

    def recv_all(self, deadline_s: float) -> Sequence[Frame]:
        return (self.recv(deadline_s),)

    def poll(self) -> Frame | None:
        try:
            frame = self._bus.poll()
        except BusOff:
            self._log.put(clock.now(), False, Frame(ERROR_BUS_OFF, bytes(8), error=True))
            raise
        if frame is not None:
            self._log.put(frame.stamp_s, False, frame)
        return frame

    def close(self) -> None:
        self._bus.close()
        self._log.close()
