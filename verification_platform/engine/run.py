"""The run engine: one step at a time, watched all the while, and the torque off whatever happens.

The engine owns time and safety. A step is journalled before anything is sent and after it has ended; every
set-point passes the safety envelope first (refused, never clamped); inside every step the bench is looked at
all the while (`watch`). However a run ends — done, aborted, tripped, an exception, Ctrl-C — the last thing the
engine does with the bench is `stop()`. What a step does is in `execution`.

A journal that already holds steps is continued: the procedure is replayed against the journalled outcomes,
the set-points that were in force are brought back, and the run goes on at the first step that was not
finished (inside `Cycles`: at the cycle it had reached; inside `Together`: from its first step)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from drivers.device import DriverError
from verification_platform.bench.dut import Order
from verification_platform.bench.trip import BenchTrip
from verification_platform.metrology.result import RunStatus
from verification_platform.records.errors import RecordingError

from .dry_run import answered, dry_run
from .execution import StepExecution
from .journal import Journal, read_journal
from .port import BenchPort, Envelope
from .progress import Progress, ProgressMeter
from .protocol import Protocol, ProtocolError, ProtocolParameters, StepOutcome
from .resume import Resumption, fingerprint, resumption
from .steps import Step, as_data
from .stream import StreamError
from .watch import BenchWatch, StopRunError
from .wording import describe

#: Every channel must deliver within so long of the start of the bench, s of its clock.
_FIRST_SAMPLES_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `reason` is one clear line, empty when the procedure was done to its end."""

    status: RunStatus
    reason: str = ""
    finished: bool = False
    segments: int = 0
    duration_s: float = 0.0
    resumed_at: int | None = None


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
        self._accelerations = dict(accelerations or {})
        self._progress = ProgressMeter(on_progress)
        self._watch = BenchWatch(bench, journal, abort or threading.Event(), self._progress, clock)
        self._execution = StepExecution(bench, envelope, self._watch, self._accelerations)

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
                self._watch.close()
                outcome = replace(
                    outcome,
                    segments=self._execution.records,
                    duration_s=time.monotonic() - begun,
                    resumed_at=resume.index or None,
                )
                self._journal.append(
                    "run_end",
                    status=outcome.status.value,
                    reason=outcome.reason,
                    finished=outcome.finished,
                    segments=outcome.segments,
                )
        return outcome

    def _guarded(self, resume: Resumption) -> Outcome:
        try:
            self._begin(resume)
            self._steps(resume)
        except StopRunError as stopped:
            return Outcome(stopped.status, stopped.reason)
        except BenchTrip as trip:
            return Outcome(RunStatus.ABORTED_SAFETY if trip.safety else RunStatus.INVALID, trip.reason)
        except (StreamError, ProtocolError, DriverError, RecordingError) as error:
            return Outcome(RunStatus.INVALID, str(error))
        except KeyboardInterrupt:
            return Outcome(RunStatus.INVALID, "interrupted by the operator (Ctrl-C)")
        self._progress.finish(self._watch.stream.live)
        return Outcome(RunStatus.VALID, finished=True)

    def _begin(self, resume: Resumption) -> None:
        plan = dry_run(answered(self._protocol, self._parameters, self._dut), self._dut, self._accelerations)
        self._progress.expect(plan.durations_s)
        for sent in plan.sent:  # nothing may move when any later set-point would be refused
            self._envelope.check(sent.role, sent.setpoint)
        self._watch.check_abort()
        roles = sorted({sent.role for sent in plan.sent})
        self._bench.start()
        origin = dict(resume.origin) or {role: self._bench.position(role) for role in roles}
        self._execution.origin = origin
        self._watch.log(
            "run_resume" if resume.begun else "run_begin",
            protocol=self._protocol.id,
            step=resume.index,
            origin=origin,
        )
        self._await_stream()

    def _await_stream(self) -> None:
        """Every channel the protocol requires must be alive before anything moves."""
        needed, live = set(self._protocol.requires.channels), self._watch.stream.live
        deadline_s = self._bench.now_s() + _FIRST_SAMPLES_S
        while not needed <= live.keys():
            if self._bench.now_s() > deadline_s:
                missing = ", ".join(sorted(needed - live.keys()))
                raise StreamError(
                    f"no samples of {missing} within {_FIRST_SAMPLES_S:g} s; check the bench with `pilotbench bench check`"
                )
            self._watch.poll(self._watch.poll_s)

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
                    self._execution.restore()
                outcome = self._step(index, step, resume.cycles_done if index == resume.index else 0)
            self._progress.end(index)
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
        self._execution.skip(step)
        return StepOutcome(index, done.duration_s)

    def _step(self, index: int, step: Step, cycles_done: int) -> StepOutcome:
        begun_s = self._bench.now_s()
        self._progress.begin(index, begun_s, describe(step))
        self._watch.log("step_begin", step=index, what=as_data(step))
        duration_s = self._execution.do(step, str(index), cycles_done) - begun_s
        self._watch.log("step_end", step=index, duration_s=duration_s, fingerprint=fingerprint(step))
        return StepOutcome(index, duration_s)
