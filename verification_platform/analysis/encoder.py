"""Errors of angle sensors: accuracy, repeatability and reversal over a circle, and the orders they are made of.

Deviations at m targets, approached n times from either side, give the set of ISO 230-2 (A, R, E, M, B); the mean
deviation over a uniform grid gives harmonics: order 1 is eccentricity, 2 ellipticity, the line count the
interpolation error. JJF 1115-2004, ISO 230-2:2014; protocol specification SEN-ENC. All angles rad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float as Floats
from .blocks import refuse_not_finite
from .errors import AnalysisError
from .samples import CoverageError, UndersampledError

#: ISO 230-2 for rotary axes above 180°.
FEWEST_TARGETS = 8


@dataclass(frozen=True, slots=True)
class AngleErrorResult:
    """ISO 230-2 set, rad. up and down: the two directions of approach.

    A: accuracy, R: repeatability, E: systematic deviation, M: mean bidirectional deviation, B: reversal; per
    direction where the standard defines it. graduation: ±(max − min)/2 of the mean deviation (JJF 1115). Arrays per
    target, shape (m,).
    """

    A: float
    A_up: float
    A_down: float
    R: float
    R_up: float
    R_down: float
    E: float
    M: float
    B: float
    graduation: float
    mean: Floats = field(repr=False)
    reversal: Floats = field(repr=False)
    s_up: Floats = field(repr=False)
    s_down: Floats = field(repr=False)


def angle_error(up: ArrayLike, down: ArrayLike) -> AngleErrorResult:
    """ISO 230-2:2014 set from deviations (reading − reference), rad: up and down of shape (n approaches, m targets).

    Raises CoverageError below 8 targets or 2 approaches from each side.
    """
    rising, falling = _table(up, "up"), _table(down, "down")
    if rising.shape[1] != falling.shape[1]:
        raise AnalysisError(
            f"both directions need the same targets, got {rising.shape[1]} and {falling.shape[1]}"
        )
    x_up, x_down = rising.mean(axis=0), falling.mean(axis=0)
    s_up, s_down = rising.std(axis=0, ddof=1), falling.std(axis=0, ddof=1)
    reversal = x_up - x_down
    r_up, r_down = 4 * s_up, 4 * s_down
    r = np.maximum.reduce([2 * s_up + 2 * s_down + np.abs(reversal), r_up, r_down])
    mean = 0.5 * (x_up + x_down)
    highest = np.maximum(x_up + 2 * s_up, x_down + 2 * s_down)
    lowest = np.minimum(x_up - 2 * s_up, x_down - 2 * s_down)
    return AngleErrorResult(
        A=float(highest.max() - lowest.min()),
        A_up=float((x_up + 2 * s_up).max() - (x_up - 2 * s_up).min()),
        A_down=float((x_down + 2 * s_down).max() - (x_down - 2 * s_down).min()),
        R=float(r.max()),
        R_up=float(r_up.max()),
        R_down=float(r_down.max()),
        E=float(max(x_up.max(), x_down.max()) - min(x_up.min(), x_down.min())),
        M=float(np.ptp(mean)),
        B=float(np.abs(reversal).max()),
        graduation=float(np.ptp(mean)) / 2,
        mean=mean,
        reversal=reversal,
        s_up=s_up,
        s_down=s_down,
    )


def _table(deviations: ArrayLike, name: str) -> Floats:
    table = np.asarray(deviations, dtype=np.float64)
    if table.ndim != 2:
        raise AnalysisError(f"{name}: deviations must be approaches × targets, got shape {table.shape}")
    refuse_not_finite(table.ravel(), 0, name)
    if table.shape[0] < 2 or table.shape[1] < FEWEST_TARGETS:
        raise CoverageError(
            f"{name}: {table.shape[0]} approaches to {table.shape[1]} targets; at least 2 approaches to"
            f" {FEWEST_TARGETS} targets needed"
        )
    return table


@dataclass(frozen=True, slots=True)
class Harmonic:
    """deviation contains amplitude·sin(order·θ + phase), rad."""

    order: int
    amplitude: float
    phase: float


def harmonics(targets: ArrayLike, deviation: ArrayLike, orders: tuple[int, ...]) -> tuple[Harmonic, ...]:
    """Orders of the mean deviation over targets (rad, shape (m,)) spread evenly over one circle.

    Even spacing makes the orders independent of each other. Raises UndersampledError for an order with
    m < 2·order + 1, which would alias, and AnalysisError for targets that are not evenly spaced.
    """
    theta = np.asarray(targets, dtype=np.float64)
    x = np.asarray(deviation, dtype=np.float64)
    if theta.shape != x.shape or theta.ndim != 1:
        raise AnalysisError(f"one deviation per target is needed, got shapes {theta.shape} and {x.shape}")
    refuse_not_finite(x, 0, "deviation")
    m = theta.size
    expected = theta[0] + 2 * math.pi * np.arange(m) / m
    if np.max(np.abs(theta - expected)) > 1e-3 * 2 * math.pi / m:
        raise AnalysisError("targets must be evenly spaced over one circle for a harmonic analysis")
    found = []
    for q in orders:
        if m < 2 * q + 1:
            raise UndersampledError(f"undersampled for order {q}: {m} targets, at least {2 * q + 1} needed")
        c = np.sum(x * np.exp(-1j * q * theta)) * ((2 if q else 1) / m)
        found.append(Harmonic(q, float(abs(c)), float(np.angle(1j * c))))
    return tuple(found)
