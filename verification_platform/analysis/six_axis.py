"""Six-axis force and torque sensors: decoupling matrix, crosstalk, combined loads.

Six signals V answer six loads F = (F_x, F_y, F_z, M_x, M_y, M_z) as V = A·F + V_0. Calibration loads give the decoupling
matrix C with F̂ = C·(V − V_0); other loads judge it, never the same ones. GB/T 43199-2023, JJF 1560-2016; protocol
specification SEN-FT6. Loads are scaled by the full scale of their axis before anything is inverted, because newtons
and newton-metres share no measure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Float as Floats
from .blocks import refuse_not_finite
from .errors import AnalysisError
from .samples import CoverageError

AXES = ("Fx", "Fy", "Fz", "Mx", "My", "Mz")


@dataclass(frozen=True, slots=True)
class Decoupling:
    """F̂ = matrix·(V − zero): loads in N and N·m from signals in their own unit.

    condition: of the sensitivity scaled to full scale, 1 is ideal; residual: standard deviation of F̂ − F over the
    calibration loads per axis, relative to full scale.
    """

    matrix: Floats
    zero: Floats
    full_scale: Floats
    condition: float
    residual: Floats

    def loads(self, signals: ArrayLike) -> Floats:
        """F̂ (6, N) from signals (6, N)."""
        v = np.asarray(signals, dtype=np.float64)
        return np.asarray(self.matrix @ (v - self.zero[:, None]))


def decouple(
    loads: ArrayLike, signals: ArrayLike, full_scale: ArrayLike, *, offset: bool = True
) -> Decoupling:
    """Least-squares decoupling C = F·Vᵀ(V·Vᵀ)⁻¹ from loads F (6, N) and signals V (6, N).

    full_scale: of the six axes, N and N·m. offset: whether signals at no load differ from zero and V_0 is estimated
    too. Raises CoverageError when the loads (or signals) do not span six dimensions.
    """
    f, v, scale = _checked(loads, signals, full_scale)
    g = f / scale[:, None]
    zero: Floats = np.zeros(6)
    if offset:
        design = np.vstack([g, np.ones(f.shape[1])])
        _require_rank(design, 7, "calibration loads with an offset")
        answer = np.asarray(np.linalg.lstsq(design.T, v.T, rcond=None)[0].T, dtype=np.float64)
        sensitivity, zero = answer[:, :6], np.asarray(answer[:, 6])
    else:
        _require_rank(g, 6, "calibration loads")
        sensitivity = np.asarray(np.linalg.lstsq(g.T, v.T, rcond=None)[0].T, dtype=np.float64)
    w = v - zero[:, None]
    _require_rank(w, 6, "signals")
    scaled = np.linalg.lstsq(w.T, g.T, rcond=None)[0].T
    residual = scaled @ w - g
    dof = max(f.shape[1] - 6 - offset, 1)
    return Decoupling(
        matrix=scaled * scale[:, None],
        zero=zero,
        full_scale=scale,
        condition=float(np.linalg.cond(sensitivity)),
        residual=np.sqrt(np.sum(residual * residual, axis=1) / dof),
    )


@dataclass(frozen=True, slots=True)
class ErrorMatrix:
    """X[i, j] = largest |F̂_i − F_i|/FS_i while only axis j is loaded; i ≠ j is crosstalk, i = j the axis' own error."""

    X: Floats
    steps: NDArray[np.intp] = field(repr=False)

    def crosstalk(self, into: str, source: str) -> float:
        """Crosstalk into one axis from another, e.g. ``crosstalk("Fx", "Fy")``."""
        return float(self.X[AXES.index(into), AXES.index(source)])

    @property
    def worst_crosstalk(self) -> float:
        return float(np.max(self.X[~np.eye(6, dtype=bool)]))


def error_matrix(loads: ArrayLike, measured: ArrayLike, full_scale: ArrayLike) -> ErrorMatrix:
    """Single-axis errors from validation loads F (6, N) and loads measured F̂ (6, N), N and N·m.

    Loads with more than one axis loaded are left to `combined_deviation`. Raises CoverageError when an axis was never
    loaded alone.
    """
    f, estimate, scale = _checked(loads, measured, full_scale)
    share = np.abs(f) / scale[:, None]
    loaded = share > 1e-9
    alone = np.flatnonzero(loaded.sum(axis=0) == 1)
    error = np.abs(estimate - f) / scale[:, None]
    X = np.zeros((6, 6))
    steps = np.zeros(6, dtype=np.intp)
    for j in range(6):
        at = alone[loaded[j, alone]]
        if at.size == 0:
            raise CoverageError(f"axis {AXES[j]} was never loaded alone")
        X[:, j] = error[:, at].max(axis=1)
        steps[j] = at.size
    return ErrorMatrix(X, steps)


def combined_deviation(loads: ArrayLike, measured: ArrayLike, full_scale: ArrayLike) -> Floats:
    """δ_i = max|F̂_i − F_i|/FS_i over combined validation loads, shape (6,)."""
    f, estimate, scale = _checked(loads, measured, full_scale)
    return np.asarray(np.max(np.abs(estimate - f) / scale[:, None], axis=1))


def combined_repeatability(repeats: ArrayLike, full_scale: ArrayLike) -> Floats:
    """Largest span over repeats of the same combined loads relative to full scale: repeats (r, 6, N), r ≥ 3 → (6,)."""
    runs = np.asarray(repeats, dtype=np.float64)
    scale = np.asarray(full_scale, dtype=np.float64)
    if runs.ndim != 3 or runs.shape[0] < 3 or runs.shape[1] != 6:
        raise CoverageError(f"at least 3 repeats × 6 axes × loads are needed, got shape {runs.shape}")
    refuse_not_finite(runs.ravel(), 0, "load")
    return np.asarray(np.max(np.ptp(runs, axis=0), axis=1) / scale)


def nominal_loads(signals: ArrayLike, full_scale: ArrayLike, rated_output: ArrayLike = 1.0) -> Floats:
    """Loads read without decoupling: each signal times its own nominal sensitivity, FS_i/rated output, (6, N)."""
    v = np.asarray(signals, dtype=np.float64)
    gain = np.asarray(full_scale, dtype=np.float64) / np.broadcast_to(
        np.asarray(rated_output, dtype=np.float64), 6
    )
    return np.asarray(v * gain[:, None])


def _checked(loads: ArrayLike, other: ArrayLike, full_scale: ArrayLike) -> tuple[Floats, Floats, Floats]:
    f, v = np.asarray(loads, dtype=np.float64), np.asarray(other, dtype=np.float64)
    scale = np.asarray(full_scale, dtype=np.float64)
    if f.ndim != 2 or f.shape[0] != 6 or v.shape != f.shape or scale.shape != (6,):
        raise AnalysisError(
            f"6 × N loads, 6 × N signals and 6 full scales are needed, got {f.shape}, {v.shape}, {scale.shape}"
        )
    if not np.all(scale > 0):
        raise AnalysisError("the full scale of every axis must be positive")
    refuse_not_finite(f.ravel(), 0, "load")
    refuse_not_finite(v.ravel(), 0, "signal")
    return f, v, scale


def _require_rank(rows: Floats, rank: int, what: str) -> None:
    s = np.linalg.svd(rows, compute_uv=False)
    found = int(np.count_nonzero(s > 1e-9 * s[0])) if s.size and s[0] > 0 else 0
    if found < rank:
        raise CoverageError(f"the {what} span only {found} of {rank} dimensions: load every axis")
