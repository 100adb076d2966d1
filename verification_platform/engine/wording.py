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
            said = words(tag)
            return Text(f"记录 {said.zh}".rstrip(), f"recording {said.en}".rstrip())
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


#: How the entries of a tag are said: label in both languages and display unit; an entry that is not here stands as it is.
_TAGS = {
    "speed": (Text("转速", "speed"), "r/min"),
    "rate": (Text("加载速率", "rate"), "N·m/s"),
    "load": (Text("负载", "load"), "%"),
    "repeat": (Text("重复", "repeat"), ""),
    "position": (Text("位置", "position"), ""),
    "loop": (Text("循环", "loop"), ""),
    "level": (Text("级", "level"), ""),
    "band": (Text("温度段", "band"), ""),
}
_DIRECTIONS = {1: Text("正向", "forward"), -1: Text("反向", "reverse")}
_WORDS = {
    "dynamic": Text("动态", "dynamic"),
    "static": Text("静态", "static"),
    "loop": Text("全幅循环", "full loop"),
    "small": Text("小幅循环", "small loop"),
    "zero": Text("零点", "zero"),
    "before": Text("试验前", "before the loops"),
    "after": Text("试验后", "after the loops"),
}


def words(tag: Mapping[str, str | float | int | bool]) -> Text:
    """A tag on one line, in both languages.

    >>> words({"method": "dynamic", "speed": 10.471975511965978, "direction": -1}).en
    'dynamic, speed 100 r/min, reverse'
    """
    said = [_entry(name, value) for name, value in tag.items()]
    return Text("，".join(text.zh for text in said), ", ".join(text.en for text in said))


def _entry(name: str, value: str | float | int | bool) -> Text:
    if name == "direction" and value in _DIRECTIONS:
        return _DIRECTIONS[int(value)]
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    label, unit = _TAGS.get(name, (Text(name, name), ""))
    shown = f"{to_display(float(value), unit):.4g} {unit}" if unit else str(value)
    return Text(f"{label.zh} {shown}", f"{label.en} {shown}")
