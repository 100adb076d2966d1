"""``--set name=value``: protocol parameters from text with units."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import get_origin

from pydantic import ValidationError

from verification_platform.engine.protocol import Protocol, ProtocolParameters
from verification_platform.metrology.units import UnitError
from verification_platform.tables import one_line

from .errors import CommandError


def parse_settings(settings: Sequence[str]) -> dict[str, object]:
    """``["output_speed=3 r/min", "loads=0, 0.5"]`` → dict; what is JSON (numbers, true, lists) is taken as such."""
    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise CommandError(f"--set {setting!r}: write name=value, e.g. --set repeats=3")
        try:
            values[name.strip()] = json.loads(text)
        except json.JSONDecodeError:
            values[name.strip()] = text.strip()
    return values


def protocol_parameters(protocol: Protocol, settings: dict[str, object]) -> ProtocolParameters:
    """Check the settings against the protocol's parameters. Raises CommandError naming the parameter."""
    known = protocol.Parameters.model_fields
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"parameters are {', '.join(known)}"
            raise CommandError(f"{protocol.id} has no parameter {name!r}; {hint}")
    listed = {
        name: _as_list(value)
        for name, value in settings.items()
        if get_origin(known[name].annotation) is tuple
    }
    try:
        return protocol.Parameters(**{**settings, **listed})
    except ValidationError as error:
        raise CommandError(one_line(f"{protocol.id} --set", error)) from None
    except UnitError as error:
        raise CommandError(f"{protocol.id} --set: {error}") from None


def _as_list(value: object) -> object:
    """The value of a parameter that takes several: ``0``, ``100 r/min, 200 r/min`` and JSON lists mean what they say."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list) else [value]
