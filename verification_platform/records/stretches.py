"""Which rows lie where: the index of a recording, built once when it is opened.

Rows of a group are counted without a gap as long as its bus runner lives. When it is started again (a resumed
run, a restarted node) counting begins anew, so blocks are kept in *stretches*: within one, row numbers only
rise. A segment mark speaks of the rows of the stretch it was written into.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .cdr import BlockLayout, block_ages, block_arrays
from .errors import RecordingError
from .mcapfile import Message
from .recording import Samples


@dataclass(slots=True)
class Stretch:
    """Blocks of one group between two starts of its bus, in order of their rows."""

    group: str
    channels: tuple[str, ...]
    messages: list[Message] = field(default_factory=list)
    layouts: list[BlockLayout] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)

    @property
    def start(self) -> int:
        """First recorded row."""
        return self.layouts[0].first_row if self.layouts else 0

    @property
    def end(self) -> int:
        """One past the last recorded row."""
        return self.layouts[-1].first_row + self.layouts[-1].rows if self.layouts else 0

    def continued_by(self, layout: BlockLayout) -> bool:
        """Is this a later block of the same stretch?"""
        return not self.layouts or (
            layout.first_row >= self.end and layout.sequence > self.layouts[-1].sequence
        )

    def contains(self, message: Message, layout: BlockLayout) -> bool:
        """Was this very block delivered before (a file given twice, a message delivered twice)?"""
        at = bisect_right(self.firsts, layout.first_row) - 1
        while at >= 0 and self.firsts[at] == layout.first_row:
            known = self.messages[at]
            if known.buffer[known.start : known.end] == message.buffer[message.start : message.end]:
                return True
            at -= 1
        return False

    def add(self, message: Message, layout: BlockLayout) -> None:
        self.messages.append(message)
        self.layouts.append(layout)
        self.firsts.append(layout.first_row)

    def losses(self) -> tuple[int, int]:
        """(lost rows, gaps) between consecutive blocks.

        What came before the first block is not lost: a bus counts its rows since it was opened, and one bench may
        record many runs after another.
        """
        lost = gaps = 0
        for before, after in pairwise(self.layouts):
            missing = after.first_row - before.first_row - before.rows
            if missing or after.sequence != before.sequence + 1:
                lost, gaps = lost + missing, gaps + 1
        return lost, gaps

    def count(self, row: int) -> int:
        """Number of recorded rows before `row`."""
        return sum(b - a for _, _, a, b in self.pieces(self.start, row))

    def arrays(self, at: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
        """Stamps, values, quality of block number `at`, as views into the file."""
        message = self.messages[at]
        return block_arrays(message.buffer[message.start : message.end], self.layouts[at])

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
        """Recorded parts of rows [first, last): block, first row of the part, rows [a, b) of the block."""
        at = max(bisect_right(self.firsts, first) - 1, 0)
        while at < len(self.layouts) and self.firsts[at] < last:
            start = self.firsts[at]
            a, b = max(first - start, 0), min(self.layouts[at].rows, last - start)
            if a < b:
                yield at, start + a, a, b
            at += 1

    def read(self, first: int, last: int, columns: list[int], *, missing_ok: bool = False) -> Samples:
        """Rows [first, last) of some columns, copied into contiguous arrays.

        Raises RecordingError when one of these rows was not recorded, unless `missing_ok`: then they are left
        out.
        """
        n, k = max(last - first, 0), len(columns)
        stamps_s, values, quality = np.empty(n), np.empty((n, k)), np.empty((n, k), dtype=np.uint8)
        every = columns == list(range(len(self.channels)))
        filled = 0
        for at, row, a, b in self.pieces(first, last):
            if row != first + filled and not missing_ok:
                break
            stamps, found, flags = self.arrays(at)
            target = slice(filled, filled + b - a)
            stamps_s[target] = stamps[a:b]
            values[target] = found[a:b] if every else found[a:b, columns]
            quality[target] = flags[a:b] if every else flags[a:b, columns]
            filled += b - a
        if filled < n and not missing_ok:
            raise RecordingError(
                f"group {self.group}: row {first + filled} was not recorded (rows {first} to {last - 1} "
                "are asked for); the segment cannot be evaluated"
            )
        return Samples(stamps_s[:filled], values[:filled], quality[:filled])

    def ages(self, first: int, last: int, columns: list[int]) -> NDArray[np.float32]:
        """Ages of the rows that `read` returns, s, shape (n, k)."""
        parts = [np.zeros((0, len(columns)), np.float32)]
        for at, _, a, b in self.pieces(first, last):
            message = self.messages[at]
            found = block_ages(message.buffer[message.start : message.end], self.layouts[at])
            none = np.zeros((b - a, len(columns)), np.float32)
            parts.append(none if found is None else found[a:b, columns])
        return np.concatenate(parts)

    def first_row_after(self, stamp_s: float) -> int:
        """Number of the first recorded row with a later stamp; `end` when there is none."""
        low, high = 0, len(self.layouts)
        while low < high:
            middle = (low + high) // 2
            stamps = self.arrays(middle)[0]
            if len(stamps) and stamps[-1] > stamp_s:
                high = middle
            else:
                low = middle + 1
        if low == len(self.layouts):
            return self.end
        return self.firsts[low] + int(np.searchsorted(self.arrays(low)[0], stamp_s, side="right"))
