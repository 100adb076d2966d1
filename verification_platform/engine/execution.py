"""How each kind of step is done: what is sent to the bench, and how long is waited for it.

A segment's rows are those whose stamps lie in (begin, end]: `begin` is the bench clock when the Record step
began, `end` the instant at which its last inner step ended (for a wait the stamp of the sample that decided,
for a ramp its computed end). So the same motion gives the same rows however the stream was cut into blocks."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.device import Mode, Setpoint
from verification_platform.metrology.result import RunStatus
from verification_platform.records.marks import SegmentMark, Tag

from . import conditions
from .dry_run import Commanded, count_records
from .port import BenchPort, Envelope
from .protocol import ProtocolError
from .steps import Cycles, Prompt, Record, Rest, Set, Step, Together, Wait, as_data
from .stream import StreamError
from .watch import SHORTEST_POLL_S, SILENCE_S, BenchWatch, StopRunError
from .wording import describe

#: A bus that skips a cycle stretches its ramps by it (it never makes a step). A ramp that takes so many times longer than it
#: should, and `_RAMP_GRACE_S` on top, says that the bench cannot keep its time.
_LONGEST_STRETCH, _RAMP_GRACE_S = 1.5, 2.0


class StepExecution:
    """Does one step after the other on the bench; knows what is in force there.

    `origin` is where position moves count from, rad by role; `records` the number of segments so far.
    `accelerations` are those of position moves by role, rad/s², as in the bench description.
    """

    def __init__(
        self, bench: BenchPort, envelope: Envelope, watch: BenchWatch, accelerations: Mapping[str, float]
    ) -> None:
        self._bench, self._envelope, self._watch = bench, envelope, watch
        self._accelerations = accelerations
        self._commanded = Commanded(accelerations)
        self.origin: Mapping[str, float] = {}
        self.records = 0

    def do(self, step: Step, place: str, cycles_done: int = 0, *, quiet: bool = False) -> float:
        """Do one step; the bench time at which it ended. `quiet` journals no parts.

        Raises StopRunError, StreamError, BenchTrip, DriverError (among them CommandRefused), ProtocolError.
        """
        self._watch.check_abort()
        if isinstance(step, Record | Prompt | Rest):
            self._watch.progress.phase = describe(step)
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
                self._watch.log("prompt", key=key)
                return self._bench.now_s()
            case Rest(roles):
                return self._rest(roles)
            case Cycles(count, body):
                return self._cycles(count, body, place, cycles_done)
        raise ProtocolError(f"step {place}: {type(step).__name__} is not a step the engine knows")

    def skip(self, step: Step) -> None:
        """Take a step as done: it was, before the run was interrupted."""
        self._commanded.apply(step)
        self.records += count_records(step)

    def restore(self) -> None:
        """Bring back the set-points that were in force when the run stopped, in the order they were given."""
        for role, setpoint in list(self._commanded.in_force.items()):
            self._watch.log("restore", role=role, mode=setpoint.mode.value, target=setpoint.target)
            del self._commanded.in_force[role]  # after the interruption the actuator is at rest
            self._set(Set(role, setpoint.mode, setpoint.target, setpoint.rate))

    # ------------------------------------------------------------------ steps made of steps

    def _body(self, body: tuple[Step, ...], place: str, *, quiet: bool) -> float:
        end_s = self._bench.now_s()
        for number, part in enumerate(body):
            inner = f"{place}.{number}"
            if not quiet:
                self._watch.log("part_begin", place=inner, what=as_data(part))
            end_s = self.do(part, inner, quiet=quiet)
            if not quiet:
                self._watch.log("part_end", place=inner)
        return end_s

    def _cycles(self, count: int, body: tuple[Step, ...], place: str, done: int) -> float:
        per_cycle = sum(count_records(part) for part in body)
        self.records += done * per_cycle
        end_s = self._bench.now_s()
        for cycle in range(done, count):
            end_s = self._body(body, place, quiet=True)
            self._watch.log("cycle_end", place=place, cycles=cycle + 1)
        return end_s

    def _record(self, body: tuple[Step, ...], tag: Tag, place: str, *, quiet: bool) -> float:
        index, stream = self.records, self._watch.stream
        begin_s = self._bench.now_s()
        edge = stream.open_edge(begin_s)
        end_s = max(self._body(body, place, quiet=quiet), begin_s)
        self._await_rows(end_s, place)
        rows = stream.close_edge(edge, end_s)
        self._bench.mark(SegmentMark(index, dict(tag), rows))
        self.records += 1
        self._watch.log(
            "segment", index=index, tag=dict(tag), rows={group: list(span) for group, span in rows.items()}
        )
        return end_s

    def _await_rows(self, end_s: float, place: str) -> None:
        """The last rows of a segment are still on their way when its last step has ended."""
        deadline_s = self._bench.now_s() + SILENCE_S
        while not self._watch.stream.reached(end_s):
            if self._bench.now_s() > deadline_s:
                raise StreamError(
                    f"step {place}: not every bus delivered its samples up to the end of the segment"
                )
            self._watch.poll(SHORTEST_POLL_S)

    # ------------------------------------------------------------------ set-points and waits

    def _set(self, step: Set) -> float:
        target = step.target
        if step.mode is Mode.POSITION:
            target += self.origin.get(step.role, 0.0)
        setpoint = Setpoint(step.mode, target, step.rate)
        self._envelope.check(step.role, setpoint)
        ramp_s = self._commanded.ramp_s(step)
        if step.mode is Mode.POSITION:
            ramp_s = self._move_s(step, target)
        self._bench.command(step.role, setpoint)
        begin_s = self._bench.now_s()
        self._commanded.apply(step)
        return self._await_ramp(step.role, begin_s, ramp_s)

    def _move_s(self, step: Set, target: float) -> float:
        """Duration of a position move from where the shaft really is."""
        from_here = Commanded(self._accelerations)
        return from_here.ramp_s(
            Set(step.role, step.mode, target - self._bench.position(step.role), step.rate)
        )

    def _await_ramp(self, role: str, begin_s: float, ramp_s: float) -> float:
        """When the ramp ended: as computed, or later where the bus had to stretch it."""
        end_s = begin_s + ramp_s
        while self._bench.now_s() < end_s:
            self._watch.poll(min(self._watch.poll_s, end_s - self._bench.now_s()))
        while self._bench.moving(role):
            self._watch.poll(SHORTEST_POLL_S)
            end_s = self._bench.now_s()
            if end_s - begin_s > _LONGEST_STRETCH * ramp_s + _RAMP_GRACE_S:
                raise StopRunError(
                    RunStatus.INVALID,
                    f"{role}: a ramp of {ramp_s:.3g} s has not ended after {end_s - begin_s:.3g} s; the bus skips too many "
                    "cycles — see its statistics in bench.json",
                )
        return end_s

    def _rest(self, roles: tuple[str, ...]) -> float:
        for role in roles:
            setpoint = self._commanded.in_force.get(role)
            if setpoint is not None and setpoint.mode is not Mode.POSITION and setpoint.target != 0.0:
                self._set(Set(role, setpoint.mode, 0.0, setpoint.rate))
        for role in roles:
            self._bench.rest(role)
            self._commanded.apply(Rest((role,)))
        self._watch.poll(self._watch.poll_s)
        return self._bench.now_s()

    def _wait(self, evaluator: conditions.Evaluator, limit_s: float, place: str) -> float:
        deadline_s = self._bench.now_s() + limit_s
        while True:
            now_s = self._bench.now_s()
            evaluator.tick(now_s)
            if evaluator.met_s is not None:
                return evaluator.met_s
            if now_s >= deadline_s:
                raise StopRunError(
                    RunStatus.INVALID,
                    f"step {place}: the condition was not reached within {limit_s:.6g} s; "
                    "check drive, coupling and sensors",
                )
            longest_s = min(self._watch.poll_s, evaluator.horizon_s(now_s), deadline_s - now_s)
            self._watch.poll(longest_s, evaluator)
