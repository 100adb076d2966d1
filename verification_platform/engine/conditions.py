"""Conditions on the stream: what turns a `Condition` value into the instant at which it became true.

An evaluator sees blocks as they arrive and keeps a bounded state. The instant it reports is the stamp of the
sample that decided (for `Seconds` the bench clock), never the moment at which the engine happened to look; so
the end of a recorded segment does not depend on how the stream was cut into blocks.

Only samples of quality GOOD count: a stale value is no evidence that anything was reached.

>>> evaluator = start(Seconds(2.0), t0_s=10.0)
>>> evaluator.tick(11.0); evaluator.met_s
>>> evaluator.tick(12.5); evaluator.met_s
12.0
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drivers.device import Block, Quality

from .steps import Above, AllOf, AnyOf, Below, Condition, Near, Seconds, Steady, Turns

#: How long a condition that gives no hint of its own is left alone between two looks on virtual time.
_DEFAULT_HORIZON_S = 0.05


class Evaluator(ABC):
    """State of one condition.

    `met_s` is the stamp at which it first held, `since_s` the stamp since which it holds without a break
    (None: it does not hold now). Conditions on a passed amount (`Seconds`, `Turns`) stay true once met."""

    def __init__(self) -> None:
        self.met_s: float | None = None
        self.since_s: float | None = None

    @abstractmethod
    def update(self, block: Block) -> None:
        """Take the samples of one block; blocks of a group come in order."""

    def tick(self, now_s: float) -> None:  # noqa: B027 - most conditions do not depend on the clock
        """The bench's clock has reached `now_s`."""

    def horizon_s(self, now_s: float) -> float:
        """Bench time for which nobody needs to look, a hint to keep virtual time cheap."""
        return _DEFAULT_HORIZON_S

    @abstractmethod
    def channels(self) -> frozenset[str]:
        """Channels it needs to see."""

    def _hold(self, stamp_s: float) -> None:
        if self.since_s is None:
            self.since_s = stamp_s
        if self.met_s is None:
            self.met_s = stamp_s


def start(condition: Condition, t0_s: float) -> Evaluator:
    """Begin to evaluate `condition` at bench time `t0_s`; samples stamped then or earlier are ignored.

    Raises TypeError for a condition this engine does not know.
    """
    match condition:
        case AllOf(parts):
            return _All([start(part, t0_s) for part in parts])
        case AnyOf(parts):
            return _Any([start(part, t0_s) for part in parts])
        case Seconds(duration_s):
            return _Seconds(t0_s + duration_s)
        case Turns(channel, turns):
            return _Turns(channel, turns, t0_s)
        case Above(channel, value):
            return _Level(channel, value, math.inf, 0.0, t0_s)
        case Below(channel, value):
            return _Level(channel, -math.inf, value, 0.0, t0_s)
        case Near(channel, value, tolerance, hold_s):
            return _Level(channel, value - tolerance, value + tolerance, hold_s, t0_s)
        case Steady():
            return _Steady(condition, t0_s)
    raise TypeError(f"condition {condition!r} is not known to the engine")


def channels_of(condition: Condition) -> frozenset[str]:
    """Channels a condition looks at."""
    return start(condition, 0.0).channels()


class _Seconds(Evaluator):
    def __init__(self, end_s: float) -> None:
        super().__init__()
        self._end_s = end_s

    def update(self, block: Block) -> None:
        return

    def tick(self, now_s: float) -> None:
        if now_s >= self._end_s:
            self._hold(self._end_s)

    def horizon_s(self, now_s: float) -> float:
        return max(self._end_s - now_s, 0.0)

    def channels(self) -> frozenset[str]:
        return frozenset()


class _OnChannel(Evaluator):
    """A condition on one channel: hands on the GOOD samples that were stamped after the step began."""

    def __init__(self, channel: str, t0_s: float) -> None:
        super().__init__()
        self._channel, self._t0_s = channel, t0_s

    def channels(self) -> frozenset[str]:
        return frozenset((self._channel,))

    def update(self, block: Block) -> None:
        if self._channel not in block.channels:
            return
        column = block.channels.index(self._channel)
        use = (block.stamps_s > self._t0_s) & (block.quality[:, column] == Quality.GOOD)
        rows = np.flatnonzero(use)
        if rows.size:
            self._samples(block.stamps_s[rows], block.values[rows, column])

    @abstractmethod
    def _samples(self, stamps_s: NDArray[np.float64], values: NDArray[np.float64]) -> None: ...


class _Turns(_OnChannel):
    """Net rotation either way, on the unwrapped angle.

    A single-turn encoder jumps by 2π once a revolution: a step of more than half a turn between two samples
    is taken as such a jump. A shaft that really turns more than half a revolution between two samples cannot
    be counted."""

    def __init__(self, channel: str, turns: float, t0_s: float) -> None:
        super().__init__(channel, t0_s)
        self._goal = 2 * math.pi * abs(turns)
        self._last: float | None = None
        self._moved = 0.0
        self._first_s = self._last_s = 0.0

    def _samples(self, stamps_s: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        if self._last is None:
            self._last, self._first_s = float(values[0]), float(stamps_s[0])
        steps = np.diff(values, prepend=self._last)
        steps -= 2 * math.pi * np.round(steps / (2 * math.pi))
        moved = self._moved + np.cumsum(steps)
        self._last, self._moved, self._last_s = float(values[-1]), float(moved[-1]), float(stamps_s[-1])
        if self.met_s is None:
            reached = np.flatnonzero(np.abs(moved) >= self._goal)
            if reached.size:
                self._hold(float(stamps_s[reached[0]]))

    def horizon_s(self, now_s: float) -> float:
        elapsed = self._last_s - self._first_s
        if elapsed <= 0 or self._moved == 0:
            return _DEFAULT_HORIZON_S
        left_s = (self._goal - abs(self._moved)) / abs(self._moved) * elapsed - (now_s - self._last_s)
        return max(0.9 * left_s, _DEFAULT_HORIZON_S)


class _Level(_OnChannel):
    """Inside [low, high] without a break for `hold_s`."""

    def __init__(self, channel: str, low: float, high: float, hold_s: float, t0_s: float) -> None:
        super().__init__(channel, t0_s)
        self._low, self._high, self._hold_s = low, high, hold_s
        self._entered_s: float | None = None

    def _samples(self, stamps_s: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        inside = (values >= self._low) & (values <= self._high)
        was_inside = np.array([self._entered_s is not None])
        changes = np.flatnonzero(np.diff(np.concatenate((was_inside, inside))))
        edges = [0, *(int(change) for change in changes if change), len(values)]
        for begin, end in pairwise(edges):  # runs of equal state, in order of time
            if not inside[begin]:
                self._entered_s = self.since_s = None
                continue
            if self._entered_s is None:
                self._entered_s = float(stamps_s[begin])
            if stamps_s[end - 1] - self._entered_s >= self._hold_s:
                self._hold(self._entered_s + self._hold_s)


class _Steady(_OnChannel):
    """Means of two successive windows differ by less than the rate; windows follow each other without
    overlap."""

    def __init__(self, condition: Steady, t0_s: float) -> None:
        super().__init__(condition.channel, t0_s)
        if not condition.window_s > 0:
            raise ValueError(f"Steady on {condition.channel}: window_s must be positive")
        self._condition = condition
        self._end_s = t0_s + condition.window_s
        self._sum, self._count = 0.0, 0
        self._previous: float | None = None

    def _samples(self, stamps_s: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        begin = 0
        while begin < len(stamps_s):
            stop = begin + int(np.searchsorted(stamps_s[begin:], self._end_s, side="left"))
            self._sum += float(values[begin:stop].sum())
            self._count += stop - begin
            if stop == len(stamps_s):
                return
            self._close_window()
            begin = stop

    def _close_window(self) -> None:
        window_s = self._condition.window_s
        mean = self._sum / self._count if self._count else None
        if mean is not None and self._previous is not None:
            scale = abs(mean) if self._condition.relative else 1.0
            if abs(mean - self._previous) < self._condition.rate * scale * window_s:
                self._hold(self._end_s)
            else:
                self.since_s = None
        else:
            self.since_s = None
        self._previous, self._sum, self._count = mean, 0.0, 0
        self._end_s += window_s

    def horizon_s(self, now_s: float) -> float:
        return max(self._end_s - now_s, _DEFAULT_HORIZON_S)


class _Group(Evaluator):
    def __init__(self, parts: list[Evaluator]) -> None:
        super().__init__()
        self._parts = parts

    def update(self, block: Block) -> None:
        for part in self._parts:
            part.update(block)
        self._combine()

    def tick(self, now_s: float) -> None:
        for part in self._parts:
            part.tick(now_s)
        self._combine()

    @abstractmethod
    def _combine(self) -> None: ...

    def channels(self) -> frozenset[str]:
        return frozenset().union(*(part.channels() for part in self._parts))


class _All(_Group):
    """All parts hold together at the end of a block; true since the last of them."""

    def _combine(self) -> None:
        stamps = [part.since_s for part in self._parts]
        known = [stamp for stamp in stamps if stamp is not None]
        if len(known) == len(stamps):
            self._hold(max(known))
        else:
            self.since_s = None

    def horizon_s(self, now_s: float) -> float:
        waiting = [part.horizon_s(now_s) for part in self._parts if part.since_s is None]
        return max(waiting, default=0.0)


class _Any(_Group):
    """True as soon as one part was."""

    def _combine(self) -> None:
        met = [part.met_s for part in self._parts if part.met_s is not None]
        if met:
            self._hold(min(met))

    def horizon_s(self, now_s: float) -> float:
        return min(part.horizon_s(now_s) for part in self._parts)
