"""Curves for paper: fewer points, every extreme kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from verification_platform.engine.protocol import Curve, Text

from .model import PlottedCurve

#: Most points of one plotted series; a line of text width cannot show more.
MOST_POINTS = 2400
#: Share of a long line that is shown enlarged, and its most points.
DETAIL = 0.025
MOST_DETAIL = 500


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
    head = np.linspace(0, round(DETAIL * n), MOST_DETAIL).round().astype(int)
    keep = {0, n - 1, *head.tolist()}
    edges = np.linspace(0, n, 601).round().astype(np.intp)
    for y in curve.ys.values():
        for low, high in pairwise(edges):
            piece = np.asarray(y)[low:high]
            keep |= {int(low + np.argmin(piece)), int(low + np.argmax(piece))}
    return np.array(sorted(keep), dtype=np.intp)


def merge_directions(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """Curves that differ only in the direction become one with two series, so that both stand in one chart.

    Protocols name such curves alike but for the last part, ``…_1`` and ``…_-1``, and give both the same x.
    """
    merged: list[Curve] = []
    for curve in curves:
        stem, _, direction = curve.name.rpartition("_")
        other = next(
            (c for c in merged if direction == "-1" and c.name == f"{stem}_1" and _same_axes(c, curve)), None
        )
        if other is None:
            merged.append(curve)
            continue
        both = {"forward": next(iter(other.ys.values())), "reverse": next(iter(curve.ys.values()))}
        title = Text(
            other.title.zh.replace("正向", "正、反向"), other.title.en.replace("forward", "both directions")
        )
        merged[merged.index(other)] = replace(other, name=stem, title=title, ys=both)
    return tuple(merged)


def _same_axes(one: Curve, other: Curve) -> bool:
    return (
        len(one.ys) == len(other.ys) == 1
        and (one.kind, one.x_unit, one.y_unit, one.x_label, one.y_label)
        == (other.kind, other.x_unit, other.y_unit, other.x_label, other.y_label)
        and np.array_equal(one.x, other.x)
    )
