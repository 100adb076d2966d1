"""SRV-STEP: what the report plots of a step, of whichever quantity."""

from __future__ import annotations

from dataclasses import dataclass

from verification_platform.engine.protocol import Curve, Text

from ..common import Floats

_DIRECTIONS = {1: Text("正向", "forward"), -1: Text("反向", "reverse")}


@dataclass(frozen=True, slots=True)
class Stepped:
    """The quantity that steps: name of its curves, their title, the label of its axis, symbol, and units (SI, shown)."""

    name: str
    title: Text
    label: Text
    symbol: str
    unit: str
    display: str


SPEED = Stepped("step", Text("转速阶跃响应", "Speed step"), Text("转速 n", "speed n"), "n", "rad/s", "r/min")
POSITION = Stepped(
    "position_step", Text("位置阶跃响应", "Position step"), Text("转角 Δθ", "angle Δθ"), "Δθ", "rad", "°"
)


def step_curve(stepped: Stepped, direction: int, t: Floats, y: Floats) -> Curve:
    """The response to the step in one direction, y (in `stepped.unit`) over t (s), shapes (n,)."""
    which = _DIRECTIONS[direction]
    return Curve(
        f"{stepped.name}_{which.en}",
        Text(f"{stepped.title.zh}，{which.zh}", f"{stepped.title.en}, {which.en}"),
        Text("时间 t", "time t"),
        stepped.label,
        t,
        {stepped.symbol: y},
        "s",
        stepped.unit,
        "ms",
        stepped.display,
    )
