"""Mean, variance, skewness, kurtosis and extremes of a signal in one pass.

    moments = Moments()
    for block in recording: moments.update(block)
    moments.result().std

Each piece of some hundred thousand samples is centred on its own mean while it is in the cache, or, if that mean is
within two standard deviations of zero, its sums of powers are; pieces and accumulators are then joined with the
pairwise formulas of Chan, Golub and LeVeque (1979) for the second and Pébay (SAND2008-6212, eq. 2.1) for the third
and fourth moment. A large offset therefore costs no digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, buffers, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError

_PIECE = 24 * 8192  # samples centred together: in shorter pieces the calls show
ROW = 8192  # longer inner products may be split among threads, and then depend on their number
_TOGETHER = 8  # rows
_ONES = np.ones(ROW // _TOGETHER)
_NEAR_ZERO = 0.8  # n·mean² over Σx² where the mean is two standard deviations: sums of powers lose two digits


@dataclass(frozen=True, slots=True)
class MomentsResult:
    """Everything in powers of the unit of the signal. NaN where the number of samples defines no value.

    variance with n − 1 (type A evaluation, JCGM 100 4.2.2); skewness g1 = m3/m2^1.5 and excess kurtosis
    g2 = m4/m2² − 3 of the sample, not bias-corrected. minimum_at, maximum_at: index of the first sample of
    that value.
    """

    n: int
    mean: float
    variance: float
    skewness: float
    excess_kurtosis: float
    minimum: float
    maximum: float
    minimum_at: int
    maximum_at: int

    @property
    def std(self) -> float:
        """Standard deviation of a sample, s."""
        return math.sqrt(self.variance)

    @property
    def std_of_mean(self) -> float:
        """s/√n, for uncorrelated samples."""
        return math.sqrt(self.variance / self.n)

    @property
    def rms(self) -> float:
        """√(mean of squares)."""
        between = self.variance * (self.n - 1) / self.n if self.n > 1 else 0.0
        return math.sqrt(self.mean**2 + between)

    @property
    def peak_to_peak(self) -> float:
        return self.maximum - self.minimum


class Moments:
    """Accumulator: `update(block)`, `merge(later)`, `result()`. Constant memory."""

    def __init__(self) -> None:
        self.n = 0
        self._mean = self._m2 = self._m3 = self._m4 = 0.0  # sums of powers of deviations from the mean
        self._min, self._max = math.inf, -math.inf
        self._min_at = self._max_at = -1
        self._room: list[Float] = []  # two arrays to work in: a fresh one costs a fault every page

    def update(self, samples: ArrayLike) -> None:
        """Samples (n,), any n. Raises NotFiniteError for NaN or infinity."""
        block = as_block(samples)
        if not self._room or len(self._room[0]) < min(len(block), _PIECE):
            self._room = buffers(2, min(len(block), _PIECE))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked at
            for start in range(0, len(block), _PIECE):
                self._add_piece(block[start : start + _PIECE])

    def merge(self, later: Moments) -> None:
        """Join with the moments of other samples; indices of extremes count on from this accumulator."""
        if later.n == 0:
            return
        if later._min < self._min:
            self._min, self._min_at = later._min, self.n + later._min_at
        if later._max > self._max:
            self._max, self._max_at = later._max, self.n + later._max_at
        self._join(later.n, later._mean, later._m2, later._m3, later._m4)

    def result(self) -> MomentsResult:
        """Raises NotEnoughDataError without a sample."""
        n = self.n
        if n == 0:
            raise NotEnoughDataError("moments: no samples")
        nan = math.nan
        spread = self._m2 > 0
        return MomentsResult(
            n=n,
            mean=self._mean,
            variance=self._m2 / (n - 1) if n > 1 else nan,
            skewness=(self._m3 / n) / (self._m2 / n) ** 1.5 if spread else nan,
            excess_kurtosis=n * self._m4 / self._m2**2 - 3.0 if spread else nan,
            minimum=self._min,
            maximum=self._max,
            minimum_at=self._min_at,
            maximum_at=self._max_at,
        )

    def _add_piece(self, piece: Float) -> None:
        n = len(piece)
        total = _total(piece)
        if not math.isfinite(total):
            refuse_not_finite(piece, self.n)
            raise AnalysisError("moments: the sum of the samples overflows")
        low, high = float(np.minimum.reduce(piece)), float(np.maximum.reduce(piece))
        if low < self._min:
            self._min, self._min_at = low, self.n + int(piece.argmin())
        if high > self._max:
            self._max, self._max_at = high, self.n + int(piece.argmax())
        mean, squares = total / n, inner(piece, piece)
        if total * mean <= _NEAR_ZERO * squares < math.inf:
            x2 = np.square(piece, out=self._room[0][:n])
            cubes, fourths = inner(x2, piece), inner(x2, x2)
            m3 = cubes - 3 * mean * squares + 2 * total * mean**2
            m4 = fourths - 4 * mean * cubes + 6 * mean**2 * squares - 3 * total * mean**3
            self._join(n, mean, squares - total * mean, m3, m4)
            return
        d = np.subtract(piece, mean, out=self._room[1][:n])
        d2 = np.square(d, out=self._room[0][:n])
        self._join(n, mean, inner(d, d), inner(d2, d), inner(d2, d2))

    def _join(self, n_b: int, mean_b: float, m2_b: float, m3_b: float, m4_b: float) -> None:
        n_a, m2_a, m3_a = self.n, self._m2, self._m3
        n = n_a + n_b
        delta = mean_b - self._mean
        step = delta / n
        cross = delta * step * n_a * n_b  # δ²·n_a·n_b/n
        self._m4 += m4_b + cross * step * step * (n_a * n_a - n_a * n_b + n_b * n_b)
        self._m4 += 6 * step * step * (n_a * n_a * m2_b + n_b * n_b * m2_a) + 4 * step * (
            n_a * m3_b - n_b * m3_a
        )
        self._m3 += m3_b + cross * step * (n_a - n_b) + 3 * step * (n_a * m2_b - n_b * m2_a)
        self._m2 += m2_b + cross
        self._mean += n_b * step
        self.n = n


def inner(a: Float, b: Float) -> float:
    """Σ a·b of two arrays (n,), in rows short enough to be one thread's work on any machine."""
    whole = len(a) // ROW * ROW
    total = 0.0
    if whole:
        total = sum(np.vecdot(a[:whole].reshape(-1, ROW), b[:whole].reshape(-1, ROW)).tolist())
    if whole < len(a):
        total += float(np.dot(a[whole:], b[whole:]))
    return total


def _total(a: Float) -> float:
    """Σ a of an array (n,) as products of matrices with ones, which read several rows side by side: from memory
    that is faster than one after the other. A matrix is one thread's work like a row of `inner`.
    """
    whole = len(a) // ROW * ROW
    total = float(np.add.reduce(np.matmul(a[:whole].reshape(-1, _TOGETHER, len(_ONES)), _ONES), axis=None))
    return total + float(np.add.reduce(a[whole:]))


def moments(samples: ArrayLike) -> MomentsResult:
    """One-call form of `Moments` for samples (n,)."""
    accumulator = Moments()
    accumulator.update(samples)
    return accumulator.result()
