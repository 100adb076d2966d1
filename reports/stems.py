"""Charts of amplitudes against orders; the strongest are told by their order."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plot import COLOURS, INK, SMALL, Array, Plot, labelled, legend


def stem_chart(figure: Figure, plot: Plot) -> None:
    """Draw a spectrum: the first series as stems, the others as marks beside them."""
    axes = labelled(plot, figure.add_subplot())
    top = max(float(np.max(plot.ys(name), initial=0.0)) for name in plot.curve.ys)
    for index, name in enumerate(plot.curve.ys):
        ys, label = plot.ys(name), plot.label(name)
        if index == 0:
            axes.vlines(plot.xs, 0, ys, color=COLOURS[0], linewidth=1.0, zorder=3)
            axes.plot(plot.xs, ys, "o", color=COLOURS[0], markersize=2.2, label=label, zorder=3)
            _label_strongest(plot, axes, ys)
            continue
        strong = ys > 0.02 * top
        hollow: dict[str, Any] = {"markersize": 4.8, "fillstyle": "none", "markeredgewidth": 0.8}
        axes.plot(plot.xs[strong], ys[strong], "D", color=COLOURS[index % 8], label=label, zorder=4, **hollow)
    axes.set_ylim(0, top * 1.18 if top > 0 else 1)
    axes.margins(x=0.02)
    legend(axes, 4 if plot.wide else 2)


def _label_strongest(plot: Plot, axes: Axes, ys: Array) -> None:
    """Orders of the largest amplitudes; close neighbours are written to the right, not on each other."""
    near = 0.02 * float(np.ptp(plot.xs))
    labelled: list[float] = []
    above: dict[str, Any] = {"xytext": (0, 4.5), "ha": "center", "va": "bottom"}
    right: dict[str, Any] = {"xytext": (5.5, 0), "ha": "left", "va": "center"}
    for at in strongest(ys, 5):
        place = right if any(abs(plot.xs[at] - x) < near for x in labelled) else above
        point = (float(plot.xs[at]), float(ys[at]))
        axes.annotate(f"{point[0]:g}", point, textcoords="offset points", fontsize=SMALL, color=INK, **place)
        labelled.append(point[0])


def strongest(values: Array, count: int) -> list[int]:
    """Indices of the largest values, the largest first, at least 5 % of it."""
    order = np.argsort(values, kind="stable")[::-1][:count]
    return [int(i) for i in order if values[i] > 0.05 * np.max(values, initial=0.0)]
