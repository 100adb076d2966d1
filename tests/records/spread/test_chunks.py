"""Long segments go in chunks on a grid of their own: one pass, any cut and any merge tree give the same."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from drivers.device import Block
from verification_platform.analysis.moments import Moments
from verification_platform.analysis.transmission_error import TransmissionError
from verification_platform.analysis.transmission_error_result import TransmissionErrorResult
from verification_platform.engine.channels import channel_records, groups
from verification_platform.records.mapper import ProcessMapper, SerialMapper
from verification_platform.records.reader import open_recording
from verification_platform.records.spread import GRID_ROWS, accumulate, mapped
from verification_platform.records.unwrapping import Unwrapping
from verification_platform.records.writer import RecordingWriter

from .work import (
    ANGLES,
    BENCH,
    LONG_ROWS,
    MARKS,
    ORDERS,
    SHORT,
    SHORT_ROWS,
    TURN,
    rotation,
    the_long,
)

pytestmark = MARKS


def te() -> TransmissionError:
    return TransmissionError(100, -1, ORDERS)


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
            BENCH.fixture.record(),
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
