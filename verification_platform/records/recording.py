"""Reading a recording: the one way evaluation sees measured data, whoever measured it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from verification_platform.metrology.records import ChannelRecord, FixtureRecord

from .marks import Tag


@dataclass(frozen=True, slots=True)
class Samples:
    """Consecutive rows of some channels of one group: stamps (n,) s, values (n, k) SI, quality (n, k)."""

    stamps_s: NDArray[np.float64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Integrity:
    """Was anything lost? Row numbers and block sequences are continuous when `lost_rows` and `gaps` are 0."""

    rows: int
    lost_rows: int
    gaps: int
    not_good: Mapping[str, int]  # channel → samples whose quality is not GOOD

    @property
    def complete(self) -> bool:
        return self.gaps == 0 and self.lost_rows == 0


class Segment(Protocol):
    """The rows of one Record step."""

    @property
    def index(self) -> int: ...
    @property
    def tag(self) -> Tag: ...

    def blocks(self, *channels: str) -> Iterator[Samples]:
        """Blocks in order, at most 65536 rows each, columns as asked; all channels of one group."""
        ...

    def read(self, *channels: str) -> Samples:
        """All rows at once."""
        ...

    def aligned(self, reference: str, *others: str) -> Samples:
        """Rows of `reference`'s group; channels of other groups linearly interpolated at its stamps.

        Raises RecordingError where a gap of more than two periods would be bridged.
        """
        ...


class Recording(Protocol):
    """A sealed set of segments of samples, with a record of every channel."""

    @property
    def channels(self) -> Mapping[str, ChannelRecord]: ...
    @property
    def fixture(self) -> FixtureRecord: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...

    def segments(self, **tag: Any) -> Iterator[Segment]:
        """Segments whose tag contains these entries, in order of time."""
        ...

    def integrity(self) -> Integrity: ...
