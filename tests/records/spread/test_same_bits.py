"""Processes and a cluster give the same bits as one process, also when a worker is killed midway."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from test_protocols import get
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.results import curve_to_json, result_to_json, to_text
from verification_platform.records.cluster import DaskMapper
from verification_platform.records.mapper import Mapper, ProcessMapper, SerialMapper

from .work import (
    MARKS,
    long_text,
)

pytestmark = MARKS
WHO = "(__import__('time').sleep(0.02), __import__('os').getpid())[1]"


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


def result_text(run: Path, mapper: Mapper) -> tuple[str, str]:
    """results.json and curves.json as they would be written."""
    evaluated = evaluate_run(run, get, write=False, mapper=mapper)
    assert evaluated.status == "VALID", evaluated.findings
    return (
        to_text([result_to_json(r) for r in evaluated.results]),
        to_text([curve_to_json(c) for c in evaluated.curves]),
    )


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
