"""The fault matrix: a family's real drivers and its real emulated devices with a disturbed wire between them.

For every family of `drivers.families` the same three properties are to hold under at least a thousand faults:

* no wrong value is ever reported as GOOD: a GOOD value is what the plant was at some instant of the cycle that reports it
  (of the last `age_s` before its end, for devices that are not read in every cycle), to one digit of the device;
* no exception escapes the runner: whatever happens ends as a stale value, a `DriverError`, or a trip with its reason;
* no motion command is repeated: at most one a device and cycle leaves the driver, and none outside a cycle.

The plant's truth is a known function of time that moves by many digits between two cycles, so a value of another cycle is
a wrong one. Time is virtual (`virtual_time`): runs are reproducible and faster than the wire.

What is claimed of CAN, and what not. A damaged CAN frame is destroyed on the wire and never delivered, so ``flip`` and
``cut`` are left out there: single frames get lost, late, doubled, and foreign ones come in. A *broken gateway* that
damages frames behind the CRC is run besides (`GATEWAY`): payloads carry no redundancy, so for that one only the last two
properties are claimed, and of values only that a frame of the wrong length never becomes one. Families with a CRC of
their own (Modbus, Dynamixel) are held to all of it under every kind of fault.

The families are in `fault_cases`.
"""

from __future__ import annotations

import math
import random
import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drivers import clock, timekeeper
from drivers.bus import byte_streams, can_bus
from drivers.bus.faulty import Disturbance, Disturber, FaultyBus, FaultyStream
from drivers.bus.frame import Frame
from drivers.device import Block, Command, DriverError, Group, Quality, Row, Setpoint
from drivers.emulators.families import EMULATED
from drivers.emulators.host import EmulatorHost
from drivers.families import FAMILIES
from drivers.family import BusPlan, Column, DevicePlan, Family, Wire
from drivers.runner import BusRunner

from .virtual_time import VirtualTime, install

GATEWAY = frozenset({Disturbance.CUT, Disturbance.FLIP})
#: Cycles of an episode before the first fault, with faults, and after the last.
_BEFORE, _WITHIN, _AFTER = 20, 120, 40
WATCHDOG_S = 0.2
#: Of the disturber.
LONGEST_DELAY_S = 0.03


@dataclass(frozen=True, slots=True)
class Truth:
    """A quantity as a function of time: `start` + `slope`·t, turning back whenever it has gone `range` far."""

    slope: float
    range: float = math.inf
    start: float = 0.0

    def at(self, t_s: float) -> float:
        gone = self.slope * t_s
        if math.isinf(self.range):
            return self.start + gone
        phase = math.fmod(abs(gone), 2.0 * self.range)
        return self.start + math.copysign(min(phase, 2.0 * self.range - phase), gone)

    def between(self, begin_s: float, end_s: float) -> tuple[float, float]:
        """Smallest and largest value in the interval."""
        values = [self.at(begin_s), self.at(end_s)]
        turn_s = self.range / abs(self.slope) if self.slope and math.isfinite(self.range) else math.inf
        if math.isfinite(turn_s):
            first, last = math.ceil(begin_s / turn_s), math.floor(end_s / turn_s)
            values += [self.at(n * turn_s) for n in range(first, min(last, first + 1) + 1)]
        return min(values), max(values)


@dataclass(frozen=True)
class Case:
    """A family in the matrix.

    `truths` by (device, signal), of what the plant is asked for; `moves` are the actuators and what they are told;
    `motion` names the device to which a frame or telegram gives a motion command (torque on), None for anything else.
    `age_s` by column, for what is not read in every cycle; `unseen_s`, by how much it may be older than its driver can know.
    For CAN: which node sends an identifier, and a foreign frame.
    """

    name: str
    family: str
    devices: tuple[DevicePlan, ...]
    columns: tuple[Column, ...]
    bitrate: int
    period_s: float
    truths: Mapping[tuple[str, str], Truth]
    moves: Mapping[str, Setpoint] = field(default_factory=dict)
    motion: Callable[[Any], object | None] = lambda _: None
    age_s: Mapping[str, float] = field(default_factory=dict)
    unseen_s: Mapping[str, float] = field(default_factory=dict)
    kinds: frozenset[Disturbance] = frozenset(Disturbance)
    rate: float = 0.1
    node_of: Callable[[Frame], int] = lambda frame: frame.can_id
    foreign: Callable[[random.Random], Frame] = lambda _: Frame(0x7FF)

    @property
    def member(self) -> Family:
        return FAMILIES[self.family]

    def plan(self, uri: str) -> BusPlan:
        return BusPlan(
            "bus", uri, self.bitrate, self.period_s, WATCHDOG_S, list(self.devices), list(self.columns)
        )


@dataclass
class Outcome:
    """What an episode, or several, brought to light. `wrong` and `repeated` are to stay empty."""

    faults: Counter[Disturbance] = field(default_factory=Counter)
    rows: int = 0
    good: int = 0
    samples: int = 0
    aged: int = 0  # samples of an earlier cycle than their row's
    motions: int = 0
    opened: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{sum(self.faults.values())} faults ({', '.join(f'{n} {k}' for k, n in sorted(self.faults.items()))}), "
            f"{self.rows} rows, {self.good} of {self.samples} samples good, {self.aged} of an earlier cycle, {self.motions} motion commands, "
            f"{self.opened} times opened, {sum(self.refused.values())} refused; trips {dict(self.failures)}"
        )


class KnownPlant:
    """Moves as `truths` say, whatever the devices command."""

    def __init__(self, truths: Mapping[tuple[str, str], Truth]) -> None:
        self._truths, self._now_s = truths, 0.0

    def advance(self, t_s: float) -> None:
        self._now_s = t_s

    def command(self, device: str, command: Command | None) -> None:
        """The machine is stronger."""

    def read(self, device: str, signal: str) -> float:
        truth = self._truths.get((device, signal))
        return truth.at(self._now_s) if truth is not None else 0.0


class Spy:
    """A transport that tells what leaves the driver."""

    def __init__(self, wire: Any, sent: Callable[[Any], None]) -> None:
        self._wire, self._sent = wire, sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def send(self, frame: Frame) -> None:
        self._sent(frame)
        self._wire.send(frame)

    def send_all(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self.send(frame)

    def write(self, data: bytes) -> None:
        self._sent(bytes(data))
        self._wire.write(data)


class Probe:
    """The group under test, as the runner sees it; keeps each cycle with its times, and paces the test's own thread."""

    def __init__(self, case: Case, group: Group, disturber: Disturber, calm: bool) -> None:
        self._case, self._group, self._disturber, self._calm = case, group, disturber, calm
        self.cycles: list[tuple[float, float, Row]] = []
        self.sent: Counter[tuple[object, int]] = Counter()
        self.astray: list[str] = []
        self.go, self.finished, self.leave = threading.Event(), threading.Event(), threading.Event()
        self._number = 0
        self._in_cycle = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    def on_sent(self, payload: Any) -> None:
        key = self._case.motion(payload)
        if key is None:
            return
        if self._in_cycle:
            self.sent[key, self._number] += 1
        else:
            self.astray.append(f"{key} was told to move outside a cycle")

    def open(self) -> Any:
        self._disturber.active = not self._calm
        identities = self._group.open()
        self._disturber.active = False
        return identities

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        if self._number == 1:
            self.go.wait()
        if not self._calm or self._number >= _BEFORE + _WITHIN:
            self._disturber.active = False
        elif self._number >= _BEFORE:
            self._disturber.active = True
        if self._number == _BEFORE + _WITHIN + _AFTER:
            self.finished.set()
            self.leave.wait()
        self._number += 1
        begin = clock.now()
        self._in_cycle = True
        try:
            row = self._group.cycle(commands)
        finally:
            self._in_cycle = False
        self.cycles.append((begin, clock.now(), row))
        return row


def episode(
    case: Case,
    seed: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Outcome,
    *,
    kinds: frozenset[Disturbance] | None = None,
    disturb_opening: bool = False,
) -> None:
    """Open, enable, run with faults, stop. Adds to `outcome`; raises what escapes (nothing is to)."""
    time = install(monkeypatch)
    # Opening a CAN bus takes hundreds of frames, a serial line a few telegrams.
    opening_rate = 0.005 if case.member.wire is Wire.CAN else min(case.rate, 0.05)
    disturber = Disturber(
        seed, opening_rate if disturb_opening else case.rate, case.kinds if kinds is None else kinds
    )
    disturber.active = False
    with _devices(case, folder, time) as (uri, begin_s):
        group = case.member.group(case.plan(_disturbed(case, uri, disturber, monkeypatch)))
        probe = Probe(case, group, disturber, calm=not disturb_opening)
        monkeypatch.setattr(_Wire, "sent", probe.on_sent)
        _run(case, probe, outcome)
        _judge(case, probe, begin_s, outcome)
    outcome.faults.update(disturber.counts)


class _Wire:
    """Where the openers of the present episode report to."""

    @staticmethod
    def sent(payload: Any) -> None: ...


def _disturbed(case: Case, uri: str, disturber: Disturber, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URI that opens `uri` with the disturber and a spy before it."""

    def open_bus(name: str, _uri: str, bitrate: int) -> Any:
        bus = FaultyBus(
            can_bus.open_can(name, uri, bitrate), disturber, node_of=case.node_of, foreign=case.foreign
        )
        return Spy(bus, lambda payload: _Wire.sent(payload))

    def open_line(name: str, _uri: str, baudrate: int) -> Any:
        stream = FaultyStream(byte_streams.open_stream(name, uri, baudrate), disturber)
        return Spy(stream, lambda payload: _Wire.sent(payload))

    monkeypatch.setitem(can_bus.SCHEMES, "matrix", open_bus)
    monkeypatch.setitem(byte_streams.SCHEMES, "matrix", open_line)
    return "matrix:"


@contextmanager
def _devices(case: Case, folder: Path, time: VirtualTime) -> Iterator[tuple[str, float]]:
    """URI of the emulated devices, and when their plant began."""
    host = EmulatorHost(KnownPlant(case.truths))
    time.loop = host.loop
    begin_s = host._begin_s
    uri = EMULATED[case.family](host, case.plan("emulated"), folder, False)
    host.loop.every(0.02, host.advance)
    try:
        yield uri, begin_s
    finally:
        time.loop = None
        host.close()


def _run(case: Case, probe: Probe, outcome: Outcome) -> None:
    blocks: list[Block] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Virtual time never sleeps: at real-time priority it would starve the machine.
        monkeypatch.setattr(timekeeper, "keep_time", lambda *_: "virtual time")
        bus = BusRunner(probe, blocks.append, block_rows=10, lease_s=1e9)  # type: ignore[arg-type]
        held = bus._requests._waiting = _Held()
        try:
            bus.start(60.0)
        except DriverError as error:
            outcome.refused[type(error).__name__] += 1
            bus.stop()
            return
        outcome.opened += 1
        asking = [_ask(bus, held, *move) for move in case.moves.items()]
        held.closed = False
        probe.go.set()
        for thread in asking:
            thread.join(30)
        while not probe.finished.wait(0.01) and bus._thread.is_alive():
            pass
        stopping = threading.Thread(target=bus.stop)
        stopping.start()
        bus._stopping.wait()
        probe.leave.set()
        stopping.join(60)
        assert not bus._thread.is_alive(), "the runner did not end"
    if bus.failure is not None:
        assert "internal error" not in bus.failure, bus.failure
        outcome.failures[bus.failure.partition(":")[2].strip()[:40]] += 1
    delivered = sum(len(block) for block in blocks)
    assert [b.sequence for b in blocks] == list(range(len(blocks)))
    assert delivered == len(probe.cycles)


class _Held(deque[Any]):
    """Requests that look like none until `closed` is False: all are taken up in the same cycle, every time."""

    closed = True

    def __bool__(self) -> bool:
        return not self.closed and len(self) > 0


def _ask(bus: BusRunner, held: _Held, device: str, setpoint: Setpoint) -> threading.Thread:
    """Queue a command, on a thread of its own because it waits for the answer."""

    def ask() -> None:
        with suppress(DriverError):  # it has tripped already
            bus.command(device, setpoint, 1000.0, 20.0)

    before = len(held)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    while len(held) == before and thread.is_alive():
        threading.Event().wait(0.0005)
    return thread


def _judge(case: Case, probe: Probe, begin_s: float, outcome: Outcome) -> None:
    digits = {
        (d.name, s.name): s.resolution
        for d in case.devices
        for s in case.member.describe(d.model).signals
    }  # fmt: skip
    begins = [begin for begin, _, _ in probe.cycles]
    for number, (begin, end, row) in enumerate(probe.cycles):
        outcome.rows += 1
        _judge_ages(case, probe, begins, number, begin_s, outcome, digits)
        for column, value, quality in zip(case.columns, row.values, row.quality, strict=True):
            outcome.samples += 1
            if quality != Quality.GOOD:
                continue
            outcome.good += 1
            truth = case.truths[column.device, column.signal]
            oldest = begin - case.age_s.get(column.channel, 0.0)
            low, high = truth.between(oldest - begin_s, end - begin_s)
            slack = 1.01 * digits[column.device, column.signal] + 1e-7 * max(abs(low), abs(high))
            if not low - slack <= value <= high + slack:
                outcome.wrong.append(
                    f"cycle {number}: {column.channel} is {value:.9g}, was between {low:.9g} and {high:.9g}"
                )
    outcome.motions += sum(probe.sent.values())
    outcome.repeated += [
        f"{key} {count} times in cycle {n}" for (key, n), count in probe.sent.items() if count > 1
    ]
    outcome.repeated += probe.astray


def _judge_ages(
    case: Case,
    probe: Probe,
    begins: list[float],
    number: int,
    begin_s: float,
    outcome: Outcome,
    digits: Mapping[tuple[str, str], float],
) -> None:
    """A value, stale or not, is one of the cycle into which its age leads back (or of what was exchanged before the next)."""
    row = probe.cycles[number][2]
    ages = row.age_s if row.age_s is not None else [0.0] * len(row.values)
    for column, value, quality, age_s in zip(case.columns, row.values, row.quality, ages, strict=True):
        if quality == Quality.BAD:
            continue
        sampled_s = row.stamp_s - age_s
        at = bisect_right(begins, sampled_s + 1e-9) - 1
        if at < 0:  # while the bus was opened
            continue
        begin, end = begins[at], begins[at + 1] if at + 1 < len(begins) else probe.cycles[at][1]
        truth = case.truths[column.device, column.signal]
        begin -= case.unseen_s.get(column.channel, 0.0)
        low, high = truth.between(begin - begin_s, end - begin_s)
        slack = 1.01 * digits[column.device, column.signal] + 1e-7 * max(abs(low), abs(high))
        outcome.aged += at < number
        if not low - slack <= value <= high + slack:
            outcome.wrong.append(
                f"cycle {number}: {column.channel} is {value:.9g}, by its age of {age_s:g} s between {low:.9g} and {high:.9g}"
            )
