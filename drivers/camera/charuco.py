"""The pose of a ChArUco target in an image of a calibrated camera.

A ChArUco target is a chessboard whose light squares carry ArUco markers: the markers say which corner is which, the corners say
where they are to some hundredths of a pixel. Needs the extra `camera` (OpenCV).

    target = CharucoTarget(8, 6, square_m=0.030, marker_m=0.022)
    camera = Camera.ideal(focal_px=1400.0, centre_px=(639.5, 511.5))
    pose = target.find(image, camera)          # None: not found; count the frame, do not drop it

Target frame: origin at the outer corner of the first square, x along the rows, y down the columns, z away from the viewer.
Camera frame: z along the optical axis, x to the right, y down. Pixel (0, 0) is the centre of the first one.
ASTM E2919 (pose of a static object); protocol specification SEN-VIS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DICTIONARY = "DICT_5X5_100"
#: Fewest corners for a pose: a plane needs four, and some more show whether they agree.
_FEWEST_CORNERS = 6
#: Second solution's reprojection error by that of the first, below which nobody can tell the two tilts apart.
AMBIGUOUS = 1.5


class TargetError(ValueError):
    """A target or a camera that cannot be: one line that says what."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsic parameters of a pinhole camera with lens distortion.

    matrix: (3, 3), pixels; distortion: (4,), (5,), (8,), (12,) or (14,), in the order of OpenCV, none when empty. Its reprojection
    error at calibration should be at most 0.3 px (RMS) over at least 20 views. Raises TargetError for other shapes.
    """

    matrix: Floats
    distortion: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if self.matrix.shape != (3, 3) or not (self.matrix[0, 0] > 0 and self.matrix[1, 1] > 0):
            raise TargetError(f"a camera matrix is 3 × 3 with positive focal lengths, not {self.matrix!r}")
        if self.distortion.shape not in [(n,) for n in (0, 4, 5, 8, 12, 14)]:
            raise TargetError(f"distortion has 0, 4, 5, 8, 12 or 14 terms, not shape {self.distortion.shape}")

    @classmethod
    def ideal(cls, focal_px: float, centre_px: tuple[float, float]) -> Camera:
        """Square pixels, no distortion."""
        return cls(np.array([[focal_px, 0.0, centre_px[0]], [0.0, focal_px, centre_px[1]], [0.0, 0.0, 1.0]]))


@dataclass(frozen=True, slots=True)
class TargetPose:
    """Where the target is in the camera's frame.

    position_m: (3,) of its origin; rotation: (3, 3), columns are its axes; corners: found, of `of_corners`; residual_px: RMS
    reprojection error; ambiguity: error of the other tilt that a plane allows, by that of this one.
    """

    position_m: Floats
    rotation: Floats
    corners: int
    of_corners: int
    residual_px: float
    ambiguity: float

    @property
    def ambiguous(self) -> bool:
        """Whether the other tilt explains the image nearly as well: turn the target further."""
        return self.ambiguity < AMBIGUOUS


class CharucoTarget:
    """`columns` × `rows` squares of side square_m with markers of side marker_m, both m, out of an ArUco dictionary."""

    def __init__(
        self, columns: int, rows: int, *, square_m: float, marker_m: float, dictionary: str = DICTIONARY
    ) -> None:
        """Raises TargetError for what cannot be printed, ImportError without OpenCV."""
        import cv2

        if min(columns, rows) < 3 or not 0 < marker_m < square_m:
            raise TargetError(
                f"a target has at least 3 × 3 squares, larger than their markers; not {columns} × {rows} of {square_m} with {marker_m} m"
            )
        number = getattr(cv2.aruco, dictionary, None) if dictionary.startswith("DICT_") else None
        if number is None:
            raise TargetError(f"no ArUco dictionary is called {dictionary!r}; one is {DICTIONARY!r}")
        words = cv2.aruco.getPredefinedDictionary(number)
        if columns * rows // 2 > len(words.bytesList):
            raise TargetError(
                f"{dictionary} has {len(words.bytesList)} markers, {columns} × {rows} squares need {columns * rows // 2}"
            )
        self.size_m = (columns * square_m, rows * square_m)
        self.board = cv2.aruco.CharucoBoard((columns, rows), square_m, marker_m, words)
        self._detector = cv2.aruco.CharucoDetector(self.board)
        self._corners = len(self.board.getChessboardCorners())

    def find(self, image: NDArray[np.uint8], camera: Camera) -> TargetPose | None:
        """Pose in a grey image (rows, columns), uint8; None if fewer than six corners are found."""
        points, names, _, _ = self._detector.detectBoard(image)
        if names is None or len(names) < _FEWEST_CORNERS:
            return None
        on_target, on_image = self.board.matchImagePoints(points, names)  # type: ignore[call-overload]  # as OpenCV's guide calls it
        return solve_pose(on_target.reshape(-1, 3), on_image.reshape(-1, 2), camera, self._corners)


def solve_pose(on_target: Floats, on_image: Floats, camera: Camera, of_corners: int) -> TargetPose | None:
    """Pose from corners on the target (n, 3), m, z = 0, and where they are in the image (n, 2), pixels, n >= 4.

    Both poses that a plane allows (IPPE; Collins, Bartoli, Int. J. Comput. Vis. 109, 2014) are refined by least squares; the one
    with the smaller reprojection error counts. None if none lies in front of the camera.
    """
    import cv2

    found = []
    on_target, on_image = (
        np.ascontiguousarray(on_target, np.float64),
        np.ascontiguousarray(on_image, np.float64),
    )
    distortion = camera.distortion if camera.distortion.size else None
    _, turns, shifts, _ = cv2.solvePnPGeneric(
        on_target, on_image, camera.matrix, distortion, flags=cv2.SOLVEPNP_IPPE
    )
    for turn, shift in zip(turns, shifts, strict=True):
        turn, shift = cv2.solvePnPRefineLM(on_target, on_image, camera.matrix, distortion, turn, shift)
        seen = cv2.projectPoints(on_target, turn, shift, camera.matrix, distortion)[0].reshape(-1, 2)
        residual_px = float(np.sqrt(np.mean(np.sum((seen - on_image) ** 2, axis=1))))
        if math.isfinite(residual_px) and shift[2, 0] > 0:
            found.append((residual_px, turn, shift))
    if not found:
        return None
    found.sort(key=lambda solution: solution[0])
    residual_px, turn, shift = found[0]
    same = len(found) > 1 and np.allclose(found[1][1], turn, atol=1e-4)  # the refinement brought both to one
    other_px = found[1][0] if len(found) > 1 and not same else math.inf
    return TargetPose(
        position_m=np.asarray(shift[:, 0], np.float64),
        rotation=np.asarray(cv2.Rodrigues(turn)[0], np.float64),
        corners=len(on_image),
        of_corners=of_corners,
        residual_px=residual_px,
        ambiguity=other_px / residual_px if residual_px else math.inf,
    )
