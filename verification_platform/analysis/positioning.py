"""Static positioning error and repeatability of an axis over its targets.

Protocol specification SRV-POS; statistics as in ISO 230-2:2014.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError


@dataclass(frozen=True, slots=True)
class PositioningResult:
    """In the unit of the errors. mean, deviation: ē_j and s_j (n − 1) of each target, shape (targets,).

    accuracy: max|ē_j|; repeatability: 3·max s_j (to be read as ±), repeatability_4s: 4·max s_j; reversal: B_j
    = ē_j↑ − ē_j↓ and its largest magnitude, None for approaches from one side; mean and deviation then are of
    the forward side, accuracy and repeatability of both.
    """

    accuracy: float
    repeatability: float
    repeatability_4s: float
    mean: Float
    deviation: Float
    reversal: Float | None
    largest_reversal: float | None
    targets: int
    approaches: int


def positioning(
    errors: ArrayLike, backward: ArrayLike | None = None, *, targets: int = 8, approaches: int = 30
) -> PositioningResult:
    """Accuracy and repeatability from errors e_jk = θ_jk − θ_cmd, shape (targets, approaches), any unit.

    backward: the same from the other side. targets, approaches: the fewest that count (ISO 230-2: 5 approaches
    from each side). Raises NotEnoughDataError below them, AnalysisError for other shapes.
    """
    forward = _sides(errors, targets, approaches)
    sides = [forward] if backward is None else [forward, _sides(backward, targets, approaches)]
    if len(sides) == 2 and len(sides[1]) != len(forward):
        raise AnalysisError(f"{len(forward)} targets forward and {len(sides[1])} backward")
    means = [s.mean(axis=1) for s in sides]
    deviations = [s.std(axis=1, ddof=1) for s in sides]
    largest = max(float(s.max()) for s in deviations)
    reversal = means[0] - means[1] if len(sides) == 2 else None
    return PositioningResult(
        accuracy=max(float(np.abs(m).max()) for m in means),
        repeatability=3 * largest,
        repeatability_4s=4 * largest,
        mean=means[0],
        deviation=deviations[0],
        reversal=reversal,
        largest_reversal=None if reversal is None else float(np.abs(reversal).max()),
        targets=forward.shape[0],
        approaches=forward.shape[1],
    )


def _sides(errors: ArrayLike, targets: int, approaches: int) -> Float:
    e = np.asarray(errors, dtype=np.float64)
    if e.ndim != 2:
        raise AnalysisError(f"errors of shape (targets, approaches) are needed, not {e.shape}")
    refuse_not_finite(np.ascontiguousarray(e).reshape(-1), 0, "errors")
    if e.shape[0] < targets or e.shape[1] < max(approaches, 2):
        raise NotEnoughDataError(
            f"{e.shape[0]} targets with {e.shape[1]} approaches, {targets} with {max(approaches, 2)} are needed"
        )
    return e
