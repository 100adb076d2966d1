"""What is written is what is read, whoever reads it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from verification_platform.records.cdr import decode_block, encode_block, encode_mark
from verification_platform.records.errors import RecordingError
from verification_platform.records.marks import SegmentMark
from verification_platform.records.mcaprecording import BLOCK_ROWS
from verification_platform.records.reader import open_recording
from verification_platform.records.recording import Recording
from verification_platform.records.seal import seal_digest, verify_seal

from .mcap_copy import copy_segment


@settings(max_examples=15, deadline=None)
@given(
    can0=st.lists(st.integers(0, 400), min_size=1, max_size=12),
    rs485=st.lists(st.integers(0, 90), max_size=12),
    parts=st.integers(1, 4),
    segment_bytes=st.sampled_from([1, 3000, 1 << 20]),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    recorded: Callable[..., Any],
    can0: list[int],
    rs485: list[int],
    parts: int,
    segment_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("round") / "samples"
    tags = [{"part": part, "load": part / 3, "label": "中试", "even": part % 2 == 0} for part in range(parts)]
    bench = recorded(folder, can0, rs485, tags, segment_bytes=segment_bytes)
    recording = open_recording(folder)
    assert [segment.tag for segment in recording.segments()] == tags
    for segment in recording.segments():
        for group, channels in recording.groups.items():
            first, last = segment.rows[group]
            stamps, values, quality = bench.samples(group, first, last)
            read = segment.read(*channels)
            assert read.stamps_s.tobytes() == stamps.tobytes()
            assert read.values.tobytes() == values.tobytes()
            assert read.quality.tobytes() == quality.tobytes()
            swapped = segment.read(*channels[::-1])
            assert np.array_equal(swapped.values, values[:, ::-1])
    assert recording.integrity().complete
    assert recording.integrity().rows == sum(can0) + sum(rs485)
    shutil.rmtree(folder)


def test_what_the_recording_knows_comes_back(
    tmp_path: Path, recorded: Callable[..., Any], known: Any
) -> None:
    recorded(tmp_path / "samples", [10], [2])
    recording: Recording = open_recording(tmp_path)  # a run folder
    assert dict(recording.channels) == known.channels
    assert recording.fixture == known.fixture
    assert recording.attributes == {"run": "R-1", "ratio": 100}
    assert open_recording(tmp_path).groups == known.groups


@settings(max_examples=4, deadline=None)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=4, max_size=9), cut=st.integers(0, 2000))
def test_partition_does_not_depend_on_how_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[..., Any],
    new_bench: Callable[[], Any],
    sizes: list[int],
    cut: int,
) -> None:
    """The same rows in other blocks and segments give the same blocks, so accumulators give the same bits."""
    total = sum(sizes) + 70_000
    folders = []
    for number, parts in enumerate(([*sizes, 70_000], [total])):
        folder = tmp_path_factory.mktemp("partition")
        folders.append(folder)
        bench = new_bench()
        with writer_in(folder, segment_bytes=(1 << 20) if number else (64 << 20)) as writer:
            for size in parts:
                writer.write(bench.block("can0", size))
            writer.mark(SegmentMark(0, {}, {"can0": (cut, total)}))
    one, other = (list(next(open_recording(folder).segments()).blocks("output_angle")) for folder in folders)
    assert [len(block.stamps_s) for block in one] == [len(block.stamps_s) for block in other]
    assert {len(block.stamps_s) for block in one[:-1]} == {BLOCK_ROWS}
    for a, b in zip(one, other, strict=True):
        assert a.values.tobytes() == b.values.tobytes()
        assert a.stamps_s.tobytes() == b.stamps_s.tobytes()
    for folder in folders:
        shutil.rmtree(folder)


def test_rosbags_opens_the_folder(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    """An independent rosbag2 reader decodes every message by the types in the file alone."""
    folder = tmp_path / "samples"
    bench = recorded(folder, [100] * 30, [20] * 30, [{"direction": 1}], segment_bytes=20_000)
    assert len(list(folder.glob("*.mcap"))) > 3
    with Reader(folder) as bag:
        assert bag.message_count == 61
        assert bag.duration == round((3000 - 1) / 500 * 1e9) - round(19 / 100 * 1e9) + 1
    with AnyReader([folder]) as bag:
        counts = {c.topic: (c.msgtype, c.msgcount) for c in bag.connections}
        assert counts == {
            "/samples/can0": ("pilotbench_interfaces/msg/SampleBlock", 30),
            "/samples/rs485": ("pilotbench_interfaces/msg/SampleBlock", 30),
            "/marks": ("pilotbench_interfaces/msg/SegmentMark", 1),
        }
        values = []
        for connection, _, raw in bag.messages():
            message = bag.deserialize(raw, connection.msgtype)
            if connection.topic == "/samples/can0":
                assert message.channels == ["input_angle", "output_angle"]
                values.append(message.values)
            elif connection.topic == "/marks":
                assert message.tag == '{"direction":1}'
        assert np.array_equal(np.concatenate(values), bench.samples("can0", 0, 3000)[1].ravel())


def test_mcap_library_opens_each_segment(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(tmp_path, [100] * 5, [], [{}])
    with (tmp_path / "000000.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None
        assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
        assert all(channel.message_encoding == "cdr" for channel in summary.channels.values())
        rows = 0
        for schema, channel, message in reader.iter_messages(log_time_order=False):
            if channel.topic == "/samples/can0":
                assert schema is not None
                assert schema.name == "pilotbench_interfaces/msg/SampleBlock"
                assert b"float64[] values" in schema.data
                rows += len(decode_block(message.data))
        assert rows == 500


def test_raw_messages_are_kept_byte_for_byte(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    """Messages from ROS carry trailing bytes and UTC; they are stored as they came."""
    raw = encode_block(bench.block("can0", 9), 1_790_000_000_123_456_789) + b"\xa0\x9b\x55"
    with writer_in(tmp_path) as writer:
        writer.write_message("/samples/can0", raw, 1_790_000_000_200_000_000)
        writer.write_message(
            "/marks", encode_mark(SegmentMark(4, {"a": 1}, {"can0": (0, 9)})), 1_790_000_001_000_000_000
        )
    with Reader(tmp_path) as bag:
        assert next(iter(bag.messages()))[1:] == (1_790_000_000_200_000_000, raw)
    (segment,) = open_recording(tmp_path).segments(a=1)
    assert np.array_equal(segment.read("input_angle").values[:, 0], bench.samples("can0", 0, 9)[1][:, 0])


def test_single_files_and_lists(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(tmp_path, [100] * 30, [], [{}], segment_bytes=20_000)
    files = sorted(tmp_path.glob("*.mcap"))
    assert open_recording(files).integrity().complete
    assert open_recording(str(tmp_path)).integrity().rows == 3000
    assert open_recording([tmp_path]).integrity().rows == 3000
    assert open_recording(files[0]).integrity().rows < 3000
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    shutil.copy(files[0], alone)
    assert set(open_recording(alone / files[0].name).channels) == {
        "input_angle",
        "output_angle",
        "output_torque",
    }
    missing = open_recording([files[0], *files[2:]]).integrity()
    assert missing.gaps == 1
    assert missing.lost_rows == open_recording(files[1]).integrity().rows
    doubled = open_recording([*files, files[1]])
    assert doubled.integrity() == open_recording(files).integrity()
    assert "twice" in doubled.remarks[-1]


def test_segments_are_found_by_tag(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    tags = [{"direction": d, "load": load} for load in (0.0, 0.5) for d in (1, -1)]
    recorded(tmp_path, [400], [80], tags)
    recording = open_recording(tmp_path)
    assert [s.index for s in recording.segments(direction=-1)] == [1, 3]
    assert [s.index for s in recording.segments(direction=-1, load=0.5)] == [3]
    assert list(recording.segments(direction=2)) == []
    assert list(recording.segments(repeat=None)) == []


def test_without_marks_everything_is_one_segment(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(tmp_path, [7, 8], [3])
    (segment,) = open_recording(tmp_path).segments()
    assert (segment.index, dict(segment.tag), dict(segment.rows)) == (
        0,
        {},
        {"can0": (0, 15), "rs485": (0, 3)},
    )


def test_wrong_questions_get_clear_answers(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(tmp_path / "samples", [100], [20], [{}])
    recording = open_recording(tmp_path)
    (segment,) = recording.segments()
    with pytest.raises(RecordingError, match=r"channel 'speed' was not recorded; there are input_angle"):
        segment.read("speed")
    with pytest.raises(RecordingError, match=r"groups can0, rs485; use aligned"):
        segment.read("input_angle", "output_torque")
    with pytest.raises(RecordingError, match="no channel"):
        segment.read()
    with pytest.raises(RecordingError, match="does not exist"):
        open_recording(tmp_path / "samples" / "nowhere")
    (tmp_path / "samples.csv").write_text("a\n1\n")
    with pytest.raises(RecordingError, match="pilotbench import"):
        open_recording(tmp_path / "samples.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="holds no recording"):
        open_recording(tmp_path / "empty")
    (tmp_path / "notes.mcap").write_text("not a recording")
    with pytest.raises(RecordingError, match="not an MCAP file"):
        open_recording(tmp_path / "notes.mcap")
    with pytest.raises(RecordingError, match="was named"):
        open_recording([])


def test_wrong_blocks_are_refused(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    import dataclasses

    with writer_in(tmp_path) as writer:
        good = bench.block("can0", 5)
        with pytest.raises(RecordingError, match="group 'can9'"):
            writer.write(dataclasses.replace(good, group="can9"))
        with pytest.raises(RecordingError, match="announced were"):
            writer.write(dataclasses.replace(good, channels=("output_angle", "input_angle")))
        with pytest.raises(RecordingError, match="stamp nan"):
            writer.write(dataclasses.replace(good, stamps_s=np.full(5, np.nan)))
        with pytest.raises(RecordingError, match="on topic '/samples/rs485'"):
            writer.write_message("/samples/rs485", encode_block(good), 0)
        with pytest.raises(RecordingError, match="names group 'can9'"):
            writer.mark(SegmentMark(0, {}, {"can9": (0, 1)}))
        with pytest.raises(RecordingError, match="too early"):
            writer.write_message("/marks", b"\0\1\0\0", 0)
        writer.write(good)
    with pytest.raises(RecordingError, match="is closed"):
        writer.write(good)
    writer.close()  # idempotent
    assert open_recording(tmp_path).integrity().rows == 5


def test_one_writer_one_recording(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    with writer_in(tmp_path), pytest.raises(RecordingError, match="another process"):
        writer_in(tmp_path)
    with pytest.raises(RecordingError, match="already holds a recording"):
        writer_in(tmp_path)


def test_channels_and_groups_must_fit(tmp_path: Path) -> None:
    from verification_platform.metrology.records import ChannelRecord, FixtureRecord
    from verification_platform.records.writer import RecordingWriter

    record = ChannelRecord("a", "rad", 1.0)
    for channels, groups, what in (
        ({"a": record}, {"g": ("a", "b")}, "channel 'b' has no channel record"),
        ({"a": record}, {}, "belongs to no group"),
        ({"a": record}, {"g": ("a",), "h": ("a",)}, "belongs to two groups"),
        ({"a": record}, {"g 1": ("a",)}, "cannot name a ROS topic"),
        ({"b": record}, {"g": ("b",)}, "has the record of 'a'"),
    ):
        with pytest.raises(RecordingError, match=what):
            RecordingWriter(tmp_path / "x", channels, FixtureRecord(), {}, groups)
    with pytest.raises(RecordingError, match="attributes"):
        RecordingWriter(tmp_path / "x", {"a": record}, FixtureRecord(), {"f": object()}, {"g": ("a",)})


def test_what_is_known_at_the_end_counts(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    import dataclasses

    with writer_in(tmp_path, segment_bytes=3000) as writer:
        for _ in range(4):
            writer.write(bench.block("can0", 100))
        channels = dict(open_recording(tmp_path, check_seal=False).channels)
        channels["input_angle"] = dataclasses.replace(channels["input_angle"], zero_after=0.02)
        writer.describe(channels=channels, attributes={"missed_cycles": 3})
    recording = open_recording(tmp_path)
    assert recording.channels["input_angle"].zero_after == 0.02
    assert recording.channels["input_angle"].zero_before == 0.01
    assert recording.attributes == {"missed_cycles": 3}


def test_seal_digest_is_that_of_the_files(tmp_path: Path, writer_in: Callable[..., Any], bench: Any) -> None:
    with writer_in(tmp_path / "samples") as writer:
        writer.write(bench.block("can0", 100))
        with pytest.raises(RecordingError, match="not sealed"):
            seal_digest(tmp_path)
        with pytest.raises(RecordingError, match="seal broken"):
            open_recording(tmp_path)
    assert seal_digest(tmp_path) == writer.seal_digest == verify_seal(tmp_path).digest
    entry = (tmp_path / "samples/seal.json").read_text()
    assert hashlib.sha256((tmp_path / "samples/000000.mcap").read_bytes()).hexdigest() in entry


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_segments_compressed_afterwards_are_read(
    tmp_path: Path, recorded: Callable[..., Any], compression: CompressionType
) -> None:
    """``mcap compress`` breaks the seal, as it must, but not the content."""
    recorded(tmp_path, [100] * 5, [20], [{}])
    path = tmp_path / "packed.mcap"
    copy_segment(tmp_path / "000000.mcap", path, compression=compression)
    with pytest.raises(RecordingError, match="is not part of the recording"):
        open_recording(path)
    (packed,), (plain,) = (
        open_recording(path, check_seal=False).segments(),
        open_recording(tmp_path / "000000.mcap").segments(),
    )
    assert packed.read("input_angle").values.tobytes() == plain.read("input_angle").values.tobytes()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(RecordingError, match=r"damaged: chunk 0"):
        open_recording(path, check_seal=False)
