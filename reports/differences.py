"""Where and by how much two JSON-like values differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """At `place` stands `found` where `expected` should; `note` when one of them has nothing there."""

    place: str
    found: Any = None
    expected: Any = None
    note: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.note or f'{self.found!r:.60} instead of {self.expected!r:.60}'}"

    @property
    def relative(self) -> float:
        """|found − expected| by the larger of both; infinite where these are not two finite numbers."""
        pair = (self.found, self.expected)
        if self.note or any(type(n) not in (int, float) or not math.isfinite(n) for n in pair):
            return math.inf
        largest = max(map(abs, pair))
        return abs(self.found - self.expected) / largest if largest else 0.0


def differences(left: Any, right: Any, place: str = "") -> Iterator[Difference]:
    """All of them, in order. A result is named by its quantity as well as by its number: ``results[2] (TE_pp).U``."""
    if isinstance(left, dict) and isinstance(right, dict):
        here = (
            f"{place} ({left['quantity']})"
            if left.get("quantity") and left.get("quantity") == right.get("quantity")
            else place
        )
        for key in (*left, *(k for k in right if k not in left)):
            if key not in left or key not in right:
                yield Difference(
                    f"{here}.{key}", note="missing" if key not in left else "should not be there"
                )
            else:
                yield from differences(left[key], right[key], f"{here}.{key}" if here else str(key))
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        for index, (one, other) in enumerate(zip(left, right, strict=False)):
            yield from differences(one, other, f"{place}[{index}]")
        if len(left) != len(right):
            yield Difference(place, note=f"{len(left)} entries, {len(right)} expected")
    elif repr(left) != repr(right):  # tells −0.0 from 0.0 and 1 from 1.0; NaN equals itself
        yield Difference(place, left, right)


def first_difference(left: Any, right: Any, place: str = "") -> str:
    """The first of them as text, e.g. ``results[2].U: 1.0 instead of 1.5``; empty when the values are equal."""
    return next((str(difference) for difference in differences(left, right, place)), "")
