"""A recorded session that answers instead of a wire: ``replay:FILE``.

For finding out at the desk what a driver did with what a bench once sent. The recording is cut into *exchanges*:
something that we sent, and what came until we sent the next. The replay plays the devices' part: whoever sends gets the
answers of the first exchange not played yet with exactly these bytes, as long after the request as they came then. So
the same master meets the same answers in the same order, also when its own clock interleaves independent requests
(heartbeats, slow readings) a little differently. A request that the recording does not have, or no longer, is one
`TransportLost` that says what was sent and what was recorded next; nothing is ever invented.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from drivers import clock
from drivers.bus.frame import ERROR_BUS_OFF, Frame
from drivers.bus.transport import OneByOne
from drivers.bus.wire_log import Entry, format_payload, read_log
from drivers.device import BusOff, TransportLost, TransportTimeout


def replayed_file(uri: str) -> Path:
    return Path(uri.removeprefix("replay:"))


@dataclass(slots=True)
class _Exchange:
    """`answers`: payload, and how long after the request it came. `number` counts the exchanges of the file."""

    number: int
    request: Frame | bytes
    answers: list[tuple[float, Frame | bytes]] = field(default_factory=list)
    played: bool = False


class Session:
    """The devices' part of a recorded session. Raises TransportLost when the file cannot be read or was written otherwise."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._path = name, path
        self._exchanges: list[_Exchange] = []
        self._left: dict[str, deque[_Exchange]] = {}  # by the request as it stands in the file
        self._due: deque[tuple[float, Frame | bytes]] = deque()
        self._next = 0
        try:
            self._read(list(read_log(path)))
        except (OSError, ValueError) as error:
            raise TransportLost(
                name, f"cannot replay {path} ({error})", "name a file that record: has written"
            ) from error

    def _read(self, entries: list[Entry]) -> None:
        begin = entries[0].stamp_s if entries else 0.0
        now = clock.now()
        for entry in entries:
            if entry.sent:
                begin = entry.stamp_s
                exchange = _Exchange(len(self._exchanges), entry.payload)
                self._exchanges.append(exchange)
                self._left.setdefault(format_payload(True, entry.payload), deque()).append(exchange)
            elif self._exchanges:
                self._exchanges[-1].answers.append((entry.stamp_s - begin, entry.payload))
            else:  # what came before anything was asked
                self._due.append((now + entry.stamp_s - begin, entry.payload))

    def send(self, payload: Frame | bytes) -> None:
        text = format_payload(True, payload)
        waiting = self._left.get(text)
        if not waiting:
            raise TransportLost(
                self._name,
                f"the recording {self._path} has no (further) {text!r}; {self._recorded_next()}",
                "replay with the same bench file and steps as it was recorded with",
            )
        exchange = waiting.popleft()
        exchange.played = True
        now = clock.now()
        last = self._due[-1][0] if self._due else now
        for delay_s, answer in exchange.answers:
            last = max(last, now + delay_s)  # the order of the recording is kept
            self._due.append((last, answer))

    def take(self) -> Frame | bytes | None:
        """What has arrived by now."""
        if self._due and self._due[0][0] <= clock.now():
            return self._due.popleft()[1]
        return None

    def wait(self, deadline_s: float) -> bool:
        """Until something arrives; False when that is not before the deadline, which has then passed."""
        due = self._due[0][0] if self._due else float("inf")
        clock.sleep_until(min(due, deadline_s))
        return due <= deadline_s

    def _recorded_next(self) -> str:
        while self._next < len(self._exchanges) and self._exchanges[self._next].played:
            self._next += 1
        if self._next == len(self._exchanges):
            return "it ends here"
        return f"recorded next is {format_payload(True, self._exchanges[self._next].request)!r}"


class ReplayStream:
    """`ByteStream` over a recorded session."""

    def __init__(self, name: str, path: Path, baudrate: int) -> None:
        self.name, self._baudrate = name, baudrate
        self._session = Session(name, path)
        self._buffer = bytearray()

    @property
    def baudrate(self) -> int:
        return self._baudrate

    def write(self, data: bytes) -> None:
        self._session.send(bytes(data))

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        self._fill()
        while len(self._buffer) < count:
            if not self._session.wait(deadline_s):
                raise TransportTimeout(self.name, f"{len(self._buffer)} of {count} bytes before the deadline")
            self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def drain(self) -> int:
        self._fill()
        dropped = len(self._buffer)
        self._buffer.clear()
        return dropped

    def close(self) -> None:
        """A recording needs no end."""

    def _fill(self) -> None:
        while (payload := self._session.take()) is not None:
            if isinstance(payload, Frame):
                raise TransportLost(self.name, "the recording is one of a CAN bus")
            self._buffer += payload


class ReplayBus(OneByOne):
    """`FrameBus` over a recorded session."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.counters = {"rx": 0, "tx": 0, "error_frames": 0, "garbled": 0, "tx_full": 0}
        self._session = Session(name, path)

    def send(self, frame: Frame) -> None:
        self._session.send(frame)
        self.counters["tx"] += 1

    def poll(self) -> Frame | None:
        while (payload := self._session.take()) is not None:
            if isinstance(payload, bytes):
                raise TransportLost(self.name, "the recording is one of a byte stream")
            if not payload.error:
                self.counters["rx"] += 1
                return payload._replace(stamp_s=clock.now())
            self.counters["error_frames"] += 1
            if payload.can_id & ERROR_BUS_OFF:
                raise BusOff(self.name, "the CAN controller had left the bus when this was recorded")
        return None

    def recv(self, deadline_s: float) -> Frame:
        while (frame := self.poll()) is None:
            if not self._session.wait(deadline_s):
                raise TransportTimeout(self.name, "no frame before the deadline")
        return frame

    def close(self) -> None:
        """A recording needs no end."""
