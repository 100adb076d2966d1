"""Cornering: how much a robot rounds a corner off (CR) and how far it runs over (CO).

ISO 9283:1998 cl. 8.5; protocol specification ROB-CR. The standard text leaves room for the mean or the largest
of the cycles: both are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import AnalysisError
from ._points import as_point, as_points, need_cycles


@dataclass(frozen=True, slots=True)
class Corner:
    """A command corner: its point (3,), m, and the directions of the legs into it and out of it, (3,)."""

    point_m: ArrayLike
    direction_in: ArrayLike
    direction_out: ArrayLike


@dataclass(frozen=True, slots=True)
class Cornering:
    """CR: closest approach to the corner; CO: run beyond the second leg; largest and mean of the cycles, m."""

    round_off_m: float
    overshoot_m: float
    mean_round_off_m: float
    mean_overshoot_m: float
    cycles: int


def cornering(corner: Corner, paths_m: Sequence[ArrayLike], *, cycles: int = 3) -> Cornering:
    """CR and CO from attained paths (n, 3), m, one a cycle, in the order of time.

    The closest approach is taken between samples. CO is measured in the plane of the corner, square to the
    second leg, on the side towards which the first leg points; 0 if the path stays on the near side. Raises
    NotEnoughDataError below `cycles`, AnalysisError for legs that are parallel.
    """
    need_cycles(len(paths_m), cycles, "cornering")
    point = as_point(corner.point_m, "corner")
    leg_in, leg_out = as_point(corner.direction_in, "leg"), as_point(corner.direction_out, "leg")
    beyond = leg_in - (leg_in @ leg_out) / (leg_out @ leg_out) * leg_out if np.any(leg_out) else 0 * leg_in
    size = float(np.linalg.norm(beyond))
    if not size > 1e-6 * float(np.linalg.norm(leg_in)):
        raise AnalysisError("the legs of a corner must have different directions")
    round_off, overshoot = [], []
    for j, path in enumerate(paths_m):
        relative = as_points(path, f"path {j}") - point
        need_cycles(len(relative), 2, f"samples of path {j}")
        step = np.diff(relative, axis=0)
        square = np.maximum(np.sum(step * step, axis=1), np.finfo(float).tiny)
        share = np.clip(-np.sum(relative[:-1] * step, axis=1) / square, 0, 1)
        nearest = relative[:-1] + share[:, None] * step
        round_off.append(float(np.linalg.norm(nearest, axis=1).min()))
        overshoot.append(max(0.0, float((relative @ beyond).max()) / size))
    return Cornering(
        round_off_m=max(round_off),
        overshoot_m=max(overshoot),
        mean_round_off_m=float(np.mean(round_off)),
        mean_overshoot_m=float(np.mean(overshoot)),
        cycles=len(round_off),
    )
