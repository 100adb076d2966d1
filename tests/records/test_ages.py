"""How old a value was when its row was stamped goes from the driver into the recording, and recordings without it stay readable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader

from verification_platform.records.cdr import block_layout, decode_block
from verification_platform.records.marks import SegmentMark
from verification_platform.records.mcaprecording import McapRecording
from verification_platform.records.reader import open_recording
from verification_platform.records.recovery import close_seal
from verification_platform.records.schema import SAMPLES_PREFIX

from .mcap_copy import copy_segment

OLD = b"float32[] age\n"


def record(folder: Path, writer_in: Callable[..., Any], bench: Any) -> np.ndarray:
    """Two blocks of each group, one of them with ages; returns those of its second channel."""
    with writer_in(folder) as writer:
        old = np.zeros((20, 2), np.float32)
        old[5:9, 1] = 0.002 * np.arange(1, 5)
        for ages in (None, old):
            block = bench.block("can0", 20)
            writer.write(replace(block, age_s=ages))
            writer.write(bench.block("rs485", 4))
        writer.mark(SegmentMark(0, {}, {"can0": (10, 40), "rs485": (0, 8)}))
    return old[:, 1]


def test_ages_are_recorded_where_there_are_some(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    old = record(tmp_path, writer_in, bench)
    (segment,) = open_recording(tmp_path).segments()
    can = segment.read("output_angle", "input_angle")
    ages = segment.ages("output_angle", "input_angle")
    assert ages.shape == can.values.shape
    assert ages[:10].tolist() == [[0, 0]] * 10
    assert ages[10:, 0].tobytes() == old.tobytes()
    assert not ages[:, 1].any()
    assert not segment.ages("output_torque").any()


def before_ages(path: Path, target: Path) -> None:
    """The same file as an earlier version wrote it: another definition, and blocks that end with the quality."""

    def without_ages(topic: str, data: bytes) -> bytes:
        if not topic.startswith(SAMPLES_PREFIX):
            return data
        at = block_layout(data)
        return data[: at.quality_at + at.rows * len(at.channels)] + b"\x01\x02\x03"

    copy_segment(path, target, definition=lambda text: text.replace(OLD, b""), payload=without_ages)


@pytest.fixture
def earlier(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> Path:
    record(tmp_path / "now", writer_in, bench)
    (tmp_path / "earlier").mkdir()
    path = tmp_path / "earlier" / "000000.mcap"
    before_ages(tmp_path / "now" / "000000.mcap", path)
    return path


def same(one: McapRecording, other: McapRecording) -> None:
    (a,), (b,) = one.segments(), other.segments()
    for channel in ("input_angle", "output_torque"):
        assert a.read(channel).values.tobytes() == b.read(channel).values.tobytes()
        assert a.read(channel).quality.tobytes() == b.read(channel).quality.tobytes()


def test_a_recording_of_before_there_were_ages_is_read(earlier: Path, tmp_path: Path) -> None:
    recording = open_recording(earlier, check_seal=False)
    same(recording, open_recording(tmp_path / "now"))
    (segment,) = recording.segments()
    assert segment.ages("output_angle").shape == (30, 1)
    assert not segment.ages("output_angle").any()


def test_one_that_was_cut_is_repaired_into_what_its_new_definitions_say(
    earlier: Path, tmp_path: Path
) -> None:
    with earlier.open("r+b") as file:
        file.truncate(earlier.stat().st_size - 60)  # its end is missing
    close_seal(earlier.parent)
    same(open_recording(earlier.parent), open_recording(tmp_path / "now"))
    with earlier.open("rb") as source:
        for schema, channel, message in make_reader(source).iter_messages():
            assert schema is not None
            if channel.topic.startswith(SAMPLES_PREFIX):
                assert OLD in schema.data
                assert decode_block(message.data).age_s is None
