"""What the nodes last sent becomes a row: values in SI, their quality, and how old what is not of this SYNC is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drivers.canopen.node import CanopenNode
from drivers.device import Quality, Row

_GOOD = Quality.GOOD


class Rows:
    """Rows of `columns`: by column a node and its signal."""

    def __init__(self, columns: Sequence[tuple[CanopenNode, str]]) -> None:
        self._columns = tuple(columns)
        self._nodes = tuple(dict.fromkeys(node for node, _ in columns))
        self._latched_s = math.nan  # stamp of the last row
        # By column that is not fresh: stamp of the row in which it last was.
        self._last_s: dict[int, float] = {}

    def restart(self) -> None:
        """The bus has been opened: there has been no row yet."""
        self._latched_s = math.nan
        self._last_s.clear()

    def row(self, stamp_s: float) -> Row:
        """The row of the SYNC at `stamp_s`."""
        before_s, self._latched_s = self._latched_s, stamp_s
        values = [node.values[signal] for node, signal in self._columns]
        if False not in [node.good for node in self._nodes]:
            self._last_s.clear()
            return Row(stamp_s, values, [_GOOD] * len(values))
        quality = self._quality(values)
        if not any(quality):
            self._last_s.clear()
            return Row(stamp_s, values, quality)
        return Row(stamp_s, values, quality, self._ages(stamp_s, before_s, values))

    def _quality(self, values: Sequence[float]) -> list[Quality]:
        quality = []
        for (node, signal), value in zip(self._columns, values, strict=True):
            if not node.is_fresh(signal):
                quality.append(Quality.BAD if math.isnan(value) else Quality.STALE)
            else:
                quality.append(Quality.BAD if node.bad else Quality.GOOD)
        return quality

    def _ages(self, stamp_s: float, before_s: float, values: Sequence[float]) -> list[float]:
        """What did not answer this SYNC answered that of the last row in which it was fresh."""
        for column, (node, signal) in enumerate(self._columns):
            if node.is_fresh(signal):
                self._last_s.pop(column, None)
            else:
                self._last_s.setdefault(column, before_s)
        return [
            math.nan if math.isnan(value) else stamp_s - self._last_s.get(column, stamp_s)
            for column, value in enumerate(values)
        ]
