"""Opening a recording: what evaluation, export and verification read.

`open_recording` takes a run folder, a samples folder or single MCAP files. It checks the seal first, maps the
files and builds an index; samples are copied out block by block when they are asked for. Blocks are cut at
every 65536th row of a segment, whatever sizes they were written in, so that an accumulator fed with them
gives the same bits for the same data, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verification_platform.metrology.records import ChannelRecord, FixtureRecord

from .align import interpolate
from .cdr import LayoutReader, decode_mark
from .errors import RecordingError
from .mapper import Mapper, SerialMapper
from .marks import Tag
from .mcapfile import Segment as File
from .mcapfile import scan
from .metadata import METADATA_NAME, Description, from_metadata
from .recording import Integrity, Samples
from .schema import MARKS_TOPIC, SAMPLES_PREFIX, has_ages
from .seal import SealReport, read_seal, samples_folder, verify_file, verify_seal
from .stretches import Stretch

BLOCK_ROWS = 65536


def open_recording(path: Path | str | Iterable[Path | str], *, check_seal: bool = True) -> McapRecording:
    """Open a run folder, a samples folder, an MCAP file, or several of them as one recording.

    With `check_seal` a folder must carry a closed seal that holds for every byte, and a single file must
    match the seal beside it, if there is one. Without, also an interrupted recording is read, up to its last
    complete chunk; `remarks` then say what was missing. Raises RecordingError: nothing there, seal broken,
    damaged, or parts that do not belong together.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(p) for p in path]
    if not paths:
        raise RecordingError("no recording was named; give a run folder or MCAP files")
    builder = _Builder()
    for each in paths:
        for file in _files(each, check_seal):
            builder.take(_scan(file, sealed=check_seal))
    return builder.finish(", ".join(str(p) for p in paths))


def reopen(files: Iterable[Path]) -> McapRecording:
    """Open files again that `open_recording` has checked, in the same order: what a worker process does."""
    builder = _Builder()
    for file in files:
        builder.take(scan(file, check_crc=False))
    return builder.finish(", ".join(str(file) for file in files))


def _files(path: Path, check_seal: bool) -> list[Path]:
    """Segments under `path` in order; checks their seal."""
    if path.is_dir():
        folder = samples_folder(path)
        files = sorted(folder.glob("*.mcap"))
        if not files:
            raise RecordingError(
                f"{path}: holds no recording (no samples/*.mcap); give a run folder or MCAP files"
            )
        report = verify_seal(folder) if check_seal else SealReport(True)
    elif not path.exists():
        raise RecordingError(f"{path}: does not exist; give a run folder or MCAP files")
    else:
        folder, files = path.parent, [path]
        if path.suffix != ".mcap":
            raise RecordingError(
                f"{path}: is no MCAP file; give .mcap files, or `pilotbench import` it first"
            )
        seal = read_seal(folder) if check_seal else None
        report = verify_file(path, seal) if seal is not None else SealReport(True)
    if not report.ok:
        raise RecordingError(f"{folder}: seal broken: {report.line}")
    return files


def _scan(path: Path, *, sealed: bool) -> File:
    file = scan(path, check_crc=not sealed)
    if file.problem and (file.finished or sealed):
        raise RecordingError(f"{path}: damaged: {file.problem}; restore it from a copy")
    return file


@dataclass(frozen=True)
class RecordedSegment:
    """The rows of one Record step. See `recording.Segment`."""

    index: int
    tag: Tag
    rows: Mapping[str, tuple[int, int]]
    _stretches: Mapping[str, Stretch]
    _recording: McapRecording

    def blocks(self, *channels: str) -> Iterator[Samples]:
        """Consecutive blocks of `BLOCK_ROWS` rows (the last may be shorter), counted from the segment's first
        row.

        Raises RecordingError: unknown channel, channels of different groups, rows that were not recorded.
        """
        stretch, columns = self._columns(channels)
        first, last = self._rows(stretch.group)
        for start in range(first, last, BLOCK_ROWS):
            yield stretch.read(start, min(start + BLOCK_ROWS, last), columns)

    def part(self, first: int, last: int, *channels: str) -> Iterator[Samples]:
        """Rows [first, last) counted from the segment's first row, in blocks cut where `blocks` cuts them.

        Raises RecordingError as `blocks`.
        """
        stretch, columns = self._columns(channels)
        start, end = self._rows(stretch.group)
        while first < min(last, end - start):
            stop = min((first // BLOCK_ROWS + 1) * BLOCK_ROWS, last, end - start)
            yield stretch.read(start + first, start + stop, columns)
            first = stop

    def row_count(self, *channels: str) -> int:
        """Rows of the group these channels belong to. Raises RecordingError as `blocks`."""
        first, last = self._rows(self._columns(channels)[0].group)
        return last - first

    def read(self, *channels: str) -> Samples:
        """All rows at once. Raises RecordingError as `blocks`."""
        stretch, columns = self._columns(channels)
        return stretch.read(*self._rows(stretch.group), columns)

    def ages(self, *channels: str) -> NDArray[np.float32]:
        """How old each value of `read` is at its row's stamp, s, shape (n, k); NaN for what was never measured.

        Raises RecordingError as `blocks`.
        """
        stretch, columns = self._columns(channels)
        return stretch.ages(*self._rows(stretch.group), columns)

    def aligned(self, reference: str, *others: str) -> Samples:
        """Rows of `reference`'s group; columns are `reference`, then `others`, interpolated linearly at its
        stamps.

        Before the first and after the last sample of another group its nearest value is held, at most two
        periods long and flagged SUBSTITUTED; elsewhere the worse of the two neighbours' qualities counts.
        Raises RecordingError where more than two periods would be bridged.
        """
        home = self._recording.group_of(reference)
        near = [reference, *(name for name in others if self._recording.group_of(name) == home)]
        base = self.read(*near)
        n = len(base.stamps_s)
        values, quality = np.empty((n, 1 + len(others))), np.empty((n, 1 + len(others)), dtype=np.uint8)
        for column, name in enumerate((reference, *others)):
            if name in near:
                values[:, column], quality[:, column] = (
                    base.values[:, near.index(name)],
                    base.quality[:, near.index(name)],
                )
            elif n:
                stretch, columns = self._columns((name,))
                first = stretch.first_row_after(float(base.stamps_s[0])) - 1
                last = stretch.first_row_after(float(base.stamps_s[-1])) + 1
                around = stretch.read(
                    max(first, stretch.start), min(last, stretch.end), columns, missing_ok=True
                )
                record = self._recording.channels[name]
                values[:, column], quality[:, column] = interpolate(
                    base.stamps_s, around, record, f"segment {self.index}"
                )
        return Samples(base.stamps_s, values, quality)

    def _columns(self, channels: Sequence[str]) -> tuple[Stretch, list[int]]:
        if not channels:
            raise RecordingError("no channel was asked for")
        groups = {self._recording.group_of(name) for name in channels}
        if len(groups) > 1:
            raise RecordingError(
                f"{', '.join(channels)} belong to groups {', '.join(sorted(groups))}; use aligned()"
            )
        stretch = self._stretches[groups.pop()]
        return stretch, [stretch.channels.index(name) for name in channels]

    def _rows(self, group: str) -> tuple[int, int]:
        try:
            return self.rows[group]
        except KeyError:
            raise RecordingError(
                f"segment {self.index} marks no rows of group {group}, only of {', '.join(self.rows)}"
            ) from None


@dataclass(frozen=True)
class McapRecording:
    """An open recording. See `recording.Recording`; `remarks` are what a reader of results must be told.

    `files` are the segment files it was read from, `mapper` does the work on it (see `spread`).
    """

    channels: Mapping[str, ChannelRecord]
    fixture: FixtureRecord
    attributes: Mapping[str, Any]
    groups: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...]
    _stretches: tuple[Stretch, ...]
    _segments: list[RecordedSegment]
    _restarts: int
    files: tuple[Path, ...] = ()
    mapper: Mapper = field(default_factory=SerialMapper)

    def segments(self, **tag: Any) -> Iterator[RecordedSegment]:
        """Segments whose tag contains these entries, in order of time."""
        for segment in self._segments:
            if all(name in segment.tag and segment.tag[name] == value for name, value in tag.items()):
                yield segment

    def group_of(self, channel: str) -> str:
        """The group a channel is latched with. Raises RecordingError for a channel that was not recorded."""
        for group, channels in self.groups.items():
            if channel in channels:
                return group
        raise RecordingError(f"channel {channel!r} was not recorded; there are {', '.join(self.channels)}")

    def rows(self, group: str) -> Iterator[Samples]:
        """All recorded rows of a group, marked or not, at most `BLOCK_ROWS` at a time."""
        for stretch in self._stretches:
            if stretch.group == group:
                every = list(range(len(stretch.channels)))
                for first in range(stretch.start, stretch.end, BLOCK_ROWS):
                    yield stretch.read(first, min(first + BLOCK_ROWS, stretch.end), every, missing_ok=True)

    def lines(self, segment: RecordedSegment, group: str) -> tuple[int, int]:
        """Where the rows of a segment come in `rows(group)`: [first, last), counted from 0."""
        before = 0
        for stretch in self._stretches:
            if stretch is segment._stretches.get(group):
                first, last = segment.rows[group]
                return before + stretch.count(first), before + stretch.count(last)
            if stretch.group == group:
                before += stretch.count(stretch.end)
        return before, before

    def integrity(self) -> Integrity:
        """Was anything lost? Rows that a mark names and no block carries count as lost."""
        return self._integrity

    @cached_property
    def _integrity(self) -> Integrity:
        rows = lost = 0
        gaps = self._restarts
        not_good: dict[str, int] = {}
        marked: dict[int, tuple[int, int]] = {}
        for segment in self._segments:
            for group, (first, last) in segment.rows.items():
                stretch = segment._stretches[group]
                low, high = marked.get(id(stretch), (stretch.start, stretch.end))
                marked[id(stretch)] = (min(low, first), max(high, last)) if first < last else (low, high)
        for stretch in self._stretches:
            lost_here, gaps_here = stretch.losses()
            low, high = marked.get(id(stretch), (stretch.start, stretch.end))
            beyond = (stretch.start - low) + (high - stretch.end)
            rows += sum(layout.rows for layout in stretch.layouts)
            lost, gaps = lost + lost_here + beyond, gaps + gaps_here + (beyond > 0)
            flagged = np.zeros(len(stretch.channels), dtype=np.int64)
            for at in range(len(stretch.layouts)):
                flagged += np.count_nonzero(stretch.arrays(at)[2], axis=0)
            for name, count in zip(stretch.channels, flagged.tolist(), strict=True):
                if count:
                    not_good[name] = not_good.get(name, 0) + count
        return Integrity(rows, lost, gaps, not_good)


class _Builder:
    """Takes files in order and assembles the recording."""

    def __init__(self) -> None:
        self._layouts = LayoutReader()
        self._description: Description | None = None
        self._place: tuple[Path, int] | None = None  # folder and session of the file before
        self._current: dict[str, Stretch] = {}
        self._stretches: list[Stretch] = []
        self._marks: dict[
            tuple[Path, int], tuple[int, Tag, Mapping[str, tuple[int, int]], Mapping[str, Stretch]]
        ] = {}
        self._remarks: list[str] = []
        self._restarts = self._repeated = 0
        self._files: list[Path] = []

    def take(self, file: File) -> None:
        """Take one segment file."""
        self._files.append(file.path)
        if file.problem:
            rest = "read up to the last complete chunk" if file.messages else "no sample was in it"
            self._remarks.append(f"{file.path.name}: {file.problem}; {rest}")
            if not file.messages and self._description is not None:
                return
        if METADATA_NAME not in file.metadata:
            raise RecordingError(
                f"{file.path}: carries no channel records; it was not written by this platform"
            )
        description = from_metadata(file.metadata[METADATA_NAME], str(file.path))
        self._belongs(description, file.path)
        self._description = description
        place = (file.path.parent, description.session)
        if place != self._place:
            self._current = {group: self._fresh(group) for group in description.groups}
            self._place = place
        for message in file.messages:
            payload = message.buffer[message.start : message.end]
            if message.topic == MARKS_TOPIC:
                mark = decode_mark(payload)
                self._mark(file.path.parent, mark.index, mark.tag, mark.rows)
            elif message.topic.startswith(SAMPLES_PREFIX):
                self._block(message, payload)

    def _fresh(self, group: str) -> Stretch:
        assert self._description is not None
        stretch = Stretch(group, self._description.groups[group])
        self._stretches.append(stretch)
        return stretch

    def _belongs(self, description: Description, path: Path) -> None:
        """All files must speak of the same channels; a later one may know more (zeros after the run)."""
        known = self._description
        if known is None:
            return
        plain = [
            {name: replace(record, zero_before=None, zero_after=None) for name, record in d.channels.items()}
            for d in (known, description)
        ]
        if known.groups != description.groups or known.fixture != description.fixture or plain[0] != plain[1]:
            raise RecordingError(
                f"{path}: other channels, calibrations or fixture than in the files before; evaluate it alone"
            )

    def _block(self, message: Any, payload: memoryview) -> None:
        layout = self._layouts.read(payload, ages=has_ages(message.definition))
        stretch = self._current.get(layout.group)
        if stretch is None or layout.channels != stretch.channels:
            raise RecordingError(
                f"block {layout.sequence} of {layout.group}: not the channels that the recording announces"
            )
        if not stretch.continued_by(layout):
            if stretch.contains(message, layout):
                self._repeated += 1
                return
            self._restarts += 1
            self._remarks.append(
                f"group {layout.group}: counting restarted at row {layout.first_row}, "
                f"after row {stretch.end - 1}"
            )
            stretch = self._current[layout.group] = self._fresh(layout.group)
        stretch.add(message, layout)

    def _mark(self, folder: Path, index: int, tag: Tag, rows: Mapping[str, tuple[int, int]]) -> None:
        for group, (first, last) in rows.items():
            if group not in self._current or last < first:
                raise RecordingError(f"mark {index}: rows {first} to {last} of group {group!r} make no sense")
        if (folder, index) in self._marks and self._marks[folder, index][:3] != (index, tag, rows):
            self._remarks.append(
                f"segment {index} was recorded twice (repeated after an interruption); the later counts"
            )
        self._marks.pop((folder, index), None)
        self._marks[folder, index] = index, tag, rows, dict(self._current)

    def finish(self, where: str) -> McapRecording:
        """The recording. A recording without any mark is one segment a session."""
        if self._description is None:
            raise RecordingError(f"{where}: holds no recording")
        if self._repeated:
            self._remarks.append(f"{self._repeated} blocks were there twice; the copies were left out")
        d = self._description
        segments: list[RecordedSegment] = []
        stretches = tuple(stretch for stretch in self._stretches if stretch.layouts)
        recording = McapRecording(
            d.channels,
            d.fixture,
            d.attributes,
            d.groups,
            tuple(self._remarks),
            stretches,
            segments,
            self._restarts,
            tuple(self._files),
        )
        for index, tag, rows, where_rows in self._marks.values():
            segments.append(RecordedSegment(index, tag, rows, where_rows, recording))
        if not segments:
            segments += _unmarked(stretches, recording)
        return recording


def _unmarked(stretches: tuple[Stretch, ...], recording: McapRecording) -> Iterator[RecordedSegment]:
    """Everything as one segment, or one for each start of the bus."""
    waiting: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        waiting.setdefault(stretch.group, []).append(stretch)
    for index in range(max((len(found) for found in waiting.values()), default=0)):
        at = {group: found[index] for group, found in waiting.items() if index < len(found)}
        yield RecordedSegment(index, {}, {g: (s.start, s.end) for g, s in at.items()}, at, recording)
