"""The engine: one step at a time, watched, and the torque off whatever happens."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from drivers.device import DeviceFault, Mode
from verification_platform.bench.trip import BenchTrip
from verification_platform.engine.journal import read_journal
from verification_platform.engine.steps import (
    Near,
    Prompt,
    Record,
    Rest,
    Seconds,
    Set,
    Step,
    Turns,
    Wait,
)
from verification_platform.metrology.result import RunStatus

from .conftest import REST, SPIN


def test_a_run_is_done_step_by_step_and_ends_at_rest(rig: Any) -> None:
    outcome = rig.run()
    assert (outcome.status, outcome.finished, outcome.segments) == (RunStatus.VALID, True, 3)
    assert rig.bench.commands == [
        ("command", "drive", Mode.VELOCITY, 10.0),
        ("command", "drive", Mode.VELOCITY, 0.0),
        ("rest", "drive"),
    ]
    assert rig.bench.events[0] == ("start",)
    assert rig.bench.events[-1] == ("stop",)
    assert not rig.bench.torque_on
    assert [mark.index for mark in rig.bench.marks] == [0, 1, 2]
    assert [outcome.index for outcome in rig.protocol.outcomes[-5:]] == [0, 1, 2, 3, 4]


def test_every_step_is_journalled_before_and_after(rig: Any) -> None:
    rig.run()
    events = [entry.event for entry in read_journal(rig.journal)]
    assert events[0] == "run_begin"
    assert events[-1] == "run_end"
    assert events.count("step_begin") == events.count("step_end") == 5
    begun = next(entry for entry in read_journal(rig.journal) if entry.event == "step_begin")
    assert begun.data["what"] == {
        "kind": "Set",
        "role": "drive",
        "mode": "velocity",
        "target": 10.0,
        "rate": 50.0,
    }


def test_a_step_is_on_the_disk_before_anything_is_sent(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    send = rig.bench.command

    def command(role: str, setpoint: Any) -> None:
        seen.append(read_journal(rig.journal)[-1].event)
        send(role, setpoint)

    monkeypatch.setattr(rig.bench, "command", command)
    rig.run([SPIN])
    assert seen == ["step_begin"]


def test_rows_of_a_segment_are_those_stamped_within_it(rig: Any, seconds: Callable[[float], Step]) -> None:
    rig.run([seconds(0.5), Record((seconds(1.0),), {"name": "x"}), seconds(0.5)])
    (mark,) = rig.bench.marks
    entry = next(e for e in read_journal(rig.journal) if e.event == "step_begin" and e.data["step"] == 1)
    begin = entry.data["bench_s"]
    for group in ("can0", "rs485"):
        blocks = [block for block in rig.bench.blocks if block.group == group]
        stamps = [stamp for block in blocks for stamp in block.stamps_s]
        first, last = mark.rows[group]
        inside = [n for n, stamp in enumerate(stamps) if begin < stamp <= begin + 1.0 + 1e-9]
        assert (first, last) == (inside[0], inside[-1] + 1)


def test_a_segment_ends_with_the_sample_that_decided(rig: Any) -> None:
    """However coarsely the engine looks, the rows are the same."""
    rig.run([SPIN, Record((Wait(Turns("input_angle", 2.0), 60.0),), {})])
    (mark,) = rig.bench.marks
    angle = [x for block in rig.bench.blocks if block.group == "can0" for x in block.column("input_angle")]
    first, last = mark.rows["can0"]
    turned = [(x - angle[first]) / 6.283185307179586 for x in angle[first:last]]
    assert turned[-1] >= 2.0
    assert turned[-2] < 2.0


def test_on_a_real_clock_the_bench_is_served_while_the_journal_is_written(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk must not keep the engine from renewing the lease."""
    from verification_platform.engine import journal

    running, polled = threading.Event(), threading.Event()
    served: list[bool] = []
    poll, fsync = rig.bench.poll, os.fsync

    def watched(timeout_s: float) -> Any:
        polled.set()
        return poll(timeout_s)

    def slow(descriptor: int) -> None:
        if running.is_set():
            polled.clear()
            served.append(polled.wait(5.0))
        fsync(descriptor)

    monkeypatch.setattr(rig.bench, "poll", watched)
    monkeypatch.setattr(rig.bench, "start", running.set)
    monkeypatch.setattr(rig.bench, "stop", running.clear)
    monkeypatch.setattr(journal.os, "fsync", slow)
    rig.clock, rig.sync = "real", True
    assert rig.run([SPIN, REST]).finished
    assert len(served) >= 5
    assert all(served)


def test_abort_ends_with_the_torque_off(rig: Any) -> None:
    rig.bench.at[1.0] = lambda bench: rig.abort.set()
    outcome = rig.run([SPIN, Wait(Seconds(60.0), 70.0), REST])
    assert outcome.status is RunStatus.INVALID
    assert outcome.reason == "aborted by the operator"
    assert rig.bench.events[-1] == ("stop",)
    assert not rig.bench.torque_on
    assert rig.bench.now_s() < 1.6


def test_abort_before_the_start_moves_nothing(rig: Any) -> None:
    rig.abort.set()
    assert rig.run().reason == "aborted by the operator"
    assert rig.bench.events == [("stop",)]


def test_a_trip_aborts_for_safety(rig: Any, tripping: Any) -> None:
    rig.bench.at[1.0] = tripping
    outcome = rig.run()
    assert outcome.status is RunStatus.ABORTED_SAFETY
    assert "input_torque 6 is beyond its limit" in outcome.reason
    assert rig.bench.events[-1] == ("stop",)


def test_a_trip_that_is_no_matter_of_safety_is_invalid(rig: Any) -> None:
    def lost(bench: Any) -> None:
        raise BenchTrip("recorder: disk full", safety=False)

    rig.bench.at[1.0] = lost
    assert rig.run().status is RunStatus.INVALID


@pytest.mark.parametrize("error", [DeviceFault("AX1", "overcurrent", 0x2310), KeyboardInterrupt()])
def test_an_error_ends_with_the_torque_off(rig: Any, error: BaseException) -> None:
    def fail(bench: Any) -> None:
        raise error

    rig.bench.at[1.0] = fail
    outcome = rig.run()
    assert outcome.status is RunStatus.INVALID
    assert not rig.bench.torque_on
    assert rig.bench.events[-1] == ("stop",)


def test_an_error_of_the_software_propagates_after_the_torque_is_off(rig: Any) -> None:
    def fail(bench: Any) -> None:
        raise ZeroDivisionError

    rig.bench.at[1.0] = fail
    with pytest.raises(ZeroDivisionError):
        rig.run()
    assert not rig.bench.torque_on
    end = read_journal(rig.journal)[-1]
    assert (end.event, end.data["status"]) == ("run_end", "INVALID")


def test_the_torque_goes_off_even_when_the_journal_cannot_be_written(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verification_platform.engine.journal import Journal

    append = Journal.append

    def refuse(self: Any, event: str, **data: Any) -> Any:
        if event in ("step_end", "run_end"):
            raise OSError(28, "No space left on device")
        return append(self, event, **data)

    monkeypatch.setattr(Journal, "append", refuse)
    with pytest.raises(OSError, match="No space left"):
        rig.run()
    assert rig.bench.events[-1] == ("stop",)
    assert not rig.bench.torque_on


def test_a_lost_block_makes_the_run_invalid(rig: Any) -> None:
    rig.bench.lose_block = 0.7
    outcome = rig.run()
    assert outcome.status is RunStatus.INVALID
    assert "samples were lost" in outcome.reason
    assert "can0" in outcome.reason
    assert not rig.bench.torque_on


def test_a_silent_bus_makes_the_run_invalid(rig: Any) -> None:
    rig.bench.silent_after = 0.5
    outcome = rig.run([SPIN, Wait(Seconds(60.0), 70.0)])
    assert outcome.status is RunStatus.INVALID
    assert outcome.reason.startswith("rs485: no samples")
    assert rig.bench.now_s() < 3.0


def test_a_channel_that_never_speaks_is_named(rig: Any) -> None:
    rig.bench.silent_after = 0.0
    outcome = rig.run()
    assert "output_torque" in outcome.reason or "rs485" in outcome.reason
    assert rig.bench.commands == []


def test_a_condition_that_is_not_reached_in_time_is_invalid(rig: Any) -> None:
    outcome = rig.run([SPIN, Wait(Near("input_angle", -5.0, 0.1), 2.0)])
    assert outcome.status is RunStatus.INVALID
    assert "not reached within 2 s" in outcome.reason
    assert not rig.bench.torque_on


def test_a_set_point_beyond_the_envelope_is_refused_before_anything_moves(rig: Any) -> None:
    outcome = rig.run([SPIN, REST, Set("load", Mode.TORQUE, 150.0, 1.0)])
    assert outcome.status is RunStatus.INVALID
    assert "150 N·m is beyond ±140 N·m" in outcome.reason
    assert rig.bench.events == [("stop",)]


def test_a_mode_change_in_motion_is_refused(rig: Any) -> None:
    outcome = rig.run([SPIN, Set("drive", Mode.TORQUE, 0.1, 1.0)])
    assert "bring it to zero or rest first" in outcome.reason
    assert rig.bench.events == [("stop",)]


def test_positions_count_from_where_the_shaft_stood(rig: Any) -> None:
    rig.bench._angle = 7.0
    rig.run([Set("drive", Mode.POSITION, 1.0, 10.0), REST])
    assert ("command", "drive", Mode.POSITION, 8.0) in rig.bench.events


def test_rest_ramps_down_before_the_torque_goes_off(rig: Any) -> None:
    rig.run([Set("load", Mode.TORQUE, 20.0, 10.0), Rest(("load",))])
    assert rig.bench.commands[1:] == [("command", "load", Mode.TORQUE, 0.0), ("rest", "load")]


def test_a_prompt_is_asked(rig: Any) -> None:
    rig.run([Prompt("open", "断开", "open it")])
    assert ("prompt", "open") in rig.bench.events


def test_progress_runs_from_zero_to_one_and_carries_live_values(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verification_platform.engine.progress._PROGRESS_EVERY_S", 0.0)
    rig.run()
    fractions = [progress.fraction for progress in rig.progress]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.05
    assert fractions[-1] == 1.0
    assert {"input_angle", "output_angle", "output_torque"} <= set(rig.progress[-1].live)
    assert any("recording repeat 1" in progress.phase.en for progress in rig.progress)


def test_an_empty_procedure_is_done(rig: Any) -> None:
    assert rig.run([]).finished


def test_an_unknown_step_is_refused(rig: Any) -> None:
    outcome = rig.run([replace(Step())])
    assert outcome.status is RunStatus.INVALID
    assert "not a step" in outcome.reason


def test_the_journal_is_plain_json(rig: Any) -> None:
    rig.run()
    for line in rig.journal.read_text().splitlines():
        assert {"sequence", "monotonic_s", "utc", "event", "data", "sha256"} == set(json.loads(line))
