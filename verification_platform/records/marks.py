"""Segments: which rows of a recording belong to which part of the procedure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What a protocol calls a part of its procedure, e.g. ``{"direction": 1, "load": 0.5, "repeat": 2}``.
Tag = Mapping[str, str | float | int | bool]


@dataclass(frozen=True, slots=True)
class SegmentMark:
    """A marked interval of the recording: per group rows [first, last), and the tag of its Record step."""

    index: int
    tag: Tag
    rows: dict[str, tuple[int, int]]
