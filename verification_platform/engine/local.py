"""A run in one process: the built-in simulator, the engine and the recording, without ROS.

For `--transport local`, for tests and for coverage studies. What the engine, the recording and the evaluation
do is the same as on hardware; only the `BenchPort` is another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Literal, cast

from drivers.device import Block, Setpoint
from verification_platform.bench.envelope import SafetyEnvelope
from verification_platform.bench.simulated import SimulatedBench
from verification_platform.records.marks import SegmentMark
from verification_platform.records.writer import RecordingWriter

from .journal import Journal, read_journal
from .port import BenchPort
from .preflight import accelerations, preflight
from .progress import Progress
from .protocol import Protocol
from .recording import open_writer
from .resume import resumption
from .run import Outcome, RunEngine
from .run_folder import RunFolder


class RecordingBench:
    """A `BenchPort` that writes every block and mark it hands on into a recording."""

    def __init__(self, bench: BenchPort, writer: RecordingWriter) -> None:
        self._bench, self._writer = bench, writer

    def now_s(self) -> float:
        return self._bench.now_s()

    def start(self) -> None:
        self._bench.start()

    def command(self, role: str, setpoint: Setpoint) -> None:
        self._bench.command(role, setpoint)

    def rest(self, role: str) -> None:
        self._bench.rest(role)

    def moving(self, role: str) -> bool:
        return self._bench.moving(role)

    def position(self, role: str) -> float:
        return self._bench.position(role)

    def poll(self, timeout_s: float) -> Sequence[Block]:
        blocks = self._bench.poll(timeout_s)
        for block in blocks:
            self._writer.write(block)
        return blocks

    def mark(self, mark: SegmentMark) -> None:
        self._bench.mark(mark)
        self._writer.mark(mark)

    def prompt(self, key: str, zh: str, en: str) -> None:
        self._bench.prompt(key, zh, en)

    def stop(self) -> None:
        self._bench.stop()


def run_local(
    folder: RunFolder,
    protocol: Protocol,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_prompt: Callable[[str, str, str], bool] | None = None,
    abort: threading.Event | None = None,
) -> Outcome:
    """Execute, or continue, the run frozen in `folder` on the built-in simulator; the recording is sealed
    afterwards.

    `folder.seed` draws the instruments and their noise (default: the seed of the bench description),
    `folder.clock` is "virtual" or "real". Raises BenchError for a bench the plant cannot stand in for,
    RecordingError when the recording cannot be written."""
    clock = cast(Literal["real", "virtual"], folder.clock)
    seed = folder.seed if folder.seed is not None else int(folder.bench.plant.get("seed", 0))
    parameters = protocol.Parameters.model_validate(dict(folder.parameters))
    standing = resumption(read_journal(folder.journal))
    start_s = 0.0
    if standing.begun and clock == "virtual":  # virtual time goes on later than anything that was recorded
        start_s = (
            standing.bench_s + preflight(protocol, parameters, folder.order, folder.bench).duration_s + 60.0
        )
    bench = SimulatedBench(folder.bench, folder.order, seed, clock, on_prompt=on_prompt, start_s=start_s)
    with (
        contextlib.closing(bench),
        open_writer(folder, resume=any(folder.samples.glob("*.mcap"))) as writer,
        Journal(folder.journal, sync=clock == "real") as journal,
    ):
        engine = RunEngine(
            protocol,
            parameters,
            folder.order,
            RecordingBench(bench, writer),
            journal,
            SafetyEnvelope.from_bench(folder.bench, folder.order),
            on_progress,
            abort,
            clock=clock,
            accelerations=accelerations(folder.bench),
        )
        return engine.execute()
