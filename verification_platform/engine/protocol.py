"""The shape of a protocol: what a metrologist reads from top to bottom to check it against its standard.

A protocol holds what the standard says and nothing else: an id, bilingual title, standards, the roles it
needs, its parameters with the source of every default, the procedure (a generator of steps) and the
evaluation (recording → characteristics with uncertainty). It never talks to a device, a clock or a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from verification_platform.bench.dut import Order, Reducer
from verification_platform.metrology.result import Result, RunStatus
from verification_platform.tables import Table

from .steps import Step

if TYPE_CHECKING:
    from verification_platform.records.recording import Recording

#: Where a parameter's default comes from (protocol specification §0.1).
Mark = Literal["C", "K", "V", "P", "customer"]


@dataclass(frozen=True, slots=True)
class Text:
    """One text in both languages of the report."""

    zh: str
    en: str


NOTHING = Text("", "")


@dataclass(frozen=True, slots=True)
class Standard:
    """A standard and clause the protocol follows, with the mark of how sure the clause is."""

    name: str
    clause: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Requires:
    """Roles a bench must offer.

    `holds_position` lists actuators that must be able to lock their shaft, `calibrated` the channels whose
    calibration enters an uncertainty budget."""

    actuators: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    holds_position: tuple[str, ...] = ()
    calibrated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Objections:
    """What a protocol has to say before a run: `refusals` stop it, `remarks` must be known."""

    refusals: tuple[str, ...] = ()
    remarks: tuple[Text, ...] = ()


class ProtocolParameters(Table):
    """Parameters in SI. Give each field through `parameter`, so that its unit and source travel with it."""


def parameter(
    default: Any, *, mark: Mark, unit: str = "1", why: Text = NOTHING, display: str = "", **checks: Any
) -> Any:
    """Declare one parameter: `default` as text with unit or a bare SI number; `why` says what it is for; `checks` as in
    pydantic (ge, le, …)."""
    return Field(
        default,
        validate_default=True,
        json_schema_extra={
            "unit": unit,
            "mark": mark,
            "why": {"zh": why.zh, "en": why.en},
            "display": display or unit,
        },
        **checks,
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """Something to plot: x against one or more y, in SI, with the units to display. Arrays are 1-d of equal
    length."""

    name: str
    title: Text
    x_label: Text
    y_label: Text
    x: NDArray[np.float64]
    ys: Mapping[str, NDArray[np.float64]]
    x_unit: str = "1"
    y_unit: str = "1"
    x_display: str = ""
    y_display: str = ""
    kind: Literal["line", "stem", "loop"] = "line"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a recording says: results (without limits yet: the engine applies the order), curves, notes,
    status.

    `findings` are reasons why the status is not VALID, or remarks a reader must see; `deviations` from the
    method."""

    results: Sequence[Result]
    curves: Sequence[Curve] = ()
    status: RunStatus = RunStatus.VALID
    findings: Sequence[Text] = ()
    deviations: Sequence[Text] = field(default_factory=tuple)


class ProtocolError(ValueError):
    """The protocol cannot be run or evaluated as asked; one clear line (what, where, what to do)."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What the engine answers to a step that was finished: its place in the procedure and how long it took,
    s.

    A resumed run answers with the journalled outcomes, so a procedure may depend on them and stay
    deterministic."""

    index: int
    duration_s: float


#: A procedure yields steps and is told how each went.
Procedure = Generator[Step, StepOutcome, None]


class Protocol(ABC):
    """Base of every protocol; instances hold no state."""

    id: ClassVar[str]
    #: Raised whenever procedure or evaluation change in a way that can change a result.
    version: ClassVar[str] = "1.0"
    title: ClassVar[Text]
    purpose: ClassVar[Text]
    standards: ClassVar[tuple[Standard, ...]]
    dut_kinds: ClassVar[tuple[str, ...]]
    requires: ClassVar[Requires]
    Parameters: ClassVar[type[ProtocolParameters]]

    @abstractmethod
    def procedure(self, p: Any, dut: Reducer) -> Procedure:
        """Steps, deterministic in parameters and DUT."""

    def check(
        self, p: Any, dut: Reducer, rates_hz: Mapping[str, float], ranges: Mapping[str, float]
    ) -> Objections:
        """Objections of the protocol itself: sampling rates and ranges of the channels (SI) against the
        stimulus."""
        return Objections()

    @abstractmethod
    def evaluate(self, recording: Recording, p: Any, order: Order) -> Evaluation:
        """Recording → characteristics. Pure: the same recording gives the same bits."""
