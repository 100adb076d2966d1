"""A recording fed from a stream: nothing waits for the disk, and what is missing is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from verification_platform.records.cdr import encode_block, encode_mark
from verification_platform.records.marks import SegmentMark
from verification_platform.records.reader import open_recording
from verification_platform.records.schema import MARKS_TOPIC
from verification_platform.records.session import Reached, RecordingSession

TOPIC = "/samples/can0"


def _session(tmp_path: Path, writer_in: Callable[..., Any], **before: Reached) -> RecordingSession:
    return RecordingSession(writer_in(tmp_path), before)


def test_what_was_put_in_is_sealed_and_complete(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    session = _session(tmp_path, writer_in)
    for _ in range(5):
        session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    session.put(MARKS_TOPIC, encode_mark(SegmentMark(0, {}, {"can0": (10, 50)})))
    assert session.reached(1, {"can0": 50})
    assert not session.reached(1, {"can0": 51})
    report = session.finish(1, {"can0": 50})
    assert (report.blocks, report.lost_blocks, report.marks, report.problem) == (5, 0, 1, "")
    recording = open_recording(tmp_path)
    assert recording.integrity().rows == 50
    assert recording.integrity().complete


def test_a_lost_block_is_counted_and_named(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    session = _session(tmp_path, writer_in)
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    bench.block("can0", 10)
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    report = session.finish()
    assert report.lost_blocks == 1
    assert report.problem == "can0: block 2 came after block 0; samples were lost"


def test_a_first_block_that_is_lost_is_noticed_too(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    before = dict([Reached.of(encode_block(bench.block("can0", 10), 1))])
    bench.block("can0", 10)
    session = _session(tmp_path, writer_in, **before)
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    assert session.finish().lost_blocks == 1


def test_a_bus_that_was_opened_anew_counts_from_the_beginning(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    session = _session(tmp_path, writer_in, can0=Reached(sequence=36, next_row=370))
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    report = session.finish()
    assert (report.blocks, report.lost_blocks, report.problem) == (2, 0, "")


def test_an_end_that_never_arrives_is_said(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    session = _session(tmp_path, writer_in)
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    assert session.finish(0, {"can0": 20}).problem == "can0: the last samples never arrived at the recorder"


def test_a_mark_that_never_arrives_is_said(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    session = _session(tmp_path, writer_in)
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    assert session.finish(2).problem == "2 segment marks never arrived at the recorder"


def test_a_message_that_is_none_does_not_end_the_recording(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    session = _session(tmp_path, writer_in)
    session.put(TOPIC, b"\x00\x01\x00\x00garbage")
    session.put(TOPIC, encode_block(bench.block("can0", 10), 1))
    report = session.finish()
    assert report.blocks == 1
    assert report.problem
    assert session.backlog_s() == 0.0
