"""What a row is made of, and the register of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Peer:
    """A peer's way to the same answer.

    n: work done by one call, in the row's unit, if less than the row's n (slow peers get a part of the data;
    rates are per unit of work). goal: how many times its rate we want to reach; peers with the same goal and
    group compete, and the best of them is reported. note: what a reader must know of this peer.
    """

    call: Callable[[], Any]
    goal: float
    group: str = "peer"
    n: int | None = None
    note: str = ""


@dataclass
class Case:
    """One row ready to run.

    ours, peers: what is timed. agrees(ours, {peer: answer}) returns a sentence that says how far the answers
    agree, and raises AssertionError where they do not. stream: the same analysis fed block by block with
    5e7 samples, for the memory peak; None if the row is not a streaming analysis. work: units of work of one call
    of ours, if not the row's n. note: what a reader must know. rounds: how many it takes at least.
    """

    ours: Callable[[], Any]
    peers: dict[str, Peer]
    agrees: Callable[[Any, dict[str, Any]], str]
    stream: Callable[[], Any] | None = None
    work: int | None = None
    note: str = ""
    rounds: int = 0


@dataclass(frozen=True)
class Row:
    name: str
    n: int
    unit: str
    make: Callable[[int], Case]


ROWS: list[Row] = []


def row(name: str, n: int, unit: str = "samples") -> Callable[[Callable[[int], Case]], Callable[[int], Case]]:
    """Register make(n) → Case under a name."""

    def register(make: Callable[[int], Case]) -> Callable[[int], Case]:
        ROWS.append(Row(name, n, unit, make))
        return make

    return register
