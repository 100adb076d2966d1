"""An open recording: its segments, and the rows of each, read block by block.

Blocks are cut at every 65536th row of a segment, whatever sizes they were written in, so that an accumulator fed
with them gives the same bits for the same data, always. Made by `reader.open_recording`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verification_platform.metrology.records import ChannelRecord, FixtureRecord

from .align import interpolate
from .errors import RecordingError
from .mapper import Mapper, SerialMapper
from .marks import Tag
from .recording import Integrity, Samples
from .stretches import Stretch

BLOCK_ROWS = 65536


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
