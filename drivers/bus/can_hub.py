"""The emulated CAN bus: arbitration, bit time, faults. Pure switching; sockets are in
`drivers.bus.hub_server`.

What it models: every frame reaches every other seat; each seat sends in its own order and the lowest
identifier of the waiting frames wins; the bits of every frame are accounted at the bit rate, and with
``paced=True`` they also take their time. What it does not model: bit-level errors, acknowledgement, error
counters. A fault is injected by a `Fault` rule.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from drivers.bus.frame import ERROR_BUS_OFF, ERROR_PROTOCOL, FdFrame, Frame, fd_wire_bits, wire_bits


class Seat(Protocol):
    """Somebody on the bus. `deliver` must not raise; it may transmit."""

    def deliver(self, frame: Frame, now_s: float) -> None: ...


class FaultKind(Enum):
    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"  # one data bit flips although the CRC was right: a broken gateway
    ERROR = "error"  # the frame is destroyed; everybody sees an error frame


@dataclass(slots=True)
class Fault:
    """What happens to frames whose identifier matches (`can_id` under `mask`): to the next `count`, after
    `skip` others.
    """

    kind: FaultKind
    can_id: int = 0
    mask: int = 0  # 0 matches every frame
    count: int = 1
    skip: int = 0
    delay_s: float = 0.0

    def strikes(self, frame: Frame) -> bool:
        if self.count <= 0 or frame.can_id & self.mask != self.can_id & self.mask:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        return True


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Since the hub was made."""

    frames: int
    bits: int
    overruns: int  # frames lost because a seat did not read them
    faults: int


#: Of a standard data frame, by its length.
_BITS = tuple(wire_bits(n) for n in range(9))


def _bits_of(frame: Frame) -> int:
    if frame.fd:
        return fd_wire_bits(len(frame.data), frame.extended)
    return wire_bits(len(frame.data), frame.extended, frame.remote)


def _nothing() -> None:
    return


class CanHub:
    """One bus. Owned by one thread: call `transmit`, then `pump`; with pacing, `pump` again at
    `next_due()`.
    """

    def __init__(self, bitrate: int, *, paced: bool = False, seed: int = 0) -> None:
        self.bitrate, self.paced = bitrate, paced
        self.silent = False  # the cable is cut: nothing is delivered
        self.overruns = 0
        self.faults: list[Fault] = []
        #: A tap for tests and recorders.
        self.on_frame: Callable[[Frame, float], None] | None = None
        #: Frames were delivered, and for now there are no more.
        self.on_idle: Callable[[], None] = _nothing
        self._queues: dict[Seat, deque[Frame]] = {}
        self._filters: dict[Seat, Callable[[int], bool]] = {}
        # By standard identifier, as far as it has been on the bus.
        self._listeners: dict[int, tuple[Seat, ...]] = {}
        self._order: dict[Seat, int] = {}
        # (identifier, place, seat) of the frame at the head of each queue; perhaps of seats that have left.
        self._heads: list[tuple[int, int, Seat]] = []
        self._delayed: list[tuple[float, Seat, Frame]] = []
        self._in_flight: tuple[float, Seat, Frame] | None = None
        self._frames = self._bits = self._struck = self._places = 0
        self._random = random.Random(seed)
        self._pumping = False

    def join(self, seat: Seat, hears: Callable[[int], bool] | None = None) -> None:
        """`hears` is the seat's acceptance filter for standard identifiers, None for everything. It is asked once for
        each, and again after `filters_changed`. Extended, remote and error frames and those of CAN FD pass.
        """
        self._places += 1
        self._queues[seat], self._order[seat] = deque(), self._places
        if hears is not None:
            self._filters[seat] = hears
        self._listeners.clear()

    def leave(self, seat: Seat) -> None:
        self._queues.pop(seat, None)
        self._filters.pop(seat, None)
        self._order.pop(seat, None)
        self._listeners.clear()

    def filters_changed(self) -> None:
        self._listeners.clear()

    def transmit(self, seat: Seat, frame: Frame, now_s: float) -> None:
        """Queue a frame of `seat`; faults strike here."""
        self.transmit_all(seat, (frame,), now_s)

    def transmit_all(self, seat: Seat, frames: Sequence[Frame], now_s: float) -> None:
        """Queue frames of `seat`, in this order."""
        if self.silent or seat not in self._queues:
            return
        if not self.faults:
            self._enqueue(seat, frames)
            return
        for frame in frames:
            fault = next((f for f in self.faults if f.strikes(frame)), None)
            if fault is None:
                self._enqueue(seat, (frame,))
            else:
                self._struck += 1
                self._strike(fault, seat, frame, now_s)

    def bus_off(self, now_s: float) -> None:
        """Tell every seat that its controller has left the bus (as SocketCAN does, by an error frame)."""
        self._broadcast(None, Frame(ERROR_BUS_OFF, bytes(8), error=True), now_s)
        self.on_idle()

    def next_due(self) -> float | None:
        """When `pump` must be called again although nothing is transmitted; None when the bus is idle."""
        due = [at for at, _, _ in self._delayed]
        if self._in_flight is not None:
            due.append(self._in_flight[0])
        return min(due, default=None)

    def pump(self, now_s: float) -> None:
        """Move frames until the bus is idle or, with pacing, busy beyond `now_s`."""
        if self._pumping:
            return  # a seat transmitted while a frame was delivered to it: the loop below takes it up
        self._pumping = True
        try:
            if self._delayed:
                self._release(now_s)
            if self.paced:
                self._pump_paced(now_s)
            else:
                self._pump_at_once(now_s)
        finally:
            self._pumping = False
            self.on_idle()

    def statistics(self) -> HubStatistics:
        return HubStatistics(self._frames, self._bits, self.overruns, self._struck)

    def _release(self, now_s: float) -> None:
        """What was delayed until now is sent."""
        for entry in [e for e in self._delayed if e[0] <= now_s]:
            self._delayed.remove(entry)
            if entry[1] in self._queues:
                self._enqueue(entry[1], (entry[2],))

    def _pump_at_once(self, now_s: float) -> None:
        """As with pacing, but in one loop and without an end of each frame: all frames of a cycle come through here."""
        heads, order, queues, listeners = self._heads, self._order, self._queues, self._listeners
        frames = bits = 0
        while heads:
            _, place, seat = heads[0]
            if order.get(seat) != place:
                heapq.heappop(heads)
                continue  # it has left
            queue = queues[seat]
            frame = queue.popleft()
            if queue:
                heapq.heapreplace(heads, (queue[0][0], place, seat))
            else:
                heapq.heappop(heads)
            can_id, data, extended, remote, error, _ = frame
            frames += 1
            if self.on_frame is not None and not self.silent:
                self.on_frame(frame, now_s)
            if extended or remote or error or frame.__class__ is FdFrame:
                bits += _bits_of(frame)
                hearing = tuple(queues)
            else:
                bits += _BITS[len(data)]
                hearing = listeners.get(can_id) or self._hearing(can_id)
            for other in () if self.silent else hearing:
                if other is not seat:
                    other.deliver(frame, now_s)
        self._frames += frames
        self._bits += bits

    def _pump_paced(self, now_s: float) -> None:
        """Until the bus is busy beyond `now_s`; a frame arrives when its last bit does."""
        while True:
            if self._in_flight is None:
                won = self._arbitrate()
                if won is None:
                    return
                seat, frame = won
                self._in_flight = now_s + _bits_of(frame) / self.bitrate, seat, frame
            end, seat, frame = self._in_flight
            if end > now_s:
                return
            self._in_flight = None
            self._broadcast(seat, frame, end)

    def _arbitrate(self) -> tuple[Seat, Frame] | None:
        """The next frame on the bus, and its sender."""
        heads, order = self._heads, self._order
        while heads:
            _, place, seat = heads[0]
            if order.get(seat) != place:
                heapq.heappop(heads)
                continue  # it has left
            queue = self._queues[seat]
            frame = queue.popleft()
            if queue:
                heapq.heapreplace(heads, (queue[0].can_id, place, seat))
            else:
                heapq.heappop(heads)
            _, data, extended, remote, _, _ = frame
            self._frames += 1
            self._bits += (
                _bits_of(frame) if extended or remote or frame.__class__ is FdFrame else _BITS[len(data)]
            )
            return seat, frame
        return None

    def _enqueue(self, seat: Seat, frames: Sequence[Frame]) -> None:
        queue = self._queues[seat]
        if not queue and frames:
            heapq.heappush(self._heads, (frames[0].can_id, self._order[seat], seat))
        queue.extend(frames)

    def _broadcast(self, sender: Seat | None, frame: Frame, now_s: float) -> None:
        if self.silent:
            return
        if self.on_frame is not None:
            self.on_frame(frame, now_s)
        can_id, _, extended, remote, error, _ = frame
        if extended or remote or error:
            seats = tuple(self._queues)
        else:
            seats = self._listeners.get(can_id) or self._hearing(can_id)
        for seat in seats:
            if seat is not sender:
                seat.deliver(frame, now_s)

    def _hearing(self, can_id: int) -> tuple[Seat, ...]:
        filters = self._filters
        seats = tuple(s for s in self._queues if s not in filters or filters[s](can_id))
        self._listeners[can_id] = seats
        return seats

    def _strike(self, fault: Fault, seat: Seat, frame: Frame, now_s: float) -> None:
        match fault.kind:
            case FaultKind.DROP:
                pass
            case FaultKind.DELAY:
                self._delayed.append((now_s + fault.delay_s, seat, frame))
            case FaultKind.DUPLICATE:
                self._enqueue(seat, (frame, frame))
            case FaultKind.CORRUPT:
                data = bytearray(frame.data)
                if data:
                    data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
                self._enqueue(seat, (frame._replace(data=bytes(data)),))
            case FaultKind.ERROR:
                self._broadcast(None, Frame(ERROR_PROTOCOL, bytes(8), error=True), now_s)
