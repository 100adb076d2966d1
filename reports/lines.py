"""Charts of lines, and of points with their U: an error bar is the U of the result it stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from verification_platform.metrology.result import Result

from .model import PlottedCurve
from .plot import COLOURS, STYLES, Plot, beside, labelled, legend
from .thinning import DETAIL

_FEW = 60  # points that are drawn one by one


def line_chart(figure: Figure, plot: Plot) -> None:
    """Draw a curve whose series run over x."""
    few = len(plot.curve.x) <= _FEW
    if plot.wide and not few:
        whole, detail = beside(figure, plot, plot.words("局部放大", "detail"))
        _dense_lines(plot, detail, 0.9)
        end = plot.xs[0] + DETAIL * (plot.xs[-1] - plot.xs[0])
        detail.set_xlim(plot.xs[0], end)
    else:
        whole = labelled(plot, figure.add_subplot())
    if few:
        _points(plot, whole)
    else:
        _dense_lines(plot, whole, 0.45)
    if plot.x.unit in ("°", "deg") and np.ptp(plot.xs) > 180:
        whole.xaxis.set_major_locator(MultipleLocator(60 if plot.wide else 90))
    whole.margins(x=0.015)
    legend(whole, 4 if plot.wide else 2)


def _dense_lines(plot: Plot, axes: Axes, width: float) -> None:
    for index, name in enumerate(plot.curve.ys):
        label = plot.label(name)
        axes.plot(plot.xs, plot.ys(name), color=COLOURS[index % 8], linewidth=width, alpha=0.9, label=label)


def _points(plot: Plot, axes: Axes) -> None:
    """Series that are results are points with their U; the others, such as a fitted law, are lines."""
    bars = {name: expanded_uncertainties(plot.curve, name, plot.results) for name in plot.curve.ys}
    measured = [name for name in bars if bars[name] is not None] or list(bars)[:1]
    for index, name in enumerate(plot.curve.ys):
        colour, U = COLOURS[index % 8], bars[name]
        if name not in measured:
            style = STYLES[index % len(STYLES)]
            axes.plot(plot.xs, plot.ys(name), style, color=colour, linewidth=0.95, label=plot.label(name))
            continue
        axes.errorbar(
            plot.xs,
            plot.ys(name),
            yerr=None if U is None else plot.y.width(U),
            fmt="o",
            color=colour,
            markersize=3.2,
            capsize=2.4,
            elinewidth=0.9,
            capthick=0.9,
            zorder=3,
            label=plot.label(name) + ("" if U is None else " ± U"),
        )


def expanded_uncertainties(curve: PlottedCurve, name: str, results: Sequence[Result]) -> list[float] | None:
    """U of the results that a series consists of; None unless every point has one.

    A series is named after its quantity; a point belongs to the result one of whose conditions is its x, to 2 %
    (a speed as run and as ordered).
    """
    found: list[float] = []
    for x in curve.x:
        U = next(
            (r.U for r in results if r.quantity == name and r.unit == curve.y_unit and _is_at(r, x)), None
        )
        if U is None:
            return None
        found.append(U)
    return found


def _is_at(result: Result, x: float) -> bool:
    numbers = (v for v in result.conditions.values() if isinstance(v, float) and v != 0)
    return any(abs(v - x) <= 0.02 * abs(x) for v in numbers)
