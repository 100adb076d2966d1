"""Pose accuracy AP and repeatability RP, multi-directional variation vAP, distance AD and RD, exchangeability.

ISO 9283:1998 cl. 7.2, 7.3, 7.7; protocol specification ROB-AP, ROB-VAP, ROB-AD, ROB-EX.

>>> import numpy as np
>>> attained = np.array([0.5, 0.0, 1.0]) + 1e-4 * np.tile([[1.0, 0, 0], [1.2, 0, 0]], (15, 1))
>>> r = pose_characteristics([0.5, 0.0, 1.0], attained)
>>> round(r.accuracy_m * 1e6, 3), round(r.repeatability_m * 1e6, 3)
(110.0, 10.0)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float
from ..errors import AnalysisError, NotEnoughDataError
from ._points import as_point, as_points, need_cycles, spread
from ._rotation import as_rotations, deviations, euler_angles, wrap


@dataclass(frozen=True, slots=True)
class OrientationCharacteristics:
    """Accuracy AP and repeatability ±RP about x, y, z, rad, shape (3,).

    accuracy, repeatability: of the rotation vectors of R_cᵀ·R; the `_abc` ones of the angle differences a, b,
    c, NaN where the command or a reading lies at the singularity of those angles.
    """

    accuracy_rad: Float
    repeatability_rad: Float
    accuracy_abc_rad: Float
    repeatability_abc_rad: Float


@dataclass(frozen=True, slots=True)
class PoseCharacteristics:
    """AP and RP of one pose; u: standard uncertainty from the scatter of the cycles alone (type A).

    accuracy: AP_p; accuracy_xyz: AP_x, AP_y, AP_z; repeatability: RP = l̄ + 3·S_l; mean_distance: l̄;
    deviation: S_l; barycentre: mean of the attained positions. Metres.
    """

    accuracy_m: float
    accuracy_xyz_m: Float
    repeatability_m: float
    mean_distance_m: float
    deviation_m: float
    barycentre_m: Float
    u_accuracy_m: float
    u_repeatability_m: float
    cycles: int
    orientation: OrientationCharacteristics | None


@dataclass(frozen=True, slots=True)
class Variation:
    """vAP: largest distance between the barycentres of approaches from several directions, and who they are.

    orientation: largest difference about x, y, z, rad, shape (3,), None without orientations.
    """

    variation_m: float
    between: tuple[int, int]
    orientation_rad: Float | None


@dataclass(frozen=True, slots=True)
class Distance:
    """AD = D̄ − D_c with sign, RD = ±3·S, and the same for |Δx|, |Δy|, |Δz| (shape (3,)). Metres."""

    accuracy_m: float
    repeatability_m: float
    accuracy_xyz_m: Float
    repeatability_xyz_m: Float
    mean_m: float
    command_m: float
    cycles: int


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """E: largest distance between the barycentres of two robots at the same pose, and where."""

    exchangeability_m: float
    robots: tuple[int, int]
    pose: int


def pose_characteristics(
    command_m: ArrayLike,
    attained_m: ArrayLike,
    command_rotation: ArrayLike | None = None,
    attained_rotations: ArrayLike | None = None,
    *,
    cycles: int = 30,
) -> PoseCharacteristics:
    """AP and RP of one pose (ISO 9283 cl. 7.2.1, 7.2.2).

    command: (3,), m; attained: (n, 3), m; the rotations: (3, 3) and (n, 3, 3), both or neither. `cycles`: the
    fewest that count. Raises NotEnoughDataError below that, AnalysisError for shapes that do not fit,
    NotFiniteError for a NaN (a cycle that was not measured must be driven again).
    """
    command = as_point(command_m, "command")
    attained = as_points(attained_m, "attained positions")
    n = len(attained)
    need_cycles(n, cycles, "pose accuracy")
    offset = attained.mean(axis=0) - command
    accuracy = float(np.linalg.norm(offset))
    about = spread(attained)
    covariance = np.cov(attained, rowvar=False, ddof=1) / n
    # at AP = 0 the direction of the offset is not defined: the largest axis is the safe choice
    axis = offset / accuracy if accuracy > 0 else None
    variance = float(axis @ covariance @ axis) if axis is not None else float(np.diag(covariance).max())
    return PoseCharacteristics(
        accuracy_m=accuracy,
        accuracy_xyz_m=offset,
        repeatability_m=about.repeatability_m,
        mean_distance_m=about.mean_m,
        deviation_m=about.deviation_m,
        barycentre_m=attained.mean(axis=0),
        u_accuracy_m=math.sqrt(max(variance, 0.0)),
        u_repeatability_m=about.u_repeatability_m,
        cycles=n,
        orientation=_orientation(command_rotation, attained_rotations, n),
    )


def _orientation(
    command: ArrayLike | None, attained: ArrayLike | None, n: int
) -> OrientationCharacteristics | None:
    if command is None and attained is None:
        return None
    if command is None or attained is None:
        raise AnalysisError(
            "orientations need the command and the attained rotations, one of them is missing"
        )
    target = as_rotations(np.asarray(command)[None], "command rotation")
    reached = as_rotations(attained, "attained rotations")
    if len(reached) != n:
        raise AnalysisError(f"{n} positions and {len(reached)} rotations")
    vectors = deviations(target[0], reached)
    angles = wrap(euler_angles(reached) - euler_angles(target))
    return OrientationCharacteristics(
        accuracy_rad=vectors.mean(axis=0),
        repeatability_rad=3 * vectors.std(axis=0, ddof=1),
        accuracy_abc_rad=angles.mean(axis=0),
        repeatability_abc_rad=3 * angles.std(axis=0, ddof=1),
    )


def worst_pose(poses: Sequence[PoseCharacteristics]) -> tuple[int, int]:
    """(index of the largest AP, index of the largest RP) of the poses P1 … P5."""
    if not poses:
        raise NotEnoughDataError("no pose")
    return (
        int(np.argmax([p.accuracy_m for p in poses])),
        int(np.argmax([p.repeatability_m for p in poses])),
    )


def multidirectional_variation(
    approaches_m: Sequence[ArrayLike],
    approaches_rotation: Sequence[ArrayLike] | None = None,
    *,
    cycles: int = 30,
) -> Variation:
    """vAP of one pose (cl. 7.2.3): attained positions (n, 3) for each direction of approach, three by default.

    approaches_rotation: rotations (n, 3, 3) for each direction; their differences are rotation vectors
    relative to the first reading. Raises NotEnoughDataError below two directions or below `cycles` in one.
    """
    points = [as_points(p, f"approach {k}") for k, p in enumerate(approaches_m)]
    if len(points) < 2:
        raise NotEnoughDataError(f"variation needs two directions of approach or more, got {len(points)}")
    for k, p in enumerate(points):
        need_cycles(len(p), cycles, f"approach {k}")
    variation, between = _widest(np.array([p.mean(axis=0) for p in points]))
    if approaches_rotation is None:
        return Variation(variation, between, None)
    rotations = [as_rotations(r, f"rotations of approach {k}") for k, r in enumerate(approaches_rotation)]
    if [len(r) for r in rotations] != [len(p) for p in points]:
        raise AnalysisError("every position needs its rotation")
    means = np.array([deviations(rotations[0][0], r).mean(axis=0) for r in rotations])
    return Variation(variation, between, np.ptp(means, axis=0))


def _widest(centres: Float) -> tuple[float, tuple[int, int]]:
    """Largest distance between two of the points (n, 3), and which."""
    distance, pair = max(
        (float(np.linalg.norm(centres[h] - centres[k])), (h, k))
        for h, k in itertools.combinations(range(len(centres)), 2)
    )
    return distance, pair


def distance_characteristics(
    command_1_m: ArrayLike,
    command_2_m: ArrayLike,
    attained_1_m: ArrayLike,
    attained_2_m: ArrayLike,
    *,
    cycles: int = 30,
) -> Distance:
    """AD and RD between two poses, usually P2 and P4 (cl. 7.3).

    commands: (3,), m; attained: (n, 3) each, row j of both from cycle j. No base frame is needed: D does not
    change with it; the components do. Raises NotEnoughDataError below `cycles`, AnalysisError for unequal
    numbers.
    """
    step = as_point(command_1_m, "command 1") - as_point(command_2_m, "command 2")
    first, second = as_points(attained_1_m, "attained 1"), as_points(attained_2_m, "attained 2")
    if len(first) != len(second):
        raise AnalysisError(f"{len(first)} readings at the first pose, {len(second)} at the second")
    need_cycles(len(first), cycles, "distance accuracy")
    apart = np.abs(first - second)
    distances = np.linalg.norm(apart, axis=1)
    command = float(np.linalg.norm(step))
    return Distance(
        accuracy_m=float((distances - command).mean()),
        repeatability_m=3 * float(distances.std(ddof=1)),
        accuracy_xyz_m=apart.mean(axis=0) - np.abs(step),
        repeatability_xyz_m=3 * apart.std(axis=0, ddof=1),
        mean_m=float(distances.mean()),
        command_m=command,
        cycles=len(first),
    )


def exchangeability(barycentres_m: ArrayLike) -> Exchangeability:
    """E of several robots of one type (cl. 7.7, five robots): barycentres of shape (robots, poses, 3), m.

    Each barycentre is the mean of 30 cycles at that pose. Raises NotEnoughDataError below two robots.
    """
    centres = np.asarray(barycentres_m, dtype=np.float64)
    if centres.ndim != 3 or centres.shape[2] != 3 or centres.shape[1] < 1:
        raise AnalysisError(f"barycentres of shape (robots, poses, 3) are needed, not {centres.shape}")
    if len(centres) < 2:
        raise NotEnoughDataError("exchangeability needs two robots or more")
    as_points(centres.reshape(-1, 3), "barycentres")
    widest = [_widest(centres[:, p]) for p in range(centres.shape[1])]
    pose = int(np.argmax([distance for distance, _ in widest]))
    return Exchangeability(widest[pose][0], widest[pose][1], pose)
