"""Which rows the interlock should see at once, instead of with the rest of their block."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.device import Quality, Row

from .description import Interlock
from .estop import CLOSED


class Alarm:
    """Asked for every row of a bus, in its thread: True when one more channel has left its limits.

    It decides nothing: the interlock looks at the same samples and trips. It saves the time until the block is full.
    """

    __slots__ = ("_bounds", "_out")

    def __init__(self, interlock: Interlock, channels: Sequence[str]) -> None:
        bounds = [
            (
                limit.channel,
                -math.inf if limit.low is None else limit.low,
                math.inf if limit.high is None else limit.high,
            )
            for limit in interlock.limits
        ]
        bounds += [(name, CLOSED, math.inf) for name in interlock.estop]
        self._bounds = tuple(
            (channels.index(name), low, high) for name, low, high in bounds if name in channels
        )
        self._out = 0

    def __call__(self, row: Row) -> bool:
        values, quality, out = row.values, row.quality, 0
        for column, low, high in self._bounds:
            if not low <= values[column] <= high and quality[column] == Quality.GOOD:
                out += 1
        more, self._out = out > self._out, out
        return more
