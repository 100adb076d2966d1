"""Rows of a cycle become blocks, and blocks go to whoever keeps them, on a thread that may be slow.

The bus thread only stores rows and puts full blocks into a queue. A queue that nobody empties, and a keeper that fails, are
reasons to end the run: data that is lost shows as a gap of the blocks' sequence.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from drivers.device import Block, Quality, Row

log = logging.getLogger(__name__)

#: Blocks that may wait for `on_block` before data is given up.
_BACKLOG = 500


class Delivery:
    """Blocks of `rows` rows of `channels` for `on_block`, which is called on a thread of its own.

    `urgent`: asked for every row, whether its block is to be handed on at once; must not block. `trip`: told why data is lost.
    """

    def __init__(
        self,
        group: str,
        channels: Sequence[str],
        rows: int,
        on_block: Callable[[Block], None],
        *,
        urgent: Callable[[Row], bool],
        trip: Callable[[str], None],
    ) -> None:
        self._group, self._channels, self._rows = group, tuple(channels), rows
        self._on_block, self._urgent, self._trip = on_block, urgent, trip
        self._blocks: queue.Queue[Block | None] = queue.Queue(_BACKLOG)
        self.thread = threading.Thread(target=self._deliver, name=f"blocks-{group}", daemon=True)
        self._sequence = self._first_row = 0
        self._new_arrays()

    def _new_arrays(self) -> None:
        # New ones for each block, because its readers keep them. Measured with twelve columns: 1.7 µs a block of ten
        # rows, against 0.7 µs for the next slot of a preallocated ring, out of which every reader would have to copy.
        rows, columns = self._rows, len(self._channels)
        self._stamps = np.empty(rows)
        self._values = np.empty((rows, columns))
        self._quality = np.full((rows, columns), Quality.BAD, dtype=np.uint8)
        # An array would convert each member of the enumeration by itself: 3 µs for 24 of them, against 0.7.
        self._quality_bytes = self._quality.reshape(-1).data
        self._ages: NDArray[np.float32] | None = None  # made when a row has some
        self._filled = 0

    # ── the bus thread ──

    def store(self, row: Row) -> None:
        n = self._filled
        self._stamps[n], self._values[n] = row.stamp_s, row.values
        quality = bytes(row.quality)
        self._quality_bytes[n * len(quality) : (n + 1) * len(quality)] = quality
        if row.age_s is not None:
            if self._ages is None:
                self._ages = np.zeros(self._values.shape, np.float32)
            self._ages[n] = row.age_s
        self._filled = n + 1
        if self._filled == self._rows or self._urgent(row):
            self._flush()

    def end(self) -> None:
        """No more rows: what is there is handed on, then the thread ends."""
        self._flush()
        self._blocks.put(None)

    def _flush(self) -> None:
        n = self._filled
        if n == 0:
            return
        block = Block(
            self._group,
            self._sequence,
            self._first_row,
            self._channels,
            self._stamps[:n],
            self._values[:n],
            self._quality[:n],
            None if self._ages is None else self._ages[:n],
        )
        self._sequence += 1
        self._first_row += n
        self._new_arrays()
        try:
            self._blocks.put_nowait(block)
        except queue.Full:
            self._trip(f"{self._group}: nobody takes the samples, data is lost")  # the sequence shows the gap

    # ── a thread of its own ──

    def _deliver(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                self._on_block(block)
            except Exception as error:
                log.exception("bus %s: block %d was not taken", self._group, block.sequence)
                self._trip(f"{self._group}: samples were not taken ({error!r})")
