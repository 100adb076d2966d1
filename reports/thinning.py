"""Curves for paper: fewer points, every extreme kept."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from verification_platform.engine.protocol import Curve

from .model import PlottedCurve

#: Most points of one plotted series; a line of text width cannot show more.
MOST_POINTS = 2400


def thin(curve: Curve) -> PlottedCurve:
    """A curve reduced to what a page can show, keeping every extreme. Pure: the same curve gives the same
    bits.

    Of a long line, the lowest and highest row of each of 600 equal pieces stay, for every series; loops
    keep equidistant rows; stems keep their largest 600 rows.
    """
    rows = _rows_to_keep(curve)
    return PlottedCurve(
        name=curve.name,
        title=curve.title,
        x_label=curve.x_label,
        y_label=curve.y_label,
        x=tuple(np.asarray(curve.x, dtype=np.float64)[rows].tolist()),
        ys={name: tuple(np.asarray(y, dtype=np.float64)[rows].tolist()) for name, y in curve.ys.items()},
        x_unit=curve.x_unit,
        y_unit=curve.y_unit,
        x_display=curve.x_display,
        y_display=curve.y_display,
        kind=curve.kind,
    )


def _rows_to_keep(curve: Curve) -> NDArray[np.intp]:
    n = len(curve.x)
    if n <= MOST_POINTS:
        return np.arange(n)
    if curve.kind == "loop":
        return np.unique(np.linspace(0, n - 1, MOST_POINTS).round().astype(np.intp))
    if curve.kind == "stem":
        largest = np.max([np.abs(y) for y in curve.ys.values()], axis=0)
        return np.sort(np.argsort(largest, kind="stable")[-600:])
    keep = {0, n - 1}
    edges = np.linspace(0, n, 601).round().astype(np.intp)
    for y in curve.ys.values():
        for low, high in pairwise(edges):
            piece = np.asarray(y)[low:high]
            keep |= {int(low + np.argmin(piece)), int(low + np.argmax(piece))}
    return np.array(sorted(keep), dtype=np.intp)
