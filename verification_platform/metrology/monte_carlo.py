"""Propagation of distributions by Monte Carlo, adaptive and streaming (JCGM 101:2008; JJF 1059.2-2012).

Where the GUM's first-order law fails — y = x² at x = 0, a maximum, a ratio with a wide denominator — distributions
are propagated instead. Trials run in blocks until estimate, standard uncertainty and interval ends are stable to
the number of digits asked for (clause 7.9); memory stays bounded because y goes into a fine histogram, from which
the shortest and the equal-tailed interval are read (7.7). The seed is part of the result: the same seed gives the
same numbers.

>>> m = monte_carlo(lambda x: x[0] + x[1], [Normal(0, 1), Rectangular(-1, 1)], seed=1)
>>> round(m.u, 2)
1.15
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from verification_platform.analysis.moments import inner

from .budget import BudgetError, propagate

Floats = NDArray[np.float64]

#: Trials drawn at a time: the arrays of a model stay in the second-level cache.
_CHUNK = 16384
#: Chunks in one block of the adaptive procedure (JCGM 101 7.9.4: at least 100/(1 − p) trials).
_CHUNKS = 16
_BINS = 4096


class Distribution(Protocol):
    """An input quantity: draws samples and knows its mean and standard deviation."""

    def draw(self, rng: Generator, out: Floats) -> None:
        """Fill `out` (n,) with samples."""
        ...

    @property
    def mean(self) -> float: ...

    @property
    def u(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Normal:
    """Gaussian with mean and standard uncertainty u (JCGM 101 6.4.7)."""

    mean: float
    u: float

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.standard_normal(out=out)
        if self.u != 1.0:
            out *= self.u
        if self.mean:
            out += self.mean


@dataclass(frozen=True, slots=True)
class Rectangular:
    """Uniform between two limits (6.4.2)."""

    low: float
    high: float

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.random(out=out)
        out *= self.high - self.low
        out += self.low

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def u(self) -> float:
        return (self.high - self.low) / math.sqrt(12)


@dataclass(frozen=True, slots=True)
class CurvilinearTrapezoid:
    """Rectangular a ± d whose limits are known to ± d each: R(a, b) with inexact limits (6.4.3)."""

    low: float
    high: float
    d: float

    def draw(self, rng: Generator, out: Floats) -> None:
        edge = self.low + self.d * (2 * rng.random(out.size) - 1)
        rng.random(out=out)
        out *= (self.low + self.high) - 2 * edge
        out += edge

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def u(self) -> float:
        return math.sqrt((self.high - self.low) ** 2 / 12 + self.d**2 / 9)


@dataclass(frozen=True, slots=True)
class Triangular:
    """Symmetric triangle between two limits (6.4.5)."""

    low: float
    high: float

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.random(out=out)
        out += rng.random(out.size)
        out *= 0.5 * (self.high - self.low)
        out += self.low

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def u(self) -> float:
        return (self.high - self.low) / math.sqrt(24)


@dataclass(frozen=True, slots=True)
class Arcsine:
    """U-shaped between two limits, e.g. a cycling temperature (6.4.6)."""

    low: float
    high: float

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.random(out=out)
        out *= 2 * math.pi
        np.sin(out, out=out)
        out *= 0.5 * (self.high - self.low)
        out += 0.5 * (self.low + self.high)

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def u(self) -> float:
        return (self.high - self.low) / math.sqrt(8)


@dataclass(frozen=True, slots=True)
class ScaledT:
    """Student's t with ν degrees of freedom, shifted and scaled: mean of n readings with ν = n − 1 (6.4.9)."""

    mean: float
    scale: float
    nu: float

    def draw(self, rng: Generator, out: Floats) -> None:
        out[:] = rng.standard_t(self.nu, out.size)
        out *= self.scale
        out += self.mean

    @property
    def u(self) -> float:
        return self.scale * math.sqrt(self.nu / (self.nu - 2)) if self.nu > 2 else math.inf


@dataclass(frozen=True, slots=True)
class MonteCarloResult:
    """mean and u of the output quantity, both 95 % (or `probability`) intervals, trials, seed, and warnings.

    stable: did the adaptive rule end the run (else the cap on trials did)?
    first_order_u: what the GUM's law gives; first_order_valid: do the two agree within the stated digits?
    """

    mean: float
    u: float
    shortest: tuple[float, float]
    equal_tailed: tuple[float, float]
    probability: float
    trials: int
    seed: int
    stable: bool
    first_order_u: float
    first_order_valid: bool
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a histogram at the end of a block."""

    n: int
    total: float
    square: float
    counts: NDArray[np.int64]


class Histogram:
    """Streaming distribution of y: bounded memory, mergeable, quantiles by interpolation within fine bins.

    The range comes from the first block (± its spread); what falls outside is kept exactly, since it is rare.
    """

    def __init__(self, first: Floats, bins: int = _BINS) -> None:
        low, high = float(first.min()), float(first.max())
        pad = 0.25 * (high - low) or abs(low) * 1e-9 or 1e-300
        self.low, self.high = low - pad, high + pad
        self.bins = bins
        self.counts = np.zeros(bins, dtype=np.int64)
        self.outside: list[Floats] = []
        self._x = self._ones = np.empty(0)
        self._bin = np.empty(0, dtype=np.int64)
        self._scale = bins / (self.high - self.low)
        self._shift = float(first.mean())
        self.n = 0
        self._sum = self._square = 0.0

    def update(self, y: Floats) -> None:
        """Add values, shape (n,). Raises BudgetError for NaN or infinity: the model is not defined there."""
        if y.size != self._x.size:
            # buffers: fresh pages for every block would cost more than the arithmetic
            self._x, self._ones, self._bin = (
                np.empty(y.size),
                np.ones(y.size),
                np.empty(y.size, dtype=np.int64),
            )
        x = self._x
        np.subtract(y, self._shift, out=x)
        total = inner(x, self._ones)
        if not math.isfinite(total):
            raise BudgetError(
                "the model gives NaN or infinity for possible inputs: restrict their distributions"
            )
        self._sum += total
        self._square += inner(x, x)
        self.n += y.size
        x *= self._scale
        x += (self._shift - self.low) * self._scale
        if np.minimum.reduce(x) < 0 or np.maximum.reduce(x) >= self.bins:
            inside = (x >= 0) & (x < self.bins)
            self.outside.append(y[~inside])
            x = x[inside]
        index = self._bin[: x.size]
        np.copyto(index, x, casting="unsafe")
        self.counts += np.bincount(index, minlength=self.bins)

    def since(self, earlier: Snapshot, probability: float) -> tuple[float, float, float, float]:
        """Mean, u and ends of the equal-tailed interval of what came after a snapshot."""
        n = self.n - earlier.n
        total, square = self._sum - earlier.total, self._square - earlier.square
        u = math.sqrt(max(square - total**2 / n, 0.0) / (n - 1))
        # values outside the bins are rare and cannot move a quantile between blocks
        below = np.cumsum(self.counts - earlier.counts)
        tail = (1 - probability) / 2
        low, high = np.interp([tail * n, (1 - tail) * n], below, np.arange(1, self.bins + 1) / self._scale)
        return total / n, u, float(low), float(high)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.n, self._sum, self._square, self.counts.copy())

    def merge(self, other: Histogram) -> None:
        """Add another histogram over the same bins."""
        if (self.low, self.high, self.bins, self._shift) != (other.low, other.high, other.bins, other._shift):
            raise BudgetError("histograms over different bins do not merge")
        self.counts += other.counts
        self.outside += other.outside
        self.n += other.n
        self._sum += other._sum
        self._square += other._square

    @property
    def mean(self) -> float:
        return self._shift + self._sum / self.n

    @property
    def u(self) -> float:
        return math.sqrt(max(self._square - self._sum**2 / self.n, 0.0) / (self.n - 1))

    def _cumulated(self) -> tuple[Floats, Floats]:
        """Points (y, number of values below y) of the cumulative distribution."""
        edges = self.low + np.arange(self.bins + 1) / self._scale
        below = np.concatenate(([0.0], np.cumsum(self.counts, dtype=np.float64)))
        if self.outside:
            out = np.sort(np.concatenate(self.outside))
            left, right = out[out < self.low], out[out >= self.high]
            edges = np.concatenate((left, edges, right))
            below = np.concatenate(
                (np.arange(left.size), below + left.size, left.size + below[-1] + 1 + np.arange(right.size))
            )
        return edges, below

    def intervals(self, probability: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """(shortest, equal-tailed) coverage intervals. The minimum of the width is flat: its position is not sharp."""
        edges, below = self._cumulated()
        level = below / self.n
        tails = np.interp([(1 - probability) / 2, (1 + probability) / 2], level, edges)
        starts = np.linspace(0.0, 1.0 - probability, 4097)
        low, high = np.interp(starts, level, edges), np.interp(starts + probability, level, edges)
        best = int(np.argmin(high - low))
        return (float(low[best]), float(high[best])), (float(tails[0]), float(tails[1]))


def monte_carlo(
    f: Callable[[Floats], Floats],
    inputs: Sequence[Distribution],
    *,
    seed: int,
    correlation: NDArray[np.float64] | None = None,
    probability: float = 0.95,
    digits: int = 2,
    max_trials: int = 50_000_000,
    min_trials: int = 1_000_000,
) -> MonteCarloResult:
    """Propagate distributions through y = f(x) (JCGM 101 clause 7, adaptive 7.9).

    f maps x of shape (inputs, n) to y of shape (n,), vectorised; inputs are independent, or, when all are `Normal`,
    correlated with the given matrix (6.4.8). Runs until 2 standard deviations of mean, u and both ends of the
    shortest interval, from block to block, are within half a unit of the last of `digits` significant digits of u.
    Raises BudgetError for a model that is not finite or has the wrong shape.
    """
    rng = np.random.default_rng(seed)
    mix = _mixing(inputs, correlation)
    x = np.empty((len(inputs), _CHUNK))

    def trial() -> Floats:
        for row, distribution in zip(x, inputs, strict=True):
            distribution.draw(rng, row)
        y = np.asarray(f(x if mix is None else mix(x)), dtype=np.float64)
        if y.shape != (_CHUNK,):
            raise BudgetError(f"the model must return shape (n,), got {y.shape} for n = {_CHUNK}")
        return y

    pilot = trial()
    if not math.isfinite(float(np.add.reduce(pilot))):
        raise BudgetError("the model gives NaN or infinity for possible inputs: restrict their distributions")
    histogram = Histogram(pilot)
    blocks: list[tuple[float, float, float, float]] = []
    stable = False
    while histogram.n < max_trials and not stable:
        start = histogram.snapshot()
        for k in range(_CHUNKS):
            histogram.update(pilot if k == 0 and not blocks else trial())
        blocks.append(histogram.since(start, probability))
        enough = histogram.n >= min_trials and len(blocks) >= 4
        stable = enough and _stable(blocks, histogram.u, digits)
    return _report(f, inputs, correlation, histogram, probability, digits, seed, stable)


def _mixing(
    inputs: Sequence[Distribution], correlation: NDArray[np.float64] | None
) -> Callable[[Floats], Floats] | None:
    """Turns independent normal draws into correlated ones (Cholesky)."""
    if not inputs:
        raise BudgetError("a Monte Carlo needs at least one input")
    if correlation is None:
        return None
    r = np.asarray(correlation, dtype=np.float64)
    if not all(isinstance(q, Normal) for q in inputs) or r.shape != (len(inputs), len(inputs)):
        raise BudgetError("a correlation matrix needs normal inputs and one row and column for each")
    mean = np.array([q.mean for q in inputs])[:, None]
    u = np.array([q.u for q in inputs])
    try:
        factor = np.linalg.cholesky(np.outer(u, u) * r + np.diag(u**2) * 1e-14)
    except np.linalg.LinAlgError:
        raise BudgetError(
            "the correlations contradict each other (matrix is not positive semi-definite)"
        ) from None
    scale = u[:, None]

    def mix(x: Floats) -> Floats:
        safe = np.where(scale > 0, scale, 1.0)
        return np.asarray(mean + factor @ ((x - mean) / safe))

    return mix


def tolerance(u: float, digits: int) -> float:
    """Half a unit of the last of `digits` significant digits of u (JCGM 101 7.9.2)."""
    if u == 0:
        return 0.0
    return 0.5 * 10.0 ** (math.floor(math.log10(u)) - digits + 1)


def _stable(blocks: list[tuple[float, float, float, float]], u: float, digits: int) -> bool:
    spread = np.std(np.array(blocks), axis=0, ddof=1) / math.sqrt(len(blocks))
    return bool(np.all(2 * spread <= tolerance(u, digits)))


def _report(
    f: Callable[[Floats], Floats],
    inputs: Sequence[Distribution],
    correlation: NDArray[np.float64] | None,
    histogram: Histogram,
    probability: float,
    digits: int,
    seed: int,
    stable: bool,
) -> MonteCarloResult:
    shortest, equal = histogram.intervals(probability)
    u = histogram.u
    finite = all(math.isfinite(q.u) for q in inputs)
    first_order = math.nan
    if finite:
        centre = propagate(
            lambda x: float(f(x[:, None])[0]), [q.mean for q in inputs], [q.u for q in inputs], correlation
        )
        first_order = centre.u
    warnings = []
    valid = finite and abs(first_order - u) <= tolerance(u, digits) if u > 0 else first_order == 0
    if not valid:
        warnings.append(
            f"first-order propagation gives u = {first_order:.3g}, Monte Carlo {u:.3g}: the model is not linear within"
            " the uncertainty of its inputs, use the Monte Carlo interval"
        )
    if not stable:
        warnings.append(f"not stable to {digits} digits after {histogram.n} trials")
    return MonteCarloResult(
        mean=histogram.mean,
        u=u,
        shortest=shortest,
        equal_tailed=equal,
        probability=probability,
        trials=histogram.n,
        seed=seed,
        stable=stable,
        first_order_u=first_order,
        first_order_valid=bool(valid),
        warnings=tuple(warnings),
    )
