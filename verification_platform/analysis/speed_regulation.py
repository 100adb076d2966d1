"""Speed fluctuation and speed regulation of a drive.

GB/T 16439-2009 (fluctuation coefficient; the 2024 edition no longer has it) and -2024; protocol specification
SRV-REG. The speed signal comes with a stated bandwidth: without one a fluctuation is not defined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import as_block, pieces
from .errors import AnalysisError, NotEnoughDataError


@dataclass(frozen=True, slots=True)
class FluctuationResult:
    """K_n = (n_max − n_min)/(n_max + n_min) of the magnitude, 1 = 100 %; the speeds in the unit given."""

    coefficient: float
    largest: float
    smallest: float
    mean: float
    samples: int


class SpeedFluctuation:
    """Extremes and mean of a speed over whole revolutions, in one pass.

    `update` with blocks, `merge` with other parts in any order, `result`. Unit: rad/s or r/min, one of them.
    """

    def __init__(self) -> None:
        self._largest, self._smallest = -math.inf, math.inf
        self._total = 0.0
        self._samples = 0

    def update(self, speed: ArrayLike) -> None:
        """Add speeds, shape (n,). Raises NotFiniteError for NaN."""
        for piece in pieces(as_block(speed, "speed"), self._samples, "speed"):
            self._largest = max(self._largest, float(piece.max()))
            self._smallest = min(self._smallest, float(piece.min()))
            self._total += float(np.add.reduce(piece))
            self._samples += piece.size

    def merge(self, other: SpeedFluctuation) -> None:
        """Add the speeds of another part."""
        self._largest = max(self._largest, other._largest)
        self._smallest = min(self._smallest, other._smallest)
        self._total += other._total
        self._samples += other._samples

    def result(self) -> FluctuationResult:
        """Raises NotEnoughDataError without samples, AnalysisError if the speed changes sign or is 0."""
        if self._samples == 0:
            raise NotEnoughDataError("no speeds yet")
        if not self._smallest * self._largest > 0:
            raise AnalysisError("the speed passes through 0: a fluctuation coefficient is not defined")
        return FluctuationResult(
            coefficient=(self._largest - self._smallest) / abs(self._largest + self._smallest),
            largest=self._largest,
            smallest=self._smallest,
            mean=self._total / self._samples,
            samples=self._samples,
        )


def speed_fluctuation(speed: ArrayLike) -> FluctuationResult:
    """`SpeedFluctuation` of an array that is in memory, shape (n,)."""
    fluctuation = SpeedFluctuation()
    fluctuation.update(speed)
    return fluctuation.result()


def speed_regulation(reference: float, changed: float, rated: float) -> float:
    """Δn = (n_reference − n_changed)/n_rated, 1 = 100 %: mean speeds at no load and at load, at two supply
    voltages or at two temperatures. Raises AnalysisError for a rated speed that is not positive.
    """
    if not rated > 0:
        raise AnalysisError(f"the rated speed must be positive, got {rated}")
    return (reference - changed) / rated
