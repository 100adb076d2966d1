"""Folding a signal onto one period of an angle, and the harmonics of what was folded.

The core of the time-synchronous average and of the transmission error. Samples fall into equal angle bins;
each bin keeps the number of samples, their sum and the first two moments of *where in the bin* they lay.
The harmonics are then found by least squares on the bin means, with the bin's own mean of e^{jqθ} in place
of e^{jqθ_centre}:

* sampling commensurate with the rotation leaves some bins empty and others crowded: a plain FFT of the bins
  would falsify the orders, least squares with the true occupancy does not;
* the attenuation sinc(q/bins) of averaging over a bin's width is inside the model, not corrected afterwards.

The normal equations are solved by conjugate gradients with FFTs, so the cost is a few milliseconds whatever
the number of samples. Memory: 32 bytes a bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .samples import CoverageError

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


class Fold:
    """Sums per angle bin, arrays of shape (bins,): samples, Σy, Σδ and Σδ² with δ = place in the bin, −½ … ½.

    They are rows of one array `sums` of shape (4, bins). group: neighbouring samples that were summed before they were
    folded; revolutions: how often the period was passed.
    """

    __slots__ = ("group", "revolutions", "sums")

    def __init__(self, sums: Floats, group: int = 1, revolutions: int = 1) -> None:
        self.sums, self.group, self.revolutions = sums, group, revolutions

    @classmethod
    def empty(cls, bins: int) -> Fold:
        return cls(np.zeros((4, bins)))

    def add(self, other: Fold) -> None:
        self.sums += other.sums

    @property
    def count(self) -> Floats:
        return np.asarray(self.sums[0])

    @property
    def total(self) -> Floats:
        return np.asarray(self.sums[1])

    @property
    def first(self) -> Floats:
        return np.asarray(self.sums[2])

    @property
    def second(self) -> Floats:
        return np.asarray(self.sums[3])

    @property
    def bins(self) -> int:
        return int(self.sums.shape[1])

    def with_values(self, total: Floats) -> Fold:
        """The same samples with other sums Σy."""
        return Fold(np.array([self.count, total, self.first, self.second]), self.group, self.revolutions)

    @property
    def within(self) -> float:
        """The part of the variance of δ that lies within the groups, at an even motion."""
        return variance_within(
            self.group, self.group * self.bins * self.revolutions / float(self.count.sum())
        )

    @property
    def samples(self) -> int:
        return int(self.count.sum())


def variance_within(group: int, width: float) -> float:
    """Of places that lie evenly over a group's width: width²/12 as for a uniform distribution, less what `group` points lack."""
    return width**2 * (1 - 1 / group**2) / 12


@dataclass(frozen=True, slots=True)
class Harmonics:
    """y(θ) = Re Σ_q coefficients[q]·e^{jqθ}, q = 0 … Q, θ measured from the start of the fold.

    noise: standard deviation of one sample about the model, from the bin means; dof: behind it; residual: bin
    means minus model, shape (bins,), 0 in empty bins.
    """

    coefficients: Complexes
    noise: float
    dof: int
    residual: Floats = field(repr=False)

    @property
    def mean(self) -> float:
        return float(self.coefficients[0].real)

    def curve(self, points: int) -> Floats:
        """y at θ = 2πk/points, k = 0 … points − 1; `points` at least 2Q + 2."""
        return synthesise(self.coefficients, points)


def synthesise(coefficients: Complexes, points: int) -> Floats:
    """Re Σ_q c_q e^{jqθ} at θ = 2πk/points along the last axis; needs points > 2Q."""
    half = np.zeros((*coefficients.shape[:-1], points // 2 + 1), dtype=np.complex128)
    half[..., : coefficients.shape[-1]] = coefficients * (0.5 * points)
    half[..., 0] = coefficients[..., 0].real * points
    return np.fft.irfft(half, points, axis=-1)


def fold_harmonics(fold: Fold, max_order: int, tolerance: float = 1e-11) -> Harmonics:
    """Harmonics 0 … max_order of the folded signal by weighted least squares on the bin means.

    Needs bins ≥ 8·max_order (the place of a sample in its bin enters to the fifth power of 2πq/bins: error
    below 1e-4 of an amplitude at 8 bins a cycle). Raises CoverageError when the samples leave too large a
    hole.
    """
    operator, mean, offset = _least_squares(fold, max_order)
    solution = operator.solve(mean, tolerance)
    residual = mean - operator.apply(solution)
    dof = int(np.count_nonzero(fold.count)) - 2 * max_order - 1
    noise = math.sqrt(float(np.dot(fold.count, residual * residual)) / dof)
    coefficients = _from_start(solution, fold.bins, offset)
    return Harmonics(coefficients, noise, dof, np.where(fold.count > 0, residual, 0.0))


def fold_coefficients(fold: Fold, max_order: int, tolerance: float) -> Complexes:
    """The coefficients of `fold_harmonics`, without what is said about noise."""
    operator, mean, offset = _least_squares(fold, max_order)
    return _from_start(operator.solve(mean, tolerance), fold.bins, offset)


def _least_squares(fold: Fold, max_order: int) -> tuple[_Operator, Floats, float]:
    """Operator and bin means less their offset, 0 in empty bins. Raises CoverageError for too few bins with samples."""
    occupied = fold.count > 0
    unknowns = 2 * max_order + 1
    if np.count_nonzero(occupied) <= unknowns:
        raise CoverageError(
            f"{np.count_nonzero(occupied)} occupied angle bins cannot determine {unknowns} coefficients"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(occupied, fold.total / fold.count, 0.0)
    offset = float(fold.total.sum() / fold.count.sum())
    mean -= offset
    return _Operator(fold, max_order), mean, offset


def _from_start(solution: Complexes, bins: int, offset: float) -> Complexes:
    """Coefficients over the angle from the start of the fold, half a bin before the first bin's centre."""
    coefficients = solution * (2.0 / bins)
    coefficients *= np.exp(-1j * np.pi / bins * np.arange(solution.size))
    coefficients[0] = 0.5 * coefficients[0].real + offset
    return coefficients


def ring_widths(curves: Floats) -> Floats:
    """max − min of closed curves (k, n), each extreme refined by a parabola through its neighbours → (k,)."""
    return np.asarray(_ring_peaks(curves, curves.argmax(axis=1)) - _ring_peaks(curves, curves.argmin(axis=1)))


def _ring_peaks(y: Floats, at: NDArray[np.intp]) -> Floats:
    rows, n = np.arange(y.shape[0]), y.shape[1]
    a, b, c = y[rows, at - 1], y[rows, at], y[rows, (at + 1) % n]
    curvature = a - 2 * b + c
    # 0 only where all three are the same
    return np.asarray(b - (a - c) ** 2 / (8 * np.where(curvature == 0, 1.0, curvature)))


@lru_cache(maxsize=8)
def _derivatives(lines: int) -> tuple[Complexes, Complexes, Floats]:
    """(jq)^k for k = 0 … 5, their conjugates, and how often a line counts in an inner product; q = 0 … lines − 1."""
    q = np.arange(lines)
    powers = np.array([(1j * q) ** k for k in range(6)])
    # a half spectrum stands for both halves: orders ≥ 1 count twice
    return powers, powers.conj(), np.where(q == 0, 1.0, 2.0)


def _fourth_moment(fold: Fold, variance: Floats) -> Floats:
    """Fourth central moment of the places in each bin, (bins,), from their variance.

    The places are those of the groups and those within the groups, and the moment of a sum of two independent parts is
    μ₄ + μ₄' + 6·v·v'. Both lie evenly: μ₄ = 1.8·v², for n points only (1.8 − 2.4/(n² − 1))·v². The groups of a bin are that
    few when each revolution brings the same, so that there is a whole number of them. Taken for one uniform distribution,
    groups of 0.8 bins would falsify an amplitude at 8 bins a cycle by 1e-4.
    """
    within = np.minimum(fold.within, variance)
    between = variance - within
    groups = fold.count / (fold.group * fold.revolutions)
    points = np.rint(groups)
    lacking = np.where(np.abs(groups - points) < 0.05, 2.4 / (np.maximum(points, 2.0) ** 2 - 1), 0.0)
    return np.asarray((1.8 - lacking) * between**2 + within * (6 * between + 1.8 * within))


class _Operator:
    """Band-limited signal on bin centres → mean over the samples of each bin (Taylor in the place in the
    bin).
    """

    def __init__(self, fold: Fold, max_order: int) -> None:
        self.bins = fold.bins
        safe = np.maximum(fold.count, 1.0)
        width = 2 * np.pi / fold.bins
        first = fold.first / safe
        variance = np.maximum(fold.second / safe - first * first, 0.0)
        self.weight = fold.count / float(fold.count.mean())
        # third to fifth moment about the centre from those about the mean place, where odd ones vanish
        square = first * first
        central = _fourth_moment(fold, variance)
        third = first * (square + 3 * variance)
        fourth = square * (square + 6 * variance) + central
        fifth = first * (square * (square + 10 * variance) + 5 * central)
        self.taylor = np.array(
            [
                np.ones(fold.bins),
                first * width,
                (square + variance) * (width**2 / 2),
                third * (width**3 / 6),
                fourth * (width**4 / 24),
                fifth * (width**5 / 120),
            ]
        )
        self.lines = max_order + 1
        self.powers, self.conjugate, self.double = _derivatives(self.lines)

    def apply(self, spectrum: Complexes) -> Floats:
        derivatives = np.fft.irfft(self.powers * spectrum, self.bins)
        derivatives *= self.taylor
        return np.asarray(np.add.reduce(derivatives))

    def adjoint(self, values: Floats) -> Complexes:
        lines = np.fft.rfft(self.taylor * values)[:, : self.lines]
        return np.asarray(np.add.reduce(lines * self.conjugate))

    def inner(self, a: Complexes, b: Complexes) -> float:
        return float(np.dot(self.double, (a * b.conj()).real))

    def solve(self, mean: Floats, tolerance: float) -> Complexes:
        """Conjugate gradients on the normal equations, from zero."""
        x = np.zeros(self.lines, dtype=np.complex128)
        r = self.adjoint(self.weight * mean)
        p = r.copy()
        rho = start = self.inner(r, r)
        if start == 0:
            return x
        for _ in range(500):
            g = self.adjoint(self.weight * self.apply(p))
            alpha = rho / self.inner(p, g)
            x += alpha * p
            r -= alpha * g
            rho, previous = self.inner(r, r), rho
            if rho <= tolerance**2 * start:
                return x
            p *= rho / previous
            p += r
        raise CoverageError("the samples leave a hole in the revolution too wide for the orders asked for")


def peak_to_peak(curve: Floats) -> tuple[float, float]:
    """(minimum, maximum) of a curve sampled on a uniform grid, refined by a parabola through the three
    points.
    """
    return -_peak(-curve), _peak(curve)


def _peak(y: Floats) -> float:
    i = int(np.argmax(y))
    if i == 0 or i == y.size - 1:
        return float(y[i])
    a, b, c = float(y[i - 1]), float(y[i]), float(y[i + 1])
    curvature = a - 2 * b + c
    return b - (a - c) ** 2 / (8 * curvature) if curvature < 0 else b
