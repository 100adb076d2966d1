"""One limit of the interlock over time: beyond it long enough, back from it long enough.

Pure logic on the stamps of the samples, so neither answer depends on how the stream was cut into blocks. The two have
different thresholds (trip and clear) and different times: without that a value that trembles about its limit could be
acknowledged while it is still there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .description import TripLimit


class LimitWatch:
    """Takes the GOOD samples of its channel, block by block.

    >>> watch = LimitWatch(TripLimit(channel="t", high=5.0, settle=0.1, clear={"high": 4.0, "settle": 0.2}))
    >>> watch.update(np.array([0.0, 0.05]), np.array([6.0, 6.0]))      # not long enough
    ''
    >>> watch.update(np.array([0.1]), np.array([6.5]))
    't 6.5 is beyond its limit 5 since 0.1 s'
    >>> watch.update(np.array([0.2]), np.array([4.5])), watch.standing()    # back, but not within clear
    ('', 't is at 4.5, not back at 4 or below')
    """

    __slots__ = ("_beyond_s", "_clear", "_clear_s", "_seen_s", "_trip", "_value", "limit")

    def __init__(self, limit: TripLimit) -> None:
        self.limit = limit
        clear = limit.clear
        self._trip = (
            -math.inf if limit.low is None else limit.low,
            math.inf if limit.high is None else limit.high,
        )
        self._clear = (
            self._trip[0] if clear.low is None else clear.low,
            self._trip[1] if clear.high is None else clear.high,
        )
        self._beyond_s: float | None = None  # beyond the limit since then, without a break
        self._clear_s: float | None = None
        self._seen_s, self._value = -math.inf, math.nan

    def tighter_than(self, other: LimitWatch) -> bool:
        """Whether this one may trip where `other`, of the same channel, does not."""
        return self._trip[0] > other._trip[0] or self._trip[1] < other._trip[1]

    def update(self, stamps_s: NDArray[np.float64], values: NDArray[np.float64]) -> str:
        """Take samples in their order. One clear line when the limit has been crossed for long enough, else empty."""
        if not len(values):
            return ""
        low, high = self._clear
        outside = np.flatnonzero((values < low) | (values > high))
        if len(outside):
            first = outside[-1] + 1
            self._clear_s = float(stamps_s[first]) if first < len(values) else None
        elif self._clear_s is None:
            self._clear_s = float(stamps_s[0])
        self._seen_s, self._value = float(stamps_s[-1]), float(values[-1])
        return self._crossed(stamps_s, values)

    def _crossed(self, stamps_s: NDArray[np.float64], values: NDArray[np.float64]) -> str:
        low, high = self._trip
        beyond = (values < low) | (values > high)
        if not beyond.any():
            self._beyond_s = None
            return ""
        for stamp_s, value, out in zip(stamps_s.tolist(), values.tolist(), beyond.tolist(), strict=True):
            if not out:
                self._beyond_s = None
                continue
            if self._beyond_s is None:
                self._beyond_s = stamp_s
            since_s = stamp_s - self._beyond_s
            if since_s >= self.limit.settle - 1e-9:
                bound = low if value < low else high
                since = f" since {since_s:.3g} s" if self.limit.settle else ""
                return (
                    f"{self.limit.channel} {value:.6g} is beyond its limit {bound:.6g}{since}{self._told()}"
                )
        return ""

    def _told(self) -> str:
        return f": {self.limit.reason}" if self.limit.reason else ""

    def standing(self) -> str:
        """Why a trip by this limit cannot be acknowledged yet; empty when it can."""
        name, (low, high) = self.limit.channel, self._clear
        if self._clear_s is None:
            if math.isnan(self._value):
                return f"{name} has not been measured"
            if not low <= self._value <= high:
                side = f"{low:.6g} or above" if self._value < low else f"{high:.6g} or below"
                return f"{name} is at {self._value:.6g}, not back at {side}{self._told()}"
            return f"{name} has only just come back"
        since_s, wanted_s = self._seen_s - self._clear_s, self.limit.clear.settle
        if since_s < wanted_s - 1e-9:
            return f"{name} has been back for {since_s:.3g} s, {wanted_s:.3g} s are asked"
        return ""

    def restart(self) -> None:
        """A settling time that began before arming does not count."""
        self._beyond_s = None


def tightening(limits: Iterable[TripLimit], own: Sequence[LimitWatch]) -> list[LimitWatch]:
    """Those of `limits` that say more than `own`, which stay in force with their own settling times."""
    asked = [LimitWatch(limit) for limit in limits]
    return [
        watch
        for watch in asked
        if all(watch.tighter_than(o) for o in own if o.limit.channel == watch.limit.channel)
    ]
