"""Where an interrupted run stands, read from its journal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .journal import Entry
from .steps import Step


@dataclass(frozen=True, slots=True)
class Finished:
    """A step that was done to its end, as journalled."""

    fingerprint: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Interruption:
    """A gap in a run that was continued: UTC of the last sign before and the first after, and the step
    reached."""

    last_utc: str
    resumed_utc: str
    step: int


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a journal says: finished top-level steps, cycles done in the step after them, origin of position
    moves."""

    begun: bool = False
    completed: bool = False
    finished: Sequence[Finished] = ()
    cycles_done: int = 0
    origin: Mapping[str, float] = field(default_factory=dict)
    status: str = ""
    reason: str = ""
    interruptions: Sequence[Interruption] = ()
    bench_s: float = 0.0  # the latest bench time that was journalled

    @property
    def index(self) -> int:
        """The first step that was not finished."""
        return len(self.finished)


def fingerprint(step: Step) -> str:
    """Identifies a step with all of its content: the dataclass's own text is exact and stable."""
    return hashlib.sha256(repr(step).encode()).hexdigest()[:16]


def resumption(entries: Sequence[Entry]) -> Resumption:
    """Read the journal of a run, from none at all to a run that is done."""
    begun = completed = False
    finished: list[Finished] = []
    cycles_done = 0
    origin: Mapping[str, float] = {}
    status = reason = ""
    interruptions: list[Interruption] = []
    previous_utc, bench_s = "", 0.0
    for entry in entries:
        data = entry.data
        match entry.event:
            case "run_begin":
                begun, origin = True, data.get("origin", {})
            case "run_resume":
                interruptions.append(Interruption(previous_utc, entry.utc, int(data.get("step", 0))))
                status = reason = ""
            case "step_end":
                finished.append(Finished(str(data["fingerprint"]), float(data["duration_s"])))
                cycles_done = 0
            case "cycle_end" if str(data["place"]) == str(len(finished)):
                cycles_done = int(data["cycles"])
            case "run_end":
                completed, status, reason = bool(data["finished"]), str(data["status"]), str(data["reason"])
        previous_utc = entry.utc
        bench_s = max(bench_s, float(data.get("bench_s", 0.0)))
    return Resumption(
        begun,
        completed,
        tuple(finished),
        cycles_done,
        dict(origin),
        status,
        reason,
        tuple(interruptions),
        bench_s,
    )
