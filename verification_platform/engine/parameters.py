"""The parameters of a run as the report shows them: value, default, and where the default comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from verification_platform.metrology.units import to_display

from .protocol import NOTHING, Protocol, ProtocolParameters, Text


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """One parameter as used. `value` and `default` are text in the display unit; `mark` says who set the
    default."""

    name: str
    value: str
    default: str
    mark: str
    why: Text = NOTHING

    @property
    def changed(self) -> bool:
        return self.value != self.default

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, table: Mapping[str, Any]) -> ParameterUse:
        """Of `as_data`; run folders from before the reasons had two languages give theirs in English. Raises TypeError."""
        fields = dict(table)
        why = fields.pop("why", "")
        return cls(**fields, why=Text(why, why) if isinstance(why, str) else Text(**why))


def parameter_uses(protocol: Protocol, parameters: ProtocolParameters) -> tuple[ParameterUse, ...]:
    """Every parameter of a protocol, in the order of its declaration."""
    defaults = protocol.Parameters()
    uses = []
    for name, field in protocol.Parameters.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        unit = str(extra.get("display", "")) or str(extra.get("unit", ""))
        uses.append(
            ParameterUse(
                name,
                shown(getattr(parameters, name), unit),
                shown(getattr(defaults, name), unit),
                str(extra.get("mark", "")),
                reason(extra),
            )
        )
    return tuple(uses)


def reason(extra: Mapping[str, Any]) -> Text:
    """What a parameter is for, out of its field's `json_schema_extra`."""
    return Text(**extra["why"]) if "why" in extra else NOTHING


def deviations(protocol: Protocol, parameters: ProtocolParameters) -> tuple[Text, ...]:
    """Every parameter that differs from the method's default (ISO/IEC 17025 7.8.2.1 n)."""
    return tuple(
        Text(
            f"参数 {use.name}：采用 {worded(use.value).zh}，缺省值 {worded(use.default).zh}",
            f"parameter {use.name}: {use.value} instead of default {use.default}",
        )
        for use in parameter_uses(protocol, parameters)
        if use.changed
    )


def worded(value: str) -> Text:
    """A parameter's text in both languages; only yes and no differ."""
    return Text({"yes": "是", "no": "否"}.get(value, value), value)


def shown(value: Any, unit: str) -> str:
    """A parameter's SI value as text in its display unit.

    >>> shown((0.0, 0.5), "%")
    '0 %, 50 %'
    """
    if isinstance(value, tuple | list):
        return ", ".join(shown(item, unit) for item in value) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        number = f"{to_display(value, unit) if unit else value:.10g}"
        return number if unit in ("", "1") else f"{number} {unit}"
    return "–" if value is None else str(value)
