"""The run engine: one step at a time, watched all the while, and the torque off whatever happens.

The engine owns time and safety. A step is journalled before anything is sent and after it has ended; every
set-point passes the safety envelope first (refused, never clamped); inside every step the engine looks at the
bench at least every 20 ms of real time for abort, trip, lost samples and the step's time limit. However a run
ends — done, aborted, tripped, an exception, Ctrl-C — the last thing it does with the bench is `stop()`.

A segment's rows are those whose stamps lie in (begin, end]: `begin` is the bench clock when the Record step
began, `end` the instant at which its last inner step ended (for a wait the stamp of the sample that decided,
for a ramp its computed end). So the same motion gives the same rows however the stream was cut into blocks.

A journal that already holds steps is continued: the procedure is replayed against the journalled outcomes,
the set-points that were in force are brought back, and the run goes on at the first step that was not
finished (inside `Cycles`: at the cycle it had reached; inside `Together`: from its first step)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from drivers.device import DriverError, Mode, Setpoint
from verification_platform.bench.dut import Order
from verification_platform.bench.trip import BenchTrip
from verification_platform.metrology.result import RunStatus
from verification_platform.records import RecordingError, SegmentMark, Tag

from . import conditions
from .dry_run import Commanded, answered, count_records, dry_run
from .journal import Entry, Journal, read_journal
from .port import BenchPort, Envelope
from .protocol import Protocol, ProtocolError, ProtocolParameters, StepOutcome, Text
from .resume import Resumption, fingerprint, resumption
from .steps import Cycles, Prompt, Record, Rest, Set, Step, Together, Wait, as_data
from .stream import Stream, StreamError
from .wording import describe

#: Longest pause between two looks at the bench, s of its clock.
POLL_S: Mapping[str, float] = {"real": 0.02, "virtual": 0.5}
#: A bus that skips a cycle stretches its ramps by it (it never makes a step). A ramp that takes so many times longer than it
#: should, and `_RAMP_GRACE_S` on top, says that the bench cannot keep its time.
_LONGEST_STRETCH, _RAMP_GRACE_S = 1.5, 2.0
#: A group that delivers nothing for so long is dead, s of the bench clock.
SILENCE_S = 1.0
#: The bench clock must move within so long of wall time, s.
STALL_S = 30.0
_SHORTEST_POLL_S = 0.005
_PROGRESS_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run stands: what it does now, fraction done, expected time left, s, and live values in SI."""

    phase: Text
    fraction: float
    remaining_s: float
    live: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `reason` is one clear line, empty when the procedure was done to its end."""

    status: RunStatus
    reason: str = ""
    finished: bool = False
    segments: int = 0
    duration_s: float = 0.0
    resumed_at: int | None = None


class _StopError(Exception):
    """Ends the run with a status and a reason."""

    def __init__(self, status: RunStatus, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


class RunEngine:
    """Executes one run of a protocol on a bench; made for one run and used once.

    `clock` says whether the bench's time is the wall's: on virtual time the engine takes larger strides.
    `accelerations` are those of position moves by role, rad/s², as in the bench description.
    """

    def __init__(
        self,
        protocol: Protocol,
        parameters: ProtocolParameters,
        order: Order,
        bench: BenchPort,
        journal: Journal,
        envelope: Envelope,
        on_progress: Callable[[Progress], None] | None = None,
        abort: threading.Event | None = None,
        *,
        clock: Literal["real", "virtual"] = "real",
        accelerations: Mapping[str, float] | None = None,
    ) -> None:
        self._protocol, self._parameters, self._dut = protocol, parameters, order.dut
        self._bench, self._journal, self._envelope = bench, journal, envelope
        self._on_progress, self._abort = on_progress, abort or threading.Event()
        self._clock, self._poll_s = clock, POLL_S[clock]
        self._accelerations = dict(accelerations or {})
        self._stream = Stream()
        self._commanded = Commanded(self._accelerations)
        self._origin: dict[str, float] = {}
        self._records = 0
        self._phase = Text("准备", "preparing")
        self._durations: tuple[float, ...] = ()
        self._done_s, self._step_s, self._step_t0_s = 0.0, 0.0, 0.0
        self._next_progress = 0.0
        self._moved_to_s, self._moved_at = -math.inf, time.monotonic()
        self._writer = ThreadPoolExecutor(1, "journal") if clock == "real" else None

    # ------------------------------------------------------------------ the run as a whole

    def execute(self) -> Outcome:
        """Run, or continue, the procedure. Never raises for anything the bench or the operator does.

        An error of the software itself propagates after the torque is off and the journal says so.
        """
        begun = time.monotonic()
        resume = resumption(read_journal(self._journal.path))
        outcome = Outcome(RunStatus.INVALID, "the run ended by an error of the software")
        try:
            outcome = self._guarded(resume)
        finally:
            try:
                self._bench.stop()
            finally:
                if self._writer is not None:
                    self._writer.shutdown(wait=True)
                outcome = Outcome(
                    outcome.status,
                    outcome.reason,
                    outcome.finished,
                    self._records,
                    time.monotonic() - begun,
                    resume.index or None,
                )
                self._journal.append(
                    "run_end",
                    status=outcome.status.value,
                    reason=outcome.reason,
                    finished=outcome.finished,
                    segments=self._records,
                )
        return outcome

    def _guarded(self, resume: Resumption) -> Outcome:
        try:
            self._begin(resume)
            self._steps(resume)
        except _StopError as stopped:
            return Outcome(stopped.status, stopped.reason)
        except BenchTrip as trip:
            return Outcome(RunStatus.ABORTED_SAFETY if trip.safety else RunStatus.INVALID, trip.reason)
        except (StreamError, ProtocolError, DriverError, RecordingError) as error:
            return Outcome(RunStatus.INVALID, str(error))
        except KeyboardInterrupt:
            return Outcome(RunStatus.INVALID, "interrupted by the operator (Ctrl-C)")
        if self._on_progress is not None:
            self._on_progress(Progress(Text("完成", "done"), 1.0, 0.0, dict(self._stream.live)))
        return Outcome(RunStatus.VALID, finished=True)

    def _begin(self, resume: Resumption) -> None:
        plan = dry_run(answered(self._protocol, self._parameters, self._dut), self._dut, self._accelerations)
        self._durations = plan.durations_s
        for sent in plan.sent:  # nothing may move when any later set-point would be refused
            self._envelope.check(sent.role, sent.setpoint)
        self._check_abort()
        roles = sorted({sent.role for sent in plan.sent})
        self._bench.start()
        self._origin = dict(resume.origin) or {role: self._bench.position(role) for role in roles}
        self._log(
            "run_resume" if resume.begun else "run_begin",
            protocol=self._protocol.id,
            step=resume.index,
            origin=self._origin,
        )
        self._await_stream()

    def _await_stream(self) -> None:
        """Every channel the protocol requires must be alive before anything moves."""
        needed = set(self._protocol.requires.channels)
        deadline_s = self._bench.now_s() + 10.0
        while not needed <= self._stream.live.keys():
            if self._bench.now_s() > deadline_s:
                missing = ", ".join(sorted(needed - self._stream.live.keys()))
                raise StreamError(
                    f"no samples of {missing} within 10 s; check the bench with `pilotbench bench check`"
                )
            self._poll(self._poll_s)

    def _steps(self, resume: Resumption) -> None:
        procedure = self._protocol.procedure(self._parameters, self._dut)
        try:
            step = next(procedure)
        except StopIteration:
            return
        index = 0
        while True:
            if index < resume.index:
                outcome = self._replay(index, step, resume)
            else:
                if index == resume.index and resume.begun:
                    self._restore()
                outcome = self._top_step(index, step, resume.cycles_done if index == resume.index else 0)
            self._done_s += self._durations[index] if index < len(self._durations) else 0.0
            self._step_s = 0.0
            try:
                step = procedure.send(outcome)
            except StopIteration:
                return
            index += 1

    def _replay(self, index: int, step: Step, resume: Resumption) -> StepOutcome:
        done = resume.finished[index]
        if done.fingerprint != fingerprint(step):
            raise ProtocolError(
                f"step {index} of {self._protocol.id} is no longer the one in the journal; "
                "this run cannot be resumed, start a new one"
            )
        self._commanded.apply(step)
        self._records += count_records(step)
        return StepOutcome(index, done.duration_s)

    def _restore(self) -> None:
        """Bring back the set-points that were in force when the run stopped, in the order they were given."""
        for role, setpoint in list(self._commanded.in_force.items()):
            self._log("restore", role=role, mode=setpoint.mode.value, target=setpoint.target)
            del self._commanded.in_force[role]  # after the interruption the actuator is at rest
            self._set(Set(role, setpoint.mode, setpoint.target, setpoint.rate))

    # ------------------------------------------------------------------ steps

    def _top_step(self, index: int, step: Step, cycles_done: int) -> StepOutcome:
        begun_s = self._bench.now_s()
        self._step_s = self._durations[index] if index < len(self._durations) else 0.0
        self._step_t0_s = begun_s
        self._phase = describe(step)
        self._log("step_begin", step=index, what=as_data(step))
        end_s = self._do(step, str(index), cycles_done)
        duration_s = end_s - begun_s
        self._log("step_end", step=index, duration_s=duration_s, fingerprint=fingerprint(step))
        return StepOutcome(index, duration_s)

    def _do(self, step: Step, place: str, cycles_done: int = 0, *, quiet: bool = False) -> float:
        """Do one step; the bench time at which it ended."""
        self._check_abort()
        if isinstance(step, Record | Prompt | Rest):
            self._phase = describe(step)
        match step:
            case Set():
                return self._set(step)
            case Wait(until, limit_s):
                return self._wait(conditions.start(until, self._bench.now_s()), limit_s, place)
            case Record(body, tag):
                return self._record(body, tag, place, quiet=quiet)
            case Together(body):
                return self._body(body, place, quiet=quiet)
            case Prompt(key, zh, en):
                self._bench.prompt(key, zh, en)
                self._log("prompt", key=key)
                return self._bench.now_s()
            case Rest(roles):
                return self._rest(roles)
            case Cycles(count, body):
                return self._cycles(count, body, place, cycles_done)
        raise ProtocolError(f"step {place}: {type(step).__name__} is not a step the engine knows")

    def _body(self, body: tuple[Step, ...], place: str, *, quiet: bool) -> float:
        end_s = self._bench.now_s()
        for number, part in enumerate(body):
            inner = f"{place}.{number}"
            if not quiet:
                self._log("part_begin", place=inner, what=as_data(part))
            end_s = self._do(part, inner, quiet=quiet)
            if not quiet:
                self._log("part_end", place=inner)
        return end_s

    def _cycles(self, count: int, body: tuple[Step, ...], place: str, done: int) -> float:
        per_cycle = sum(count_records(part) for part in body)
        self._records += done * per_cycle
        end_s = self._bench.now_s()
        for cycle in range(done, count):
            end_s = self._body(body, place, quiet=True)
            self._log("cycle_end", place=place, cycles=cycle + 1)
        return end_s

    def _set(self, step: Set) -> float:
        target = step.target
        if step.mode is Mode.POSITION:
            target += self._origin.get(step.role, 0.0)
        setpoint = Setpoint(step.mode, target, step.rate)
        self._envelope.check(step.role, setpoint)
        ramp_s = self._commanded.ramp_s(step)
        if step.mode is Mode.POSITION:
            ramp_s = self._move_s(step, target)
        self._bench.command(step.role, setpoint)
        begin_s = self._bench.now_s()
        end_s = begin_s + ramp_s
        self._commanded.apply(step)
        while self._bench.now_s() < end_s:
            self._poll(min(self._poll_s, end_s - self._bench.now_s()))
        while self._bench.moving(step.role):
            self._poll(_SHORTEST_POLL_S)
            end_s = self._bench.now_s()
            if end_s - begin_s > _LONGEST_STRETCH * ramp_s + _RAMP_GRACE_S:
                raise _StopError(
                    RunStatus.INVALID,
                    f"{step.role}: a ramp of {ramp_s:.3g} s has not ended after {end_s - begin_s:.3g} s; the bus skips too many "
                    "cycles — see its statistics in bench.json",
                )
        return end_s

    def _move_s(self, step: Set, target: float) -> float:
        """Duration of a position move from where the shaft really is."""
        from_here = Commanded(self._accelerations)
        return from_here.ramp_s(
            Set(step.role, step.mode, target - self._bench.position(step.role), step.rate)
        )

    def _rest(self, roles: tuple[str, ...]) -> float:
        for role in roles:
            setpoint = self._commanded.in_force.get(role)
            if setpoint is not None and setpoint.mode is not Mode.POSITION and setpoint.target != 0.0:
                self._set(Set(role, setpoint.mode, 0.0, setpoint.rate))
        for role in roles:
            self._bench.rest(role)
            self._commanded.apply(Rest((role,)))
        self._poll(self._poll_s)
        return self._bench.now_s()

    def _wait(self, evaluator: conditions.Evaluator, limit_s: float, place: str) -> float:
        deadline_s = self._bench.now_s() + limit_s
        while True:
            now_s = self._bench.now_s()
            evaluator.tick(now_s)
            if evaluator.met_s is not None:
                return evaluator.met_s
            if now_s >= deadline_s:
                raise _StopError(
                    RunStatus.INVALID,
                    f"step {place}: the condition was not reached within {limit_s:.6g} s; "
                    "check drive, coupling and sensors",
                )
            self._poll(min(self._poll_s, evaluator.horizon_s(now_s), deadline_s - now_s), evaluator)

    def _record(self, body: tuple[Step, ...], tag: Tag, place: str, *, quiet: bool) -> float:
        index = self._records
        begin_s = self._bench.now_s()
        edge = self._stream.open_edge(begin_s)
        end_s = max(self._body(body, place, quiet=quiet), begin_s)
        deadline_s = self._bench.now_s() + SILENCE_S
        while not self._stream.reached(end_s):  # the last rows are still on their way
            if self._bench.now_s() > deadline_s:
                raise StreamError(
                    f"step {place}: not every bus delivered its samples up to the end of the segment"
                )
            self._poll(_SHORTEST_POLL_S)
        rows = self._stream.close_edge(edge, end_s)
        self._bench.mark(SegmentMark(index, dict(tag), rows))
        self._records += 1
        self._log(
            "segment", index=index, tag=dict(tag), rows={group: list(span) for group, span in rows.items()}
        )
        return end_s

    # ------------------------------------------------------------------ watching

    def _poll(self, longest_s: float, evaluator: conditions.Evaluator | None = None) -> None:
        """Let a little time pass, and look at everything that matters."""
        self._check_abort()
        timeout_s = max(longest_s, _SHORTEST_POLL_S if self._clock == "virtual" else 1e-4)
        for block in self._bench.poll(timeout_s):
            self._stream.take(block)
            if evaluator is not None:
                evaluator.update(block)
        now_s = self._bench.now_s()
        for group in self._stream.silent(now_s, SILENCE_S + timeout_s):
            raise StreamError(f"{group}: no samples for {SILENCE_S:g} s; check the bus")
        if now_s > self._moved_to_s:
            self._moved_to_s, self._moved_at = now_s, time.monotonic()
        elif time.monotonic() - self._moved_at > STALL_S:
            raise StreamError(f"the clock of the bench stood still for {STALL_S:g} s")
        self._tell(now_s)

    def _check_abort(self) -> None:
        if self._abort.is_set():
            raise _StopError(RunStatus.INVALID, "aborted by the operator")

    def _tell(self, now_s: float) -> None:
        if self._on_progress is None or time.monotonic() < self._next_progress:
            return
        self._next_progress = time.monotonic() + _PROGRESS_EVERY_S
        total_s = sum(self._durations) or 1.0
        done_s = min(self._done_s + min(now_s - self._step_t0_s, self._step_s), total_s)
        self._on_progress(Progress(self._phase, done_s / total_s, total_s - done_s, dict(self._stream.live)))

    def _log(self, event: str, **data: Any) -> None:
        """Journal with the bench time, synced to the disk before the engine goes on; the lease is renewed
        meanwhile on a real clock."""
        data["bench_s"] = self._bench.now_s()
        if self._writer is None:
            self._journal.append(event, **data)
            return
        pending: Future[Entry] = self._writer.submit(self._journal.append, event, **data)
        while not pending.done():
            self._poll(_SHORTEST_POLL_S)
        pending.result()
