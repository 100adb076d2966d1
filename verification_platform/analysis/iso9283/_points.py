"""Points and rows of numbers as the functions of this package take them: shape and finiteness checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float, as_block, refuse_not_finite
from ..errors import AnalysisError, NotEnoughDataError
from ..samples import as_times


def as_points(points: ArrayLike, what: str) -> Float:
    """`points` as float64 of shape (n, 3). Raises AnalysisError for other shapes, NotFiniteError for NaN."""
    block = np.asarray(points, dtype=np.float64)
    if block.ndim != 2 or block.shape[1] != 3:
        raise AnalysisError(f"{what}: shape (n, 3) is needed, not {block.shape}")
    refuse_not_finite(np.ascontiguousarray(block).reshape(-1), 0, what)
    return block


def as_point(point: ArrayLike, what: str) -> Float:
    """`point` as float64 of shape (3,)."""
    block = as_block(point, what)
    if block.shape != (3,):
        raise AnalysisError(f"{what}: three coordinates are needed, not {block.shape[0]}")
    refuse_not_finite(block, 0, what)
    return block


def as_record(times_s: ArrayLike, positions_m: ArrayLike) -> tuple[Float, Float]:
    """Times (n,), strictly increasing, and positions (n, 3) of one recording. Raises AnalysisError."""
    positions = as_points(positions_m, "positions")
    times = as_times(times_s, len(positions), "positions")
    if len(times) < 2:
        raise NotEnoughDataError("a recording needs two samples or more")
    return times, positions


def need_cycles(found: int, needed: int, what: str) -> None:
    """Raise NotEnoughDataError if there are fewer cycles than ISO 9283 clause 6.9 asks for."""
    if found < max(needed, 2):
        raise NotEnoughDataError(f"{what}: {found} cycles, {max(needed, 2)} are needed")


@dataclass(frozen=True, slots=True)
class Spread:
    """Distances from a barycentre: l̄, S_l (n − 1) and the standard uncertainty of l̄ + 3·S_l, in metres."""

    mean_m: float
    deviation_m: float
    u_repeatability_m: float

    @property
    def repeatability_m(self) -> float:
        return self.mean_m + 3 * self.deviation_m


def spread(points: Float) -> Spread:
    """Spread of points (n, 3) about their barycentre, ISO 9283 cl. 7.2.2.

    The uncertainty is the jackknife's: distances are skewed, so that S_l scatters more than S_l/√(2n − 2).
    """
    distances = np.linalg.norm(points - points.mean(axis=0), axis=1)
    n, mean, variance = len(distances), float(distances.mean()), float(distances.var(ddof=1))
    if n < 3:
        return Spread(mean, math.sqrt(variance), math.nan)
    from_mean = distances - mean
    rest = ((n - 1) * variance - n / (n - 1) * from_mean * from_mean) / (n - 2)
    left_out = 3 * np.sqrt(np.maximum(rest, 0.0)) - from_mean / (n - 1)
    return Spread(mean, math.sqrt(variance), math.sqrt((n - 1) * float(left_out.var())))
