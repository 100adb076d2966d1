"""Whether what the interlock must see still arrives: the samples of every group, a valid one of every watched channel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from drivers.device import Block

#: A bus that delivers nothing for so many silence limits is a trip: blocks gather several rows first.
_STREAM_FACTOR = 4.0
#: A watched channel without a valid sample for so many: a slave that missed answers is asked again after a pause.
_VALID_FACTOR = 10.0


class Streams:
    """`channels` maps every channel that must keep arriving to its group. All times are of one clock."""

    __slots__ = ("_channels", "_good_s", "_groups", "_limit_s", "_valid_s")

    def __init__(self, channels: Mapping[str, str], silence_s: float) -> None:
        self._channels = frozenset(channels)
        self._groups = dict.fromkeys(channels.values(), -math.inf)
        self._good_s = dict.fromkeys(channels, -math.inf)
        self._limit_s, self._valid_s = _STREAM_FACTOR * silence_s, _VALID_FACTOR * silence_s

    def __contains__(self, name: str) -> bool:
        """Whether `name` is one of the groups or channels."""
        return name in self._groups or name in self._channels

    def take(self, block: Block, good: NDArray[np.bool_], now_s: float) -> None:
        """`block` has come; `good` (n, k) says which of its values are valid."""
        if block.group in self._groups:
            self._groups[block.group] = now_s
        for column, channel in enumerate(block.channels):
            if good[:, column].any():
                self._good_s[channel] = now_s

    def late(self, name: str, now_s: float) -> bool:
        """A group that delivers nothing, or a channel that delivers nothing valid, for too long."""
        heard = self._groups if name in self._groups else self._good_s
        return now_s - heard.get(name, -math.inf) > self._limit_s

    def silent(self, watched: Iterable[str], now_s: float) -> tuple[str, str, str] | None:
        """Cause, name and one line: of a group that is late, else of a channel of `watched` that nobody knows any more."""
        for group, arrived_s in self._groups.items():
            if now_s - arrived_s > self._limit_s:
                return "stream", group, f"{group}: no samples for {(now_s - arrived_s) * 1e3:.0f} ms"
        for channel in watched:
            age_s = now_s - self._good_s.get(channel, now_s)
            if age_s > self._valid_s:
                line = f"{channel}: no valid sample for {age_s * 1e3:.0f} ms, and its limits must be watched"
                return "stream", channel, line
        return None
