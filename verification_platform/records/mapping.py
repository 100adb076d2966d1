"""The mapping file of an import: which column of a foreign file is which channel, in which unit, at which
rate.

See ``docs/how-to/import-data.md`` for a complete example. `load_mapping` turns the TOML into SI values;
what is wrong in it is said in one line: where, what, and what to write instead.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.units import parse, unit
from verification_platform.tables import Duration, Hertz, Ratio, Table, one_line

from .errors import RecordingError

#: SI unit that a channel of this name must have: the roles protocols ask for, by their last word.
_EXPECTED_SI = {
    "angle": "rad", "speed": "rad/s", "torque": "N·m", "torque_command": "N·m", "temperature": "K",
    "acceleration": "m/s²",
}  # fmt: skip


class FileFormat(Table):
    """How the text is written. Lines: `skip_lines`, then the header (if any), `skip_after_header`, then
    data."""

    delimiter: str = Field(",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    header: bool = True
    skip_lines: int = Field(0, ge=0)
    skip_after_header: int = Field(0, ge=0)
    group: str = "imported"
    on_gap: Literal["refuse", "split"] = "refuse"
    on_missing: Literal["refuse", "flag"] = "refuse"

    @model_validator(mode="after")
    def _no_confusion(self) -> FileFormat:
        if self.delimiter == self.decimal:
            raise ValueError(f"delimiter and decimal are both {self.decimal!r}; use e.g. delimiter ';'")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(
                f"unknown encoding {self.encoding!r}; write e.g. 'utf-8', 'gb18030' or 'cp1252'"
            ) from None
        return self


class Timing(Table):
    """Either `rate` (evenly sampled) or `column` with `unit`; with both, the rate is the nominal one and is
    checked."""

    rate: Annotated[Hertz, Field(gt=0)] | None = None
    column: str | int | None = None
    unit: str = "s"

    @model_validator(mode="after")
    def _one_of_both(self) -> Timing:
        if self.rate is None and self.column is None:
            raise ValueError('give rate = "… Hz", or column = "…" and unit = "s"')
        if unit(self.unit).si != "s":
            raise ValueError(f"unit {self.unit!r} is no unit of time; write s, ms, µs, min or h")
        return self


class Calibration(Table):
    """As in bench.toml; `U` in any unit of the channel's kind."""

    certificate: str
    laboratory: str
    date: dt.date
    due: dt.date
    U: float = 0.0
    U_relative: Ratio = 0.0
    k: float = Field(2.0, gt=0)


class ChannelMapping(Table):
    """One column. `range`, `resolution` and `calibration.U` are SI after loading."""

    column: str | int
    unit: str
    sensor: str = ""
    range: float | None = None
    resolution: float = 0.0
    calibration: Calibration | None = None

    @model_validator(mode="before")
    @classmethod
    def _to_si(cls, table: Any) -> Any:
        if not isinstance(table, dict) or not isinstance(table.get("unit"), str):
            return table
        si, table = unit(table["unit"]).si, dict(table)
        for key in ("range", "resolution"):
            if key in table:
                table[key] = _difference(table[key], si)
        if isinstance(table.get("calibration"), dict) and "U" in table["calibration"]:
            table["calibration"] = {**table["calibration"], "U": _difference(table["calibration"]["U"], si)}
        return table

    def record(self, name: str, rate_hz: float) -> ChannelRecord:
        about = self.calibration
        base = ChannelRecord(name, unit(self.unit).si, rate_hz, self.sensor, self.resolution, self.range)
        if about is None:
            return base
        return ChannelRecord(
            base.name, base.unit, rate_hz, self.sensor, self.resolution, self.range,
            about.certificate, about.laboratory, about.date, about.due, about.U, about.U_relative, about.k,
        )  # fmt: skip


def _difference(text: Any, si: str) -> float:
    """A quantity that is a width, not a reading: 0.3 °C of uncertainty is 0.3 K, so the offset must not be
    added."""
    value = parse(text, si)
    return (
        value - parse("0 °C", "K")
        if si == "K" and isinstance(text, str) and text.strip().endswith("C")
        else value
    )


class TagColumn(Table):
    """A column whose value tells segments apart: a new segment begins wherever it changes."""

    column: str | int


class SegmentMapping(Table):
    """Which rows of which files form a segment; without `rows` and `time`, all of them."""

    file: str = "*"
    rows: tuple[int, int] | None = None  # first, one past the last; counted from 0 in each file
    time: tuple[Duration, Duration] | None = None  # from the file's first stamp
    tag: dict[str, str | bool | int | float] = {}

    @model_validator(mode="after")
    def _sensible(self) -> SegmentMapping:
        if self.rows is not None and self.time is not None:
            raise ValueError("give rows or time, not both")
        for bounds in (self.rows, self.time):
            if bounds is not None and not 0 <= bounds[0] < bounds[1]:
                raise ValueError(f"{list(bounds)} is no interval; write [first, last] with 0 <= first < last")
        return self


_FIXTURE_UNITS = {
    "compliance": "rad/(N·m)",
    "compliance_U": "rad/(N·m)",
    "drag_coulomb": "N·m",
    "drag_viscous": "N·m·s/rad",
    "drag_U": "N·m",
    "sync_skew_U": "s",
    "mounting_U": "rad",
}


def _fixture(table: Any) -> Any:
    """As in bench.toml: quantities with units."""
    if not isinstance(table, dict):
        return table
    for name in table:
        if name not in _FIXTURE_UNITS:
            raise ValueError(f"unknown entry {name!r}; known are {', '.join(_FIXTURE_UNITS)}")
    return FixtureRecord(**{name: parse(text, _FIXTURE_UNITS[name]) for name, text in table.items()})


class Mapping(Table):
    """A whole mapping file."""

    file: FileFormat = FileFormat()  # type: ignore[call-arg]  # all fields have defaults
    time: Timing
    channel: dict[str, ChannelMapping] = Field(min_length=1)
    tag: dict[str, TagColumn] = {}
    segment: tuple[SegmentMapping, ...] = ()
    fixture: Annotated[FixtureRecord, BeforeValidator(_fixture)] = FixtureRecord()
    attributes: dict[str, Any] = {}

    @model_validator(mode="after")
    def _kinds(self) -> Mapping:
        for name, channel in self.channel.items():
            found = unit(channel.unit).si
            for word, expected in _EXPECTED_SI.items():
                if (name == word or name.endswith("_" + word)) and found != expected:
                    raise ValueError(
                        f"channel {name}: unit {channel.unit} measures {found}, expected a unit of {expected}"
                    )
        if not self.file.header:
            columns: list[str | int | None] = [c.column for c in self.channel.values()]
            columns += [*(t.column for t in self.tag.values()), self.time.column]
            for column in columns:
                if isinstance(column, str):
                    raise ValueError(
                        f"column {column!r}: without a header line, columns are numbers (the first is 1)"
                    )
        return self

    def segments_of(self, file: str) -> tuple[SegmentMapping, ...]:
        """Segments cut from a file of this name; the whole file when the mapping names none."""
        if not self.segment:
            return (SegmentMapping(tag={"file": file}),)
        return tuple(segment for segment in self.segment if fnmatch.fnmatchcase(file, segment.file))


def load_mapping(path: Path) -> Mapping:
    """Read and check a mapping file. Raises RecordingError, one line."""
    try:
        return Mapping.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RecordingError(
            f"{path}: cannot be read ({error.strerror}); give an existing mapping file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path}: not a valid TOML file ({error})") from None
    except ValidationError as error:
        raise RecordingError(one_line(str(path), error)) from None
