"""A moving bench, and a witness of its torque."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.clock import Page
from test_protocols import get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.emulated import EVENTS
from verification_platform.cli.parameters import protocol_parameters
from verification_platform.engine.progress import Progress
from verification_platform.engine.run import Outcome
from verification_platform.engine.run_folder import RunFolder
from verification_platform.ros import Graph

_MOVING_RAD_S = 50.0


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

    outcome: Outcome
    #: From the accident until nothing of the bench was left, on the wall's clock.
    took_s: float
    #: From the accident until the last drive that had torque was without, on the bench's clock.
    reaction_s: float
    run: RunFolder
    pids: list[int] = field(default_factory=list)


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


def await_torque_off(events: Path, broken_s: float, page: Page) -> float:
    """As `torque_off_at`, giving the drives a second: a graph that ends at once must not take the witness with it."""
    give_up_s = time.monotonic() + 5.0
    while torque_off_at(events, broken_s) == float("inf"):
        if page.now() > broken_s + 1.0 or time.monotonic() > give_up_s:
            break
        time.sleep(0.01)
    return torque_off_at(events, broken_s)


@pytest.fixture
def accident(bench: BenchDescription, order: Order, tmp_path: Path) -> Callable[..., Accident]:
    """Start the graph, run until the input turns, break something, and see how everything ends."""

    def happen(break_it: Callable[[Graph], None]) -> Accident:
        broken: list[tuple[float, float]] = []  # on the bench's clock, and on the wall's
        run = new_run(tmp_path / "run", bench, order)
        with Graph(bench, order, tmp_path / "graph") as graph:
            pids = [child.pid for child in graph.children.values()]
            with contextlib.closing(Page(tmp_path / "graph" / "clock")) as page:

                def watch(progress: Progress) -> None:
                    if not broken and abs(progress.live.get("input_speed", 0.0)) > _MOVING_RAD_S:
                        broken.append((page.now(), time.monotonic()))
                        break_it(graph)

                outcome = graph.run(run.path, on_progress=watch)
                assert broken, f"the run ended before anything was broken: {outcome}"
                run_ended_s = time.monotonic()
                torque_off_s = await_torque_off(tmp_path / "graph" / EVENTS, broken[0][0], page)
                waited_s = time.monotonic() - run_ended_s  # for the drives, not for the bench
        took_s = time.monotonic() - waited_s - broken[0][1]
        return Accident(outcome, took_s, torque_off_s - broken[0][0], run, pids)

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
