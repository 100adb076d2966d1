"""Channels of a slower group at the stamps of a faster one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.device import Block, Quality
from verification_platform.records.errors import RecordingError
from verification_platform.records.marks import SegmentMark
from verification_platform.records.reader import open_recording


def write(
    folder: Path,
    writer_in: Callable[..., Any],
    slow_s: np.ndarray,
    flags: np.ndarray | None = None,
    span: tuple[int, int] = (0, 501),
) -> Any:
    """1 s of can0 at 500 Hz in blocks of 50, and rs485 rows at `slow_s` whose value is 3·t + 1."""
    fast = np.arange(501) / 500.0
    flags = np.zeros(len(slow_s), np.uint8) if flags is None else flags
    with writer_in(folder) as writer:
        for sequence, first in enumerate(range(0, 501, 50)):
            t = fast[first : first + 50]
            values = np.column_stack((t, -t))
            writer.write(
                Block(
                    "can0",
                    sequence,
                    first,
                    ("input_angle", "output_angle"),
                    t,
                    values,
                    np.zeros((len(t), 2), np.uint8),
                )
            )
        for sequence, first in enumerate(range(0, len(slow_s), 7)):
            t = slow_s[first : first + 7]
            flag = flags[first : first + 7]
            writer.write(
                Block("rs485", sequence, first, ("output_torque",), t, 3 * t[:, None] + 1, flag[:, None])
            )
        writer.mark(SegmentMark(0, {}, {"can0": span}))
    (segment,) = open_recording(folder).segments()
    return segment


def test_linear_between_neighbours(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    segment = write(tmp_path, writer_in, np.arange(-0 + 0.0, 1.02, 0.01) + 0.0003 * 0)
    got = segment.aligned("output_angle", "output_torque", "input_angle")
    t = np.arange(501) / 500
    assert np.array_equal(got.stamps_s, t)
    assert np.array_equal(got.values[:, 0], -t)
    assert np.allclose(got.values[:, 1], 3 * t + 1, rtol=0, atol=1e-12)
    assert np.array_equal(got.values[:, 2], t)
    assert not got.quality.any()


def test_the_neighbours_of_a_part_are_used(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    """A marked part takes the slow samples just before and after it, so nothing is held at its ends."""
    segment = write(tmp_path, writer_in, np.arange(0, 1.02, 0.01), span=(101, 204))
    got = segment.aligned("input_angle", "output_torque")
    assert len(got.stamps_s) == 103
    assert np.allclose(got.values[:, 1], 3 * got.stamps_s + 1, rtol=0, atol=1e-12)
    assert not got.quality.any()


def test_ends_are_held_and_flagged(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    segment = write(tmp_path, writer_in, np.arange(0.015, 0.995, 0.01))
    got = segment.aligned("input_angle", "output_torque")
    held = (got.stamps_s < 0.015) | (got.stamps_s > 0.985)
    assert (got.quality[held, 1] == Quality.SUBSTITUTED).all()
    assert (got.quality[~held, 1] == Quality.GOOD).all()
    assert np.allclose(got.values[got.stamps_s < 0.015, 1], 3 * 0.015 + 1)
    assert not got.quality[:, 0].any()


def test_quality_is_that_of_the_worse_neighbour(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    slow = np.arange(0, 1.02, 0.01)
    flags = np.zeros(len(slow), np.uint8)
    flags[50] = Quality.BAD  # at 0.50 s
    got = write(tmp_path, writer_in, slow, flags).aligned("input_angle", "output_torque")
    bad = (got.stamps_s > 0.4901) & (got.stamps_s < 0.5099)
    assert (got.quality[bad, 1] == Quality.BAD).all()
    assert (got.quality[~bad, 1] == Quality.GOOD).all()


@pytest.mark.parametrize(
    ("hole", "ok"), [((0.50, 0.51), True), ((0.50, 0.52), False), ((0.0, 0.02), True), ((0.0, 0.03), False)]
)
def test_more_than_two_periods_are_not_bridged(
    tmp_path: Path, writer_in: Callable[..., Any], hole: tuple[float, float], ok: bool
) -> None:
    slow = np.round(np.arange(0, 1.02, 0.01), 9)
    segment = write(tmp_path, writer_in, slow[(slow < hole[0] - 1e-6) | (slow > hole[1] - 1e-6)])
    if ok:
        segment.aligned("input_angle", "output_torque")
    else:
        with pytest.raises(RecordingError, match=r"output_torque has no sample for 0\.03 s around"):
            segment.aligned("input_angle", "output_torque")


def test_nothing_to_align_with(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    segment = write(tmp_path, writer_in, np.empty(0))
    with pytest.raises(RecordingError, match="no sample anywhere near"):
        segment.aligned("input_angle", "output_torque")
