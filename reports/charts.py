"""Charts of a report as SVG: the same data give the same bytes.

Glyphs become outlines of the report's own fonts, so a chart looks the same wherever it is opened; ids are
salted with a constant and no date is written. A character that the fonts lack is an error, as in the text.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import ArrayLike

from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import Result
from verification_platform.metrology.units import to_display, unit

from . import formatting as fmt
from .errors import MissingGlyphError
from .model import Language, PlottedCurve
from .texts import series_name
from .typefaces import FAMILIES, font_files, require_glyphs

WIDE_MM, HALF_MM = 172, 83  # text width of the page; half of it less the gutter
_HEIGHT_MM = {"line": 62, "stem": 56, "loop": 92}
_HALF_HEIGHT_MM = {"line": 48, "stem": 48, "loop": 62}
INK, MUTED, HAIR, WASH = "#1b2430", "#5d6b7c", "#d5dce4", "#f4f7fa"
#: Distinguishable in grey and by colour-blind readers; line style differs too.
COLOURS = ("#0f4c81", "#c2571a", "#2f8f6b", "#7b4fa3", "#8a6d00", "#a11d1d", "#4b6a88", "#3d3d3d")
STYLES = ("-", "--", "-.", ":", "-", "--", "-.", ":")

_RC: Any = {
    "svg.hashsalt": "pilotbench",
    "svg.fonttype": "path",
    "font.family": list(FAMILIES),
    "font.size": 7.6,
    "axes.unicode_minus": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": HAIR,
    "grid.linewidth": 0.45,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.direction": "out",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.6,
    "ytick.major.size": 2.6,
    "lines.linewidth": 0.95,
    "lines.solid_joinstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 7.2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": True,
}


@cache
def _register_fonts() -> None:
    for path in font_files():
        font_manager.fontManager.addfont(path)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Display values of one axis."""

    unit: str
    label: str

    def __call__(self, values: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
        shown = unit(self.unit)
        return (np.asarray(values, dtype=np.float64) - shown.offset) / shown.factor


def _axis(label: Text, display: str, si: str, languages: Sequence[Language]) -> _Axis:
    symbol = display or si
    words = say(label, languages)
    printed = fmt.unit_symbol(symbol)
    return _Axis(symbol, f"{words} / {printed}" if printed else words)


def say(text: Text, languages: Sequence[Language]) -> str:
    """A text in the report's languages on one line."""
    return " ".join(dict.fromkeys(getattr(text, language) for language in languages))


def is_wide(curve: PlottedCurve, curves: Sequence[PlottedCurve]) -> bool:
    """A few charts take the whole width; many stand in two columns."""
    return len(curves) <= 3


def chart(
    curve: PlottedCurve,
    results: Sequence[Result],
    dut: Reducer,
    languages: Sequence[Language],
    *,
    wide: bool = True,
) -> bytes:
    """One curve as SVG, as wide as the text or as half of it. Raises MissingGlyphError for a label that cannot be drawn."""
    _register_fonts()
    labels = [say(text, languages) for text in (curve.x_label, curve.y_label, *map(series_name, curve.ys))]
    require_glyphs({f"curve {curve.name}": {"labels": labels}})
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph .* missing")
        height = _HEIGHT_MM[curve.kind] if wide else _HALF_HEIGHT_MM[curve.kind]
        size = ((WIDE_MM if wide else HALF_MM) / 25.4, height / 25.4)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        x = _axis(curve.x_label, curve.x_display, curve.x_unit, languages)
        y = _axis(curve.y_label, curve.y_display, curve.y_unit, languages)
        axes.set_xlabel(x.label)
        axes.set_ylabel(y.label)
        axes.yaxis.set_major_locator(MaxNLocator(6 if wide else 5))
        if x.unit in ("°", "deg") and np.ptp(x(curve.x)) > 180:
            axes.xaxis.set_major_locator(MultipleLocator(45 if wide else 90))
        draw = {"line": _lines, "stem": _stems, "loop": _loops}[curve.kind]
        draw(axes, curve, x, y, results, dut, languages)
        out = io.BytesIO()
        try:
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        except UserWarning as missing:
            raise MissingGlyphError(f"chart {curve.name}: {missing}; write the label differently") from None
    return out.getvalue()


def _legend(axes: Axes, columns: int = 4) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=min(columns, len(handles)),
            borderaxespad=0.2,
            handlelength=2.2,
            columnspacing=1.6,
        )


def _lines(
    axes: Axes,
    curve: PlottedCurve,
    x: _Axis,
    y: _Axis,
    results: Sequence[Result],
    dut: Reducer,
    languages: Sequence[Language],
) -> None:
    few = len(curve.x) <= 60
    for index, (name, values) in enumerate(curve.ys.items()):
        colour = COLOURS[index % len(COLOURS)]
        label = say(series_name(name), languages)
        if few and "fit" not in name:
            bars = expanded_uncertainties(curve, values, results)
            axes.errorbar(
                x(curve.x),
                y(values),
                yerr=None if bars is None else np.asarray(bars) / unit(y.unit).factor,
                fmt="o",
                color=colour,
                markersize=3.4,
                capsize=2.2,
                elinewidth=0.8,
                capthick=0.8,
                label=label + ("" if bars is None else " ± U"),
                zorder=3,
            )
        else:
            axes.plot(
                x(curve.x),
                y(values),
                STYLES[index % len(STYLES)] if few else "-",
                color=colour,
                label=label,
                linewidth=0.95 if few else 0.75,
            )
    axes.margins(x=0.012)
    _legend(axes)


def expanded_uncertainties(
    curve: PlottedCurve, values: Sequence[float], results: Sequence[Result]
) -> list[float] | None:
    """U of the results that a series consists of: same unit, same value. None unless every point has one."""
    known = {(r.unit, r.value): r.U for r in results}
    found = [known.get((curve.y_unit, v)) for v in values]
    return None if any(U is None for U in found) else [float(U) for U in found if U is not None]


def _stems(
    axes: Axes,
    curve: PlottedCurve,
    x: _Axis,
    y: _Axis,
    results: Sequence[Result],
    dut: Reducer,
    languages: Sequence[Language],
) -> None:
    shift = 0.0
    for index, (name, values) in enumerate(curve.ys.items()):
        colour, xs, ys = COLOURS[index % len(COLOURS)], x(curve.x), y(values)
        axes.vlines(xs, 0, ys, color=colour, linewidth=1.0, zorder=3)
        axes.plot(
            xs, ys, "o", color=colour, markersize=2.2, label=say(series_name(name), languages), zorder=3
        )
        if index == 0:
            for at in _strongest(ys, 5):
                axes.annotate(
                    f"{xs[at]:g}",
                    (xs[at], ys[at]),
                    xytext=(0, 3.5),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=6.8,
                    color=INK,
                )
        shift = max(shift, float(np.max(ys, initial=0.0)))
    axes.set_ylim(0, shift * 1.16 if shift > 0 else 1)
    axes.margins(x=0.02)
    _legend(axes)


def _strongest(values: np.ndarray[Any, np.dtype[np.float64]], count: int) -> list[int]:
    """Indices of the largest values, at least 5 % of the largest."""
    order = np.argsort(values, kind="stable")[::-1][:count]
    return [int(i) for i in order if values[i] > 0.05 * np.max(values, initial=0.0)]


def _loops(
    axes: Axes,
    curve: PlottedCurve,
    x: _Axis,
    y: _Axis,
    results: Sequence[Result],
    dut: Reducer,
    languages: Sequence[Language],
) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.5)
    axes.axvline(0, color=MUTED, linewidth=0.5)
    middle = next((name for name in curve.ys if "mid" in name), None)
    index = 0
    for name, values in curve.ys.items():
        label = say(series_name(name), languages)
        if name == middle:
            axes.plot(
                x(curve.x), y(values), color=INK, linewidth=0.7, linestyle=(0, (4, 2)), label=label, zorder=4
            )
        else:
            axes.plot(x(curve.x), y(values), color=COLOURS[index], linewidth=1.1, label=label, zorder=3)
            index += 1
    if middle is not None:
        _mark_stiffness(axes, curve, curve.ys[middle], x, y, results, dut)
    axes.margins(x=0.02)
    _legend(axes)


def _mark_stiffness(
    axes: Axes,
    curve: PlottedCurve,
    midline: Sequence[float],
    x: _Axis,
    y: _Axis,
    results: Sequence[Result],
    dut: Reducer,
) -> None:
    """Slopes 1/K of the sections on the midline, from the reported results, and where each section lies."""
    torque, angle = np.asarray(curve.x), np.asarray(midline)
    order = np.argsort(torque, kind="stable")
    breaks = (
        0.0,
        dut.torque_1 or 0.2 * dut.rated_torque,
        dut.torque_2 or 0.6 * dut.rated_torque,
        dut.rated_torque,
    )
    for section in (1, 2, 3):
        stiffness = next((r for r in results if r.quantity == f"K_{section}"), None)
        if stiffness is None or stiffness.value <= 0:
            continue
        low, high = breaks[section - 1], breaks[section]
        centre = (low + high) / 2
        at = float(np.interp(centre, torque[order], angle[order]))
        ends = np.array([low, high])
        axes.plot(
            x(ends),
            y(at + (ends - centre) / stiffness.value),
            color=COLOURS[1],
            linewidth=2.6,
            alpha=0.35,
            solid_capstyle="butt",
            zorder=2,
        )
        shown = fmt.show(stiffness)
        axes.annotate(
            f"K{'₁₂₃'[section - 1]} = {shown.value} {shown.unit}",
            (to_display(centre, x.unit), to_display(at, y.unit)),
            xytext=(26, -12),
            textcoords="offset points",
            fontsize=6.8,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5},
        )
