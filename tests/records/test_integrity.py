"""Nothing is lost silently: gaps, restarts, flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verification_platform.records.errors import RecordingError
from verification_platform.records.marks import SegmentMark
from verification_platform.records.reader import open_recording


def test_a_dropped_block_is_a_gap(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    with writer_in(tmp_path) as writer:
        writer.write(bench.block("can0", 50))
        bench.skip("can0", 30)
        writer.write(bench.block("can0", 20))
        writer.mark(SegmentMark(0, {"whole": False}, {"can0": (0, 100)}))
        writer.mark(SegmentMark(1, {"whole": True}, {"can0": (80, 100)}))
    recording = open_recording(tmp_path)
    found = recording.integrity()
    assert (found.rows, found.lost_rows, found.gaps, found.complete) == (70, 30, 1, False)
    with pytest.raises(RecordingError, match=r"group can0: row 50 was not recorded"):
        next(recording.segments(whole=False)).read("input_angle")
    assert len(next(recording.segments(whole=True)).read("input_angle").stamps_s) == 20


def test_a_bus_that_ran_before_the_recording_began_has_lost_nothing(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    bench.skip("can0", 30)
    with writer_in(tmp_path) as writer:
        writer.write(bench.block("can0", 50))
        writer.mark(SegmentMark(0, {}, {"can0": (30, 80)}))
    assert open_recording(tmp_path).integrity().complete


def test_a_beginning_that_a_mark_names_is_lost(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    bench.skip("can0", 30)
    with writer_in(tmp_path) as writer:
        writer.write(bench.block("can0", 50))
        writer.mark(SegmentMark(0, {}, {"can0": (20, 80)}))
    found = open_recording(tmp_path).integrity()
    assert (found.rows, found.lost_rows, found.gaps) == (50, 10, 1)


def test_an_empty_block_in_between_that_is_lost_is_a_gap(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    with writer_in(tmp_path) as writer:
        writer.write(bench.block("can0", 50))
        bench.skip("can0", 0)
        writer.write(bench.block("can0", 50))
    found = open_recording(tmp_path).integrity()
    assert (found.lost_rows, found.gaps, found.complete) == (0, 1, False)


def test_rows_that_were_marked_but_never_came_are_lost(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    with writer_in(tmp_path) as writer:
        writer.write(bench.block("can0", 50))
        writer.mark(SegmentMark(0, {}, {"can0": (0, 60)}))
    found = open_recording(tmp_path).integrity()
    assert (found.rows, found.lost_rows, found.complete) == (50, 10, False)


def test_flags_are_counted(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(tmp_path, [1000, 1100], [500])
    assert open_recording(tmp_path).integrity().not_good == {"input_angle": 2, "output_angle": 2}


def test_a_restarted_bus_counts_as_a_gap_and_keeps_rows_apart(
    tmp_path: Path, writer_in: Callable[..., Any], new_bench: Callable[[], Any]
) -> None:
    before, after = new_bench(), new_bench()
    with writer_in(tmp_path) as writer:
        writer.write(before.block("can0", 50))
        writer.mark(SegmentMark(0, {}, {"can0": (10, 50)}))
        block = after.block("can0", 50)
        writer.write(dataclasses.replace(block, values=block.values + 1.0))
        writer.mark(SegmentMark(1, {}, {"can0": (10, 50)}))
    recording = open_recording(tmp_path)
    assert recording.integrity().gaps == 1
    assert "counting restarted" in recording.remarks[0]
    first, second = (segment.read("input_angle").values for segment in recording.segments())
    assert np.array_equal(first + 1.0, second)


def test_a_block_delivered_twice_is_kept_once(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    with writer_in(tmp_path) as writer:
        block = bench.block("can0", 50)
        writer.write(block)
        writer.write(block)
        writer.write(bench.block("can0", 50))
    recording = open_recording(tmp_path)
    assert recording.integrity().complete
    assert recording.integrity().rows == 100
    assert recording.remarks == ("1 blocks were there twice; the copies were left out",)


def test_resuming_keeps_sessions_apart(
    tmp_path: Path, writer_in: Callable[..., Any], new_bench: Callable[[], Any]
) -> None:
    """After a resume rows count from 0 again; the earlier rows stay what they were."""
    for session in range(3):
        bench = new_bench()
        with writer_in(tmp_path, resume=session > 0) as writer:
            assert writer.session == session
            block = bench.block("can0", 40)
            writer.write(dataclasses.replace(block, values=block.values + session))
            writer.mark(SegmentMark(session, {"cycle": session}, {"can0": (0, 40)}))
    recording = open_recording(tmp_path)
    assert recording.integrity().complete
    base = bench.samples("can0", 0, 40)[1]
    for session in range(3):
        (segment,) = recording.segments(cycle=session)
        assert np.array_equal(segment.read("input_angle", "output_angle").values, base + session)
    with pytest.raises(RecordingError, match="already holds"):
        writer_in(tmp_path)


def test_a_step_repeated_after_an_interruption_counts_once(
    tmp_path: Path, writer_in: Callable[..., Any], new_bench: Callable[[], Any]
) -> None:
    for session in range(2):
        bench = new_bench()
        with writer_in(tmp_path, resume=session > 0) as writer:
            writer.write(bench.block("can0", 40))
            writer.mark(SegmentMark(7, {"cycle": 1}, {"can0": (0, 20 + session)}))
    recording = open_recording(tmp_path)
    (segment,) = recording.segments()
    assert segment.rows["can0"] == (0, 21)
    assert "recorded twice" in recording.remarks[0]


def test_resume_needs_the_same_channels(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    from verification_platform.metrology.records import ChannelRecord, FixtureRecord
    from verification_platform.records.writer import RecordingWriter

    recorded(tmp_path, [10])
    with pytest.raises(RecordingError, match="other groups or channels"):
        RecordingWriter(
            tmp_path, {"a": ChannelRecord("a", "rad", 1.0)}, FixtureRecord(), {}, {"g": ("a",)}, resume=True
        )


def test_recordings_of_other_benches_are_not_mixed(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    from verification_platform.metrology.records import ChannelRecord, FixtureRecord
    from verification_platform.records.writer import RecordingWriter

    recorded(tmp_path / "one", [10], [], [{"a": 1}])
    recorded(tmp_path / "two", [10], [], [{"a": 2}])
    both = open_recording([tmp_path / "one", tmp_path / "two"])
    assert [s.tag["a"] for s in both.segments()] == [1, 2]
    with RecordingWriter(
        tmp_path / "other", {"a": ChannelRecord("a", "rad", 1.0)}, FixtureRecord(), {}, {"g": ("a",)}
    ):
        pass
    with pytest.raises(RecordingError, match="other channels, calibrations or fixture"):
        open_recording([tmp_path / "one", tmp_path / "other"])
