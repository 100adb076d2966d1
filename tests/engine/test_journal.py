"""The journal survives a kill at any byte, and shows what was changed afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verification_platform.engine.journal import Journal, JournalError, read_journal
from verification_platform.engine.resume import resumption


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for step in range(3):
            journal.append("step_begin", step=step)
            journal.append("step_end", step=step, fingerprint=f"f{step}", duration_s=1.0)
    return path


def test_entries_come_back_in_order(path: Path) -> None:
    entries = read_journal(path)
    assert [entry.sequence for entry in entries] == list(range(6))
    assert [entry.data["step"] for entry in entries] == [0, 0, 1, 1, 2, 2]
    assert entries[0].monotonic_s <= entries[-1].monotonic_s


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none.jsonl") == []


def test_torn_at_any_byte_it_is_read_up_to_the_last_whole_line_and_continued(path: Path) -> None:
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        assert len(read_journal(path)) == kept
        with Journal(path) as journal:
            journal.append("run_resume", step=0)
        entries = read_journal(path)
        assert len(entries) == kept + 1
        assert entries[-1].event == "run_resume"


def test_a_last_line_of_zeros_is_torn_too(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 40 + b"\n")
    assert len(read_journal(path)) == 6


@pytest.mark.parametrize("line", [0, 2, 5])
def test_a_changed_line_is_named(path: Path, line: int) -> None:
    lines = path.read_text().splitlines()
    table = json.loads(lines[line])
    table["data"]["step"] = 99
    lines[line] = json.dumps(table, separators=(",", ":"))
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(JournalError, match=rf":{line + 1}: the hash chain is broken"):
        read_journal(path)


def test_a_removed_line_is_named(path: Path) -> None:
    lines = path.read_text().splitlines()
    del lines[2]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(JournalError, match=":3:"):
        read_journal(path)


def test_garbage_in_the_middle_is_no_torn_line(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[1] = "{garbage"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(JournalError, match=":2: not a journal line"):
        read_journal(path)


def test_resumption_of_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert resumption(read_journal(path)).begun is False
    with Journal(path) as journal:
        journal.append("run_begin", protocol="X", step=0, origin={"drive": 1.5})
        journal.append("step_end", step=0, fingerprint="a", duration_s=2.0, bench_s=7.0)
        journal.append("cycle_end", place="1", cycles=41)
    standing = resumption(read_journal(path))
    assert (standing.begun, standing.completed, standing.index) == (True, False, 1)
    assert (standing.cycles_done, standing.origin, standing.bench_s) == (41, {"drive": 1.5}, 7.0)
    with Journal(path) as journal:
        journal.append("run_resume", protocol="X", step=1)
        journal.append("step_end", step=1, fingerprint="b", duration_s=2.0)
        journal.append("run_end", status="VALID", reason="", finished=True)
    standing = resumption(read_journal(path))
    assert (standing.completed, standing.status, standing.index, standing.cycles_done) == (
        True,
        "VALID",
        2,
        0,
    )
    assert [gap.step for gap in standing.interruptions] == [1]
