"""Counting starts and stops of an endurance run (SRV-END): a comparator with hysteresis on the mean speed.

A half cycle begins when the speed, averaged over five samples, has left the band |n| < 1 % of rated speed and
exceeds 10 %; the next one can only begin after a return to the band, or on the other side of zero. Noise and
wiggles between the thresholds count nothing. Streaming and mergeable: any partition gives the same counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Float, as_block, pieces
from .errors import AnalysisError, NotMergeableError

_REST = 0


@dataclass(frozen=True, slots=True)
class StartStopCount:
    """positive, negative: half cycles begun in each direction. moving: whether the last one is still going on."""

    positive: int
    negative: int
    moving: bool

    @property
    def half_cycles(self) -> int:
        return self.positive + self.negative

    @property
    def cycles(self) -> int:
        """Pairs of half cycles in both directions."""
        return min(self.positive, self.negative)


class StartStopCounter:
    """Accumulator: `update(speed)`, `merge(later)`, `result()`.

    rated_speed in the unit of the speeds; rest, start: thresholds as shares of it; samples: length of the mean.
    A motion that is under way at the first sample is not a start.
    """

    def __init__(
        self, rated_speed: float, *, rest: float = 0.01, start: float = 0.10, samples: int = 5
    ) -> None:
        if not rated_speed > 0:
            raise AnalysisError(f"start–stop: rated speed must be positive, not {rated_speed}")
        if not 0 < rest < start:
            raise AnalysisError(f"start–stop: 0 < rest < start is needed, not {rest}, {start}")
        if samples < 1:
            raise AnalysisError(f"start–stop: a mean of {samples} samples")
        self.rated_speed, self.rest, self.start, self.samples = rated_speed, rest, start, samples
        self.n = 0
        self._counts = {1: 0, -1: 0}
        self._first: int | None = None  # first and last state that was certain: −1, 0 or 1
        self._last: int | None = None
        self._head: Float = np.empty(0)  # the first and the last samples − 1 speeds, for means across a seam
        self._tail: Float = np.empty(0)

    def update(self, speed: ArrayLike) -> None:
        """Speeds (n,). Raises NotFiniteError for NaN or infinity."""
        for piece in pieces(as_block(speed, "speed"), self.n, "speed"):
            self._add(piece)

    def merge(self, later: StartStopCounter) -> None:
        """Append the counts of the piece that follows. `later` is left as it was."""
        if self._settings() != later._settings():
            raise NotMergeableError("start–stop: different thresholds")
        if later.n < self.samples:
            self._add(later._head[: later.n] if self.samples > 1 else later._head)
            return
        keep = self.samples - 1
        if self.n == 0:
            self._head = later._head.copy()
        else:
            self._add(later._head)
            self.n -= len(later._head)
        self._states(np.array([] if later._first is None else [later._first], dtype=np.int8))
        for sign in (1, -1):
            self._counts[sign] += later._counts[sign]
        if later._last is not None:
            self._last = later._last
        self._tail = later._tail[len(later._tail) - keep :].copy()
        self.n += later.n

    def result(self) -> StartStopCount:
        return StartStopCount(self._counts[1], self._counts[-1], self._last not in (None, _REST))

    def _settings(self) -> tuple[float, ...]:
        return self.rated_speed, self.rest, self.start, self.samples

    def _add(self, piece: Float) -> None:
        keep = self.samples - 1
        if len(self._head) < keep:
            self._head = np.append(self._head, piece[: keep - len(self._head)])
        joined = np.append(self._tail, piece)
        self.n += len(piece)
        self._tail = joined[max(len(joined) - keep, 0) :].copy()
        count = len(joined) - keep
        if count < 1:
            return
        mean = joined[:count].copy()
        for shift in range(1, self.samples):
            mean += joined[shift : shift + count]
        mean /= self.samples * self.rated_speed
        state = np.zeros(count, dtype=np.int8)
        state[mean > self.start] = 1
        state[mean < -self.start] = -1
        certain = np.flatnonzero((state != 0) | (np.abs(mean) < self.rest))
        self._states(state[certain])

    def _states(self, states: NDArray[np.int8]) -> None:
        """Count the changes into motion in a series of certain states."""
        if not len(states):
            return
        if self._last is None:
            self._first = self._last = int(states[0])
        series = np.concatenate((np.array([self._last], dtype=np.int8), states))
        begun = series[1:][series[1:] != series[:-1]]
        self._counts[1] += int(np.count_nonzero(begun == 1))
        self._counts[-1] += int(np.count_nonzero(begun == -1))
        self._last = int(states[-1])


def count_start_stop(speed: ArrayLike, rated_speed: float) -> StartStopCount:
    """One-call form of `StartStopCounter` with the thresholds of the specification."""
    counter = StartStopCounter(rated_speed)
    counter.update(speed)
    return counter.result()
