"""Mappers keep the order, of answers and of errors, and end with one line when the work is lost."""

from __future__ import annotations

import math
import os
import socket
from operator import attrgetter
from pathlib import Path

import pytest

from verification_platform.analysis.errors import NotFiniteError
from verification_platform.analysis.moments import moments
from verification_platform.records.cluster import DaskMapper
from verification_platform.records.mapper import MapperError, ProcessMapper, SerialMapper
from verification_platform.records.reader import open_recording
from verification_platform.records.spread import map_segments, mapped

from .work import (
    MARKS,
)

pytestmark = MARKS


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
