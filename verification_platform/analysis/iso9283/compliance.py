"""Static compliance: displacement of the tool per force, servo on.

ISO 9283:1998 cl. 10; protocol specification ROB-SC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float
from ..errors import AnalysisError, NotEnoughDataError
from ._points import as_points


@dataclass(frozen=True, slots=True)
class Compliance:
    """Compliance matrix C, m/N, shape (3, 3): displacement along i per force along k; u: standard
    uncertainty from the scatter about the straight line; hysteresis: largest difference between loading and
    unloading at one force along each axis, m, shape (3,), None if unloading was not recorded.
    """

    matrix_m_n: Float
    u_m_n: Float
    hysteresis_m: Float | None

    @property
    def along_m_n(self) -> Float:
        """Compliance in the direction of the load, x, y, z, shape (3,)."""
        return np.diag(self.matrix_m_n).copy()


def static_compliance(
    forces_n: ArrayLike, displacements_m: ArrayLike, unloading: ArrayLike | None = None
) -> Compliance:
    """Compliance from forces (n, 3), N, and displacements (n, 3), m, of all steps, axes and repeats together.

    The zero of the displacement is a free constant. unloading: booleans (n,), true for steps of falling load.
    Raises NotEnoughDataError below five readings or if the forces do not span three directions.
    """
    forces, moved = as_points(forces_n, "forces"), as_points(displacements_m, "displacements")
    if len(forces) != len(moved):
        raise AnalysisError(f"{len(forces)} forces and {len(moved)} displacements")
    if len(forces) < 5:
        raise NotEnoughDataError(f"compliance needs five readings or more, got {len(forces)}")
    centred = forces - forces.mean(axis=0)
    scale = float(np.abs(centred).max()) or 1.0
    if np.linalg.matrix_rank(centred / scale, tol=1e-6 * np.sqrt(len(forces))) < 3:
        raise NotEnoughDataError("the forces do not span three directions: load along x, y and z")
    solution, *_ = np.linalg.lstsq(centred, moved - moved.mean(axis=0), rcond=None)
    residual = moved - moved.mean(axis=0) - centred @ solution
    inverse = np.diag(np.linalg.inv(centred.T @ centred))
    variance = np.sum(residual * residual, axis=0) / (len(forces) - 4)
    return Compliance(
        matrix_m_n=solution.T,
        u_m_n=np.sqrt(np.outer(variance, inverse)),
        hysteresis_m=None if unloading is None else _hysteresis(forces, moved, unloading),
    )


def _hysteresis(forces: Float, moved: Float, unloading: ArrayLike) -> Float:
    falling = np.asarray(unloading, dtype=bool)
    if falling.shape != (len(forces),):
        raise AnalysisError(f"{len(forces)} forces and unloading marks of shape {falling.shape}")
    axis = np.argmax(np.abs(forces), axis=1)
    out = np.zeros(3)
    for k in range(3):
        level = np.round(forces[:, k] / max(float(np.abs(forces[:, k]).max()), 1e-300), 3)
        for value in np.unique(level[axis == k]):
            here = (axis == k) & (level == value)
            up, down = moved[here & ~falling, k], moved[here & falling, k]
            if up.size and down.size:
                out[k] = max(out[k], abs(float(down.mean() - up.mean())))
    return out
