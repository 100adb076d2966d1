"""Charts of hysteresis: both branches, the midline, and what is read off them.

The marks come from the reported results, never from the plotted points: a stiffness is K as printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from verification_platform.metrology.result import Result

from . import formatting as fmt
from .plot import COLOURS, INK, MUTED, PALE, SMALL, Plot, beside, labelled, legend


def loop_chart(figure: Figure, plot: Plot) -> None:
    """Draw angle over torque; a wide chart shows the lost motion enlarged."""
    middle = next((name for name in plot.curve.ys if "mid" in name or name.endswith("_m")), None)
    if plot.wide and middle is not None:
        whole, detail = beside(figure, plot, plot.words("零转矩附近", "around zero torque"))
        _branches(plot, detail, middle)
        _lost_motion(plot, detail, middle)
    else:
        whole = labelled(plot, figure.add_subplot())
    _branches(plot, whole, middle)
    if middle is not None:
        _stiffness(plot, whole, middle)
    whole.margins(x=0.02)
    legend(whole, 2)


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
            fontsize=SMALL,
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
        fontsize=SMALL,
        color=COLOURS[1],
        zorder=6,
        bbox=paper,
    )
