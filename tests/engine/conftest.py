"""A bench small enough to see through, a protocol of a few steps, and an engine that runs one on the other."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from drivers.device import Block, Mode, Quality, Setpoint
from drivers.trajectory import Trajectory
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.dut import Order
from verification_platform.bench.envelope import SafetyEnvelope
from verification_platform.bench.trip import BenchTrip
from verification_platform.engine.journal import Journal
from verification_platform.engine.protocol import (
    Evaluation,
    Procedure,
    Protocol,
    ProtocolParameters,
    Requires,
    Standard,
    Text,
    parameter,
)
from verification_platform.engine.run import Outcome, RunEngine
from verification_platform.engine.steps import Record, Rest, Seconds, Set, Step, Turns, Wait
from verification_platform.metrology.budget import make_result
from verification_platform.metrology.result import Contribution
from verification_platform.records.marks import SegmentMark
from verification_platform.records.recording import Recording

ROOT = Path(__file__).parents[2]
TICK_S = 0.002
SPIN = Set("drive", Mode.VELOCITY, 10.0, 50.0)
REST = Rest(("drive",))


class FakeBench:
    """`BenchPort` on virtual time: 500 Hz angles on ``can0``, 100 Hz torque on ``rs485``, blocks of 20 ms.

    `events` is everything that was asked of it, in order. `at` maps a bench time to something that happens then.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.marks: list[SegmentMark] = []
        self.blocks: list[Block] = []
        self.torque_on: set[str] = set()
        self.at: dict[float, Callable[[FakeBench], None]] = {}
        self.lose_block: float | None = None  # the first can0 block after this time is dropped
        self.silent_after: float | None = None  # rs485 says nothing more
        self._tick = 0
        self._angle = 0.0
        self._trajectories: dict[str, Trajectory] = {}
        self._rows: dict[str, list[tuple[float, tuple[float, ...]]]] = {"can0": [], "rs485": []}
        self._count = {"can0": [0, 0], "rs485": [0, 0]}

    @property
    def commands(self) -> list[tuple[Any, ...]]:
        """What was asked of its actuators."""
        return [event for event in self.events if event[0] in ("command", "rest")]

    def now_s(self) -> float:
        return self._tick * TICK_S

    def start(self) -> None:
        self.events.append(("start",))

    def command(self, role: str, setpoint: Setpoint) -> None:
        self.events.append(("command", role, setpoint.mode, setpoint.target))
        start = self._trajectories[role].value(self.now_s()) if role in self._trajectories else 0.0
        self._trajectories[role] = Trajectory(start, setpoint, self.now_s(), 50.0)
        self.torque_on.add(role)

    def rest(self, role: str) -> None:
        self.events.append(("rest", role))
        self._trajectories.pop(role, None)
        self.torque_on.discard(role)

    def moving(self, role: str) -> bool:
        return False

    def position(self, role: str) -> float:
        return self._angle if role == "drive" else 0.0

    def poll(self, timeout_s: float) -> Sequence[Block]:
        for _ in range(max(1, round(timeout_s / TICK_S))):
            self._advance()
            if self._tick % 10 == 0:
                found = [block for block in map(self._take, ("can0", "rs485")) if block is not None]
                self.blocks += found
                return found
        return []

    def mark(self, mark: SegmentMark) -> None:
        self.marks.append(mark)

    def prompt(self, key: str, zh: str, en: str) -> None:
        self.events.append(("prompt", key))

    def stop(self) -> None:
        self.events.append(("stop",))
        self._trajectories.clear()
        self.torque_on.clear()

    def _advance(self) -> None:
        self._tick += 1
        now = self.now_s()
        for when in [when for when in self.at if when <= now]:
            self.at.pop(when)(self)
        drive = self._trajectories.get("drive")
        if drive is not None:
            velocity = drive.mode is Mode.VELOCITY
            self._angle = self._angle + drive.value(now) * TICK_S if velocity else drive.value(now)
        self._rows["can0"].append((now, (self._angle, -self._angle / 100 % (2 * math.pi))))
        load = self._trajectories.get("load")
        if self._tick % 5 == 0 and not (self.silent_after is not None and now > self.silent_after):
            self._rows["rs485"].append((now, (load.value(now) if load is not None else 0.0,)))

    def _take(self, group: str) -> Block | None:
        rows, self._rows[group] = self._rows[group], []
        if not rows:
            return None
        sequence, first = self._count[group]
        self._count[group] = [sequence + 1, first + len(rows)]
        if group == "can0" and self.lose_block is not None and rows[0][0] > self.lose_block:
            self.lose_block = None
            return None
        channels = ("input_angle", "output_angle") if group == "can0" else ("output_torque",)
        values = np.array([row for _, row in rows])
        good = np.full(values.shape, Quality.GOOD, dtype=np.uint8)
        return Block(group, sequence, first, channels, np.array([stamp for stamp, _ in rows]), values, good)


class TinyParameters(ProtocolParameters):
    speed: float = parameter(10.0, mark="P", unit="rad/s")
    turns: float = parameter(1.0, mark="P")
    repeats: int = parameter(3, mark="P")


class TinyProtocol(Protocol):
    """Turns the drive and records; `steps` replaces the procedure."""

    id = "TINY"
    title = purpose = Text("小", "tiny")
    standards = (Standard("none", "0", "P"),)
    dut_kinds = ("reducer",)
    requires = Requires(actuators=("drive",), channels=("input_angle", "output_torque"))
    Parameters = TinyParameters

    def __init__(self, steps: Sequence[Step] | None = None) -> None:
        self.steps = steps
        self.outcomes: list[Any] = []

    def procedure(self, p: TinyParameters, dut: Any) -> Procedure:
        for step in self._steps(p) if self.steps is None else self.steps:
            self.outcomes.append((yield step))

    def _steps(self, p: TinyParameters) -> Iterator[Step]:
        yield Set("drive", Mode.VELOCITY, p.speed, 50.0)
        for repeat in range(p.repeats):
            yield Record((Wait(Turns("input_angle", p.turns), 60.0),), {"repeat": repeat})
        yield Rest(("drive",))

    def evaluate(self, recording: Recording, p: Any, order: Order) -> Evaluation:
        means = [float(segment.read("input_angle").values.mean()) for segment in recording.segments()]
        result = make_result("mean", sum(means), "rad", [Contribution("none", "B", 1e-3)], n=len(means))
        return Evaluation([result])


@dataclass
class Rig:
    """Everything of one run, ready to execute."""

    folder: Path
    bench_description: BenchDescription
    order: Order
    bench: FakeBench = field(default_factory=FakeBench)
    protocol: TinyProtocol = field(default_factory=TinyProtocol)
    parameters: TinyParameters = field(default_factory=TinyParameters)
    abort: threading.Event = field(default_factory=threading.Event)
    progress: list[Any] = field(default_factory=list)
    clock: Literal["real", "virtual"] = "virtual"
    sync: bool = False

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def run(self, steps: Sequence[Step] | None = None) -> Outcome:
        if steps is not None:
            self.protocol.steps = steps
        with Journal(self.journal, sync=self.sync) as journal:
            engine = RunEngine(
                self.protocol,
                self.parameters,
                self.order,
                self.bench,
                journal,
                SafetyEnvelope.from_bench(self.bench_description, self.order),
                self.progress.append,
                self.abort,
                clock=self.clock,
            )
            return engine.execute()


@pytest.fixture(scope="session")
def bench_description() -> BenchDescription:
    return load_bench(ROOT / "benches" / "emulated.toml")


@pytest.fixture
def rig(tmp_path: Path, bench_description: BenchDescription, order: Order) -> Rig:
    return Rig(tmp_path, bench_description, order)


@pytest.fixture
def tripping() -> Callable[[FakeBench], None]:
    """Something that trips the bench when it happens."""

    def trip(bench: FakeBench) -> None:
        bench.torque_on.clear()
        raise BenchTrip("interlock: input_torque 6 is beyond its limit 5 — torque is off")

    return trip


@pytest.fixture
def seconds() -> Callable[[float], Step]:
    return lambda duration: Wait(Seconds(duration), duration + 10)
