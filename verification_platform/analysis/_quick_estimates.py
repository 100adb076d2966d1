"""Mean and width of one revolution without solving for it: a local correction of the bin means, then one FFT.

The mean of a bin's samples is not the value at the bin's centre: the samples lie about another place, and spread over a
width that differs from bin to bin. Both are corrected with polynomials through neighbouring bins; what the spread costs on
average is corrected in the spectrum. For revolutions without empty bins.
"""

from __future__ import annotations

import numpy as np

from ._scratch import Scratch
from .fold import Floats, Fold, ring_widths, variance_within

_PAD = 2  # neighbours on either side that a bin's correction needs
#: Least distance of two neighbouring places, in bins, and least divisor of a second difference; noise may bring less.
_LEAST_STEP, _LEAST_DIVISOR = 0.2, 0.5


def quick_means(sums: Floats, group: int, max_order: int, scratch: Scratch, out: Floats) -> None:
    """Means of revolutions, sums (4, revolutions, bins) as in `Fold`, into out[1]."""
    shape = sums.shape[1:]
    place = np.divide(sums[2], sums[0], out=scratch("place", *shape))
    mean = np.divide(sums[1], sums[0], out=scratch("mean", *shape))
    rise = scratch("slope", *shape)
    # rows in one go, and their ends anew
    np.subtract(mean.reshape(-1)[2:], mean.reshape(-1)[:-2], out=rise.reshape(-1)[1:-1])
    np.subtract(mean[:, 1], mean[:, -1], out=rise[:, 0])
    np.subtract(mean[:, 0], mean[:, -2], out=rise[:, -1])
    # where the samples of a bin do not lie about its centre, the slope times the distance is taken off
    out[1] = (np.add.reduce(mean, axis=1) - 0.5 * np.vecdot(place, rise)) / shape[1]


def quick_means_and_widths(sums: Floats, group: int, max_order: int, scratch: Scratch, out: Floats) -> None:
    """Means and widths of revolutions, sums (4, revolutions, bins) as in `Fold`, samples out[3], into out[1] and out[2].

    Error of the curve below 5e-3 of an amplitude at 8 bins a cycle, 2e-3 at 10, 3e-4 at 20.
    """
    revolutions, bins = shape = sums.shape[1:]
    inner = slice(_PAD, -_PAD)
    mean, place, variance = (scratch(f"{name} ring", revolutions, bins + 2 * _PAD) for name in "yxv")
    np.divide(sums[1], sums[0], out=mean[:, inner])
    where = np.divide(sums[2], sums[0], out=scratch("step", *shape))
    place[:, inner] = where
    where *= where
    spread = np.divide(sums[3], sums[0], out=scratch("slope", *shape))
    spread -= where
    average = np.add.reduce(spread, axis=1) / bins
    np.subtract(spread, average[:, None], out=variance[:, inner])
    for ring in (mean, place, variance):
        ring[:, :_PAD], ring[:, -_PAD:] = ring[:, -2 * _PAD : -_PAD], ring[:, _PAD : 2 * _PAD]
    half = scratch("spectrum", revolutions, bins + 2).view(np.complex128)
    np.fft.rfft(_centred(mean, place, variance, scratch), axis=-1, out=half)
    out[1] = half[:, 0].real / bins
    within = np.minimum(variance_within(group, group * bins / out[3]), average)
    # mean of e^{jqδ} over places of this variance, as in `fold`, to the fourth power of the angle between bins
    fourth = 1.8 * average**2 + 2.4 * within * (average - within)
    angle = np.arange(max_order + 1) * (2 * np.pi / bins)
    passed = 1 - np.outer(average / 2, angle**2) + np.outer(fourth / 24, angle**4)
    half[:, : max_order + 1] *= 1 / passed
    half[:, max_order + 1 :] = 0.0
    out[2] = ring_widths(np.fft.irfft(half, bins, axis=-1, out=scratch("values", revolutions, bins)))


def centred(fold: Fold) -> Floats:
    """Values at the centres of neighbouring bins, none empty, from their means: (bins,).

    The outermost means are kept as they are.
    """
    mean, place = fold.total / fold.count, fold.first / fold.count
    variance = fold.second / fold.count - place * place
    values = mean.copy()
    values[_PAD:-_PAD] = _centred(mean[None], place[None], variance[None], Scratch())[0]
    return values


def _centred(mean: Floats, place: Floats, variance: Floats, scratch: Scratch) -> Floats:
    """Values at the inner bins' centres (k, n − 4) from means, mean places and variances of places, each (k, n).

    A parabola whose mean over each of three neighbouring bins is that bin's: the mean of (x − x₀)² over a bin is the square
    of its mean place plus its variance. Then the term of third order, x³ − x with evenly spaced neighbours. Variances may
    be counted from any value: its effect, the same in all bins, stays in.
    """
    # all rows in one go: what comes of the seams between them is left out at the end
    y, x, v, size = mean.reshape(-1), place.reshape(-1), variance.reshape(-1), mean.size
    # from each bin to the next: distance of the places, first differences of the means and of the variances
    before = np.subtract(x, 1.0, out=scratch("before", size))
    step = np.subtract(x[1:], before[:-1], out=scratch("step", size - 1))
    np.maximum(step, _LEAST_STEP, out=step)
    slope = np.subtract(y[1:], y[:-1], out=scratch("slope", size - 1))
    slope /= step
    tilt = np.subtract(v[1:], v[:-1], out=scratch("tilt", size - 1))
    tilt /= step
    divisor = np.add(step[1:], step[:-1], out=scratch("divisor", size - 2))
    divisor += np.subtract(tilt[1:], tilt[:-1], out=step[1:])
    np.maximum(divisor, _LEAST_DIVISOR, out=divisor)
    bend = np.subtract(slope[1:], slope[:-1], out=scratch("bend", size - 2))
    bend /= divisor
    # Newton's form at the centre: y − x·(slope − bend·(place before + tilt) − third derivative/6) − bend·variance
    third = np.subtract(bend[2:], bend[:-2], out=divisor[2:])
    third *= 1 / 6
    inside = np.add(before[1:-3], tilt[1:-2], out=before[1:-3])
    inside *= bend[1:-1]
    inside += third
    inside -= slope[1:-2]
    inside *= x[2:-2]
    inside += y[2:-2]
    bend *= v[1:-1]
    values = scratch("values", size)
    np.subtract(inside, bend[1:-1], out=values[2:-2])
    return values.reshape(mean.shape)[:, _PAD:-_PAD]
