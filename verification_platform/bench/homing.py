"""A drive finds its own zero, on a bench of which no interlock process takes care: its part is done here.

One thread owns the drive's bus, as in a run; the drive's own watchdog stands, and the torque is off before and after. Every
other bus that carries the contact of an emergency stop is read meanwhile, each by a `BusRunner` that commands nothing. Before
the torque, and then in every cycle, there must be nothing against it: no contact open or unheard (`bench.estop`, as in a
run), no key of the cell held, nobody who has interrupted. The first reason stays.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from drivers import clock
from drivers.device import Block, DriverError, Group, Homes, Mode, Row
from drivers.realtime import AwakeClock
from drivers.runner import PRIORITY, BusRunner
from drivers.timekeeper import Timekeeper

from .alarm import Alarm
from .description import BenchDescription
from .devices import group_for
from .estop import EmergencyStops
from .lockout import Lockout
from .trip import BenchTrip

#: Of the buses that are only read; nobody holds torque there.
_LEASE_S = 1.0


@dataclass(slots=True)
class Homing:
    """Of `device`, which `group` homes. To be used once."""

    bench: BenchDescription
    group: Group
    device: str
    _position: float = math.nan
    _error: BaseException | None = None
    #: Why there must be no torque.
    _reason: str = ""
    _interrupted: threading.Event = field(default_factory=threading.Event)
    #: Samples of the other buses, on their way to the owner of this one.
    _blocks: deque[Block] = field(default_factory=deque)
    _others: list[BusRunner] = field(default_factory=list)
    _stops: EmergencyStops = field(init=False)
    _lockout: Lockout = field(init=False)
    _clock: AwakeClock = field(init=False)
    _time: Timekeeper = field(init=False)

    def __post_init__(self) -> None:
        interlock = self.bench.interlock
        self._stops = EmergencyStops(interlock.estop, interlock.silence)
        self._lockout = Lockout.of(self.bench.bench.id)
        self._clock = AwakeClock(interlock.silence / 4.0, clock.now())
        self._time = Timekeeper(self.group.name, self.group.period_s)

    def run(self) -> float:
        """Home it; returns where its shaft then is, rad. Raises BenchTrip."""
        with self._listening():
            thread = threading.Thread(target=self._own, name=f"bus-{self.group.name}")
            thread.start()
            try:
                thread.join()
            except KeyboardInterrupt:
                self._interrupted.set()  # the owner itself takes the torque off
                thread.join()
        if self._error is None:
            return self._position
        if not isinstance(self._error, DriverError):
            raise self._error
        raise BenchTrip(str(self._error), safety=bool(self._reason)) from None

    # ── other buses ──

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """The other buses with contacts deliver. Raises BenchTrip when one cannot be opened."""
        interlock = self.bench.interlock
        try:
            for bus, record in self.bench.bus.items():
                contacts = [name for name in self.bench.channels_on(bus) if name in interlock.estop]
                if bus == self.group.name or not contacts:
                    continue
                group = group_for(self.bench, bus)
                runner = BusRunner(
                    group,
                    self._blocks.append,
                    block_rows=max(1, round(interlock.heartbeat / record.cycle)),
                    lease_s=_LEASE_S,
                    urgent=Alarm(interlock, group.channels),
                    processor=record.processor,
                )
                self._others.append(runner)
                try:
                    runner.start()
                except DriverError as error:
                    unheard = f"emergency stop: {contacts[0]} cannot be heard"
                    raise BenchTrip(f"{self.device}: homing is not allowed: {unheard}: {error}") from None
            yield
        finally:
            for runner in self._others:
                runner.stop()

    # ── the thread that owns the bus ──

    def _own(self) -> None:
        assert isinstance(self.group, Homes)
        try:
            self._time.claim(PRIORITY, self.bench.bus[self.group.name].processor)
            with clock.seat():
                self.group.open()
                try:
                    self._hear_everybody()
                    self.group.home(self.device, self._forbidden)
                    self.group.cycle({})
                    self._position = self.group.measured(self.device, Mode.POSITION)
                finally:
                    self.group.close()
        except BaseException as error:  # noqa: BLE001 - handed to whoever called `run`
            self._error = error

    def _hear_everybody(self) -> None:
        """Cycles without torque until every contact was heard, at most for as long as one may be silent. What was not heard by
        then, and a contact that was open, forbids the first step of the homing.
        """
        self._time.start()
        begun_s = now_s = self._listen(self.group.cycle({}))
        while self._stops.unheard(now_s) is not None and now_s - begun_s < self.bench.interlock.silence:
            self._time.await_cycle()
            now_s = self._listen(self.group.cycle({}))

    def _forbidden(self, row: Row) -> str | None:
        """Asked in every cycle: why there must be no torque."""
        now_s = self._listen(row)
        self._reason = self._reason or self._silent(now_s) or self._told()
        return self._reason or None

    def _listen(self, row: Row) -> float:
        """Take what the contacts say; returns the time on which their silence is counted (see `bench.silence`)."""
        now_s = self._clock.tick(clock.now())
        heard = [_block(self.group, row)]
        while self._blocks:
            heard.append(self._blocks.popleft())
        for block in heard:
            pressed = self._stops.take(block, now_s)
            if pressed is not None:
                self._reason = self._reason or pressed[1]
        return now_s

    def _silent(self, now_s: float) -> str:
        gone = next((runner.failure for runner in self._others if runner.failure is not None), None)
        if gone is not None:
            return f"an emergency stop can no longer be heard: {gone}"
        unheard = self._stops.unheard(now_s)
        return "" if unheard is None else unheard[1]

    def _told(self) -> str:
        return "stopped by the user" if self._interrupted.is_set() else self._lockout.refusal()


def _block(group: Group, row: Row) -> Block:
    ages = None if row.age_s is None else np.array([row.age_s], np.float32)
    values, quality = np.array([row.values], float), np.array([row.quality], np.uint8)
    return Block(group.name, 0, 0, group.channels, np.array([row.stamp_s]), values, quality, ages)
