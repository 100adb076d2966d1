"""Recordings to work on, and who does the work; all of it is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.device import Block
from test_protocols import get
from verification_platform.engine.channels import channel_records, groups
from verification_platform.engine.local import run_local
from verification_platform.engine.run_folder import RunFolder
from verification_platform.records.cluster import DaskMapper
from verification_platform.records.mapper import ProcessMapper, SerialMapper
from verification_platform.records.marks import SegmentMark
from verification_platform.records.writer import RecordingWriter

from .work import (
    ANGLES,
    BENCH,
    LONG_ROWS,
    ORDER,
    SHORT,
    SHORT_ROWS,
    long_text,
    rotation,
)


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One segment of more than two chunks, and many short ones of a revolution and a half."""
    folder = tmp_path_factory.mktemp("long") / "samples"
    columns = groups(BENCH)
    others = len(columns["can0"]) - 2
    assert set(ANGLES) <= set(columns["can0"])
    place = [columns["can0"].index(name) for name in ANGLES]
    sequence = row = 0
    with RecordingWriter(folder, channel_records(BENCH), BENCH.fixture.record(), {}, columns) as writer:
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


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def alone(recording: Path) -> str:
    """The text of the synthetic recording from this process alone."""
    return long_text(recording, SerialMapper())


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessMapper]:
    with ProcessMapper(2) as mapper:
        yield mapper


@pytest.fixture(scope="session")
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
