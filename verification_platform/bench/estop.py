"""The judgement on emergency stops, one for whoever gives torque: the interlock of a run, and the homing of a drive.

The contact of a stop is normally closed. It counts as closed only as long as that is known: a contact that is open, whose last
valid value is older than the limit, or that was never heard stops alike, because a broken wire must not look like consent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from drivers.device import Block, Quality

#: A contact reads 1 when it is closed.
CLOSED = 0.5


class EmergencyStops:
    """The contacts of `channels`, each of which must be heard at least every `limit_s`. All times are of one clock.

    Answers are (channel, one clear line), or None when there is nothing against torque.

    >>> stops = EmergencyStops(["door"], limit_s=0.4)
    >>> stops.unheard(0.0)
    ('door', 'emergency stop: door has not been heard yet')
    >>> closed = Block("rs485", 0, 0, ("door",), np.zeros(1), np.ones((1, 1)), np.zeros((1, 1), np.uint8))
    >>> stops.take(closed, 0.1), stops.unheard(0.4), stops.unheard(0.6)
    (None, None, ('door', 'emergency stop: door has not been heard for 500 ms'))
    """

    __slots__ = ("_closed", "_heard_s", "_limit_s")

    def __init__(self, channels: Iterable[str], limit_s: float) -> None:
        self._closed = dict.fromkeys(channels, True)
        self._heard_s = dict.fromkeys(self._closed, -math.inf)
        self._limit_s = limit_s

    def __contains__(self, channel: str) -> bool:
        return channel in self._closed

    def take(self, block: Block, now_s: float) -> tuple[str, str] | None:
        """What of `block` is a contact, and which one was open in it, if only for one row. What is not GOOD says nothing, and
        what is says it of the time at which it was sampled.
        """
        found: tuple[str, str] | None = None
        for column, channel in enumerate(block.channels):
            if channel not in self._closed:
                continue
            good = np.flatnonzero(block.quality[:, column] == Quality.GOOD)
            if not len(good):
                continue
            age_s = 0.0 if block.age_s is None else max(float(block.age_s[good[-1], column]), 0.0)
            self._heard_s[channel] = max(self._heard_s[channel], now_s - age_s)  # NaN is never the larger one
            closed = block.values[good, column] >= CLOSED
            self._closed[channel] = bool(closed[-1])
            if found is None and not closed.all():
                found = channel, f"emergency stop: {channel} is pressed, or its wire is broken"
        return found

    def open(self) -> str:
        """A contact that was open when it was last heard; empty without one."""
        return next((channel for channel, closed in self._closed.items() if not closed), "")

    def unheard(self, now_s: float) -> tuple[str, str] | None:
        """A contact of which nobody knows whether it is closed."""
        for channel, heard_s in self._heard_s.items():
            age_s = now_s - heard_s
            if age_s > self._limit_s:
                since = "yet" if heard_s == -math.inf else f"for {age_s * 1e3:.0f} ms"
                return channel, f"emergency stop: {channel} has not been heard {since}"
        return None
