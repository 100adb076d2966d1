"""Work spread over processes and a cluster: the same bits as one process, also when a worker is killed midway."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.device import Block
from test_protocols import get
from verification_platform.analysis.errors import NotFiniteError
from verification_platform.analysis.moments import Moments, moments
from verification_platform.analysis.transmission_error import TransmissionError
from verification_platform.analysis.transmission_error_result import TransmissionErrorResult
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.engine.channels import channel_records, fixture_record, groups
from verification_platform.engine.evaluation import evaluate_recording, evaluate_run
from verification_platform.engine.local import run_local
from verification_platform.engine.results import curve_to_json, result_to_json, to_text
from verification_platform.engine.run_folder import RunFolder
from verification_platform.records import (
    GRID_ROWS,
    Mapper,
    MapperError,
    ProcessMapper,
    RecordingWriter,
    SegmentMark,
    SerialMapper,
    Unwrapping,
    accumulate,
    map_segments,
    mapped,
    open_recording,
)
from verification_platform.records.cluster import DaskMapper
from verification_platform.records.recording import Segment

ROOT = Path(__file__).parents[2]
BENCH = load_bench(ROOT / "benches" / "emulated.toml")
ORDER = load_dut(ROOT / "duts" / "harmonic-25-100.toml")
ANGLES = ("input_angle", "output_angle")
TURN = 2 * math.pi
ORDERS = (1, 2, 200, 400)
LONG_ROWS = 2 * GRID_ROWS + 300_001
SHORT, SHORT_ROWS = 12, 40_000
#: What distributed itself warns of on a busy computer, and of what a killed worker leaves behind.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*(distributed|Dask|tornado|worker|nanny).*"),
]


# ------------------------------------------------------------------------- something to work on


def rotation(first: int, n: int, per_turn: int) -> np.ndarray:
    """Rows [first, first + n) of a reducer turning with its transmission error, read by single-turn encoders."""
    rng = np.random.default_rng(first)
    theta1 = TURN * 100 * np.arange(first, first + n) / per_turn
    theta2 = -theta1 / 100
    theta2 = theta2 + sum(
        a * np.sin(q * theta2 + q) for q, a in zip(ORDERS, (2e-4, 5e-5, 3e-5, 1e-5), strict=True)
    )
    both = np.column_stack((theta1, theta2)) + rng.normal(0, 2e-6, (n, 2))
    return np.mod(both, TURN)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One segment of more than two chunks, and many short ones of a revolution and a half."""
    folder = tmp_path_factory.mktemp("long") / "samples"
    columns = groups(BENCH)
    others = len(columns["can0"]) - 2
    assert set(ANGLES) <= set(columns["can0"])
    place = [columns["can0"].index(name) for name in ANGLES]
    sequence = row = 0
    with RecordingWriter(folder, channel_records(BENCH), fixture_record(BENCH), {}, columns) as writer:
        parts = [(LONG_ROWS, 160_000), *[(SHORT_ROWS, 25_000 + 10 * k) for k in range(SHORT)]]
        for index, (rows, per_turn) in enumerate(parts):
            begun = row
            for start in range(0, rows, 20_011):
                n = min(20_011, rows - start)
                values = np.zeros((n, 2 + others))
                values[:, place] = rotation(start, n, per_turn)
                stamps = np.arange(row, row + n) / 500.0
                quality = np.zeros(values.shape, np.uint8)
                writer.write(Block("can0", sequence, row, columns["can0"], stamps, values, quality))
                sequence, row = sequence + 1, row + n
            tag = {"method": "dynamic", "load": 0.0, "speed": 0.1 * (index % 5), "direction": -1}
            writer.mark(SegmentMark(index, tag, {"can0": (begun, row)}))
    return folder


RUNS: dict[str, dict[str, Any]] = {
    "RED-TE": {
        "loads": [0.0, 0.5],
        "repeats": 1,
        "revolutions": 1,
        "output_speed": "3.5 r/min",
        "settle": "0.5 s",
    },
    "RED-HYS": {
        "rate": "40 %/s",
        "preload_cycles": 1,
        "loops": 2,
        "positions": 1,
        "small_rate": "8 %/s",
        "settle": "0.5 s",
        "zero_time": "1 s",
    },
    "RED-NL": {
        "speeds": ["1000 r/min", "2000 r/min"],
        "acceleration": "400 rad/s²",
        "dwell": "0.5 s",
        "dwell_limit": "0.5 s",
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three protocols on the simulated bench, each with several segments."""
    paths = []
    for name, settings in RUNS.items():
        protocol = get(name)
        parameters = protocol.Parameters(**settings)
        folder = RunFolder.create(
            tmp_path_factory.mktemp("run") / name,
            protocol,
            parameters,
            ORDER,
            BENCH,
            seed=3,
            clock="virtual",
            transport="local",
        )
        assert run_local(folder, protocol, on_prompt=lambda *_: True).segments >= 4
        paths.append(folder.path)
    return paths


# ------------------------------------------------------------------------- workers


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessMapper]:
    with ProcessMapper(2) as mapper:
        yield mapper


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler and two worker processes that talk TCP on loopback."""
    distributed: Any = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
        silence_logs=50,
    ) as local:
        yield local


@pytest.fixture
def dask(cluster: Any) -> Iterator[DaskMapper]:
    with DaskMapper(cluster.scheduler_address, timeout_s=60) as mapper:
        yield mapper


class Killing:
    """Kills a worker after the third answer of the first long enough map; `kill` says whom."""

    def __init__(self, inner: Mapper, kill: Callable[[], int]) -> None:
        self.inner, self.kill = inner, kill
        self.killed: list[int] = []

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for number, answer in enumerate(self.inner.map(function, items)):
            yield answer
            if number == 2 and not self.killed:
                self.killed.append(self.kill())
                os.kill(self.killed[0], signal.SIGKILL)


def a_worker_of(dask: DaskMapper) -> int:
    return min(dask._client.run(os.getpid).values())


def a_process_of(mapper: ProcessMapper) -> int:
    assert mapper._pool is not None
    return min(mapper._pool._processes)


WHO = "(__import__('time').sleep(0.02), __import__('os').getpid())[1]"


# ------------------------------------------------------------------------- the same bits


def result_text(run: Path, mapper: Mapper) -> tuple[str, str]:
    """results.json and curves.json as they would be written."""
    evaluated = evaluate_run(run, get, write=False, mapper=mapper)
    assert evaluated.status == "VALID", evaluated.findings
    return (
        to_text([result_to_json(r) for r in evaluated.results]),
        to_text([curve_to_json(c) for c in evaluated.curves]),
    )


def long_text(recording: Path, mapper: Mapper) -> str:
    """RED-TE of the synthetic recording; its first segment is long enough for several chunks."""
    protocol = get("RED-TE")
    found = evaluate_recording(
        protocol, open_recording(recording), protocol.Parameters(), ORDER, mapper=mapper
    )
    assert found.status == "VALID", found.findings
    assert len(found.results) >= 5 * 6
    return to_text([result_to_json(r) for r in found.results])


@pytest.fixture(scope="module")
def alone(recording: Path) -> str:
    """The text of the synthetic recording from this process alone."""
    return long_text(recording, SerialMapper())


def test_processes_give_the_same_results(
    runs: list[Path], recording: Path, alone: str, processes: ProcessMapper
) -> None:
    for run in runs:
        assert result_text(run, processes) == result_text(run, SerialMapper())
    assert long_text(recording, processes) == alone


def test_a_dask_cluster_gives_the_same_results(
    runs: list[Path], recording: Path, alone: str, dask: DaskMapper
) -> None:
    assert len(dask._client.nthreads()) == 2
    for run in runs:
        assert result_text(run, dask) == result_text(run, SerialMapper())
    assert long_text(recording, dask) == alone
    assert set(dask.map(eval, [WHO] * 40)) == set(dask._client.run(os.getpid).values())  # both work, not we


@pytest.mark.faults
def test_a_killed_worker_of_the_cluster_costs_time_only(
    recording: Path, alone: str, dask: DaskMapper
) -> None:
    killing = Killing(dask, lambda: a_worker_of(dask))
    assert long_text(recording, killing) == alone
    assert len(killing.killed) == 1
    dask._client.wait_for_workers(2, timeout=60)  # its nanny has replaced it
    assert killing.killed[0] not in dask._client.run(os.getpid).values()


@pytest.mark.faults
def test_a_killed_process_costs_time_only(recording: Path, alone: str) -> None:
    with ProcessMapper(2) as processes:
        killing = Killing(processes, lambda: a_process_of(processes))
        assert long_text(recording, killing) == alone
        assert len(killing.killed) == 1


# ------------------------------------------------------------------------- chunks


def te() -> TransmissionError:
    return TransmissionError(100, -1, ORDERS)


def the_long(recording: Any) -> Segment:
    return next(iter(recording.segments()))


def test_long_segments_go_in_chunks(recording: Path, processes: ProcessMapper) -> None:
    """As many pieces of work as chunks, and one result a segment."""
    seen: list[int] = []

    class Counting(SerialMapper):
        def map(self, function: Any, items: Iterable[Any]) -> Iterator[Any]:
            listed = list(items)
            seen.append(len(listed))
            return super().map(function, listed)

    opened = mapped(open_recording(recording), Counting())
    found = list(accumulate(opened, Moments, ANGLES[1]))
    assert seen == [1 + SHORT, 2]  # beginnings; the second and third chunk of the long segment
    assert [m.n for m in found] == [LONG_ROWS] + [SHORT_ROWS] * SHORT
    again = list(accumulate(mapped(open_recording(recording), processes), Moments, ANGLES[1]))
    assert found == again


def test_chunks_agree_with_one_pass_and_with_any_merge_tree(recording: Path) -> None:
    opened = open_recording(recording)
    segment = the_long(opened)
    in_chunks = next(accumulate(opened, te, *ANGLES, period=TURN, segments=[segment]))
    assert in_chunks.revolutions == LONG_ROWS // 160_000

    unwrap = Unwrapping(TURN)
    theta = np.concatenate([unwrap(samples.values) for samples in segment.blocks(*ANGLES)]).T.copy()
    whole = te()
    whole.update(*theta)
    agree(in_chunks, whole.result())

    choose = random.Random(11)
    for _ in range(5):
        cuts = [0, 200_000, *sorted(choose.sample(range(200_001, LONG_ROWS), 9)), LONG_ROWS]
        head = te()
        head.update(*theta[:, : cuts[1]])
        parts = [head]
        for first, last in pairwise(cuts[1:]):
            parts.append(head.fork(first))
            parts[-1].update(*theta[:, first:last])
        while len(parts) > 1:
            at = choose.randrange(len(parts) - 1)
            parts[at].merge(parts.pop(at + 1))
        agree(in_chunks, parts[0].result())


def agree(a: TransmissionErrorResult, b: TransmissionErrorResult) -> None:
    """To 1e-12; what is left of differences (noise, closure, an offset near 0) to 1e-12 of TE_pp."""
    differences = ("pp", "curve", "spectrum", "closure", "mean", "noise")
    scale = dict.fromkeys(differences, a.pp_rad) | {"theta": TURN}
    for each in fields(a):
        x, y = getattr(a, each.name), getattr(b, each.name)
        if isinstance(x, (float, np.ndarray)):
            of = scale.get(each.name.split("_")[0], float(np.max(np.abs(x))))
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12 * of, err_msg=each.name)
        elif isinstance(x, int):
            assert x == y, each.name


def test_the_grid_does_not_depend_on_how_it_was_written(tmp_path: Path) -> None:
    """The same rows in blocks of another size and in many files."""
    texts = []
    for name, block, size in (("a", 5_000, 1 << 30), ("b", 777, 1 << 20)):
        columns = groups(BENCH)["can0"]
        with RecordingWriter(
            tmp_path / name,
            channel_records(BENCH),
            fixture_record(BENCH),
            {},
            groups(BENCH),
            segment_bytes=size,
        ) as writer:
            rows = GRID_ROWS + 100_000
            values = np.zeros((rows, len(columns)))
            values[:, [columns.index(c) for c in ANGLES]] = rotation(0, rows, 160_000)
            for sequence, start in enumerate(range(0, rows, block)):
                part = values[start : start + block]
                stamps = np.arange(start, start + len(part)) / 500
                writer.write(
                    Block("can0", sequence, start, columns, stamps, part, np.zeros(part.shape, np.uint8))
                )
        opened = open_recording(tmp_path / name)
        assert (len(opened.files) > 1) == (name == "b")
        texts.append(repr(list(accumulate(opened, te, *ANGLES, period=TURN))))
    assert texts[0] == texts[1]


def test_an_accumulator_that_cannot_fork_yet_goes_on_by_itself(recording: Path) -> None:
    opened = open_recording(recording)
    segment = the_long(opened)
    assert next(accumulate(opened, LateFork, ANGLES[0], segments=[segment])) == LONG_ROWS


class LateFork:
    """Counts rows, and never knows enough to be forked."""

    def __init__(self) -> None:
        self.rows = 0

    def update(self, column: np.ndarray) -> None:
        self.rows += len(column)

    def fork(self, first_index: int) -> LateFork:
        assert first_index == self.rows
        raise ValueError("too little seen")

    def merge(self, other: LateFork) -> None:
        raise AssertionError

    def result(self) -> int:
        return self.rows


# ------------------------------------------------------------------------- unwrapping


def test_turns_are_counted_from_any_row_on() -> None:
    rng = np.random.default_rng(5)
    true = np.cumsum(rng.uniform(-2.9, 3.1, (5000, 2)), axis=0)
    raw = np.mod(true, TURN)
    whole = Unwrapping(TURN)(raw)
    np.testing.assert_allclose(whole - whole[0], true - true[0], atol=1e-9)
    for cut in (1, 17, 4999):
        head = Unwrapping(TURN)
        first = head(raw[:cut])
        rest = Unwrapping(TURN, raw[cut - 1], head.turns)(raw[cut:])
        assert np.array_equal(np.concatenate((first, rest)), whole)


# ------------------------------------------------------------------------- mappers


@pytest.mark.parametrize("kind", ["serial", "processes", "dask"])
def test_order_errors_and_order_of_errors(kind: str, request: pytest.FixtureRequest) -> None:
    mapper = SerialMapper() if kind == "serial" else request.getfixturevalue(kind)
    assert list(mapper.map(math.sqrt, range(100))) == [math.sqrt(k) for k in range(100)]
    with pytest.raises(NotFiniteError, match=r"is nan"):
        list(mapper.map(moments, [[1.0], [math.nan], [math.inf]]))
    assert list(mapper.map(abs, [])) == []


@pytest.mark.faults
def test_work_that_kills_every_process_ends_with_one_line() -> None:
    with ProcessMapper(1) as mapper, pytest.raises(MapperError, match="killed 3 times"):
        list(mapper.map(os._exit, [3]))


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers
        with pytest.raises(MapperError, match="no Dask scheduler answers at tcp://127") as raised:
            DaskMapper(f"tcp://127.0.0.1:{held.getsockname()[1]}", timeout_s=1)
    assert "\n" not in str(raised.value)
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MapperError, match=r"pilotbench\[cluster\]"):
        DaskMapper("tcp://127.0.0.1:1")


def test_workers_refuse_another_file_of_the_same_name(
    recording: Path, processes: ProcessMapper, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in recording.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    opened = mapped(open_recording(copy), processes)
    work = map_segments(opened, attrgetter("tag"))
    last = sorted(copy.glob("*.mcap"))[-1]
    last.write_bytes(last.read_bytes()[:-9] + bytes(9))
    with pytest.raises(MapperError, match="another file"):
        list(work)
