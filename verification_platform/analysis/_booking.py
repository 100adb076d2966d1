"""Complete revolutions: the mean and the width of each, and the sum of all with their means removed."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._scratch import Scratch
from .fold import Floats, Fold, fold_harmonics, ring_widths, synthesise

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

    widths: are the peak-to-peak values wanted? They cost more than all the rest. `total`: Fold of all revolutions that
    were evaluated, each with its mean removed.
    """

    def __init__(self, bins: int, max_order: int, *, widths: bool) -> None:
        self.max_order, self.widths = max_order, widths
        self.total = Fold.empty(bins)
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

    def merge(self, other: Booking) -> None:
        """Add another's revolutions."""
        self.total.add(other.total)
        self._parts += other._parts
        self._waiting += other._waiting
        self._bins_waiting += other._bins_waiting

    def copy(self) -> Booking:
        """A copy that may go its own way; what is never changed in place is shared."""
        twin = copy.copy(self)
        twin.total = Fold(self.total.sums.copy())
        twin._scratch = Scratch()
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
        quickly = _quick_means_and_widths if self.widths else _quick_means
        quick = (number >= _EXACT) & (np.minimum.reduce(sums[0], axis=1) > 0)
        out = np.full((4, number.size), np.nan)
        out[0] = number
        if quick.all():
            quickly(sums, self.max_order, self._scratch, out)
        elif quick.any():
            part = np.empty((4, np.count_nonzero(quick)))
            quickly(sums[:, quick], self.max_order, self._scratch, part)
            out[1:3, quick] = part[1:3]
        for k in np.flatnonzero(~quick).tolist():
            out[1:3, k] = _exactly(Fold(sums[:, k]), self.max_order)
        out[3] = np.add.reduce(sums[0], axis=1)
        self.total.sums += np.ones(number.size) @ sums
        # a ramp from revolution to revolution must not appear as steps where bins are filled unevenly
        self.total.sums[1] -= out[1] @ sums[0]
        self._parts.append(out)
        if len(self._parts) > _PARTS:
            self._parts = [np.concatenate(self._parts, axis=1)]


def _exactly(fold: Fold, max_order: int) -> tuple[float, float]:
    """Mean and width of one revolution by least squares; for few samples the plain mean and no width."""
    if fold.samples <= 4 * max_order:
        return float(fold.total.sum() / fold.count.sum()), math.nan
    coefficients = fold_harmonics(fold, max_order, 1e-9).coefficients
    return float(coefficients[0].real), float(ring_widths(synthesise(coefficients[None], fold.bins))[0])


def _quick_means(sums: Floats, max_order: int, scratch: Scratch, out: Floats) -> None:
    """Means of revolutions without empty bins, sums (4, revolutions, bins), into out[1]."""
    shape = sums.shape[1:]
    inverse = np.divide(1.0, sums[0], out=scratch("step", *shape))
    place = np.multiply(sums[2], inverse, out=scratch("place", *shape))
    mean = np.multiply(sums[1], inverse, out=inverse)
    rise = scratch("slope", *shape)
    # rows in one go, and their ends anew
    np.subtract(mean.reshape(-1)[2:], mean.reshape(-1)[:-2], out=rise.reshape(-1)[1:-1])
    np.subtract(mean[:, 1], mean[:, -1], out=rise[:, 0])
    np.subtract(mean[:, 0], mean[:, -2], out=rise[:, -1])
    # where the samples of a bin do not lie about its centre, the slope times the distance is taken off
    out[1] = (np.add.reduce(mean, axis=1) - 0.5 * np.vecdot(place, rise)) / shape[1]


def _quick_means_and_widths(sums: Floats, max_order: int, scratch: Scratch, out: Floats) -> None:
    """Means and widths of revolutions without empty bins, sums (4, revolutions, bins), into out[1] and out[2].

    By one FFT each: the attenuation of the spread within a bin is corrected on average, error below 1e-3 of an amplitude.
    """
    revolutions, bins = shape = sums.shape[1:]
    inverse = np.divide(1.0, sums[0], out=scratch("inverse", *shape))
    mean, place = scratch("y ring", revolutions, bins + 2), scratch("x ring", revolutions, bins + 2)
    np.multiply(sums[1], inverse, out=mean[:, 1:-1])
    np.multiply(sums[2], inverse, out=place[:, 1:-1])
    for ring in (mean, place):
        ring[:, 0], ring[:, -1] = ring[:, -2], ring[:, 1]
    between = np.vecdot(sums[2], place[:, 1:-1])
    variance = (np.add.reduce(sums[3], axis=1) - between) / np.add.reduce(sums[0], axis=1)
    half = scratch("spectrum", revolutions, bins + 2).view(np.complex128)
    np.fft.rfft(_centred(mean, place, scratch), axis=-1, out=half)
    out[1] = half[:, 0].real / bins
    x = (np.arange(max_order + 1) * (2 * np.pi / bins)) ** 2 * variance[:, None]
    half[:, : max_order + 1] /= 1 - x / 2 * (1 - 0.15 * x)
    half[:, max_order + 1 :] = 0.0
    out[2] = ring_widths(np.fft.irfft(half, bins, axis=-1, out=scratch("values", revolutions, bins)))


def centred(mean: Floats, place: Floats) -> Floats:
    """Values at bin centres from the means of neighbouring bins and their mean places −½ … ½, both (bins,), none empty.

    A parabola through three neighbouring means; the outermost means are kept as they are.
    """
    values = mean.copy()
    values[1:-1] = _centred(mean[None], place[None], Scratch())[0]
    return values


def _centred(mean: Floats, place: Floats, scratch: Scratch) -> Floats:
    """Values at the inner bins' centres (k, n − 2) by parabolas, from means and mean places (k, n)."""
    # all rows in one go: what comes of the seams between them is left out at the end
    y, x, size = mean.reshape(-1), place.reshape(-1), mean.size
    # distance from each place to the next, and to the one after it, in bins
    step = np.subtract(x[1:], x[:-1], out=scratch("step", size - 1))
    step += 1.0
    slope = np.subtract(y[1:], y[:-1], out=scratch("slope", size - 1))
    slope /= step
    # Newton's form at the centre: y₀ − δ₀·(slope + second difference·(distance to the place before))
    values = scratch("values", size)
    bend = np.subtract(slope[1:], slope[:-1], out=values[1:-1])
    two = np.add(step[1:], step[:-1], out=scratch("two steps", size - 2))
    bend /= two
    before = np.subtract(1.0, x[:-2], out=two)
    bend *= before
    bend += slope[:-1]
    bend *= x[1:-1]
    np.subtract(y[1:-1], bend, out=bend)
    return values.reshape(mean.shape)[:, 1:-1]
