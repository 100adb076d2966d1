"""The report as data: what was asked, what was tested, what came out, and where the raw data lie.

`ReportData` is the whole content of a report in SI, frozen, without layout. It is attached to the PDF as
``report.json``: typesetting it again gives the same PDF byte for byte, so the document can be checked with
nothing but itself, and every number in it against the recording. Fields follow ISO/IEC 17025:2017 7.8.2.1;
what is not known is None or empty and is printed as "not stated", never invented.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from verification_platform.bench.dut import Order
from verification_platform.engine.parameters import ParameterUse
from verification_platform.engine.protocol import Standard, Text
from verification_platform.metrology.decision import worst
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.result import Result, RunStatus, Verdict
from verification_platform.tables import one_line

from .errors import ReportError

SCHEMA = "pilotbench.report/1"
Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Lab:
    """The laboratory and the place of the activity (7.8.2.1 b, c), from ``lab.toml``."""

    name: Text | None = None
    address: Text | None = None
    contact: str = ""
    site: Text | None = None  # where the tests were performed, when not at the address


@dataclass(frozen=True, slots=True)
class Customer:
    """Name and contact of the customer (7.8.2.1 e)."""

    name: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of the item beyond its data sheet (7.8.2.1 g, h)."""

    received: dt.date | None = None
    condition: Text | None = None
    sampling: Text | None = None


@dataclass(frozen=True, slots=True)
class Signatory:
    """A person who prepared, checked or authorised the report (7.8.2.1 o)."""

    role: Literal["prepared", "checked", "authorised"]
    name: str
    signed: dt.date


@dataclass(frozen=True, slots=True)
class Software:
    """Which software produced something (7.11.2)."""

    name: str = "pilotbench"
    version: str = ""
    commit: str = ""

    @property
    def named(self) -> str:
        """As a reader finds it again: ``pilotbench 0.1.0 (commit 2816f42d4c50)``."""
        return f"{self.name} {self.version}" + (f" (commit {self.commit})" if self.commit else "")


@dataclass(frozen=True, slots=True)
class Typesetting:
    """Everything besides the data that the bytes of the PDF depend on."""

    pilotbench: Software
    typst: str
    matplotlib: str
    fonts_sha256: str
    layout_sha256: str


@dataclass(frozen=True, slots=True)
class PlottedCurve:
    """A curve as plotted: SI, thinned to what a page can show (see `thinning.thin`)."""

    name: str
    title: Text
    x_label: Text
    y_label: Text
    x: tuple[float, ...]
    ys: Mapping[str, tuple[float, ...]]
    x_unit: str = "1"
    y_unit: str = "1"
    x_display: str = ""
    y_display: str = ""
    kind: Literal["line", "stem", "loop"] = "line"


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file of the raw data."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Seal:
    """Seal of a recording: the hash over the chain, and the files it covers."""

    sha256: str
    files: tuple[SealedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Continuity:
    """Was anything lost while recording?"""

    rows: int
    lost_rows: int
    gaps: int
    not_good: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    """One environmental quantity during a run, from the recording; SI."""

    channel: str
    unit: str
    minimum: float
    mean: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Run:
    """One protocol run: method, conditions, results, raw data."""

    id: str
    protocol: str
    protocol_version: str
    title: Text
    purpose: Text
    standards: tuple[Standard, ...]
    status: RunStatus
    started: dt.datetime | None
    ended: dt.datetime | None
    bench: str
    bench_kind: str
    bench_title: Text | None
    parameters: tuple[ParameterUse, ...]
    settings: Mapping[str, Any]  # all parameters in SI, as the protocol takes them
    results: tuple[Result, ...]
    curves: tuple[PlottedCurve, ...]
    channels: tuple[ChannelRecord, ...]
    fixture: FixtureRecord
    environment: tuple[Environment, ...]
    findings: tuple[Text, ...]
    deviations: tuple[Text, ...]
    continuity: Continuity | None
    seal: Seal | None
    software: Software
    clock: str = ""
    transport: str = ""

    @property
    def modified(self) -> bool:
        """True when the method is followed with changes: "based on 参照" instead of "according to 依据"."""
        return (
            bool(self.deviations)
            or any(p.changed for p in self.parameters)
            or any(p.mark in "PV" for p in self.parameters)
        )

    @property
    def verdict(self) -> Verdict:
        """Worst verdict of the results; NONE when nothing was judged."""
        return worst(result.verdict for result in self.results)


@dataclass(frozen=True, slots=True)
class ReportData:
    """The whole report. `number` is unique; `issued` is None as long as nobody has authorised it (DRAFT
    草稿)."""

    number: str
    languages: tuple[Language, ...]
    lab: Lab
    customer: Customer
    item: Item
    order: Order
    runs: tuple[Run, ...]
    typesetting: Typesetting
    signatories: tuple[Signatory, ...] = ()
    issued: dt.date | None = None
    schema: str = SCHEMA

    @property
    def draft(self) -> bool:
        """Without an authorising signature a report is a draft."""
        return not any(person.role == "authorised" for person in self.signatories)

    @property
    def verdict(self) -> Verdict:
        """Worst verdict of all runs. A run that is not VALID has no verdict, so it makes the whole
        INCONCLUSIVE."""
        verdicts = [run.verdict for run in self.runs]
        if any(run.status is not RunStatus.VALID for run in self.runs):
            verdicts.append(Verdict.INCONCLUSIVE)
        return worst(verdicts)

    @property
    def moment(self) -> dt.datetime:
        """The time stamp of the document: when the last run ended (issue date when issued), never the
        clock's time."""
        if self.issued is not None:
            return dt.datetime.combine(self.issued, dt.time(), dt.UTC)
        ends = [run.ended for run in self.runs if run.ended is not None]
        return max(ends).astimezone(dt.UTC) if ends else dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


_ADAPTER = TypeAdapter(ReportData)
_RESULTS = TypeAdapter(tuple[Result, ...])


def to_json(data: ReportData) -> bytes:
    """Canonical JSON of a report (``report.json``): fields in order, all digits, infinities as text."""
    return canonical(_ADAPTER.dump_python(data, mode="json"))


def from_json(text: bytes, where: str = "report.json") -> ReportData:
    """Read ``report.json``. Raises ReportError."""
    try:
        tables = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{where}: not valid JSON ({error})") from None
    if not isinstance(tables, dict) or tables.get("schema") != SCHEMA:
        raise ReportError(f"{where}: not a report of this software; expected schema {SCHEMA}")
    try:
        return _ADAPTER.validate_python(tables)
    except ValidationError as error:
        raise ReportError(one_line(where, error)) from None


def results_json(data: ReportData) -> bytes:
    """``results.json``: results and seal of every run, the part that `verify` recomputes from the
    recordings."""
    runs = [
        {
            "run": run.id,
            "protocol": run.protocol,
            "seal_sha256": run.seal.sha256 if run.seal else None,
            "results": results_as_json(run.results),
        }
        for run in data.runs
    ]
    return canonical({"report": data.number, "schema": "pilotbench.results/1", "runs": runs})


def results_as_json(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Results as plain data; equal lists mean equal bits, for a float and its shortest text determine each
    other."""
    return _RESULTS.dump_python(tuple(results), mode="json")  # type: ignore[no-any-return]


def results_from_json(tables: Any, where: str) -> tuple[Result, ...]:
    """A list of result objects as ``results.json`` of a run folder holds it. Raises ReportError."""
    try:
        return _RESULTS.validate_python(tables)
    except ValidationError as error:
        raise ReportError(one_line(where, error)) from None


def canonical(tables: Any) -> bytes:
    """JSON with all digits; infinity, which JSON does not know, as the text "Infinity"."""
    text = json.dumps(_finite(tables), ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


_RUN = TypeAdapter(Run)


def run_as_json(run: Run) -> dict[str, Any]:
    """A run as plain data, spelled as in ``report.json``."""
    return json.loads(canonical(_RUN.dump_python(run, mode="json")))  # type: ignore[no-any-return]
