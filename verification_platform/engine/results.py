"""Results, curves and standing of a run on disk, bit for bit.

A float and its shortest decimal text determine each other, so equal files mean equal numbers. Infinity
(degrees of freedom of a type B contribution), which JSON does not know, is the text "Infinity"."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from verification_platform.metrology.result import Result
from verification_platform.tables import one_line

from .protocol import Curve, ProtocolError, Text

_RESULT = TypeAdapter(Result)


def result_to_json(result: Result) -> dict[str, Any]:
    """A result as plain JSON data."""
    return _finite(_RESULT.dump_python(result, mode="json"))  # type: ignore[no-any-return]


def result_from_json(table: Any) -> Result:
    """The same result. Raises ProtocolError for data that is no result."""
    try:
        return _RESULT.validate_python(table)
    except ValidationError as error:
        raise ProtocolError(one_line("results.json", error)) from None


def curve_to_json(curve: Curve) -> dict[str, Any]:
    """A curve as plain JSON data; arrays become lists."""
    table = {
        name: getattr(curve, name) for name in ("name", "x_unit", "y_unit", "x_display", "y_display", "kind")
    }
    for name in ("title", "x_label", "y_label"):
        text: Text = getattr(curve, name)
        table[name] = {"zh": text.zh, "en": text.en}
    table["x"] = [float(value) for value in curve.x]
    table["ys"] = {name: [float(value) for value in y] for name, y in curve.ys.items()}
    return table


def curve_from_json(table: dict[str, Any]) -> Curve:
    """The same curve."""
    rest: dict[str, Any] = {
        key: table[key] for key in table.keys() - {"title", "x_label", "y_label", "x", "ys"}
    }
    return Curve(
        title=Text(**table["title"]),
        x_label=Text(**table["x_label"]),
        y_label=Text(**table["y_label"]),
        x=np.array(table["x"]),
        ys={name: np.array(y) for name, y in table["ys"].items()},
        **rest,
    )


def load_results(path: Path) -> list[Result]:
    """Read ``results.json``. Raises ProtocolError."""
    return [result_from_json(table) for table in _load(path)]


def load_curves(path: Path) -> list[Curve]:
    """Read ``curves.json``. Raises ProtocolError."""
    return [curve_from_json(table) for table in _load(path)]


def to_text(data: Any) -> str:
    """Canonical JSON: sorted keys, all digits."""
    return json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1) + "\n"


def _load(path: Path) -> list[Any]:
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProtocolError(f"{path}: cannot be read ({error.strerror}); evaluate the run first") from None
    except ValueError as error:
        raise ProtocolError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(tables, list):
        raise ProtocolError(f"{path}: a list is expected")
    return tables


def _finite(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
