"""The stream as the engine watches it: is it whole, is it alive, and which rows belong to which segment."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.device import Block, Quality

#: Rows are remembered for so long, in bench time, to find the ends of a segment after the fact.
_MEMORY_S = 20.0


class StreamError(Exception):
    """Samples were lost or stopped coming: the run is INVALID. One clear line."""


@dataclass(slots=True)
class _GroupState:
    sequence: int
    next_row: int
    last_stamp_s: float
    recent: deque[tuple[int, NDArray[np.float64]]]  # (first row, stamps) of the blocks of the last _MEMORY_S


class Edge:
    """An instant of the bench clock, and per group the number of the first row stamped later."""

    __slots__ = ("rows", "stamp_s")

    def __init__(self, stamp_s: float) -> None:
        self.stamp_s = stamp_s
        self.rows: dict[str, int] = {}


class Stream:
    """Everything that arrived, reduced to what the engine needs; bounded memory.

    `live` holds the last GOOD value of every channel.
    """

    def __init__(self) -> None:
        self.live: dict[str, float] = {}
        self._groups: dict[str, _GroupState] = {}
        self._edges: list[Edge] = []

    def take(self, block: Block) -> None:
        """Take a block. Raises StreamError when a block or row is missing or time runs backwards."""
        if not len(block):
            return
        state = self._groups.get(block.group)
        first_s, last_s = float(block.stamps_s[0]), float(block.stamps_s[-1])
        if state is None:
            state = self._groups[block.group] = _GroupState(
                block.sequence, block.first_row, -math.inf, deque()
            )
        else:
            if block.sequence != state.sequence + 1:
                raise StreamError(
                    f"{block.group}: block {block.sequence} came after {state.sequence}; samples were lost"
                )
            if block.first_row != state.next_row:
                raise StreamError(
                    f"{block.group}: row {block.first_row} came for row {state.next_row}; samples were lost"
                )
        if first_s <= state.last_stamp_s or (
            len(block) > 1 and not bool(np.all(np.diff(block.stamps_s) > 0))
        ):
            raise StreamError(f"{block.group}: time stamps of block {block.sequence} do not increase")
        state.sequence, state.next_row, state.last_stamp_s = (
            block.sequence,
            block.first_row + len(block),
            last_s,
        )
        state.recent.append((block.first_row, block.stamps_s))
        while state.recent[0][1][-1] < last_s - _MEMORY_S:
            state.recent.popleft()
        for edge in self._edges:
            if last_s > edge.stamp_s and block.group not in edge.rows:
                edge.rows[block.group] = self._row(state, edge.stamp_s)
        self._note_live(block)

    def _note_live(self, block: Block) -> None:
        good = block.quality == Quality.GOOD
        for column, channel in enumerate(block.channels):
            rows = np.flatnonzero(good[:, column])
            if rows.size:
                self.live[channel] = float(block.values[rows[-1], column])

    def reached(self, stamp_s: float) -> bool:
        """Every group has delivered a row later than `stamp_s`."""
        return bool(self._groups) and all(state.last_stamp_s > stamp_s for state in self._groups.values())

    def silent(self, now_s: float, limit_s: float) -> Iterator[str]:
        """Groups that have delivered nothing for longer than `limit_s`."""
        return (name for name, state in self._groups.items() if now_s - state.last_stamp_s > limit_s)

    def open_edge(self, stamp_s: float) -> Edge:
        """Begin of a segment: its rows become known as the stream reaches it."""
        edge = Edge(stamp_s)
        for name, state in self._groups.items():
            if state.last_stamp_s > stamp_s:
                edge.rows[name] = self._row(state, stamp_s)
        self._edges.append(edge)
        return edge

    def close_edge(self, edge: Edge, end_s: float) -> dict[str, tuple[int, int]]:
        """Per group the rows [first, last) stamped later than the edge, up to `end_s` included."""
        self._edges.remove(edge)
        rows = {}
        for name, state in self._groups.items():
            last = self._row(state, end_s)
            first = edge.rows.get(name, last)
            rows[name] = (first, max(first, last))
        return rows

    @staticmethod
    def _row(state: _GroupState, stamp_s: float) -> int:
        """Number of the first row stamped later than `stamp_s`."""
        for first_row, stamps in reversed(state.recent):
            if stamps[0] <= stamp_s:
                return first_row + int(np.searchsorted(stamps, stamp_s, side="right"))
        return state.recent[0][0]
