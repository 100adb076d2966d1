"""Data measured elsewhere → a sealed recording, judged by the same rules as our own.

`import_files` reads text tables through a mapping file (`mapping`), converts every column to SI, checks
time, and writes an ordinary recording: the evaluation cannot tell it from one of the bench. What is
doubtful is refused with file and line; nothing is repaired silently. Names and SHA-256 of the source files
are kept in the recording's attributes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.device import Block, Quality
from verification_platform.disk import sync_folder
from verification_platform.metrology.units import unit

from .csvtext import NumberTable, Piece
from .errors import RecordingError
from .mapping import Mapping, SegmentMapping, load_mapping
from .marks import SegmentMark, Tag
from .schema import samples_topic
from .seal import SAMPLES_FOLDER, SEAL_FILE, hash_file
from .writer import RecordingWriter

#: A step in time of more than this many periods is a gap: at least one sample is missing.
GAP_PERIODS = 1.5
#: Rows a written block.
_BLOCK_ROWS = 8192
#: Pause put between files whose own clocks overlap, s.
_PAUSE_S = 1.0
_SUFFIXES = (".csv", ".csv.gz", ".txt", ".txt.gz", ".tsv", ".tsv.gz", ".dat")


def import_files(files: Sequence[Path], mapping: Path, out: Path) -> Path:
    """Import text files, in this order, as one recording in `out`; returns `out`.

    Raises RecordingError (file, line, what to do): no such file or column, a format that cannot be read,
    wrong unit, missing value, gap, time that does not rise. Then `out` holds nothing new.
    """
    files = [Path(file) for file in files]
    plan = load_mapping(mapping)
    _check_arguments(files, plan, out)
    draft = out / f".{SAMPLES_FOLDER}.partial"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _import(files, mapping, plan, draft)
        draft.rename(out / SAMPLES_FOLDER)
        sync_folder(out)
    except OSError as error:
        raise RecordingError(
            f"{out}: cannot be written ({error.strerror}); give a writable folder with space"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _check_arguments(files: Sequence[Path], plan: Mapping, out: Path) -> None:
    if not files:
        raise RecordingError("no file to import was named")
    for file in files:
        if not file.name.lower().endswith(_SUFFIXES):
            raise RecordingError(
                f"{file}: cannot import this format; convert it to CSV first ({', '.join(_SUFFIXES)})"
            )
        if not plan.segments_of(file.name):
            raise RecordingError(
                f"{file.name}: no [[segment]] of the mapping names this file; add one, or remove all of them"
            )
    if (out / SAMPLES_FOLDER).exists() or (out / SEAL_FILE).exists():
        raise RecordingError(f"{out}: already holds a recording; choose another folder")


@dataclass(slots=True)
class _Part:
    """Rows without a gap in which every tag column keeps its value. Rows count from the file's first."""

    first: int
    tag: dict[str, float | int]


@dataclass(slots=True)
class _File:
    """What is learnt about one file while it is read."""

    path: Path
    period_s: float
    offset_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0
    rows: int = 0
    parts: list[_Part] = field(default_factory=list)
    gaps: list[dict[str, float | int]] = field(default_factory=list)
    bounds: dict[float, int] = field(default_factory=dict)  # time since the first stamp → rows before it


def _import(files: Sequence[Path], mapping: Path, plan: Mapping, draft: Path) -> None:
    samples_topic(plan.file.group)
    names = tuple(plan.channel)
    rate_hz = plan.time.rate or 1.0 / _period(files[0], plan)
    attributes = {
        **plan.attributes,
        "imported": {
            "mapping": {"file": mapping.name, "sha256": hash_file(mapping)},
            "files": [{"file": file.name, "sha256": _hash(file)} for file in files],
        },
    }
    records = {name: channel.record(name, rate_hz) for name, channel in plan.channel.items()}
    with RecordingWriter(
        draft, records, plan.fixture.record(), attributes, {plan.file.group: names}
    ) as writer:
        rows = sequence = marks = 0
        last_s = -np.inf
        for path in files:
            source = _File(path, 1.0 / rate_hz)
            for stamps, values, quality in _read(source, plan, last_s):
                for at in range(0, len(stamps), _BLOCK_ROWS):
                    part = slice(at, at + _BLOCK_ROWS)
                    first = rows + source.rows - len(stamps) + at
                    block = Block(
                        plan.file.group, sequence, first, names, stamps[part], values[part], quality[part]
                    )
                    writer.write(block)
                    sequence += 1
            for tag, a, b in _segments(source, plan):
                writer.mark(SegmentMark(marks, tag, {plan.file.group: (rows + a, rows + b)}))
                marks += 1
            rows, last_s = rows + source.rows, source.last_s
            _report(attributes, source)
        writer.describe(attributes=attributes)


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}); give an existing file") from None


def _report(attributes: dict[str, object], source: _File) -> None:
    """What the reader of a result may ask: rows, the shift of the clock, gaps."""
    imported = attributes["imported"]
    assert isinstance(imported, dict)
    for entry in imported["files"]:
        if entry["file"] == source.path.name and "rows" not in entry:
            entry.update(rows=source.rows, shifted_s=source.offset_s, gaps=source.gaps)
            return


def _columns(plan: Mapping) -> list[str | int]:
    columns = [channel.column for channel in plan.channel.values()]
    columns += [tag.column for tag in plan.tag.values()]
    return columns + ([plan.time.column] if plan.time.column is not None else [])


def _period(path: Path, plan: Mapping) -> float:
    """Sampling period of a file with a time column: the mean of its first steps, without gaps."""
    piece = next(NumberTable(path, plan.file, _columns(plan)).pieces())
    steps = np.diff(_time(path, piece, plan))
    steps = steps[steps > 0]
    if not len(steps):
        raise RecordingError(
            f"{path}: time does not rise, so there is no sampling rate; check time.column and time.unit"
        )
    return float(np.mean(steps[steps <= GAP_PERIODS * np.median(steps)]))


def _time(path: Path, piece: Piece, plan: Mapping) -> NDArray[np.float64]:
    """The time column in s. Raises RecordingError where it is empty, whatever is done with other missing values."""
    time = np.asarray(piece.values[:, -1] * unit(plan.time.unit).factor, dtype=np.float64)
    known = np.isfinite(time)
    if not known.all():
        raise RecordingError(
            f"{path}, line {piece.lines[int(np.argmin(known))]}: the time is missing; repair the file"
        )
    return time


def _read(
    source: _File, plan: Mapping, after_s: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]]:
    """SI samples of one file; fills in `source`. Stamps begin after `after_s`: a clock that does not is
    shifted."""
    channels = list(plan.channel.values())
    factors = np.array([unit(channel.unit).factor for channel in channels])
    offsets = np.array([unit(channel.unit).offset for channel in channels])
    k = len(channels)
    bounds = sorted({t for segment in plan.segments_of(source.path.name) for t in segment.time or ()})
    source.bounds = dict.fromkeys(bounds, 0)
    for piece in NumberTable(source.path, plan.file, _columns(plan)).pieces():
        n = len(piece.values)
        if plan.time.column is None:
            own = np.arange(source.rows, source.rows + n, dtype=np.float64) * source.period_s
        else:
            own = _time(source.path, piece, plan)
        if source.rows == 0:
            source.offset_s = _offset(float(own[0]), after_s)
            source.first_s = float(own[0]) + source.offset_s
            source.last_s = source.first_s - source.period_s
        stamps: NDArray[np.float64] = own + source.offset_s
        cuts = _check_time(source, plan, stamps, piece.lines) if plan.time.column is not None else []
        _cut(source, plan, cuts, piece.values[:, k : k + len(plan.tag)])
        for bound in bounds:
            early = bound - source.period_s / 1000  # stamps are rounded
            source.bounds[bound] += int(np.searchsorted(stamps - source.first_s, early, side="left"))
        source.rows += n
        source.last_s = float(stamps[-1])
        values: NDArray[np.float64] = piece.values[:, :k] * factors
        values[:, offsets != 0] += offsets[offsets != 0]  # adding 0 would change the sign of -0.0
        flags = np.where(np.isnan(values), Quality.BAD, Quality.GOOD).astype(np.uint8)
        yield stamps, values, flags


def _offset(first_s: float, after_s: float) -> float:
    """Shift of a file's clock: none if it runs on after the file before, and is not negative."""
    if after_s == -np.inf:
        return -first_s if first_s < 0 else 0.0
    return 0.0 if first_s > after_s else after_s + _PAUSE_S - first_s


def _check_time(
    source: _File, plan: Mapping, stamps: NDArray[np.float64], lines: NDArray[np.int64]
) -> list[int]:
    """Rows of this piece (0 …) before which there is a gap. Raises RecordingError where policy or time
    forbid it."""
    steps = np.diff(stamps, prepend=source.last_s)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        raise RecordingError(
            f"{source.path}, line {lines[back[0]]}: time does not rise (step {steps[back[0]]:.6g} s); sort "
            "or repair the file, or give time.rate instead of a column when its digits are too few"
        )
    if source.rows == 0 and len(steps) > 2:
        typical = float(np.median(steps[1:]))
        if abs(typical / source.period_s - 1) > 0.2:
            raise RecordingError(
                f"{source.path}: is sampled every {typical:.6g} s, expected {source.period_s:.6g} s; "
                "check time.unit and time.rate, and import files of different rates separately"
            )
    gaps = [int(at) for at in np.flatnonzero(steps > GAP_PERIODS * source.period_s)]
    for at in gaps:
        if plan.file.on_gap == "refuse":
            raise RecordingError(
                f"{source.path}, line {lines[at]}: gap of {steps[at]:.6g} s (period "
                f'{source.period_s:.6g} s); repair the file, or set on_gap = "split" to cut there'
            )
        source.gaps.append({"line": int(lines[at]), "row": source.rows + at, "length_s": float(steps[at])})
    return gaps


def _cut(source: _File, plan: Mapping, gaps: list[int], tags: NDArray[np.float64]) -> None:
    """Begin a new part at gaps and where a tag column changes."""
    changes = (
        [int(at) + 1 for at in np.flatnonzero((np.diff(tags, axis=0) != 0).any(axis=1))]
        if tags.shape[1]
        else []
    )
    for at in sorted({0, *gaps, *changes}):
        tag = {name: _number(value) for name, value in zip(plan.tag, tags[at].tolist(), strict=True)}
        if at == 0 and source.parts and source.parts[-1].tag == tag and 0 not in gaps:
            continue
        source.parts.append(_Part(source.rows + at, tag))


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _segments(source: _File, plan: Mapping) -> Iterator[tuple[Tag, int, int]]:
    """Tag and rows [first, last) of every segment, in order of time."""
    ends = [part.first for part in source.parts[1:]] + [source.rows]
    for segment in plan.segments_of(source.path.name):
        first, last = _interval(segment, source)
        pieces = [
            (part, max(part.first, first), min(end, last))
            for part, end in zip(source.parts, ends, strict=True)
        ]
        pieces = [(part, a, b) for part, a, b in pieces if a < b]
        for number, (part, a, b) in enumerate(pieces):
            again = len(pieces) > 1 and sum(other.tag == part.tag for other, _, _ in pieces) > 1
            yield {**segment.tag, **part.tag, **({"part": number} if again else {})}, a, b


def _interval(segment: SegmentMapping, source: _File) -> tuple[int, int]:
    if segment.rows is not None:
        first, last = segment.rows
    elif segment.time is not None:
        first, last = (source.bounds[t] for t in segment.time)
    else:
        first, last = 0, source.rows
    if last > source.rows or first >= last:
        raise RecordingError(
            f"{source.path}: a [[segment]] of the mapping asks for rows {first} to {last}, "
            f"the file has {source.rows}; correct it"
        )
    return first, last
