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

import numpy as np
from numpy.typing import NDArray

from ._histogram import Histogram, Snapshot
from ._input_distributions import (
    Arcsine,
    CurvilinearTrapezoid,
    Distribution,
    Draws,
    Normal,
    Rectangular,
    ScaledT,
    Triangular,
)
from .budget import BudgetError, propagate

__all__ = [
    "Arcsine",
    "CurvilinearTrapezoid",
    "Distribution",
    "Histogram",
    "MonteCarloResult",
    "Normal",
    "Rectangular",
    "ScaledT",
    "Snapshot",
    "Triangular",
    "monte_carlo",
    "tolerance",
]

Floats = NDArray[np.float64]

#: Trials drawn at a time: of fewer the calls would show, of more the memory.
_CHUNK = 32768
#: Chunks in one block of the adaptive procedure (JCGM 101 7.9.4: at least 100/(1 − p) trials).
_CHUNKS = 8


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
    draws = Draws(inputs, _CHUNK)

    def trial() -> Floats:
        x = draws(rng)
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
