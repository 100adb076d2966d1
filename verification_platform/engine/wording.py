"""A step in the words of the technician, in both languages: progress bar, live page, journal reader."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.device import Mode
from verification_platform.metrology.units import to_display

from .protocol import Text
from .steps import Cycles, Prompt, Record, Rest, Set, Step, Together, Wait

_ROLES = {"drive": Text("驱动轴", "drive"), "load": Text("负载轴", "load")}
_MODES = {
    Mode.POSITION: Text("转到", "to"),
    Mode.VELOCITY: Text("调速至", "to"),
    Mode.TORQUE: Text("加载至", "to"),
}
_DISPLAY = {Mode.POSITION: "°", Mode.VELOCITY: "r/min", Mode.TORQUE: "N·m"}


def describe(step: Step) -> Text:
    """What the bench does now.

    >>> describe(Set("drive", Mode.VELOCITY, 10.471975511965978, 50.0)).en
    'drive to 100 r/min'
    """
    match step:
        case Set(role, mode, target, _):
            shown = f"{to_display(target, _DISPLAY[mode]):.4g} {_DISPLAY[mode]}"
            name, verb = _ROLES.get(role, Text(role, role)), _MODES[mode]
            return Text(f"{name.zh}{verb.zh} {shown}", f"{name.en} {verb.en} {shown}")
        case Wait():
            return Text("等待", "waiting")
        case Record(_, tag):
            return Text(f"记录 {words(tag)}".rstrip(), f"recording {words(tag)}".rstrip())
        case Prompt(_, zh, en):
            return Text(zh, en)
        case Rest(roles):
            shown_zh = "、".join(_ROLES.get(role, Text(role, role)).zh for role in roles)
            return Text(f"{shown_zh}卸载并断电", f"{' and '.join(roles)} to rest")
        case Cycles(count, _):
            return Text(f"循环 {count} 次", f"{count} cycles")
        case Together(body):
            records = [part for part in body if isinstance(part, Record)]
            return describe(records[0]) if records else describe(body[0]) if body else Text("", "")
    return Text(type(step).__name__, type(step).__name__)


def words(tag: Mapping[str, str | float | int | bool]) -> str:
    """A tag on one line: ``direction 1, load 0.5``."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in tag.items()
    )
