"""Power, processes and disks fail: what was written stays readable, and the loss is bounded and stated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import Writer
from rosbags.rosbag2 import Reader

from verification_platform.records.errors import RecordingError
from verification_platform.records.mcapfile import scan
from verification_platform.records.reader import open_recording
from verification_platform.records.recovery import close_seal, recover_recording
from verification_platform.records.seal import Seal, verify_seal

CHILD = Path(__file__).with_name("_child.py")
ROOT = Path(__file__).parents[2]
FSYNC_S = 0.2
#: What a loaded machine may add to the sync period before the killed process is called too slow.
SLACK_S = 1.0


def start(folder: Path, fsync_s: float, limit: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), str(folder), str(fsync_s), str(limit)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def values_are_right(folder: Path, *, check_seal: bool) -> int:
    """Every row that can be read is the one that was written; returns their number."""
    recording = open_recording(folder, check_seal=check_seal)
    row = 0
    for samples in recording.rows("can0"):
        n = np.arange(row, row + len(samples.stamps_s))
        assert np.array_equal(samples.values, n[:, None] * np.array([1.0, 2.0, 3.0]))
        assert np.array_equal(samples.stamps_s, n / 500)
        row += len(n)
    assert recording.integrity().lost_rows == recording.integrity().gaps == 0
    return row


@pytest.mark.faults
@pytest.mark.parametrize("delay_s", [0.0, 0.13, 0.31, 0.57, 0.9])
def test_a_killed_writer_loses_at_most_the_sync_period(tmp_path: Path, delay_s: float) -> None:
    folder = tmp_path / "samples"
    with start(folder, FSYNC_S, 0) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it writes
        time.sleep(delay_s)  # the instant of the kill is the subject of this test
        killed_s = time.monotonic()
        child.kill()
        reports = [line.split() for line in child.stdout.read().splitlines()]
    complete = [line for line in reports if len(line) == 2]
    rows = [(int(row), float(at)) for row, at in complete if row != "mark"]
    marks = [int(index) for word, index in complete if word == "mark"]
    due = max((row for row, at in rows if at < killed_s - FSYNC_S - SLACK_S), default=0)

    with pytest.raises(RecordingError, match=r"never closed|not sealed"):
        open_recording(folder)
    found = values_are_right(folder, check_seal=False)
    assert found >= due
    recording = open_recording(folder, check_seal=False)
    assert {s.index for s in recording.segments()} >= set(marks), "a mark is on the disk when mark() returns"

    if not found:  # killed before the first sync
        with pytest.raises(RecordingError, match="nothing to seal"):
            close_seal(folder)
        return
    digest = close_seal(folder)
    report = verify_seal(folder)
    assert (report.ok, report.digest) == (True, digest)
    assert values_are_right(folder, check_seal=True) == found
    with Reader(folder) as bag:  # the recovered folder is a whole rosbag2 again
        assert sum(1 for _ in bag.messages()) == bag.message_count


@pytest.mark.faults
def test_a_full_disk_ends_the_recording_with_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    limit = 3_000_000
    with start(folder, 10.0, limit) as child:
        assert child.stdout is not None
        lines = child.stdout.read().splitlines()
    assert child.returncode == 0
    errors = [line for line in lines if line.startswith(("error", "close"))]
    assert len(errors) == 2, "close repeats the error, so that nobody takes the recording for whole"
    assert errors[0].startswith(f"error {folder}: recording stopped, the disk is full; ")
    assert (folder / "000000.mcap").stat().st_size <= limit
    written = max(int(line.split()[0]) for line in lines if line[0].isdigit())
    found = values_are_right(folder, check_seal=False)
    assert written - found <= (1 << 20) / 36 + 100, "no more than the chunk that did not fit is missing"
    assert found > 50_000
    close_seal(folder)
    assert values_are_right(folder, check_seal=True) == found


@pytest.fixture(scope="module")
def open_ended(
    tmp_path_factory: pytest.TempPathFactory, writer_in: Callable[..., Any], new_bench: Any
) -> Path:
    """A recording as a killed writer leaves it: three segments, the last without an end."""
    folder = tmp_path_factory.mktemp("open")
    bench = new_bench()
    writer = writer_in(folder / "live", segment_bytes=12_000)
    for _ in range(12):
        writer.write(bench.block("can0", 100))
        writer.sync()
    shutil.copytree(folder / "live", folder / "killed")
    writer.close()
    return folder / "killed"


def payload(message: Any) -> bytes:
    return bytes(message.buffer[message.start : message.end])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_segment_cut_anywhere_is_read_up_to_there(open_ended: Path, data: st.DataObject) -> None:
    """Power fails while a chunk is being written: any prefix of the file may be on the disk, followed by zeros."""
    path = sorted(open_ended.glob("*.mcap"))[-1]
    whole = path.read_bytes()
    everything = [payload(message) for message in scan(path).messages]
    segment_end = scan(path).whole_bytes
    cut = data.draw(st.integers(0, len(whole)))
    zeros = data.draw(st.sampled_from([0, 1, 40, 5000]))
    path.write_bytes(whole[:cut] + bytes(zeros))
    try:
        segment = scan(path)
        assert segment.problem
        assert [payload(message) for message in segment.messages] == everything[: len(segment.messages)]
        if cut >= segment_end:
            assert len(segment.messages) == len(everything)
        recording = open_recording(open_ended, check_seal=False)
        assert recording.integrity().complete
        expected = "up to the last complete chunk" if segment.messages else "no sample was in it"
        assert expected in recording.remarks[0]
    finally:
        path.write_bytes(whole)


def test_recovery_states_the_loss_and_keeps_the_file(open_ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    shutil.copytree(open_ended, folder)
    last = sorted(folder.glob("*.mcap"))[-1]
    damaged = last.read_bytes()[:-100]
    last.write_bytes(damaged)
    before = values(folder, check_seal=False)
    recovered = recover_recording(folder)
    assert len(recovered.remarks) == 1
    assert recovered.remarks[0].startswith(f"{last.name}: was cut by a crash; ")
    assert (folder / f"{last.name}.cut").read_bytes() == damaged
    assert recover_recording(folder) == recovered, "idempotent"
    close_seal(folder)
    assert verify_seal(folder).ok
    assert values(folder, check_seal=True) == before


def test_a_recovery_that_was_interrupted_itself_is_finished(open_ended: Path, tmp_path: Path) -> None:
    """The power fails again between the repair of the segment and its entry in the seal: the note is not lost."""
    folder = tmp_path / "samples"
    shutil.copytree(open_ended, folder)
    last = sorted(folder.glob("*.mcap"))[-1]
    seal = (folder / "seal.json").read_bytes()
    recover_recording(folder)
    (folder / "seal.json").write_bytes(seal)
    assert recover_recording(folder).remarks == (
        f"{last.name}: was cut by a crash; what was found is in {last.name}.cut",
    )
    close_seal(folder)
    assert verify_seal(folder).ok


def test_a_foreign_file_is_not_adopted(open_ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    shutil.copytree(open_ended, folder)
    with (folder / "000009.mcap").open("wb") as file:
        foreign = Writer(file)
        foreign.start("ros2")
        foreign.finish()
    with pytest.raises(RecordingError, match="not a segment of this recording"):
        recover_recording(folder)


def test_a_writer_killed_before_its_first_segment_left_nothing(
    tmp_path: Path, writer_in: Callable[..., Any], bench: Any
) -> None:
    (tmp_path / "seal.json").write_text(Seal().text())
    with writer_in(tmp_path) as writer:
        writer.write(bench.block("can0", 10))
    assert open_recording(tmp_path).integrity().rows == 10


def values(folder: Path, *, check_seal: bool) -> bytes:
    return b"".join(s.values.tobytes() for s in open_recording(folder, check_seal=check_seal).rows("can0"))


def test_a_segment_without_a_sample_is_put_aside(open_ended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    shutil.copytree(open_ended, folder)
    last = sorted(folder.glob("*.mcap"))[-1]
    last.write_bytes(last.read_bytes()[:20])
    remarks = recover_recording(folder).remarks
    assert remarks == (f"{last.name}: is cut after byte 8 of 20; no sample was in it",)
    assert last.with_suffix(".mcap.cut").exists()


def test_an_interrupted_recording_is_resumed(
    open_ended: Path, tmp_path: Path, writer_in: Callable[..., Any], new_bench: Any
) -> None:
    folder = tmp_path / "samples"
    shutil.copytree(open_ended, folder)
    bench = new_bench()
    with writer_in(folder, resume=True) as writer:
        assert writer.session == 1
        writer.write(bench.block("can0", 100))
    assert verify_seal(folder).ok
    recording = open_recording(folder)
    assert recording.integrity().rows == 1300
    assert recording.integrity().complete


def test_a_broken_seal_is_not_continued(
    open_ended: Path, tmp_path: Path, writer_in: Callable[..., Any]
) -> None:
    folder = tmp_path / "samples"
    shutil.copytree(open_ended, folder)
    text = (folder / "seal.json").read_text()
    (folder / "seal.json").write_text(text.replace('"bytes": ', '"bytes": 9'))
    with pytest.raises(RecordingError, match=r"does not continue the hash chain"):
        writer_in(folder, resume=True)


def test_a_folder_that_cannot_be_written(tmp_path: Path, writer_in: Callable[..., Any]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot be created"):
        writer_in(tmp_path / "file" / "samples")
