"""A wire that disturbs what passes, by seed: for proving that a driver notices.

Both wrappers stand between a driver and its real transport and strike single frames (CAN) or single bursts of bytes
(serial, TCP), in both directions, as the `Disturber` draws it. What each kind does:

==========  ================================================  ====================================================
kind        bytes                                             frames
==========  ================================================  ====================================================
flip        one bit of the burst                              one bit of the data
cut         its end is missing                                fewer data bytes
duplicate   it comes twice                                    it comes twice
delay       it comes later, and all behind it                 it comes later, and all of that node behind it
reorder     its two halves change places                      the next frame of another node comes first
foreign     a burst that means nothing stands before it       a frame with an identifier nobody on the bus has
drop        it does not come                                  it does not come (destroyed; an error is counted)
silence     nothing comes in or goes out for some time        the same
==========  ================================================  ====================================================

On CAN, flip and cut do not happen on the wire: a frame carries a CRC of 15 bits, and what is damaged is destroyed by
an error frame and sent again. They model a broken gateway. The order of one node's frames is kept, as CAN controllers
and adapters keep it; protocols like CANopen rest on that, because process data carries no cycle number.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from enum import StrEnum

from drivers import clock
from drivers.bus.frame import FD_LENGTHS, Frame
from drivers.bus.transport import ByteStream, FrameBus, OneByOne
from drivers.device import TransportTimeout


class Disturbance(StrEnum):
    FLIP = "flip"
    CUT = "cut"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    REORDER = "reorder"
    FOREIGN = "foreign"
    DROP = "drop"
    SILENCE = "silence"


#: What happens to frames on a CAN bus whose controllers and gateways are sound.
ON_CAN = frozenset(Disturbance) - {Disturbance.FLIP, Disturbance.CUT}


class Disturber:
    """Draws what happens to the next frame or burst: with probability `rate` one of `kinds`. `counts` is what happened."""

    def __init__(
        self,
        seed: int,
        rate: float,
        kinds: Iterable[Disturbance] = Disturbance,
        *,
        longest_delay_s: float = 0.03,
        longest_silence_s: float = 0.05,
    ) -> None:
        self.rate, self.active = rate, True
        self.kinds = tuple(sorted(kinds))
        self.random = random.Random(seed)
        self.counts: Counter[Disturbance] = Counter()
        self._longest_delay_s, self._longest_silence_s = longest_delay_s, longest_silence_s
        self._silent_until_s = 0.0

    def draw(self) -> Disturbance | None:
        if not self.active or self.random.random() >= self.rate:
            return None
        kind = self.random.choice(self.kinds)
        self.counts[kind] += 1
        if kind is Disturbance.SILENCE:
            self._silent_until_s = clock.now() + self.random.uniform(0.0, self._longest_silence_s)
        return kind

    def silent(self) -> bool:
        return self.active and clock.now() < self._silent_until_s

    def delay_s(self) -> float:
        return self.random.uniform(0.0, self._longest_delay_s)

    def flip(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        if damaged:
            damaged[self.random.randrange(len(damaged))] ^= 1 << self.random.randrange(8)
        return bytes(damaged)

    def cut(self, data: bytes) -> bytes:
        return data[: self.random.randrange(len(data))] if data else data

    def cut_fd(self, data: bytes) -> bytes:
        """To a length that a CAN FD frame can have."""
        left = len(self.cut(data))
        return data[: max(length for length in FD_LENGTHS if length <= left)]


class FaultyStream:
    """A `ByteStream` behind a disturbed line."""

    def __init__(self, stream: ByteStream, disturber: Disturber) -> None:
        self._stream, self._disturber = stream, disturber
        self._out: deque[tuple[float, bytes]] = deque()
        self._in: deque[tuple[float, bytes]] = deque()
        self._buffer = bytearray()

    @property
    def baudrate(self) -> int:
        return self._stream.baudrate

    def write(self, data: bytes) -> None:
        self._put(self._out, bytes(data))
        self._pass_on()

    def read_exactly(self, count: int, deadline_s: float, due_s: float = math.inf) -> bytes:
        while True:
            self._pass_on()
            if len(self._buffer) >= count:
                taken = bytes(self._buffer[:count])
                del self._buffer[:count]
                return taken
            if clock.now() >= deadline_s:
                raise TransportTimeout("faulty line", f"{len(self._buffer)} of {count} bytes in time")
            waiting = [queue[0][0] for queue in (self._in, self._out) if queue]
            self._receive(min((deadline_s, *waiting)))

    def drain(self) -> int:
        self._receive(clock.now())
        self._pass_on()
        dropped = len(self._buffer)
        self._buffer.clear()
        return dropped

    def close(self) -> None:
        self._stream.close()

    def _receive(self, deadline_s: float) -> None:
        """One burst, if it begins before the deadline."""
        burst = bytearray()
        try:
            burst += self._stream.read_exactly(1, deadline_s)
            while True:
                burst += self._stream.read_exactly(1, clock.now())
        except TransportTimeout:
            if burst:
                self._put(self._in, bytes(burst))

    def _pass_on(self) -> None:
        now = clock.now()
        while self._out and self._out[0][0] <= now:
            self._stream.write(self._out.popleft()[1])
        while self._in and self._in[0][0] <= now:
            self._buffer += self._in.popleft()[1]

    def _put(self, queue: deque[tuple[float, bytes]], data: bytes) -> None:
        draw = self._disturber
        due = max(clock.now(), queue[-1][0] if queue else 0.0)
        kind = draw.draw()
        if draw.silent():
            return
        match kind:
            case Disturbance.FLIP:
                data = draw.flip(data)
            case Disturbance.CUT:
                data = draw.cut(data)
            case Disturbance.DUPLICATE:
                data += data
            case Disturbance.DELAY:
                due += draw.delay_s()
            case Disturbance.REORDER:
                half = len(data) // 2
                data = data[half:] + data[:half]
            case Disturbance.FOREIGN:
                data = draw.random.randbytes(draw.random.randint(1, 12)) + data
            case Disturbance.DROP:
                return
        if data:
            queue.append((due, data))


class FaultyBus(OneByOne):
    """A `FrameBus` with disturbances.

    `node_of` tells which node sends frames of an identifier (their order is kept), `foreign` makes an identifier that
    no device of the bus uses.
    """

    def __init__(
        self,
        bus: FrameBus,
        disturber: Disturber,
        *,
        node_of: Callable[[Frame], int],
        foreign: Callable[[random.Random], Frame],
    ) -> None:
        self._bus, self._disturber = bus, disturber
        self._node_of, self._foreign = node_of, foreign
        self._out: deque[tuple[float, Frame]] = deque()
        self._in: list[tuple[float, Frame]] = []
        self._overtaken: Frame | None = None

    @property
    def counters(self) -> dict[str, int]:
        return self._bus.counters

    def send(self, frame: Frame) -> None:
        due = max(clock.now(), self._out[-1][0] if self._out else 0.0)  # one node: ourselves
        for delay_s, passed in self._disturbed(frame, reorder=False):
            due += delay_s
            self._out.append((due, passed))
        self._flush()

    def recv(self, deadline_s: float) -> Frame:
        while (frame := self.poll()) is None:
            if clock.now() >= deadline_s:
                raise TransportTimeout("faulty bus", "no frame before the deadline")
            waiting = [due for due, _ in self._in]
            waiting += [due for due, _ in self._out]
            try:
                self._take(self._bus.recv(min((deadline_s, *waiting))))
            except TransportTimeout:
                self._release()  # nobody overtakes it any more
        return frame

    def poll(self) -> Frame | None:
        self._flush()
        while (frame := self._bus.poll()) is not None:
            self._take(frame)
        now = clock.now()
        for position, (due, frame) in enumerate(self._in):
            if due <= now:
                del self._in[position]
                return frame._replace(stamp_s=now)
        return None

    def close(self) -> None:
        self._bus.close()

    def _flush(self) -> None:
        now = clock.now()
        while self._out and self._out[0][0] <= now:
            self._bus.send(self._out.popleft()[1])

    def _take(self, frame: Frame) -> None:
        overtaken = self._overtaken
        for delay_s, passed in self._disturbed(frame, reorder=overtaken is None):
            self._arrive(passed, delay_s)
        if overtaken is not None and self._node_of(overtaken) != self._node_of(frame):
            self._release()

    def _release(self) -> None:
        if self._overtaken is not None:
            frame, self._overtaken = self._overtaken, None
            self._arrive(frame, 0.0)

    def _arrive(self, frame: Frame, delay_s: float) -> None:
        if self._overtaken is not None and self._node_of(self._overtaken) == self._node_of(frame):
            self._release()
        node = self._node_of(frame)
        earlier = [due for due, other in self._in if self._node_of(other) == node]
        self._in.append((max((clock.now() + delay_s, *earlier)), frame))

    def _disturbed(self, frame: Frame, *, reorder: bool) -> list[tuple[float, Frame]]:
        """(delay, frame) for each that comes out."""
        draw = self._disturber
        kind = draw.draw()
        if draw.silent():
            return []
        match kind:
            case Disturbance.FLIP:
                return [(0.0, frame._replace(data=draw.flip(frame.data)))]
            case Disturbance.CUT:
                cut = draw.cut_fd if frame.fd else draw.cut
                return [(0.0, frame._replace(data=cut(frame.data)))]
            case Disturbance.DUPLICATE:
                return [(0.0, frame), (0.0, frame)]
            case Disturbance.DELAY:
                return [(draw.delay_s(), frame)]
            case Disturbance.REORDER if reorder:
                self._overtaken = frame
                return []
            case Disturbance.FOREIGN:
                return [(0.0, self._foreign(draw.random)), (0.0, frame)]
            case Disturbance.DROP:
                self._bus.counters["error_frames"] += 1
                return []
        return [(0.0, frame)]
