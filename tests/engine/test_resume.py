"""A run that was interrupted goes on where it was, and nowhere else."""

from __future__ import annotations

from typing import Any

from drivers.device import Mode
from verification_platform.engine.journal import read_journal
from verification_platform.engine.steps import (
    Cycles,
    Record,
    Rest,
    Seconds,
    Set,
    Together,
    Wait,
)
from verification_platform.metrology.result import RunStatus

from .conftest import REST, SPIN


def test_a_run_resumes_at_the_step_it_had_reached(rig: Any) -> None:
    rig.bench.at[1.2] = lambda bench: rig.abort.set()
    first = rig.run()
    assert not first.finished
    done = first.segments
    assert 0 < done < 3
    rig.abort.clear()
    rig.bench.events.clear()
    rig.protocol.outcomes.clear()
    second = rig.run()
    assert second.finished
    assert second.status is RunStatus.VALID
    assert second.segments == 3
    assert second.resumed_at == done + 1
    # the speed that was in force is brought back, then the unfinished record is repeated, none before it
    assert rig.bench.commands[0] == ("command", "drive", Mode.VELOCITY, 10.0)
    assert [mark.index for mark in rig.bench.marks] == [0, 1, 2]
    assert [outcome.index for outcome in rig.protocol.outcomes[-5:]] == [0, 1, 2, 3, 4]
    events = [entry.event for entry in read_journal(rig.journal)]
    assert "run_resume" in events
    assert "restore" in events


def test_cycles_resume_at_the_cycle_they_had_reached(rig: Any) -> None:
    steps = [SPIN, Cycles(5, (Record((Wait(Seconds(1.0), 10.0),), {}),)), REST]
    rig.bench.at[3.5] = lambda bench: rig.abort.set()
    rig.run(steps)
    counted = [e.data["cycles"] for e in read_journal(rig.journal) if e.event == "cycle_end"]
    assert counted == [1, 2, 3]
    rig.abort.clear()
    outcome = rig.run(steps)
    assert outcome.finished
    assert [e.data["cycles"] for e in read_journal(rig.journal) if e.event == "cycle_end"] == [1, 2, 3, 4, 5]
    assert [mark.index for mark in rig.bench.marks] == [0, 1, 2, 3, 4]


def test_together_is_repeated_from_its_first_step(rig: Any) -> None:
    body = (Set("load", Mode.TORQUE, 20.0, 20.0), Record((Wait(Seconds(2.0), 10.0),), {}))
    rig.bench.at[2.5] = lambda bench: rig.abort.set()
    rig.run([SPIN, Together(body), Rest(("drive", "load"))])
    rig.abort.clear()
    rig.bench.events.clear()
    assert rig.run([SPIN, Together(body), Rest(("drive", "load"))]).finished
    assert rig.bench.commands[:2] == [
        ("command", "drive", Mode.VELOCITY, 10.0),
        ("command", "load", Mode.TORQUE, 20.0),
    ]


def test_a_finished_run_is_not_run_again(rig: Any) -> None:
    rig.run()
    rig.bench.events.clear()
    assert rig.run().finished
    assert rig.bench.commands == []


def test_a_changed_procedure_is_not_resumed(rig: Any) -> None:
    rig.bench.at[1.2] = lambda bench: rig.abort.set()
    rig.run()
    rig.abort.clear()
    rig.bench.events.clear()
    rig.parameters = rig.parameters.model_copy(update={"speed": 12.0})
    outcome = rig.run()
    assert outcome.status is RunStatus.INVALID
    assert "cannot be resumed" in outcome.reason
    assert rig.bench.commands == []
