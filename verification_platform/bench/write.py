"""Descriptions back into files, for other processes to read: the frozen bench of a run, or one with resolved wires.

Values are written in SI without units, which `description` and `dut` read as such; comments of the original are not kept.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .description import BenchDescription, BenchError, load_bench
from .dut import Order, load_dut


def write_bench(bench: BenchDescription, path: Path) -> Path:
    """Write ``bench.toml`` and read it back. Raises BenchError when it would not say the same."""
    _write(bench.model_dump(exclude_none=True), path)
    if load_bench(path) != bench:
        raise BenchError(f"{path}: the written bench description does not read back as it was")
    return path


def write_dut(order: Order, path: Path) -> Path:
    """Write ``dut.toml`` and read it back. Raises BenchError when it would not say the same."""
    _write(order.model_dump(exclude_none=True), path)
    if load_dut(path) != order:
        raise BenchError(f"{path}: the written DUT description does not read back as it was")
    return path


def _write(tables: Mapping[str, Any], path: Path) -> None:
    try:
        path.write_text("".join(f"{_key(k)} = {_toml(v)}\n" for k, v in tables.items()), encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{path}: cannot be written ({error.strerror})") from None


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _toml(value: Any) -> str:
    """A TOML value; tables inline (TOML 1.0, so on one line).

    >>> _toml({"low": -5.0, "names": ("a", "b")})
    '{"low" = -5.0, "names" = ["a", "b"]}'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float):
        return (
            repr(value)
            if math.isfinite(value)
            else ("nan" if math.isnan(value) else f"{'-' * (value < 0)}inf")
        )
    if isinstance(value, int):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False)
