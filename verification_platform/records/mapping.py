"""The mapping file of an import: which column of a foreign file is which channel, in which unit, at which
rate.

See ``docs/how-to/import-data.md`` for a complete example. `load_mapping` turns the TOML into SI values;
what is wrong in it is said in one line: where, what, and what to write instead.
"""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from verification_platform.metrology.records import ChannelRecord
from verification_platform.metrology.units import unit
from verification_platform.tables import Duration, Hertz, Table, one_line
from verification_platform.traceability import Calibration, Fixture, channel_record, channel_to_si

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
        return channel_to_si(table, unit(table["unit"]).si)

    def record(self, name: str, rate_hz: float) -> ChannelRecord:
        return channel_record(
            name,
            unit(self.unit).si,
            rate_hz,
            sensor=self.sensor,
            resolution=self.resolution,
            range=self.range,
            calibration=self.calibration,
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


class Mapping(Table):
    """A whole mapping file."""

    file: FileFormat = FileFormat()  # type: ignore[call-arg]  # all fields have defaults
    time: Timing
    channel: dict[str, ChannelMapping] = Field(min_length=1)
    tag: dict[str, TagColumn] = {}
    segment: tuple[SegmentMapping, ...] = ()
    fixture: Fixture = Fixture()
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
