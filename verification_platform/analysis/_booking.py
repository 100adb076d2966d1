"""Complete revolutions: the mean and the width of each, and the sum of all with their means removed."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._quick_estimates import quick_means, quick_means_and_widths
from ._scratch import Scratch
from .fold import Floats, Fold, fold_coefficients, ring_widths, synthesise

#: Bins evaluated at a time: enough to hide the cost of a numpy call, few enough for the second-level cache.
_TOGETHER = 8192
#: With as many, a block's revolutions do not wait for others.
_ENOUGH = 3000
#: Revolutions of a run whose mean and width are found by least squares; the others by one FFT.
_EXACT = 4
#: Batches kept apart before they are joined.
_PARTS = 64


@dataclass(frozen=True, slots=True)
class Booked:
    """Complete revolutions in order, arrays of shape (revolutions,).

    number: counted from the first sample's; mean of y over the angle; peak_to_peak within the band (noise included; NaN
    for very few samples); samples.
    """

    number: NDArray[np.int64]
    mean: Floats
    peak_to_peak: Floats
    samples: NDArray[np.int64]

    def __len__(self) -> int:
        return self.number.size


class Booking:
    """Takes complete revolutions in any order.

    group: samples summed before they were folded; widths: are the peak-to-peak values wanted? They cost more than all the
    rest.
    """

    def __init__(self, bins: int, max_order: int, group: int, *, widths: bool) -> None:
        self.bins, self.max_order, self.group, self.widths = bins, max_order, group, widths
        self._sums = np.zeros((4, bins))
        self._revolutions = 0  # behind these sums
        self._scratch = Scratch()
        self._waiting: list[tuple[NDArray[np.int64], Floats]] = []
        self._bins_waiting = 0
        self._parts: list[Floats] = []  # number, mean, width, samples, each of shape (4, revolutions)

    def add(self, first: int, sums: Floats) -> None:
        """Revolutions first, first + 1 … with sums (4, revolutions, bins), which may change afterwards."""
        number = np.arange(first, first + sums.shape[1])
        if sums[0].size >= _ENOUGH:
            self._evaluate(number, sums)
            return
        self._waiting.append((number, sums.copy()))
        self._bins_waiting += sums[0].size
        if self._bins_waiting >= _TOGETHER:
            self.evaluate()

    @property
    def total(self) -> Fold:
        """All revolutions that were evaluated, each with its mean removed."""
        return Fold(self._sums, self.group, self._revolutions)

    def merge(self, other: Booking) -> None:
        """Add another's revolutions."""
        self._sums += other._sums
        self._revolutions += other._revolutions
        self._parts += other._parts
        self._waiting += other._waiting
        self._bins_waiting += other._bins_waiting

    def copy(self) -> Booking:
        """A copy that may go its own way; what is never changed in place is shared, and so are the buffers."""
        twin = copy.copy(self)
        twin._sums = self._sums.copy()
        twin._waiting, twin._parts = list(self._waiting), list(self._parts)
        return twin

    def booked(self) -> Booked:
        """Of the revolutions evaluated so far."""
        columns = np.concatenate([np.empty((4, 0)), *self._parts], axis=1)
        number, mean, width, samples = columns[:, np.argsort(columns[0])]
        return Booked(number.astype(np.int64), mean, width, samples.astype(np.int64))

    def evaluate(self) -> None:
        """Mean and width of the revolutions that wait."""
        if self._waiting:
            numbers, sums = zip(*self._waiting, strict=True)
            self._waiting, self._bins_waiting = [], 0
            self._evaluate(np.concatenate(numbers), np.concatenate(sums, axis=1))

    def _evaluate(self, number: NDArray[np.int64], sums: Floats) -> None:
        """The first few of a run exactly, the many quickly."""
        quickly = quick_means_and_widths if self.widths else quick_means
        quick = (number >= _EXACT) & (np.minimum.reduce(sums[0], axis=1) > 0)
        out = np.full((4, number.size), np.nan)
        out[0] = number
        out[3] = np.add.reduce(sums[0], axis=1)
        if quick.all():
            quickly(sums, self.group, self.max_order, self._scratch, out)
        elif quick.any():
            part = out[:, quick]
            quickly(sums[:, quick], self.group, self.max_order, self._scratch, part)
            out[:, quick] = part
        for k in np.flatnonzero(~quick).tolist():
            out[1:3, k] = _exactly(Fold(sums[:, k], self.group), self.max_order)
        self._sums += np.ones(number.size) @ sums
        # a ramp from revolution to revolution must not appear as steps where bins are filled unevenly
        self._sums[1] -= out[1] @ sums[0]
        self._revolutions += number.size
        self._parts.append(out)
        if len(self._parts) > _PARTS:
            self._parts = [np.concatenate(self._parts, axis=1)]


def _exactly(fold: Fold, max_order: int) -> tuple[float, float]:
    """Mean and width of one revolution by least squares; for few samples the plain mean and no width."""
    if fold.samples <= 4 * max_order:
        return float(fold.total.sum() / fold.count.sum()), math.nan
    coefficients = fold_coefficients(fold, max_order, 1e-9)
    return float(coefficients[0].real), float(ring_widths(synthesise(coefficients[None], fold.bins))[0])
