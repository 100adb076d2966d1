"""The whole procedure without a bench: which set-points it will send, and how long it will take.

The same walk serves the preflight (every set-point against the safety envelope before anything moves), the
progress bar (how much is left) and the resume (which set-points were in force when the run stopped).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drivers.device import Mode, Setpoint
from drivers.trajectory import Trajectory
from verification_platform.bench.dut import Reducer

from .protocol import Protocol, ProtocolError, StepOutcome
from .steps import (
    Above,
    AllOf,
    AnyOf,
    Below,
    Condition,
    Cycles,
    Near,
    Prompt,
    Record,
    Rest,
    Seconds,
    Set,
    Steady,
    Step,
    Together,
    Turns,
    Wait,
    body_of,
)

#: Guesses for what the data sheet cannot tell, s: only the progress bar depends on them.
_SETTLING_S, _CONFIRMATION_S, _REST_S = 1.0, 30.0, 1.0
#: Acceleration of a position move when the bench description gives none, rad/s².
DEFAULT_ACCELERATION = 50.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One set-point as it will be sent, with the place of its step in the procedure (``"3.0"``)."""

    place: str
    role: str
    setpoint: Setpoint


@dataclass(frozen=True, slots=True)
class DryRun:
    """Outcome of a dry run: set-points in order, expected duration of every top-level step, s, records in
    all."""

    sent: tuple[Sent, ...]
    durations_s: tuple[float, ...]
    records: int

    @property
    def total_s(self) -> float:
        return sum(self.durations_s)


class Commanded:
    """What every actuator has been told, as far as the procedure knows: the state a resumed run restores."""

    def __init__(self, accelerations: Mapping[str, float] | None = None) -> None:
        self.in_force: dict[str, Setpoint] = {}
        self._positions: dict[str, float] = {}
        self._accelerations = accelerations or {}

    def ramp_s(self, step: Set) -> float:
        """Duration of the ramp to `step`. Raises ProtocolError when a moving actuator would change its
        mode."""
        setpoint = Setpoint(step.mode, step.target, step.rate)
        before = self.in_force.get(step.role)
        changed = before is not None and before.mode is not step.mode
        if before is not None and changed and before.mode is not Mode.POSITION and before.target != 0.0:
            raise ProtocolError(
                f"{step.role}: {step.mode.value} mode is asked for while {before.mode.value} is "
                f"{before.target:.4g}; bring it to zero or rest first"
            )
        if step.mode is Mode.POSITION:
            start = self._positions.get(step.role, 0.0)
        else:
            start = before.target if before is not None and not changed else 0.0
        acceleration = self._accelerations.get(step.role, DEFAULT_ACCELERATION)
        return Trajectory(start, setpoint, 0.0, acceleration).duration_s

    def apply(self, step: Step) -> None:
        """`step` has been done."""
        if isinstance(step, Set):
            self.in_force.pop(step.role, None)  # the order of in_force is the order of the last commands
            self.in_force[step.role] = Setpoint(step.mode, step.target, step.rate)
            if step.mode is Mode.POSITION:
                self._positions[step.role] = step.target
        elif isinstance(step, Rest):
            for role in step.roles:
                self.in_force.pop(role, None)
        for part in body_of(step):
            self.apply(part)

    def speed(self, channel: str, dut: Reducer) -> float:
        """Expected |speed| of an angle channel, rad/s; 0 when the procedure does not tell."""
        drive = self.in_force.get("drive")
        if drive is None or drive.mode is not Mode.VELOCITY:
            return 0.0
        return abs(drive.target) / (1.0 if channel.startswith("input") else dut.ratio)


def answered(protocol: Protocol, parameters: Any, dut: Reducer) -> Iterator[Step]:
    """The steps of a procedure that is told that everything went as expected."""
    procedure = protocol.procedure(parameters, dut)
    index = 0
    try:
        step = next(procedure)
        while True:
            yield step
            step = procedure.send(StepOutcome(index, 0.0))
            index += 1
    except StopIteration:
        return


def dry_run(steps: Iterable[Step], dut: Reducer, accelerations: Mapping[str, float] | None = None) -> DryRun:
    """Walk through a procedure. `accelerations` of position moves by role, rad/s².

    Raises ProtocolError for a step that no bench could do (a ramp without a rate, a mode change in motion).
    """
    state = Commanded(accelerations)
    sent: list[Sent] = []
    durations: list[float] = []
    records = 0
    for index, step in enumerate(steps):
        durations.append(_walk(step, str(index), state, dut, sent))
        records += count_records(step)
    return DryRun(tuple(sent), tuple(durations), records)


def count_records(step: Step) -> int:
    """How many segments a step records."""
    inside = sum(count_records(part) for part in body_of(step))
    if isinstance(step, Cycles):
        return step.count * inside
    return inside + isinstance(step, Record)


def _walk(step: Step, place: str, state: Commanded, dut: Reducer, sent: list[Sent]) -> float:
    match step:
        case Set(role, mode, target, rate):
            if not (rate > 0 and math.isfinite(target)):
                raise ProtocolError(
                    f"step {place}: {role} needs a finite target and a positive rate, got {target} at {rate}"
                )
            duration = state.ramp_s(step)
            sent.append(Sent(place, role, Setpoint(mode, target, rate)))
            state.apply(step)
            return duration
        case Wait(until, limit_s):
            return min(_expected_s(until, state, dut), limit_s)
        case Prompt():
            return _CONFIRMATION_S
        case Rest():
            duration = (
                max((_to_zero_s(state.in_force.get(role)) for role in step.roles), default=0.0) + _REST_S
            )
            state.apply(step)
            return duration
        case Record(body, _) | Together(body):
            return sum(_walk(part, f"{place}.{n}", state, dut, sent) for n, part in enumerate(body))
        case Cycles(count, body):
            if count < 1:
                return 0.0
            first = sum(_walk(part, f"{place}.{n}", state, dut, sent) for n, part in enumerate(body))
            again: list[Sent] = []  # from the second cycle on, every cycle starts where the one before ended
            rest = (
                sum(_walk(part, f"{place}.{n}", state, dut, again) for n, part in enumerate(body))
                if count > 1
                else 0.0
            )
            return first + (count - 1) * rest
    raise ProtocolError(f"step {place}: {type(step).__name__} is not a step the engine knows")


def _to_zero_s(setpoint: Setpoint | None) -> float:
    if setpoint is None or setpoint.mode is Mode.POSITION:
        return 0.0
    return abs(setpoint.target) / setpoint.rate


def _expected_s(condition: Condition, state: Commanded, dut: Reducer) -> float:
    match condition:
        case Seconds(duration_s):
            return duration_s
        case Turns(channel, turns):
            speed = state.speed(channel, dut)
            return abs(turns) * 2 * math.pi / speed if speed > 0 else math.inf
        case Near(hold_s=hold_s):
            return hold_s + _SETTLING_S
        case Above() | Below():
            return _SETTLING_S
        case Steady(window_s=window_s):
            return 2 * window_s
        case AllOf(parts):
            return max(_expected_s(part, state, dut) for part in parts)
        case AnyOf(parts):
            return min(_expected_s(part, state, dut) for part in parts)
    raise ProtocolError(f"{type(condition).__name__} is not a condition the engine knows")
