"""A curve to be drawn, and what charts of every kind have in common: axes in display units, colours, a legend, an enlarged detail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import Result
from verification_platform.metrology.units import unit

from .model import Language, PlottedCurve
from .texts import series_name

INK, MUTED, HAIR, PALE = "#1b2430", "#5d6b7c", "#d5dce4", "#e9b48f"
#: Distinguishable in grey and by colour-blind readers; line style or marker differs too.
COLOURS = ("#0f4c81", "#c2571a", "#2f8f6b", "#7b4fa3", "#8a6d00", "#a11d1d", "#4b6a88", "#3d3d3d")
STYLES = ("-", "--", "-.", ":")
SMALL = 6.8  # pt, for annotations
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


def set_low(label: str) -> str:
    """A_q with its index as a subscript."""
    low = re.sub(r"\b([A-Za-z])_(\w+)", r"\1$_{\\mathrm{\2}}$", label)
    # a label with mathematics in it is set in one font, without those that otherwise step in
    return label if low == label else low.replace("\u22c5", "$\\cdot$")


def labelled(plot: Plot, axes: Axes, *, y_label: bool = True) -> Axes:
    """`axes` with the labels of `plot`."""
    axes.set_xlabel(set_low(plot.x.label))
    if y_label:
        axes.set_ylabel(set_low(plot.y.label))
    axes.yaxis.set_major_locator(MaxNLocator(6 if plot.wide else 5))
    return axes


def beside(figure: Figure, plot: Plot, title: str) -> tuple[Axes, Axes]:
    """The whole on the left, an enlarged detail on the right."""
    whole, detail = figure.subplots(1, 2, width_ratios=(1.75, 1))
    labelled(plot, whole)
    labelled(plot, detail, y_label=False)
    detail.set_title(title, fontsize=7.2, color=MUTED, loc="left")
    detail.xaxis.set_major_locator(MaxNLocator(5))
    return whole, detail


def legend(axes: Axes, columns: int) -> None:
    """A legend above the axes, where there is more than one series."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.2}
        columns = min(columns, len(handles))
        axes.legend(
            handles,
            [set_low(label) for label in labels],
            ncols=columns,
            handlelength=2.2,
            columnspacing=1.6,
            **place,
        )
