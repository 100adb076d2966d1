"""A block of samples to sums per angle bin and period: the inner loop of `Revolutions`.

Every pass over the samples costs what a pass over memory costs, so they are summed in groups first, the passes over the
groups work in place, and the factors that all groups share are applied to the bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._scratch import Scratch
from .blocks import refuse_not_finite
from .fold import Floats
from .grouping import group_sums
from .samples import CoverageError

#: Periods a block may reach over, unless it has many groups in each: more means that θ jumped.
_PERIODS = 64
#: A double of this size holds whole numbers in its last bits: quicker than a conversion.
_WHOLE = 2.0**52
_WHOLE_BITS = int(np.float64(_WHOLE).view(np.int64))
_NONE = np.empty(0, np.intp)
#: Bins that a group may reach over: with less than one, no bin is passed over.
_WIDEST = 0.95


@dataclass(frozen=True, slots=True)
class Frame:
    """What makes places and values of samples: α = direction·(θ − θ₀)/period, y = scale·(x − x₀) + slope·(θ − θ₀)."""

    origin: tuple[float, float]
    direction: int
    period: float
    scale: float
    slope: float
    bins: int
    names: tuple[str, str]

    def place(self, theta: float) -> float:
        """α of one θ, in periods."""
        return (theta - self.origin[0]) * (self.direction / self.period)


class PeriodSums:
    """Folds block after block; holds the buffers for it."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._scratch = Scratch()

    def __call__(self, theta: Floats, x: Floats, group: int, index: int) -> tuple[int, Floats, float]:
        """First period k, sums (4, periods, bins) over the periods k, k + 1 … as in `Fold`, widest step in periods.

        theta, x: consecutive samples, shapes (n·group,), the first of them sample `index` of the run. The step is from
        group to group, and 0 where none leaves a bin empty. Groups that a faster motion stretched over more than a bin
        and a half are folded singly. The sums are valid until the next call. Raises NotFiniteError, and CoverageError
        where θ jumps.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            first, sums = self._folded(theta, x, group)
            if sums.size == 0 or not math.isfinite(float(np.add.reduce(sums[1]))):
                refuse_not_finite(theta, index, self.frame.names[0])
                refuse_not_finite(x, index, self.frame.names[1])
        bins = self.frame.bins
        if sums.size == 0:
            raise CoverageError(
                f"{self.frame.names[0]}: too few samples for the periods they reach over, sample faster or turn slower"
            )
        return first, sums.reshape(4, -1, bins), self._widest(theta, group, sums[0])

    def _widest(self, theta: Floats, group: int, count: Floats) -> float:
        """Widest step from group to group, in periods; 0 where none leaves a bin empty."""
        occupied = count > 0
        if np.count_nonzero(occupied) == count.size - occupied.argmax() - occupied[::-1].argmax():
            return 0.0
        place = group_sums(theta, group)
        steps = (place[1:] - place[:-1]) * (self.frame.direction / (self.frame.period * group))
        return float(np.maximum.reduce(steps, initial=0.0))

    def _folded(self, theta: Floats, x: Floats, group: int) -> tuple[int, Floats]:
        """First period and sums (4, periods·bins); no sums where θ is no angle."""
        place, y, spread = self._sum(theta, x, group)
        wide = _NONE if spread is None else self._too_wide(spread, group)
        if spread is None or wide.size == 0:
            return self._binned(place, y, spread, group)
        if wide.size == place.size:
            return self._folded(theta, x, _divisor(group))
        narrow = [np.delete(column, wide) for column in (place, y, spread)]
        first, sums = self._binned(narrow[0], narrow[1], narrow[2], group)
        kept = first, sums.copy()
        cut = [column.reshape(-1, group)[wide].ravel() for column in (theta, x)]
        return _joined(kept, self._folded(cut[0], cut[1], _divisor(group)), self.frame.bins)

    def _sum(self, theta: Floats, x: Floats, group: int) -> tuple[Floats, Floats, Floats | None]:
        """Mean place of every group in bins, its Σy, and the variance of the places in it, in bins² (none of single samples)."""
        frame, n = self.frame, theta.size // group
        bins = frame.direction * frame.bins / frame.period  # per rad
        place = group_sums(theta, group, self._scratch("place", n), bins / group)
        place -= bins * frame.origin[0]
        y = group_sums(x, group, self._scratch("y", n), frame.scale)
        y -= frame.scale * group * frame.origin[1]
        if frame.slope:
            y += np.multiply(place, frame.slope * group / bins, out=self._scratch("spread", n))
        if group == 1:
            return place, y, None
        spread = np.subtract(theta[group - 1 :: group], theta[::group], out=self._scratch("spread", n))
        spread *= spread
        # of places that lie evenly from the first to the last
        spread *= (group + 1) / (group - 1) / 12 * bins**2
        return place, y, spread

    def _too_wide(self, spread: Floats, group: int) -> NDArray[np.intp]:
        """The groups that reach over more than `_WIDEST` bins, from the variance of the places in each."""
        limit = _WIDEST**2 * (1 - 1 / group**2) / 12
        return np.flatnonzero(spread > limit) if np.maximum.reduce(spread) > limit else _NONE

    def _binned(self, place: Floats, y: Floats, spread: Floats | None, group: int) -> tuple[int, Floats]:
        """First period and sums (4, periods·bins) of groups at mean places (in bins, overwritten)."""
        bins = self.frame.bins
        floor = np.floor(place, out=self._scratch("floor", place.size))
        place -= floor
        place -= 0.5
        low, high = float(np.minimum.reduce(floor)) / bins, float(np.maximum.reduce(floor)) / bins
        if not high - low <= max(_PERIODS, 8 * place.size // bins):
            return 0, np.empty((4, 0))
        first, periods = math.floor(low), math.floor(high) - math.floor(low) + 1
        floor += _WHOLE - first * bins
        index = floor.view(np.int64)
        index -= _WHOLE_BITS
        second = np.multiply(place, place, out=self._scratch("second", place.size))
        if spread is not None:
            second += spread
        sums = self._scratch("sums", 4, periods * bins)
        sums.fill(0.0)
        # as np.bincount does, but without fresh arrays
        np.add.at(sums[0], index, float(group))
        for row, weight in zip(sums[1:], (y, place, second), strict=True):
            np.add.at(row, index, weight)
        sums[2:] *= group
        return first, sums


def _joined(a: tuple[int, Floats], b: tuple[int, Floats], bins: int) -> tuple[int, Floats]:
    """The sum of two of what `_binned` gives."""
    if not (a[1].size and b[1].size):
        return 0, np.empty((4, 0))
    first = min(a[0], b[0])
    out = np.zeros((4, max(start * bins + sums.shape[1] for start, sums in (a, b)) - first * bins))
    for start, sums in (a, b):
        at = (start - first) * bins
        out[:, at : at + sums.shape[1]] += sums
    return first, out


def _divisor(group: int) -> int:
    """The largest number below that a group is a multiple of."""
    return next(group // k for k in range(2, group + 1) if group % k == 0)
