"""A moving bench, a witness of its torque, and a look at whether the machine itself stood still."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.realtime import claim_realtime
from test_protocols import get
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.dut import Order, load_dut
from verification_platform.cli.parameters import protocol_parameters
from verification_platform.engine.run import Outcome, Progress
from verification_platform.engine.run_folder import RunFolder
from verification_platform.ros import Graph

_ROOT = Path(__file__).resolve().parents[2]
_MOVING_RAD_S = 50.0


@pytest.fixture(scope="session")
def bench() -> BenchDescription:
    return load_bench(_ROOT / "benches" / "emulated.toml")


@pytest.fixture(scope="session")
def order() -> Order:
    return load_dut(_ROOT / "duts" / "harmonic-25-100.toml")


def new_run(folder: Path, bench: BenchDescription, order: Order) -> RunFolder:
    """A run that turns the input for several seconds soon after it has begun."""
    protocol = get("RED-NL")
    settings = {
        "speeds": ["3000 r/min"],
        "dwell": "1 s",
        "dwell_limit": "20 s",
        "steady_rate": "10000 %",
        "acceleration": "50 rad/s²",
    }
    return RunFolder.create(folder, protocol, protocol_parameters(protocol, dict(settings)), order, bench)


@pytest.fixture
def moving_run(bench: BenchDescription, order: Order, tmp_path: Path) -> RunFolder:
    return new_run(tmp_path / "run", bench, order)


@dataclass(slots=True)
class Accident:
    """What happened after something was broken on purpose while the input was turning."""

    broken_s: float
    outcome: Outcome
    ended_s: float
    torque_off_s: float
    run: RunFolder
    pids: list[int] = field(default_factory=list)

    @property
    def reaction_s(self) -> float:
        """From the accident until the last drive that had torque was without."""
        return self.torque_off_s - self.broken_s


def torque_off_at(events: Path, since_s: float) -> float:
    """When the last drive that had torque at `since_s` lost it; infinity when one still has it."""
    torque: dict[str, float] = {}
    for event in map(json.loads, events.read_text(encoding="utf-8").splitlines()):
        if event["torque"] == "on":
            torque[event["device"]] = float("inf")
        elif event["t"] >= since_s:
            torque[event["device"]] = min(torque.get(event["device"], event["t"]), event["t"])
        else:
            torque.pop(event["device"], None)
    return max(torque.values(), default=float("nan"))


class Stillness:
    """Notes when the machine stood still: gaps in the sleep of a thread on each processor that should wake every 5 ms."""

    _LONGEST_S = 0.04

    def __init__(self) -> None:
        self._gaps: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(processor,), daemon=True)
            for processor in os.sched_getaffinity(0)
        ]

    def __enter__(self) -> Stillness:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, processor: int) -> None:
        os.sched_setaffinity(0, {processor})
        claim_realtime(45)  # above everything of the bench
        last_s = time.monotonic()
        while not self._ended.wait(0.005):
            now_s = time.monotonic()
            if now_s - last_s > self._LONGEST_S:
                self._gaps.append((last_s, now_s))
            last_s = now_s

    def between(self, begin_s: float, end_s: float) -> bool:
        return any(begin < end_s and end > begin_s for begin, end in self._gaps)


#: A test on a machine that stands still for a tenth of a second proves nothing; it is done again, so many times at most.
_ATTEMPTS = 4


def await_torque_off(events: Path, broken: list[float]) -> float:
    """As `torque_off_at`, giving the drives a second: a graph that ends at once must not take the witness with it."""
    if not broken:
        return float("nan")
    while torque_off_at(events, broken[0]) == float("inf") and time.monotonic() < broken[0] + 1.0:
        time.sleep(0.01)
    return torque_off_at(events, broken[0])


@pytest.fixture
def accident(bench: BenchDescription, order: Order, tmp_path: Path) -> Callable[..., Accident]:
    """Start the graph, run until the input turns, break something, and see how everything ends."""

    def attempt(
        break_it: Callable[[Graph], None], on_bench: BenchDescription, folder: Path
    ) -> Accident | None:
        broken: list[float] = []
        run = new_run(folder / "run", bench, order)
        with Stillness() as still:
            with Graph(on_bench, order, folder / "graph") as graph:
                pids = [child.pid for child in graph.children.values()]

                def watch(progress: Progress) -> None:
                    if not broken and abs(progress.live.get("input_speed", 0.0)) > _MOVING_RAD_S:
                        broken.append(time.monotonic())
                        break_it(graph)

                outcome = graph.run(run.path, on_progress=watch)
                run_ended_s = time.monotonic()
                torque_off_s = await_torque_off(folder / "graph" / "emulator_events.jsonl", broken)
                waited_s = time.monotonic() - run_ended_s  # for the drives, not for the bench
            ended_s = time.monotonic() - waited_s
        if not broken:
            stood_still = still.between(0.0, ended_s)
            assert stood_still, f"the run ended before anything was broken: {outcome}"
            return None
        if still.between(broken[0] - 0.1, torque_off_s):
            return None
        return Accident(broken[0], outcome, ended_s, torque_off_s, run, pids)

    def happen(break_it: Callable[[Graph], None], *, on_bench: BenchDescription | None = None) -> Accident:
        for number in range(_ATTEMPTS):
            seen = attempt(break_it, on_bench or bench, tmp_path / str(number))
            if seen is not None:
                return seen
        pytest.skip(f"this machine stood still in each of {_ATTEMPTS} attempts: it cannot measure 200 ms")

    return happen


@pytest.fixture
def traceless(tmp_path: Path) -> Iterator[None]:
    """No process of the test and no shared-memory file is left."""
    before = dds_files()
    yield
    assert processes_about(tmp_path) == []
    assert dds_files() <= before


def dds_files() -> set[str]:
    """What Fast DDS leaves in /dev/shm when it is allowed to use it and killed."""
    return {
        name
        for name in os.listdir("/dev/shm")
        if "fastrtps" in name or "fastdds" in name or "fast_data" in name
    }


def processes_about(folder: Path) -> list[str]:
    """Command lines of living processes that name `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and int(path.parent.name) != os.getpid():
            found.append(command)
    return found
