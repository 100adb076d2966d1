"""The vocabulary of a procedure: small, closed, and made of values.

A step can be printed, checked against the safety envelope in a dry run, journalled, shown to the technician
and sent over ROS. The engine owns time and safety; a step only says what is wanted. `role` names an actuator
of the bench (``drive``, ``load``), `channel` a measured quantity (``input_angle``, ``output_torque``).
Everything is SI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from drivers.device import Mode
from verification_platform.records.marks import Tag


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that becomes true on the stream of samples. Combine with ``&`` and ``|``."""

    def __and__(self, other: Condition) -> AllOf:
        return AllOf((self, other))

    def __or__(self, other: Condition) -> AnyOf:
        return AnyOf((self, other))


@dataclass(frozen=True, slots=True)
class AllOf(Condition):
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Seconds(Condition):
    """So many seconds of the bench's clock have passed since the step began."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Turns(Condition):
    """`channel` (an angle) has moved by `turns` revolutions, either way, since the step began."""

    channel: str
    turns: float


@dataclass(frozen=True, slots=True)
class Above(Condition):
    channel: str
    value: float


@dataclass(frozen=True, slots=True)
class Below(Condition):
    channel: str
    value: float


@dataclass(frozen=True, slots=True)
class Near(Condition):
    """`channel` has stayed within ±`tolerance` of `value` for `hold_s`."""

    channel: str
    value: float
    tolerance: float
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Steady(Condition):
    """The mean of `channel` over two successive windows of `window_s` differs by less than `rate` per second.

    `relative` makes `rate` a fraction of the mean per second (2 %/min = 0.02/60).
    """

    channel: str
    window_s: float
    rate: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Root of all steps."""


@dataclass(frozen=True, slots=True)
class Set(Step):
    """Bring actuator `role` to `target` in `mode` at no more than `rate` a second; done when the ramp has
    ended.

    A POSITION target counts from where the shaft stood when the run began. The mode may change only at rest.
    """

    role: str
    mode: Mode
    target: float
    rate: float


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Wait until `until` holds; longer than `limit_s` makes the run INVALID."""

    until: Condition
    limit_s: float


@dataclass(frozen=True, slots=True)
class Record(Step):
    """Do `body`, and mark every row that arrives meanwhile as one segment called `tag`."""

    body: tuple[Step, ...]
    tag: Tag = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt(Step):
    """Ask the technician to do something and wait for the confirmation (`key` names it in the journal)."""

    key: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Rest(Step):
    """Ramp the actuators to zero torque and take the torque off."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cycles(Step):
    """Repeat `body` `count` times; the engine journals the count, so a run resumes at the cycle it had
    reached."""

    count: int
    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Together(Step):
    """Steps that only make sense in one go (preload, then measure): a resumed run repeats them from the
    first."""

    body: tuple[Step, ...]


def body_of(step: Step) -> tuple[Step, ...]:
    """Steps inside a step; empty for a simple one."""
    return step.body if isinstance(step, Record | Cycles | Together) else ()


def as_data(step: Step) -> dict[str, Any]:
    """A step as plain data for the journal; long bodies by their number of steps, not their text.

    >>> as_data(Rest(("drive",)))
    {'kind': 'Rest', 'roles': ('drive',)}
    """
    return {
        "kind": type(step).__name__,
        **{item.name: _plain_field(step, item.name) for item in fields(step)},
    }


def _plain_field(step: Step, name: str) -> Any:
    content = getattr(step, name)
    if name == "body":
        return len(content)
    return (
        repr(content)
        if isinstance(content, Condition)
        else dict(content)
        if isinstance(content, Mapping)
        else content
    )
