"""The row of a cycle, filled servo by servo: most of it while the answers of the others are on the wire."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.device import Quality, Row
from drivers.dynamixel.servo import DynamixelServo
from drivers.group import age_s


class RowFiller:
    """`begin` a row, `put` every servo of which something is known, in any order and as often as that changes, `end` it.

    `columns`: of which servo and signal each value is.
    """

    def __init__(self, columns: Sequence[tuple[DynamixelServo, str]]) -> None:
        self._places: dict[DynamixelServo, list[tuple[int, str]]] = {}
        for at, (servo, signal) in enumerate(columns):
            self._places.setdefault(servo, []).append((at, signal))
        self._count = len(columns)
        self.begin(-math.inf)

    def begin(self, stamp_s: float) -> None:
        self._stamp_s = stamp_s
        self._values, self._ages = [math.nan] * self._count, [math.nan] * self._count
        self._quality = [Quality.BAD] * self._count

    def put(self, servo: DynamixelServo) -> None:
        """Its values as they stand now."""
        age = age_s(self._stamp_s, servo.sampled_s)
        for at, signal in self._places.get(servo, ()):
            value = servo.values[signal]
            self._values[at], self._ages[at] = value, age
            self._quality[at] = servo.standing if value == value else Quality.BAD  # NaN: never read

    def end(self) -> Row:
        return Row(self._stamp_s, self._values, self._quality, self._ages)
