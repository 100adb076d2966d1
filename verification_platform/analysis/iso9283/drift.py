"""Drift of pose characteristics from a cold start, and when the measurement may end.

ISO 9283:1998 cl. 7.6; protocol specification ROB-DR. Groups of ten cycles at P1 every ten minutes for up to
eight hours. `DriftWatch` follows the groups while they come, so that the protocol can stop early by rule and
not by impatience.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float, as_block, refuse_not_finite
from ..errors import AnalysisError, NotEnoughDataError

#: Stop rule: this many consecutive rates …
STOP_GROUPS = 5
#: … below this share of the largest rate …
STOP_SHARE = 0.1
#: … of the first part of the measurement, s.
STOP_BASE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Drift:
    """dAP and dRP: largest change of AP and RP from the first group, m; when the stop rule was met, s.

    Times count from the first group. stop: None if the rule was never met. times, accuracy, repeatability:
    the curve, shape (groups,).
    """

    accuracy_drift_m: float
    repeatability_drift_m: float
    stop_s: float | None
    times_s: Float
    accuracy_m: Float
    repeatability_m: Float


class DriftWatch:
    """Follows AP and RP of successive groups.

    >>> watch = DriftWatch()
    >>> for minute in range(0, 490, 10):
    ...     watch.update(60.0 * minute, 1e-4 + 2e-4 * (1 - 2.718281828 ** (-minute / 60)), 2e-5)
    >>> watch.result().stop_s
    11400.0
    """

    def __init__(self) -> None:
        self._times: list[float] = []
        self._accuracy: list[float] = []
        self._repeatability: list[float] = []
        self._stop: float | None = None

    def update(self, time_s: float, accuracy_m: float, repeatability_m: float) -> None:
        """Add AP and RP of the group measured at `time_s`. Raises AnalysisError if time does not advance."""
        row = np.array([time_s, accuracy_m, repeatability_m])
        refuse_not_finite(row, 3 * len(self._times), "drift")
        if self._times and time_s <= self._times[-1]:
            raise AnalysisError(f"group at {time_s} s after one at {self._times[-1]} s")
        self._times.append(float(time_s))
        self._accuracy.append(float(accuracy_m))
        self._repeatability.append(float(repeatability_m))
        if self._stop is None and self._settled():
            self._stop = self._times[-1] - self._times[0]

    @property
    def may_stop(self) -> bool:
        """Has AP come to rest: five rates in a row below 10 % of the largest of the first hour?"""
        return self._stop is not None

    def _settled(self) -> bool:
        times = np.array(self._times)
        ends = times[1:] - times[0]
        if len(ends) < STOP_GROUPS or ends[-1] < STOP_BASE_S:
            return False
        rates = np.abs(np.diff(self._accuracy) / np.diff(times))
        base = rates[ends <= STOP_BASE_S]
        # without a group in the first hour there is nothing to compare with
        return bool(base.size and np.all(rates[-STOP_GROUPS:] < STOP_SHARE * base.max()))

    def merge(self, other: DriftWatch) -> None:
        """Append the groups of a watch that continues this one."""
        groups = zip(other._times, other._accuracy, other._repeatability, strict=True)
        for time_s, accuracy_m, repeatability_m in groups:
            self.update(time_s, accuracy_m, repeatability_m)

    def result(self) -> Drift:
        """Raises NotEnoughDataError below two groups."""
        if len(self._times) < 2:
            raise NotEnoughDataError("drift needs two groups or more")
        accuracy, repeatability = np.array(self._accuracy), np.array(self._repeatability)
        return Drift(
            accuracy_drift_m=float(np.abs(accuracy - accuracy[0]).max()),
            repeatability_drift_m=float(np.abs(repeatability - repeatability[0]).max()),
            stop_s=self._stop,
            times_s=np.array(self._times) - self._times[0],
            accuracy_m=accuracy,
            repeatability_m=repeatability,
        )


def drift(times_s: ArrayLike, accuracy_m: ArrayLike, repeatability_m: Sequence[float] | ArrayLike) -> Drift:
    """`DriftWatch` of groups that are in memory, shapes (groups,)."""
    columns = (as_block(times_s), as_block(accuracy_m), as_block(repeatability_m))
    if len({len(c) for c in columns}) != 1:
        raise AnalysisError("times, AP and RP of the groups differ in number")
    watch = DriftWatch()
    for t, ap, rp in zip(*columns, strict=True):
        watch.update(float(t), float(ap), float(rp))
    return watch.result()
