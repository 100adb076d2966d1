"""Accumulators of the parts of a recording become one, in an order that chance decides."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

import numpy as np


class Mergeable(Protocol):
    def merge(self, other: Self) -> None: ...


A = TypeVar("A", bound=Mergeable)


def merged_neighbours(parts: list[A], rng: np.random.Generator) -> A:
    """Each is merged into the one before it: for what depends on the order of samples."""
    while len(parts) > 1:
        at = int(rng.integers(0, len(parts) - 1))
        parts[at].merge(parts.pop(at + 1))
    return parts[0]


def merged_anyhow(parts: list[A], rng: np.random.Generator) -> A:
    """Any is merged into any other."""
    while len(parts) > 1:
        into, other = rng.choice(len(parts), 2, replace=False)
        parts[into].merge(parts[other])
        parts.pop(int(other))
    return parts[0]
