"""Path accuracy AT and repeatability RT, and the same on paths with reorientation.

ISO 9283:1998 cl. 8.2 – 8.4; protocol specification ROB-PATH. The attained paths are cut by planes normal to
the command path at m points; in each plane the cuts of all cycles are judged like the cycles of one pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float
from ..errors import AnalysisError, NotEnoughDataError
from ._points import as_point, as_points, need_cycles
from ._rotation import as_rotations, deviations


@dataclass(frozen=True, slots=True)
class CommandPath:
    """Points (m, 3) of the command path where it is judged, unit tangents (m, 3), rotations (m, 3, 3) or
    None.
    """

    points_m: Float
    tangents: Float
    rotations: Float | None = None


@dataclass(frozen=True, slots=True)
class PathCharacteristics:
    """AT: largest distance of the mean path from the command; RT: largest l̄ + 3·S_l. Metres.

    at_index, rt_index: the points where. orientation_accuracy (AT_a, AT_b, AT_c) and orientation_repeatability
    (RT: 3·S): largest over the path, rad, shape (3,), None without rotations. accuracy_along,
    repeatability_along: every point, shape (m,); mean_path: (m, 3).
    """

    accuracy_m: float
    repeatability_m: float
    at_index: int
    rt_index: int
    orientation_accuracy_rad: Float | None
    orientation_repeatability_rad: Float | None
    cycles: int
    accuracy_along_m: Float = field(repr=False)
    repeatability_along_m: Float = field(repr=False)
    mean_path_m: Float = field(repr=False)


def straight_path(
    start_m: ArrayLike,
    end_m: ArrayLike,
    points: int = 50,
    margin_m: float = 0.0,
    rotation: ArrayLike | None = None,
) -> CommandPath:
    """A straight command path from start to end, (3,) each, m; `margin_m` at both ends is not judged.

    rotation: constant orientation (3, 3). Raises AnalysisError if nothing is left between the margins.
    """
    start, end = as_point(start_m, "start"), as_point(end_m, "end")
    length = float(np.linalg.norm(end - start))
    if points < 2 or not length > 2 * margin_m >= 0:
        raise AnalysisError(f"no {points} points on a line of {length} m with margins of {margin_m} m")
    tangent = (end - start) / length
    s = np.linspace(margin_m, length - margin_m, points)
    return CommandPath(
        start + s[:, None] * tangent, np.tile(tangent, (points, 1)), _constant(rotation, points)
    )


def circular_path(
    centre_m: ArrayLike,
    start_m: ArrayLike,
    normal: ArrayLike,
    points: int = 50,
    rotation: ArrayLike | None = None,
) -> CommandPath:
    """A full circle about `centre_m` from `start_m`, right-handed about `normal`, (3,) each.

    The points leave out half a step at start and end, where the robot accelerates. Raises AnalysisError if
    the radius is not normal to `normal` (to 1e-9 of it) or is zero.
    """
    centre, start, axis = as_point(centre_m, "centre"), as_point(start_m, "start"), as_point(normal, "normal")
    radius = start - centre
    size = float(np.linalg.norm(radius) * np.linalg.norm(axis))
    if points < 2 or size == 0 or abs(float(radius @ axis)) > 1e-9 * size:
        raise AnalysisError("a circle needs a radius in the plane of its normal")
    side = np.cross(axis / np.linalg.norm(axis), radius)
    angle = 2 * np.pi * (np.arange(points) + 0.5)[:, None] / points
    places = centre + np.cos(angle) * radius + np.sin(angle) * side
    tangents = (np.cos(angle) * side - np.sin(angle) * radius) / np.linalg.norm(radius)
    return CommandPath(places, tangents, _constant(rotation, points))


def _constant(rotation: ArrayLike | None, points: int) -> Float | None:
    if rotation is None:
        return None
    return np.repeat(as_rotations(np.asarray(rotation)[None], "rotation"), points, axis=0)


def path_characteristics(
    command: CommandPath,
    attained_m: Sequence[ArrayLike],
    attained_rotations: Sequence[ArrayLike] | None = None,
    *,
    cycles: int = 10,
) -> PathCharacteristics:
    """AT and RT of a path (cl. 8.2, 8.3); without rotations also the reorientation test of cl. 8.4.

    attained: one array (n, 3), m, per cycle in the order of time, ≥ 1 kHz and reaching beyond the judged
    points; attained_rotations: (n, 3, 3) per cycle, needs rotations in the command. Raises NotEnoughDataError
    below `cycles` or where a path does not reach a judged plane, AnalysisError for shapes that do not fit.
    """
    need_cycles(len(attained_m), cycles, "path accuracy")
    paths = [as_points(p, f"path {j}") for j, p in enumerate(attained_m)]
    cuts = [_cuts(command, p, j) for j, p in enumerate(paths)]
    places = np.array(
        [p[at] + share[:, None] * (p[at + 1] - p[at]) for p, (at, share) in zip(paths, cuts, strict=True)]
    )
    mean = places.mean(axis=0)
    accuracy = np.linalg.norm(mean - command.points_m, axis=1)
    distances = np.linalg.norm(places - mean, axis=2)
    repeatability = distances.mean(axis=0) + 3 * distances.std(axis=0, ddof=1)
    turned = _turned(command, paths, cuts, attained_rotations)
    return PathCharacteristics(
        accuracy_m=float(accuracy.max()),
        repeatability_m=float(repeatability.max()),
        at_index=int(np.argmax(accuracy)),
        rt_index=int(np.argmax(repeatability)),
        orientation_accuracy_rad=None if turned is None else np.abs(turned.mean(axis=0)).max(axis=0),
        orientation_repeatability_rad=None if turned is None else 3 * turned.std(axis=0, ddof=1).max(axis=0),
        cycles=len(paths),
        accuracy_along_m=accuracy,
        repeatability_along_m=repeatability,
        mean_path_m=mean,
    )


def _cuts(command: CommandPath, path: Float, cycle: int) -> tuple[np.ndarray, Float]:
    """Where a path crosses every plane forward: (index of the sample before, share of the step to the next).

    A plane is crossed several times by a closed path (and by noise near standstill): the crossing nearest to
    the command point counts.
    """
    index = np.empty(len(command.points_m), dtype=np.intp)
    share = np.empty(len(command.points_m))
    for i, (point, tangent) in enumerate(zip(command.points_m, command.tangents, strict=True)):
        ahead = (path - point) @ tangent
        at = np.flatnonzero((ahead[:-1] < 0) & (ahead[1:] >= 0))
        if at.size == 0:
            raise NotEnoughDataError(
                f"path {cycle} does not cross the plane at point {i} of the command path"
            )
        part = ahead[at] / (ahead[at] - ahead[at + 1])
        place = path[at] + part[:, None] * (path[at + 1] - path[at])
        nearest = int(np.argmin(np.linalg.norm(place - point, axis=1)))
        index[i], share[i] = at[nearest], part[nearest]
    return index, share


def _turned(
    command: CommandPath,
    paths: Sequence[Float],
    cuts: Sequence[tuple[np.ndarray, Float]],
    attained: Sequence[ArrayLike] | None,
) -> Float | None:
    """Rotation vectors between command and attained orientation at every cut, (cycles, m, 3)."""
    if attained is None:
        return None
    if command.rotations is None or len(attained) != len(paths):
        raise AnalysisError("orientations need rotations in the command path and in every cycle")
    out = np.empty((len(paths), len(command.points_m), 3))
    for j, ((at, share), matrices) in enumerate(zip(cuts, attained, strict=True)):
        rotations = as_rotations(matrices, f"rotations of path {j}")
        if len(rotations) != len(paths[j]):
            raise AnalysisError(f"path {j}: {len(paths[j])} positions and {len(rotations)} rotations")
        for i, k in enumerate(at):
            before, after = deviations(command.rotations[i], rotations[k : k + 2])
            out[j, i] = before + share[i] * (after - before)
    return out
