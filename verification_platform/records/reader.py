"""Opening a recording: what evaluation, export and verification read.

`open_recording` takes a run folder, a samples folder or single MCAP files. It checks the seal first, maps the
files and builds an index; samples are copied out block by block when they are asked for (`mcaprecording`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .cdr import LayoutReader, decode_mark
from .errors import RecordingError
from .marks import Tag
from .mcapfile import Segment as File
from .mcapfile import scan
from .mcaprecording import McapRecording, RecordedSegment
from .metadata import METADATA_NAME, Description, from_metadata
from .schema import MARKS_TOPIC, SAMPLES_PREFIX, has_ages
from .seal import SealReport, read_seal, samples_folder, verify_file, verify_seal
from .stretches import Stretch


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
