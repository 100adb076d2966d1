"""Work on a recording, spread by its mapper: over segments, and within long segments over chunks.

`map_segments` calls a function with every segment. `accumulate` feeds an accumulator with every segment; a
segment longer than `GRID_ROWS` is cut into chunks on a fixed grid of rows, counted from its first row, each
chunk has an accumulator of its own, and these are merged in the order of the chunks. The grid knows neither
how the recording was written nor who does the work, so the sums are the same bits with one worker or a
hundred. See docs/explanation/accumulators.md.

    fast = evaluate_recording(protocol, mapped(open_recording(run), ProcessMapper(8)), parameters, order)
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .mapper import Mapper, MapperError, SerialMapper
from .mcaprecording import McapRecording, RecordedSegment
from .one_thread import one_thread
from .reader import reopen
from .recording import Recording, Samples, Segment
from .unwrapping import Unwrapping

#: Rows of a chunk: long enough that its accumulator is small beside it, short enough to keep many workers busy.
GRID_ROWS = 1 << 20
_ENDING_BYTES = 1 << 16
_NUMBERS = ("analysis", "metrology", "records", "engine")

R = TypeVar("R")
P = TypeVar("P")
Floats = NDArray[np.float64]


class Accumulator(Protocol):
    """An accumulator of `verification_platform.analysis`.

    One that depends on the order of the samples also has ``fork(first_index)``: an empty accumulator for the
    samples from there on. It raises a ValueError as long as it has seen too little.
    """

    def update(self, *columns: Any) -> None: ...
    def merge(self, other: Any) -> None: ...
    def result(self) -> Any: ...


def mapped(recording: Recording, mapper: Mapper) -> Recording:
    """The same recording, its work done by `mapper`. Only recordings in files can leave this process."""
    return replace(recording, mapper=mapper) if isinstance(recording, McapRecording) else recording


def map_segments(
    recording: Recording, function: Callable[[Segment], R], segments: Iterable[Segment] | None = None
) -> Iterator[R]:
    """``function(segment)`` for all segments, or those given (of this recording), in order.

    Raises what the function raises, and MapperError.
    """
    chosen = recording.segments() if segments is None else segments
    return _spread(recording, _Plain(function), ((segment, None) for segment in chosen))


def accumulate(
    recording: Recording,
    make: Callable[[], Accumulator],
    *channels: str,
    period: float | None = None,
    segments: Iterable[Segment] | None = None,
) -> Iterator[Any]:
    """``result()`` of one accumulator a segment, in order; `update` gets the channels as columns, shapes (n,).

    Channels (of one group) that wrap are made continuous when their `period` is given. Raises what the
    accumulator raises, RecordingError and MapperError.
    """
    chosen = list(recording.segments() if segments is None else segments)
    rows = [_row_count(segment, channels) for segment in chosen]
    work = _Work(make, channels, period)
    first = _spread(recording, work.begin, _beginnings(chosen, rows, wraps=period is not None))
    for segment, n in zip(chosen, rows, strict=True):
        begun = next(first)
        if n <= GRID_ROWS:
            yield begun
            continue
        head, turns = begun
        before = [turns]
        if period is not None:
            before += [next(first) for _ in range(GRID_ROWS, n, GRID_ROWS)]
        yield _merged(recording, segment, work, head, n, np.cumsum(before, axis=0))


def _beginnings(
    segments: Sequence[Segment], rows: Sequence[int], *, wraps: bool
) -> Iterator[tuple[Segment, tuple[int, int]]]:
    """The first chunk of every segment; of channels that wrap, every chunk: their turns are counted first."""
    for segment, n in zip(segments, rows, strict=True):
        for start in range(0, max(n, 1) if wraps else 1, GRID_ROWS):
            yield segment, (start, n)


def _merged(recording: Recording, segment: Segment, work: _Work, head: Any, rows: int, turns: Floats) -> Any:
    """Chunks behind the first one, each into a fork of `head`, merged in order."""
    starts = list(range(GRID_ROWS, rows, GRID_ROWS))
    at = [turns[k] if work.period is not None else None for k in range(len(starts))]
    with one_thread():
        while starts and not _forks(head, work, starts[0]):
            # too little seen to start others from: goes on by itself
            work.feed(segment, head, starts[0], rows, at[0])
            del starts[0], at[0]
        items = (
            (segment, (_fork(head, work, start), start, rows, before))
            for start, before in zip(starts, at, strict=True)
        )
        for part in _spread(recording, work.go_on, items):
            head.merge(part)
        return head.result()


def _fork(head: Any, work: _Work, start: int) -> Any:
    return head.fork(start) if hasattr(head, "fork") else work.make()


def _forks(head: Any, work: _Work, start: int) -> bool:
    try:
        _fork(head, work, start)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Plain:
    """A function of a segment alone."""

    function: Callable[[Segment], Any]

    def __call__(self, segment: Segment, payload: None) -> Any:
        return self.function(segment)


@dataclass(frozen=True, slots=True)
class _Work:
    """What `accumulate` does with one chunk, in whichever process."""

    make: Callable[[], Accumulator]
    channels: tuple[str, ...]
    period: float | None

    def begin(self, segment: Segment, payload: tuple[int, int]) -> Any:
        """The first chunk: its result when it is the only one, else accumulator and turns. Later ones: turns."""
        start, rows = payload
        if start:
            return self._turns(segment, start, rows)
        accumulator = self.make()
        turns = self.feed(segment, accumulator, 0, rows, None)
        return accumulator.result() if rows <= GRID_ROWS else (accumulator, turns)

    def go_on(self, segment: Segment, payload: tuple[Any, int, int, Floats | None]) -> Any:
        """A later chunk: its accumulator."""
        accumulator, start, rows, turns = payload
        self.feed(segment, accumulator, start, rows, turns)
        return accumulator

    def feed(
        self, segment: Segment, accumulator: Any, start: int, rows: int, turns: Floats | None
    ) -> Floats | float:
        """Feed the chunk that begins at row `start`; the turns counted up to its end."""
        unwrap = self._unwrapping(segment, start, turns)
        for samples in _part(segment, start, min(start + GRID_ROWS, rows), self.channels):
            values = samples.values if unwrap is None else unwrap(samples.values)
            accumulator.update(*np.ascontiguousarray(values.T))
        return 0.0 if unwrap is None else unwrap.turns

    def _turns(self, segment: Segment, start: int, rows: int) -> Floats | float:
        unwrap = self._unwrapping(segment, start, None)
        assert unwrap is not None
        for samples in _part(segment, start, min(start + GRID_ROWS, rows), self.channels):
            unwrap.count(samples.values)
        return unwrap.turns

    def _unwrapping(self, segment: Segment, start: int, turns: Floats | None) -> Unwrapping | None:
        if self.period is None:
            return None
        last = None
        if start:
            (row,) = _part(segment, start - 1, start, self.channels)
            last = row.values[0]
        return Unwrapping(self.period, last, turns)


# ------------------------------------------------------------------------- segments in any process


def _spread(
    recording: Recording, function: Callable[[Segment, P], R], items: Iterable[tuple[Segment, P]]
) -> Iterator[R]:
    """``function(segment, payload)`` for all items, by the recording's mapper."""
    mapper = recording.mapper if isinstance(recording, McapRecording) else SerialMapper()
    if not isinstance(recording, McapRecording) or isinstance(mapper, SerialMapper):
        return mapper.map(_Here(function), items)
    places = {id(segment): place for place, segment in enumerate(recording.segments())}
    there = _There(function, _Source.of(recording))
    return mapper.map(there, ((places[id(segment)], payload) for segment, payload in items))


@dataclass(frozen=True, slots=True)
class _Here:
    function: Callable[[Segment, Any], Any]

    def __call__(self, item: tuple[Segment, Any]) -> Any:
        with one_thread():
            return self.function(*item)


@dataclass(frozen=True, slots=True)
class _There:
    """The same in a process that has to open the recording first; segments go by their place in it."""

    function: Callable[[Segment, Any], Any]
    source: _Source

    def __call__(self, item: tuple[int, Any]) -> Any:
        place, payload = item
        segment = _open(self.source)[place]
        with one_thread():
            return self.function(segment, payload)


@dataclass(frozen=True, slots=True)
class _Source:
    """Which recording a worker has to open, and with which software.

    The parent has checked the seal, that is every byte. Of each file the worker compares size and ending (the
    index), so that it does not take another file of the same name for it.
    """

    files: tuple[tuple[str, int, str], ...]
    software: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, recording: McapRecording) -> _Source:
        return cls(tuple(_identity(path.absolute()) for path in recording.files), _software())


def _identity(path: Path) -> tuple[str, int, str]:
    """Path, size, SHA-256 of the last 64 KiB."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _ENDING_BYTES, 0))
        return str(path), size, hashlib.sha256(file.read()).hexdigest()


@functools.cache
def _software() -> tuple[tuple[str, str], ...]:
    """Versions that must agree for results to agree."""
    try:
        version = metadata.version("pilotbench")
    except metadata.PackageNotFoundError:
        version = "without version"
    return ("pilotbench", version), ("numpy", np.__version__), ("source", _source_digest())


def _source_digest() -> str:
    """Of the code that makes numbers: two checkouts of one version may differ."""
    digest = hashlib.sha256()
    here = Path(__file__).parents[1]
    for folder in (*(here / name for name in _NUMBERS), here.parent / "test_protocols"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.lru_cache(maxsize=2)
def _open(source: _Source) -> Sequence[RecordedSegment]:
    """The segments of a recording, opened once a process. Raises MapperError when it is not the same one."""
    for (name, wanted), (_, found) in zip(source.software, _software(), strict=True):
        if wanted != found:
            raise MapperError(
                f"a worker runs {name} {found}, this process {wanted}; install the same version"
            )
    for known in source.files:
        try:
            found_file = _identity(Path(known[0]))
        except OSError as error:
            raise MapperError(
                f"a worker cannot read {known[0]} ({error.strerror}); "
                "every worker must see the recording under the same path"
            ) from None
        if found_file != known:
            raise MapperError(f"a worker finds another file at {known[0]}; share the folder of the recording")
    return list(reopen(Path(path) for path, _, _ in source.files).segments())


# ------------------------------------------------------------------------- rows of any segment


def _row_count(segment: Segment, channels: Sequence[str]) -> int:
    if isinstance(segment, RecordedSegment):
        return segment.row_count(*channels)
    return sum(len(samples.stamps_s) for samples in segment.blocks(*channels))


def _part(segment: Segment, first: int, last: int, channels: Sequence[str]) -> Iterator[Samples]:
    """Rows [first, last) of a segment; one that is not in a file is read from its beginning."""
    if isinstance(segment, RecordedSegment):
        yield from segment.part(first, last, *channels)
        return
    start = 0
    for samples in segment.blocks(*channels):
        a, b = max(first - start, 0), min(last - start, len(samples.stamps_s))
        if a < b:
            yield Samples(samples.stamps_s[a:b], samples.values[a:b], samples.quality[a:b])
        start += len(samples.stamps_s)


__all__ = ["GRID_ROWS", "Accumulator", "accumulate", "map_segments", "mapped"]
