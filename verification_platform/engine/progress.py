"""How far a run has come, told ten times a second at most to whoever wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .protocol import Text

_PROGRESS_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run stands: what it does now, fraction done, expected time left, s, and live values in SI."""

    phase: Text
    fraction: float
    remaining_s: float
    live: Mapping[str, float] = field(default_factory=dict)


class ProgressMeter:
    """Sets the bench's clock against the durations that the dry run expects of the top-level steps.

    `phase` is what the run does now. Without a listener nothing is told.
    """

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self.phase = Text("准备", "preparing")
        self._on_progress = on_progress
        self._durations_s: Sequence[float] = ()
        self._done_s, self._step_s, self._step_t0_s = 0.0, 0.0, 0.0
        self._next = 0.0

    def expect(self, durations_s: Sequence[float]) -> None:
        """How long every top-level step will take, s."""
        self._durations_s = durations_s

    def begin(self, index: int, now_s: float, phase: Text) -> None:
        """Step `index` begins at `now_s` of the bench's clock."""
        self._step_s, self._step_t0_s, self.phase = self._expected_s(index), now_s, phase

    def end(self, index: int) -> None:
        """Step `index` is done, or was before an interruption."""
        self._done_s += self._expected_s(index)
        self._step_s = 0.0

    def tell(self, now_s: float, live: Mapping[str, float]) -> None:
        """Tell, unless that was done a moment ago."""
        if self._on_progress is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PROGRESS_EVERY_S
        total_s = sum(self._durations_s) or 1.0
        done_s = min(self._done_s + min(now_s - self._step_t0_s, self._step_s), total_s)
        self._on_progress(Progress(self.phase, done_s / total_s, total_s - done_s, dict(live)))

    def finish(self, live: Mapping[str, float]) -> None:
        """Tell that the procedure was done to its end."""
        if self._on_progress is not None:
            self._on_progress(Progress(Text("完成", "done"), 1.0, 0.0, dict(live)))

    def _expected_s(self, index: int) -> float:
        return self._durations_s[index] if index < len(self._durations_s) else 0.0
