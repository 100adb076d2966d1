"""Repeatability of a pose measured by a camera, and what the geometry lets expect.

ASTM E2919; protocol specification SEN-VIS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float
from .errors import AnalysisError, NotEnoughDataError
from .iso9283 import rotation_vectors
from .iso9283._points import as_points, spread
from .iso9283._rotation import as_rotations


@dataclass(frozen=True, slots=True)
class VisionRepeatability:
    """Spread of the poses of one target at rest.

    repeatability: RP_v = l̄ + 3·S_l, m; deviation: σ_x, σ_y, σ_z in the camera frame (z along its axis), m;
    mean_position, m; mean_rotation: chordal mean (3, 3); rotation_3s: three times the rms angle from it, rad;
    rotation_deviation: σ about the camera's x, y, z, rad. detection_rate: frames with a detection by all
    frames.
    """

    repeatability_m: float
    u_repeatability_m: float
    deviation_m: Float
    mean_position_m: Float
    mean_rotation: Float
    rotation_3s_rad: float
    rotation_deviation_rad: Float
    detections: int
    frames: int

    @property
    def detection_rate(self) -> float:
        return self.detections / self.frames


def mean_rotation(rotations: ArrayLike) -> Float:
    """Chordal mean, (3, 3), of rotation matrices (n, 3, 3): the rotation nearest to their average (Hartley et
    al., Int. J. Comput. Vis. 103, 2013). Raises AnalysisError if they spread so far that none is nearest.
    """
    average = as_rotations(rotations, "rotation").mean(axis=0)
    u, s, vt = np.linalg.svd(average)
    if s[1] + s[2] * np.sign(np.linalg.det(u @ vt)) < 1e-6:
        raise AnalysisError("the rotations have no mean: they point everywhere")
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)


def pose_repeatability(
    positions_m: ArrayLike, rotations: ArrayLike, frames: int, *, least: int = 100
) -> VisionRepeatability:
    """Repeatability from the poses (n, 3), m, and (n, 3, 3) of the frames with a detection.

    frames: all frames that were taken, so that those without a detection are counted and not dropped. Raises
    NotEnoughDataError below `least` frames or two detections, AnalysisError for shapes that do not fit.
    """
    positions, turns = as_points(positions_m, "positions"), as_rotations(rotations, "rotations")
    n = len(positions)
    if len(turns) != n or n > frames:
        raise AnalysisError(f"{n} positions and {len(turns)} rotations of {frames} frames")
    if frames < least or n < 2:
        raise NotEnoughDataError(f"{frames} frames with {n} detections, {least} frames are needed")
    about = spread(positions)
    mean = mean_rotation(turns)
    away = rotation_vectors(turns @ mean.T)
    return VisionRepeatability(
        repeatability_m=about.repeatability_m,
        u_repeatability_m=about.u_repeatability_m,
        deviation_m=positions.std(axis=0, ddof=1),
        mean_position_m=positions.mean(axis=0),
        mean_rotation=mean,
        rotation_3s_rad=3 * math.sqrt(float(np.sum(away * away)) / (n - 1)),
        rotation_deviation_rad=away.std(axis=0, ddof=1),
        detections=n,
        frames=frames,
    )


def expected_deviation(
    distance_m: float, focal_px: float, noise_px: float, corners: int, side_m: float, c: float = 1.0
) -> tuple[float, float]:
    """(σ_xy, σ_z), m, expected of a square target: (Z/f)·σ_px/√n_c and c·Z²·σ_px/(f·L).

    For the sanity of a measurement, not for an uncertainty. Raises AnalysisError unless all are positive.
    """
    if not min(distance_m, focal_px, noise_px, corners, side_m, c) > 0:
        raise AnalysisError("distance, focal length, noise, corners and side must be positive")
    lateral = distance_m / focal_px * noise_px / math.sqrt(corners)
    return lateral, c * distance_m**2 * noise_px / (focal_px * side_m)
