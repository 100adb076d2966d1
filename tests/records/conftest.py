"""A small recording to try things on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from drivers.device import Block
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.records.marks import SegmentMark
from verification_platform.records.writer import RecordingWriter

GROUPS = {"can0": ("input_angle", "output_angle"), "rs485": ("output_torque",)}
CHANNELS = {
    "input_angle": ChannelRecord("input_angle", "rad", 500.0, sensor="EN1", U=4.8e-5, zero_before=0.01),
    "output_angle": ChannelRecord(
        "output_angle",
        "rad",
        500.0,
        certificate="E-1",
        laboratory="lab",
        calibrated=dt.date(2026, 6, 1),
        due=dt.date(2027, 6, 1),
    ),
    "output_torque": ChannelRecord("output_torque", "N·m", 100.0, range=200.0, U=0.05, U_relative=1e-3),
}
FIXTURE = FixtureRecord(compliance=1e-6, drag_U=5e-4)


class Bench:
    """Delivers blocks of reproducible samples; rows and sequences count per group."""

    def __init__(self) -> None:
        self.rows = dict.fromkeys(GROUPS, 0)
        self.sequence = dict.fromkeys(GROUPS, 0)

    @staticmethod
    def samples(group: str, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Stamps, values, quality of rows [first, last): a function of the row number alone."""
        row, k = np.arange(first, last), len(GROUPS[group])
        stamps = row / {"can0": 500.0, "rs485": 100.0}[group]
        values = np.sin(row[:, None] * 0.37 + np.arange(k)) * 1e3 / (1 + row[:, None] % 7)
        quality = np.where(row % 1009 == 1008, 1, 0).astype(np.uint8)[:, None].repeat(k, axis=1)
        return stamps, values, quality

    def block(self, group: str, n: int) -> Block:
        first = self.rows[group]
        self.rows[group] += n
        self.sequence[group] += 1
        arrays = self.samples(group, first, first + n)
        return Block(group, self.sequence[group] - 1, first, GROUPS[group], *arrays)

    def skip(self, group: str, n: int) -> None:
        """Lose a block of n rows."""
        self.block(group, n)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def new_bench() -> Callable[[], Bench]:
    return Bench


def open_writer(folder: Path, **options: Any) -> RecordingWriter:
    attributes = options.pop("attributes", {"run": "R-1", "ratio": 100})
    return RecordingWriter(folder, CHANNELS, FIXTURE, attributes, GROUPS, **options)


@pytest.fixture(scope="session")
def writer_in() -> Callable[..., RecordingWriter]:
    return open_writer


def record(
    folder: Path,
    sizes: Sequence[int],
    rs485: Sequence[int] = (),
    marks: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> Bench:
    """Write blocks of these sizes, one mark a tag over equal parts of all rows, and close."""
    bench = Bench()
    with open_writer(folder, **options) as writer:
        for at in range(max(len(sizes), len(rs485))):
            if at < len(sizes):
                writer.write(bench.block("can0", sizes[at]))
            if at < len(rs485):
                writer.write(bench.block("rs485", rs485[at]))
        for index, tag in enumerate(marks):
            rows = {
                group: (total * index // len(marks), total * (index + 1) // len(marks))
                for group, total in bench.rows.items()
            }
            writer.mark(SegmentMark(index, tag, rows))
    return bench


@pytest.fixture(scope="session")
def recorded() -> Callable[..., Bench]:
    return record


@pytest.fixture(scope="session")
def known() -> SimpleNamespace:
    """What every recording of these tests says about itself."""
    return SimpleNamespace(channels=CHANNELS, fixture=FIXTURE, groups=GROUPS)
