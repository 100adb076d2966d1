"""The emulated CAN bus: arbitration, bit time, faults. Pure switching; sockets are in
`drivers.bus.hub_server`.

What it models: every frame reaches every other seat; each seat sends in its own order and the lowest
identifier of the waiting frames wins; the bits of every frame are accounted at the bit rate, and with
``paced=True`` they also take their time. What it does not model: bit-level errors, acknowledgement, error
counters. A fault is injected by a `Fault` rule.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from drivers.bus.frame import ERROR_BUS_OFF, ERROR_PROTOCOL, Frame, wire_bits


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


class CanHub:
    """One bus. Owned by one thread: call `transmit`, then `pump`; with pacing, `pump` again at
    `next_due()`.
    """

    def __init__(self, bitrate: int, *, paced: bool = False, seed: int = 0) -> None:
        self.bitrate, self.paced = bitrate, paced
        self.silent = False  # the cable is cut: nothing is delivered
        self.overruns = 0
        self.faults: list[Fault] = []
        self.on_frame: Callable[[Frame, float], None] | None = None  # a tap for tests and recorders
        self._queues: dict[Seat, deque[Frame]] = {}
        self._delayed: list[tuple[float, Seat, Frame]] = []
        self._in_flight: tuple[float, Seat, Frame] | None = None
        self._frames = self._bits = self._struck = 0
        self._random = random.Random(seed)
        self._pumping = False

    def join(self, seat: Seat) -> None:
        self._queues[seat] = deque()

    def leave(self, seat: Seat) -> None:
        self._queues.pop(seat, None)

    def transmit(self, seat: Seat, frame: Frame, now_s: float) -> None:
        """Queue a frame of `seat`; faults strike here."""
        if self.silent or seat not in self._queues:
            return
        for fault in self.faults:
            if fault.strikes(frame):
                self._struck += 1
                self._strike(fault, seat, frame, now_s)
                return
        self._queues[seat].append(frame)

    def bus_off(self, now_s: float) -> None:
        """Tell every seat that its controller has left the bus (as SocketCAN does, by an error frame)."""
        self._broadcast(None, Frame(ERROR_BUS_OFF, bytes(8), error=True), now_s)

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
            for entry in [e for e in self._delayed if e[0] <= now_s]:
                self._delayed.remove(entry)
                if entry[1] in self._queues:
                    self._queues[entry[1]].append(entry[2])
            while True:
                if self._in_flight is not None:
                    end, seat, frame = self._in_flight
                    if end > now_s:
                        return
                    self._in_flight = None
                    self._broadcast(seat, frame, end if self.paced else now_s)
                if not self._arbitrate(now_s):
                    return
        finally:
            self._pumping = False

    def statistics(self) -> HubStatistics:
        return HubStatistics(self._frames, self._bits, self.overruns, self._struck)

    def _arbitrate(self, now_s: float) -> bool:
        winner: Seat | None = None
        lowest = 1 << 32
        for seat, queue in self._queues.items():
            if queue and queue[0].can_id < lowest:
                winner, lowest = seat, queue[0].can_id
        if winner is None:
            return False
        frame = self._queues[winner].popleft()
        bits = wire_bits(len(frame.data), frame.extended, frame.remote)
        self._frames += 1
        self._bits += bits
        self._in_flight = (now_s + bits / self.bitrate if self.paced else now_s, winner, frame)
        return True

    def _broadcast(self, sender: Seat | None, frame: Frame, now_s: float) -> None:
        if self.silent:
            return
        if self.on_frame is not None:
            self.on_frame(frame, now_s)
        for seat in tuple(self._queues):
            if seat is not sender:
                seat.deliver(frame, now_s)

    def _strike(self, fault: Fault, seat: Seat, frame: Frame, now_s: float) -> None:
        match fault.kind:
            case FaultKind.DROP:
                pass
            case FaultKind.DELAY:
                self._delayed.append((now_s + fault.delay_s, seat, frame))
            case FaultKind.DUPLICATE:
                self._queues[seat].extend((frame, frame))
            case FaultKind.CORRUPT:
                data = bytearray(frame.data)
                if data:
                    data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
                self._queues[seat].append(replace(frame, data=bytes(data)))
            case FaultKind.ERROR:
                self._broadcast(None, Frame(ERROR_PROTOCOL, bytes(8), error=True), now_s)
