"""Charts of a report as SVG: the same data give the same bytes.

Glyphs become outlines of the report's own fonts, so a chart looks the same wherever it is opened; ids are
salted with a constant and no date is written. A character that the fonts lack is an error, as in the text.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import Result

from . import formatting as fmt
from .errors import MissingGlyphError
from .lines import line_chart
from .loops import loop_chart
from .model import Language, PlottedCurve
from .plot import HAIR, INK, MUTED, Axis, Plot, say
from .stems import stem_chart
from .texts import series_name
from .typefaces import FAMILIES, font_files, require_glyphs

WIDE_MM, HALF_MM = 172, 83  # text width of the page; half of it less the gutter
_DRAW = {"line": line_chart, "stem": stem_chart, "loop": loop_chart}
_HEIGHT_MM = {"line": 62, "stem": 56, "loop": 92}
_HALF_HEIGHT_MM = {"line": 50, "stem": 50, "loop": 64}
#: The report's fonts under names of their own: a font of the same family installed on the machine must not be taken.
_PREFIX = "Pilotbench report: "

_RC: Any = {
    "svg.hashsalt": "pilotbench",
    "svg.fonttype": "path",
    "font.family": [_PREFIX + family for family in FAMILIES],
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
    manager = font_manager.fontManager
    for path in font_files():
        manager.addfont(path)
        manager.ttflist[-1] = dataclasses.replace(
            manager.ttflist[-1], name=_PREFIX + manager.ttflist[-1].name
        )


def is_wide(curves: Sequence[PlottedCurve]) -> bool:
    """A few charts take the whole width; many stand in two columns."""
    return len(curves) <= 4


def chart(
    curve: PlottedCurve,
    results: Sequence[Result],
    dut: Reducer,
    languages: Sequence[Language],
    *,
    wide: bool = True,
) -> bytes:
    """One curve as SVG, as wide as the text or half of it.

    Raises MissingGlyphError for a label that cannot be drawn.
    """
    _register_fonts()
    labels = [say(text, languages) for text in (curve.x_label, curve.y_label, *map(series_name, curve.ys))]
    require_glyphs({f"curve {curve.name}": {"labels": labels}})
    x = _axis(curve.x_label, curve.x_display, curve.x_unit, languages)
    y = _axis(curve.y_label, curve.y_display, curve.y_unit, languages, "\n")
    height = _HEIGHT_MM[curve.kind] if wide else _HALF_HEIGHT_MM[curve.kind]
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever the machine's own matplotlibrc says
        matplotlib.rcParams.update(_RC)
        warnings.filterwarnings("error", message="Glyph .* missing")
        figure = Figure(figsize=((WIDE_MM if wide else HALF_MM) / 25.4, height / 25.4), layout="constrained")
        FigureCanvasSVG(figure)
        _DRAW[curve.kind](figure, Plot(curve, x, y, results, dut, languages, wide))
        out = io.BytesIO()
        try:
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        except UserWarning as missing:
            raise MissingGlyphError(f"chart {curve.name}: {missing}; write the label differently") from None
    return out.getvalue()


def _axis(label: Text, display: str, si: str, languages: Sequence[Language], between: str = " ") -> Axis:
    symbol = display or si
    words, printed = say(label, languages, between), fmt.unit_symbol(symbol)
    return Axis(symbol, f"{words} / {printed}" if printed else words)
