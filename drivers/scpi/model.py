"""A SCPI instrument model is a data table: ``models/NAME.toml``. Driver and emulated instrument read the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drivers.device import Signal
from drivers.scpi.codec import FORMS
from drivers.tables import read_table, table_names

_MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of the answer: SI value = number × `scale`."""

    field: int
    unit: str
    scale: float
    digit: float  # resolution, SI
    full_scale: float  # SI; beyond it the instrument reports overload
    ratio_of: tuple[str, str] | None  # of an emulated instrument: computed from two of its other signals


@dataclass(frozen=True, slots=True)
class Setting:
    """What is set at start and read back. `header` with its short form in capitals; `allowed` is the instrument's."""

    header: str
    value: str
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScpiModel:
    """Everything that distinguishes one instrument type from another. Times in seconds."""

    name: str
    title: str
    manufacturer: str
    model: str  # as in the second field of *IDN?
    firmware: str
    terminator: bytes
    settings: tuple[Setting, ...]
    query: str  # one message a cycle; several queries in it are separated by semicolons
    form: str
    fields: int  # numbers in its answer
    tagged: bool  # its event status enable register (*ESE) may be used to number the queries
    status_field: int | None
    bad_mask: int  # bits of the status number that make every reading BAD
    quantities: Mapping[str, Quantity]
    period_s: float  # 0: every cycle
    update_s: float  # how often the instrument has new values
    max_age_s: float  # a value older than this is STALE
    turnaround_s: float  # typical time from the end of a query to the beginning of the answer
    timeout_s: float  # longest such time the driver waits for in a cycle
    emulated_on: str  # "tcp" or "serial": what its emulated twin listens on

    def offered(self) -> tuple[Signal, ...]:
        """The signals a channel may name."""
        return tuple(Signal(name, q.unit, q.digit) for name, q in self.quantities.items())

    def answer_bytes(self) -> int:
        """About how long an answer is."""
        if self.form == "ascii":
            return 13 * self.fields + 4
        return (4 if self.form == "block_float32" else 8) * self.fields + 12


def known_models() -> tuple[str, ...]:
    return table_names(_MODELS)


@cache
def load_model(name: str) -> ScpiModel:
    """Read a model table. Raises KeyError for a model that has none, ValueError for a table that is wrong."""
    table = read_table(_MODELS, name)
    identity, cycle, poll, timing = table["identity"], table["cycle"], table["poll"], table["timing"]
    quantities = {
        key: Quantity(
            row["field"],
            row["unit"],
            row.get("scale", 1.0),
            row["digit"],
            row["full_scale"],
            tuple(row["ratio_of"]) if "ratio_of" in row else None,
        )
        for key, row in table["signal"].items()
    }
    fields, status = cycle["fields"], table.get("status", {})
    places = [q.field for q in quantities.values()] + [status.get("field", 0)]
    if any(not 0 <= place < fields for place in places):
        raise ValueError(f"{name}: a signal lies outside the {fields} numbers of the answer")
    if cycle["form"] not in FORMS:
        raise ValueError(f"{name}: form {cycle['form']!r} is none of {', '.join(FORMS)}")
    return ScpiModel(
        name=name,
        title=table["title"],
        manufacturer=identity["manufacturer"],
        model=identity["model"],
        firmware=identity["firmware"],
        terminator=table["link"]["terminator"].encode(),
        settings=tuple(
            Setting(row["header"], row["value"], tuple(row["allowed"])) for row in table.get("setting", ())
        ),
        query=cycle["query"],
        form=cycle["form"],
        fields=fields,
        tagged=cycle.get("tagged", True),
        status_field=status.get("field"),
        bad_mask=status.get("bad_mask", 0),
        quantities=quantities,
        period_s=poll["period"],
        update_s=poll["update"],
        max_age_s=poll["max_age"],
        turnaround_s=timing["turnaround"],
        timeout_s=timing["timeout"],
        emulated_on=table["link"]["emulated_on"],
    )
