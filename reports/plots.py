"""What is drawn in a chart: lines, stems and hysteresis loops, with the marks a reader looks for.

Marks come from the reported results, never from the plotted points: a stiffness is K as printed, an error bar is the
U of the result it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import ArrayLike, NDArray

from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import Result
from verification_platform.metrology.units import unit

from . import formatting as fmt
from .model import Language, PlottedCurve
from .texts import series_name
from .thinning import DETAIL

INK, MUTED, HAIR, PALE = "#1b2430", "#5d6b7c", "#d5dce4", "#e9b48f"
#: Distinguishable in grey and by colour-blind readers; line style or marker differs too.
COLOURS = ("#0f4c81", "#c2571a", "#2f8f6b", "#7b4fa3", "#8a6d00", "#a11d1d", "#4b6a88", "#3d3d3d")
STYLES = ("-", "--", "-.", ":")
_FEW = 60  # points that are drawn one by one
_SMALL = 6.8  # pt, for annotations
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """Display values of one axis."""

    unit: str
    label: str

    def __call__(self, values: ArrayLike) -> Array:
        shown = unit(self.unit)
        return (np.asarray(values, dtype=np.float64) - shown.offset) / shown.factor

    def width(self, values: ArrayLike) -> Array:
        """Differences, without the unit's offset."""
        return np.asarray(values, dtype=np.float64) / unit(self.unit).factor


@dataclass(frozen=True, slots=True)
class Plot:
    """A curve with everything that is needed to draw it."""

    curve: PlottedCurve
    x: Axis
    y: Axis
    results: Sequence[Result]
    dut: Reducer
    languages: Sequence[Language]
    wide: bool

    @property
    def xs(self) -> Array:
        return self.x(self.curve.x)

    def ys(self, name: str) -> Array:
        return self.y(self.curve.ys[name])

    def label(self, name: str) -> str:
        return say(series_name(name), self.languages)

    def words(self, zh: str, en: str) -> str:
        return say(Text(zh, en), self.languages)

    def first(self, quantity: str) -> Result | None:
        """The first result of a quantity: protocols give the overall value before its parts."""
        return next((r for r in self.results if r.quantity == quantity), None)

    def at(self, name: str, x: float) -> float:
        """A series at `x`, both SI, interpolated."""
        order = np.argsort(self.curve.x, kind="stable")
        return float(np.interp(x, np.asarray(self.curve.x)[order], np.asarray(self.curve.ys[name])[order]))


def say(text: Text, languages: Sequence[Language], between: str = " ") -> str:
    """A text in the report's languages, on one line unless `between` says otherwise."""
    return between.join(dict.fromkeys(getattr(text, language) for language in languages))


def draw(figure: Figure, plot: Plot) -> None:
    """Draw `plot` into an empty figure."""
    {"line": _line_chart, "stem": _stem_chart, "loop": _loop_chart}[plot.curve.kind](figure, plot)


def _labelled(plot: Plot, axes: Axes, *, y_label: bool = True) -> Axes:
    axes.set_xlabel(plot.x.label)
    if y_label:
        axes.set_ylabel(plot.y.label)
    axes.yaxis.set_major_locator(MaxNLocator(6 if plot.wide else 5))
    return axes


def _beside(figure: Figure, plot: Plot, title: str) -> tuple[Axes, Axes]:
    """The whole on the left, an enlarged detail on the right."""
    whole, detail = figure.subplots(1, 2, width_ratios=(1.75, 1))
    _labelled(plot, whole)
    _labelled(plot, detail, y_label=False)
    detail.set_title(title, fontsize=7.2, color=MUTED, loc="left")
    detail.xaxis.set_major_locator(MaxNLocator(5))
    return whole, detail


def _legend(axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.2}
        columns = min(columns, len(handles))
        axes.legend(handles, labels, ncols=columns, handlelength=2.2, columnspacing=1.6, **place)


# ---------------------------------------------------------------------- lines


def _line_chart(figure: Figure, plot: Plot) -> None:
    few = len(plot.curve.x) <= _FEW
    if plot.wide and not few:
        whole, detail = _beside(figure, plot, plot.words("局部放大", "detail"))
        _dense_lines(plot, detail, 0.9)
        end = plot.xs[0] + DETAIL * (plot.xs[-1] - plot.xs[0])
        detail.set_xlim(plot.xs[0], end)
    else:
        whole = _labelled(plot, figure.add_subplot())
    if few:
        _points(plot, whole)
    else:
        _dense_lines(plot, whole, 0.45)
    if plot.x.unit in ("°", "deg") and np.ptp(plot.xs) > 180:
        whole.xaxis.set_major_locator(MultipleLocator(60 if plot.wide else 90))
    whole.margins(x=0.015)
    _legend(whole, 4 if plot.wide else 2)


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


# ---------------------------------------------------------------------- stems


def _stem_chart(figure: Figure, plot: Plot) -> None:
    axes = _labelled(plot, figure.add_subplot())
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
    _legend(axes, 4 if plot.wide else 2)


def _label_strongest(plot: Plot, axes: Axes, ys: Array) -> None:
    """Orders of the largest amplitudes; close neighbours are written to the right, not on each other."""
    near = 0.02 * float(np.ptp(plot.xs))
    labelled: list[float] = []
    above: dict[str, Any] = {"xytext": (0, 4.5), "ha": "center", "va": "bottom"}
    right: dict[str, Any] = {"xytext": (5.5, 0), "ha": "left", "va": "center"}
    for at in strongest(ys, 5):
        place = right if any(abs(plot.xs[at] - x) < near for x in labelled) else above
        point = (float(plot.xs[at]), float(ys[at]))
        axes.annotate(f"{point[0]:g}", point, textcoords="offset points", fontsize=_SMALL, color=INK, **place)
        labelled.append(point[0])


def strongest(values: Array, count: int) -> list[int]:
    """Indices of the largest values, the largest first, at least 5 % of it."""
    order = np.argsort(values, kind="stable")[::-1][:count]
    return [int(i) for i in order if values[i] > 0.05 * np.max(values, initial=0.0)]


# ---------------------------------------------------------------------- loops


def _loop_chart(figure: Figure, plot: Plot) -> None:
    middle = next((name for name in plot.curve.ys if "mid" in name or name.endswith("_m")), None)
    if plot.wide and middle is not None:
        whole, detail = _beside(figure, plot, plot.words("零转矩附近", "around zero torque"))
        _branches(plot, detail, middle)
        _lost_motion(plot, detail, middle)
    else:
        whole = _labelled(plot, figure.add_subplot())
    _branches(plot, whole, middle)
    if middle is not None:
        _stiffness(plot, whole, middle)
    whole.margins(x=0.02)
    _legend(whole, 2)


def _branches(plot: Plot, axes: Axes, middle: str | None) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.5)
    axes.axvline(0, color=MUTED, linewidth=0.5)
    colours = iter(COLOURS)
    for name in plot.curve.ys:
        how: dict[str, Any] = {"color": PALE, "linewidth": 3.2, "zorder": 2, "solid_capstyle": "butt"}
        if name == middle:
            how = {"color": INK, "linewidth": 0.7, "linestyle": (0, (4, 2)), "zorder": 4}
        elif not _is_slope(name):
            how = {"color": next(colours), "linewidth": 1.0, "zorder": 3}
        axes.plot(plot.xs, plot.ys(name), label=plot.label(name), **how)


def _is_slope(name: str) -> bool:
    return name.startswith("K_")


def _stiffness(plot: Plot, axes: Axes, middle: str) -> None:
    """The reported stiffness of each section at its middle; its slope too, where the protocol plots none."""
    rated = plot.dut.rated_torque
    breaks = (0.0, plot.dut.torque_1 or 0.2 * rated, plot.dut.torque_2 or 0.6 * rated, rated)
    drawn = any(_is_slope(name) for name in plot.curve.ys)
    for section in (1, 2, 3):
        stiffness = plot.first(f"K_{section}")
        if stiffness is None or stiffness.value <= 0:
            continue
        low = float(stiffness.conditions.get("from", breaks[section - 1]))
        high = float(stiffness.conditions.get("to", breaks[section]))
        centre = (low + high) / 2
        angle = plot.at(middle, centre)
        if not drawn:
            ends = np.array([low, high])
            line = plot.y(angle + (ends - centre) / stiffness.value)
            axes.plot(plot.x(ends), line, color=PALE, linewidth=3.2, solid_capstyle="butt", zorder=2)
        shown = fmt.show(stiffness)
        axes.annotate(
            f"K{'₁₂₃'[section - 1]} = {shown.value} {shown.unit}",
            (float(plot.x(centre)), float(plot.y(angle))),
            xytext=(14, -14) if section < 3 else (-6, -30),
            textcoords="offset points",
            fontsize=_SMALL,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5},
        )


def _lost_motion(plot: Plot, axes: Axes, middle: str) -> None:
    """LM_mid between the midline's points at ±p·T_N, and BL_0 between the branches at zero torque."""
    lost, width = plot.first("LM_mid"), plot.first("BL_0")
    p = float(lost.conditions.get("p", 0.03)) if lost is not None else 0.03
    reach = 2.4 * p * plot.dut.rated_torque
    ends = np.array([-reach, reach])
    angles = plot.y([plot.at(name, torque) for name in plot.curve.ys for torque in ends])
    room = 0.12 * float(np.ptp(angles))
    axes.set_xlim(float(plot.x(-reach)), float(plot.x(reach)))
    axes.set_ylim(float(np.min(angles)) - room, float(np.max(angles)) + room)
    if lost is not None:
        torques = np.array([-p, p]) * plot.dut.rated_torque
        levels = [float(plot.y(plot.at(middle, torque))) for torque in torques]
        axes.plot(plot.x(torques), levels, "o", color=INK, markersize=3.4, zorder=5)
        arm = float(plot.x(0.82 * reach))
        for torque, level in zip(torques, levels, strict=True):
            axes.plot([float(plot.x(torque)), arm], [level, level], color=MUTED, linewidth=0.5, zorder=1)
        _bracket(axes, arm, levels, f"LM {_plain(lost)}")
    branches = [name for name in plot.curve.ys if name != middle and not _is_slope(name)]
    if width is not None and len(branches) >= 2:
        _bracket(
            axes,
            0.0,
            sorted(float(plot.y(plot.at(name, 0.0))) for name in branches[:2]),
            f"BL₀ {_plain(width)}",
        )


def _plain(result: Result) -> str:
    shown = fmt.show(result)
    return f"{shown.value}{shown.unit}"


def _bracket(axes: Axes, at: float, levels: Sequence[float], words: str) -> None:
    """A double arrow between two levels, its words to the left of it."""
    arrow: dict[str, Any] = {"arrowstyle": "<->", "color": COLOURS[1], "linewidth": 0.8}
    arrow |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 6}
    axes.annotate("", (at, levels[0]), xytext=(at, levels[1]), arrowprops=arrow, zorder=6)
    paper: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    axes.annotate(
        words,
        (at, (levels[0] + levels[1]) / 2),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=_SMALL,
        color=COLOURS[1],
        zorder=6,
        bbox=paper,
    )
