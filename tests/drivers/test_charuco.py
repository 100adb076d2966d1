"""From rendered images to the pose of a target, and to its repeatability."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.camera.charuco import Camera, CharucoTarget, TargetError, TargetPose, solve_pose
from verification_platform.analysis.vision import VisionRepeatability, pose_repeatability

Floats = NDArray[np.float64]

WIDTH, HEIGHT, FOCAL_PX = 1280, 1024, 1400.0
CAMERA = Camera.ideal(FOCAL_PX, ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
TARGET = CharucoTarget(8, 6, square_m=0.030, marker_m=0.022)
TURN, SHIFT_M = np.array([0.25, -0.20, 0.05]), np.array([-0.12, -0.09, 0.45])


def rendered(turn: Floats, shift_m: Floats, blur_px: float = 0.8) -> Floats:
    """The image without noise, DN: the printed target through a pinhole, four by four samples a pixel, then blurred."""
    pixels_per_m, finer = 20_000, 4
    width, height = (round(side * pixels_per_m) for side in TARGET.size_m)
    drawn = TARGET.board.generateImage((width, height))
    # a sample of the print lies in the middle of its square, a fine sample in the middle of a part of a pixel
    on_target = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, pixels_per_m]]) / pixels_per_m
    axes = cv2.Rodrigues(turn)[0]
    through = CAMERA.matrix @ np.column_stack((axes[:, 0], axes[:, 1], shift_m)) @ on_target
    fine = np.array([[finer, 0, (finer - 1) / 2], [0, finer, (finer - 1) / 2], [0, 0, 1]])
    size = (WIDTH * finer, HEIGHT * finer)
    image = cv2.warpPerspective(drawn, fine @ through, size, flags=cv2.INTER_LINEAR, borderValue=(255.0,))
    coarse = image.reshape(HEIGHT, finer, WIDTH, finer).mean(axis=(1, 3))
    return np.asarray(cv2.GaussianBlur(30.0 + 0.75 * coarse, (0, 0), blur_px), dtype=np.float64)


def frames(image: Floats, count: int, noise_dn: float, seed: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [
        np.clip(np.rint(image + noise_dn * rng.standard_normal(image.shape)), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def repeatability(poses: list[TargetPose | None]) -> VisionRepeatability:
    found = [pose for pose in poses if pose is not None]
    positions, rotations = [pose.position_m for pose in found], [pose.rotation for pose in found]
    return pose_repeatability(positions, rotations, len(poses), least=len(poses))


def off_deg(rotation: Floats, turn: Floats) -> float:
    return float(np.degrees(np.linalg.norm(cv2.Rodrigues(rotation @ cv2.Rodrigues(turn)[0].T)[0])))


def test_T_VIS2() -> None:
    """Rendered target 8 × 6, blur 0.8 px, noise 3 DN, 60 frames: σ ≤ (0.01, 0.01, 0.05) mm, bias ≤ 0.15 mm and 0.05°."""
    poses = [TARGET.find(frame, CAMERA) for frame in frames(rendered(TURN, SHIFT_M), 60, 3.0, 1)]
    assert [pose and pose.corners for pose in poses] == [35] * 60
    assert not any(pose.ambiguous for pose in poses if pose)
    result = repeatability(poses)
    assert result.detection_rate == 1.0
    assert np.all(result.deviation_m > 0)
    assert np.all(result.deviation_m <= [1e-5, 1e-5, 5e-5])
    assert np.linalg.norm(result.mean_position_m - SHIFT_M) <= 1.5e-4
    assert off_deg(result.mean_rotation, TURN) <= 0.05


def test_a_frame_without_the_target_is_none_and_stays_counted() -> None:
    empty = frames(np.full((HEIGHT, WIDTH), 128.0), 1, 3.0, 2)[0]
    seen = [TARGET.find(frame, CAMERA) for frame in frames(rendered(TURN, SHIFT_M), 3, 3.0, 3)]
    assert None not in seen
    assert TARGET.find(empty, CAMERA) is None
    assert repeatability([*seen, TARGET.find(empty, CAMERA)]).detection_rate == 0.75


def test_a_half_hidden_target_is_found_by_the_corners_that_are_left() -> None:
    image = rendered(TURN, SHIFT_M)
    image[:, WIDTH // 2 :] = 128.0
    pose = TARGET.find(frames(image, 1, 3.0, 4)[0], CAMERA)
    assert pose is not None
    assert 6 <= pose.corners < pose.of_corners == 35
    assert np.linalg.norm(pose.position_m - SHIFT_M) <= 1e-3


@pytest.mark.parametrize("tilt", [0.2, 0.4, 0.7])
def test_tilts_come_back(tilt: float) -> None:
    turn = np.array([tilt, -tilt / 2, 0.1])
    pose = TARGET.find(frames(rendered(turn, SHIFT_M), 1, 3.0, 5)[0], CAMERA)
    assert pose is not None
    assert not pose.ambiguous
    assert off_deg(pose.rotation, turn) <= 0.1


@pytest.mark.parametrize(("distance_m", "least", "most"), [(0.5, 0, 0), (5.0, 15, 20)])
def test_far_away_the_two_tilts_of_a_plane_cannot_be_told_apart(
    distance_m: float, least: int, most: int
) -> None:
    corners = np.asarray(TARGET.board.getChessboardCorners(), dtype=np.float64)
    turn, rng = np.array([0.1, 0.0, 0.0]), np.random.default_rng(8)
    shift_m = np.array([-0.12, -0.09, distance_m])
    exact = cv2.projectPoints(corners, turn, shift_m, CAMERA.matrix, None)[0].reshape(-1, 2)
    poses = [
        solve_pose(corners, exact + 0.3 * rng.standard_normal(exact.shape), CAMERA, 35) for _ in range(20)
    ]
    assert least <= sum(pose is not None and pose.ambiguous for pose in poses) <= most


def test_lens_distortion_is_taken_out() -> None:
    bent = Camera(CAMERA.matrix, np.array([-0.1, 0.02, 0.0, 0.0]))
    # where a pixel of the bent image comes from in the straight one
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).reshape(-1, 1, 2)
    source = cv2.undistortPoints(pixels.astype(np.float64), bent.matrix, bent.distortion, P=CAMERA.matrix)
    maps = source.reshape(HEIGHT, WIDTH, 2).astype(np.float32)
    straight = rendered(TURN, SHIFT_M).astype(np.float32)
    image = cv2.remap(straight, maps, np.empty(0), cv2.INTER_CUBIC, borderValue=(221.0,))
    frame = frames(np.asarray(image, dtype=np.float64), 1, 3.0, 7)[0]
    pose, naive = TARGET.find(frame, bent), TARGET.find(frame, CAMERA)
    assert pose is not None
    assert naive is not None
    assert np.linalg.norm(pose.position_m - SHIFT_M) <= 2e-4
    assert naive.residual_px > 2 * pose.residual_px


@pytest.mark.parametrize(
    ("columns", "rows", "square_m", "marker_m", "dictionary", "says"),
    [
        (8, 6, 0.02, 0.03, "DICT_5X5_100", "larger than their markers"),
        (2, 6, 0.03, 0.02, "DICT_5X5_100", "at least 3"),
        (8, 6, 0.03, 0.02, "DICT_5X5_17", "no ArUco dictionary"),
        (20, 20, 0.03, 0.02, "DICT_5X5_100", "100 markers"),
    ],
)
def test_a_target_that_cannot_be_is_refused(
    columns: int, rows: int, square_m: float, marker_m: float, dictionary: str, says: str
) -> None:
    with pytest.raises(TargetError, match=says):
        CharucoTarget(columns, rows, square_m=square_m, marker_m=marker_m, dictionary=dictionary)


def test_a_camera_that_cannot_be_is_refused() -> None:
    with pytest.raises(TargetError, match="3 × 3"):
        Camera(np.eye(2))
    with pytest.raises(TargetError, match="terms"):
        Camera(CAMERA.matrix, np.zeros(3))
