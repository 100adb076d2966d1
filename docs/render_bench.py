#!/usr/bin/env python3
"""Draws the picture of the bench from its model, so that the picture cannot show another bench than Gazebo turns.

::

    python docs/render_bench.py            # writes docs/images/bench.png

Boxes and cylinders of ``model.sdf`` become flat faces, which are projected, shaded by their angle to the light, and drawn
with a depth for every pixel. Labels name what stands where. The picture carries the digest of the model; a test compares it.
"""

from __future__ import annotations

import hashlib
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROOT = Path(__file__).resolve().parents[1]
MODEL = _ROOT / "ros_ws" / "src" / "pilotbench_gazebo" / "models" / "pilot_bench" / "model.sdf"
IMAGES = _ROOT / "docs" / "images"
#: Direction from which one looks, and from which the light comes.
_AZIMUTH, _ELEVATION = np.radians(-62.0), np.radians(24.0)
_LIGHT = np.array([-0.35, -0.55, 0.76])
_SIDES = 64
#: Pixels a metre, before neighbours are averaged.
_PIXELS_PER_M, _AVERAGED = 3600, 3

#: (visual whose top is pointed at, Chinese, English)
LABELS = (
    ("ax1_stator", "AX1  驱动伺服 + EN1", "drive servo, input encoder"),
    ("tq1_stator", "TQ1  输入扭矩", "input torque"),
    ("dut_housing", "DUT  被测减速器", "reducer under test"),
    ("en2_disc", "EN2  输出角度", "output encoder"),
    ("tq2_stator", "TQ2  输出扭矩", "output torque"),
    ("ax2_stator", "AX2  加载伺服", "load servo"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """One visual in world coordinates: faces as (corners, normal), colour 0…1."""

    name: str
    centre: Floats
    top: float
    colour: Floats
    faces: tuple[tuple[Floats, Floats], ...]


def digest(model: Path) -> str:
    """SHA-256 of the model as it stands in the picture."""
    return hashlib.sha256(model.read_bytes()).hexdigest()


def load_shapes(model: Path) -> list[Shape]:
    """Every visual of the model."""
    root = ET.parse(model).getroot()
    assert root is not None
    shapes = []
    for link in root.iter("link"):
        at = _pose(link)
        for visual in link.findall("visual"):
            shapes.append(_shape(visual, at @ _pose(visual)))
    return shapes


def _pose(element: ET.Element) -> Floats:
    """Homogeneous matrix of an element's pose: x y z roll pitch yaw."""
    x, y, z, roll, pitch, yaw = (float(v) for v in (element.findtext("pose") or "0 0 0 0 0 0").split())
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, x],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, y],
            [-sp, cp * sr, cp * cr, z],
            [0, 0, 0, 1],
        ]
    )


def _shape(visual: ET.Element, at: Floats) -> Shape:
    size = visual.findtext("geometry/box/size")
    if size is not None:
        faces = list(_box(np.array([float(v) for v in size.split()])))
    else:
        radius, length = (
            float(visual.findtext(f"geometry/cylinder/{n}") or "nan") for n in ("radius", "length")
        )
        faces = list(_cylinder(radius, length))
    turned = tuple((corners @ at[:3, :3].T + at[:3, 3], normal @ at[:3, :3].T) for corners, normal in faces)
    colour = np.array(
        [float(v) for v in (visual.findtext("material/diffuse") or "0.7 0.7 0.7 1").split()[:3]]
    )
    top = max(float(corners[:, 2].max()) for corners, _ in turned)
    return Shape(str(visual.get("name")), at[:3, 3], top, colour, turned)


def _box(size: Floats) -> Iterator[tuple[Floats, Floats]]:
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign in (1.0, -1.0):
            normal, corners = np.zeros(3), np.zeros((4, 3))
            normal[axis] = sign
            corners[:, axis] = sign * size[axis] / 2
            corners[:, u] = np.array([-0.5, 0.5, 0.5, -0.5]) * size[u]
            corners[:, v] = np.array([-0.5, -0.5, 0.5, 0.5]) * size[v]
            yield corners, normal


def _cylinder(radius: float, length: float) -> Iterator[tuple[Floats, Floats]]:
    angles = np.linspace(0, 2 * np.pi, _SIDES + 1)
    ring = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    half = length / 2
    for k in range(_SIDES):
        middle = (angles[k] + angles[k + 1]) / 2
        corners = np.array([[*ring[j], z] for j, z in ((k, -half), (k + 1, -half), (k + 1, half), (k, half))])
        yield corners, np.array([np.cos(middle), np.sin(middle), 0.0])
    for sign in (1.0, -1.0):
        yield np.column_stack([ring[:-1], np.full(_SIDES, sign * half)]), np.array([0.0, 0.0, sign])


def _view() -> Floats:
    """Rows: right, up, and towards whoever looks."""
    ca, sa, ce, se = np.cos(_AZIMUTH), np.sin(_AZIMUTH), np.cos(_ELEVATION), np.sin(_ELEVATION)
    towards = np.array([ca * ce, sa * ce, se])
    right = np.array([-sa, ca, 0.0])
    return np.array([right, np.cross(towards, right), towards])


def _draw(shapes: list[Shape], view: Floats) -> tuple[Floats, tuple[float, float, float, float]]:
    """Picture (rows from the top, RGBA) and its extent (left, right, bottom, top), m."""
    every = np.concatenate([corners for shape in shapes for corners, _ in shape.faces]) @ view[:2].T
    (left, bottom), (right, top) = every.min(axis=0) - 0.005, every.max(axis=0) + 0.005
    columns, rows = (
        int(np.ceil(s * _PIXELS_PER_M / _AVERAGED)) * _AVERAGED for s in (right - left, top - bottom)
    )
    picture, depths = np.zeros((rows, columns, 4)), np.full((rows, columns), -np.inf)
    light = _LIGHT / np.linalg.norm(_LIGHT)
    for shape in shapes:
        for corners, normal in shape.faces:
            towards = float(normal @ view[2])
            if towards > 1e-9:  # else its back
                shade = 0.42 + 0.58 * max(0.0, float(normal @ light))
                colour = np.append(np.clip(shape.colour * shade, 0, 1), 1.0)
                at = (corners @ view.T - [left, bottom, 0.0]) * [_PIXELS_PER_M, _PIXELS_PER_M, 1.0]
                _fill(picture, depths, at, colour)
    small = picture.reshape(rows // _AVERAGED, _AVERAGED, columns // _AVERAGED, _AVERAGED, 4).mean(
        axis=(1, 3)
    )
    extent = (left, left + columns / _PIXELS_PER_M, bottom, bottom + rows / _PIXELS_PER_M)
    return small[::-1], extent


def _fill(picture: Floats, depths: Floats, at: Floats, colour: Floats) -> None:
    """One convex face, corners in pixels with their depth: wherever nothing nearer has been drawn."""
    low = np.maximum(np.floor(at[:, :2].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(at[:, :2].max(axis=0)).astype(int), [picture.shape[1], picture.shape[0]])
    if np.any(high <= low):
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    inside = np.ones(x.shape, bool)
    turn = np.sign(_area(at))
    for a, b in zip(at, np.roll(at, -1, axis=0), strict=True):
        inside &= turn * ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) >= -1e-9
    plane, *_ = np.linalg.lstsq(np.column_stack([at[:, :2], np.ones(len(at))]), at[:, 2], rcond=None)
    depth = plane[0] * x + plane[1] * y + plane[2]
    window = slice(low[1], high[1]), slice(low[0], high[0])
    nearer = inside & (depth > depths[window])
    depths[window][nearer] = depth[nearer]
    picture[window][nearer] = colour


def _area(at: Floats) -> float:
    x, y = at[:, 0], at[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def render(model: Path, folder: Path) -> None:
    """Write bench.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import font_manager, pyplot

    fonts = _ROOT / "reports" / "fonts"
    chinese = font_manager.FontProperties(fname=str(fonts / "NotoSansSC-Bold.ttf"), size=10.5)
    english = font_manager.FontProperties(fname=str(fonts / "NotoSansSC-Regular.ttf"), size=9)
    shapes, view = load_shapes(model), _view()
    picture, extent = _draw(shapes, view)
    figure, axes = pyplot.subplots(figsize=(10, 5.9), dpi=140)
    axes.imshow(picture, extent=extent, interpolation="antialiased")
    by_name, edge = {shape.name: shape for shape in shapes}, extent[3]
    for number, (name, zh, en) in enumerate(LABELS):
        shape = by_name[name]
        x, y = (view[:2] @ np.array([shape.centre[0], shape.centre[1], shape.top]))[:2]
        height = edge + (0.035 if number % 2 else 0.105)
        axes.plot([x, x], [y + 0.004, height - 0.006], color="#555", linewidth=0.7)
        axes.text(x, height + 0.024, zh, ha="center", va="bottom", fontproperties=chinese, color="#111")
        axes.text(x, height, en, ha="center", va="bottom", fontproperties=english, color="#444")
    axes.set_aspect("equal")
    axes.set_xlim(extent[0] - 0.01, extent[1] + 0.01)
    axes.set_ylim(extent[2] - 0.005, edge + 0.165)
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    about = {
        "Software": None,
        "Title": "The bench, rendered from its model",
        "Source": f"model.sdf sha256 {digest(model)}",
    }
    figure.savefig(
        folder / "bench.png", metadata=about, facecolor="white", bbox_inches="tight", pad_inches=0.05
    )


if __name__ == "__main__":
    render(MODEL, IMAGES)
    sys.stdout.write(f"{IMAGES / 'bench.png'}\n")
