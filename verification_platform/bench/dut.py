"""The device under test and the order that goes with it: data sheet, limits, decision rule.

`load_dut(path)` reads ``dut.toml``. Limits and rule are frozen into the run before it starts and are immutable
afterwards (ISO/IEC 17025 7.1.3, 7.8.6).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from verification_platform.tables import Kelvin, Speed, Table, Torque, one_line

from .description import BenchError, load_toml


class Reducer(Table):
    """Data sheet of a reducer. `ratio` is i > 0, `sense` the rotation sense s = ±1 of the output."""

    kind: Literal["reducer"]
    type: Literal["harmonic", "rv", "cycloid", "planetary"]
    manufacturer: str
    model: str
    serial: str
    ratio: float = Field(gt=0)
    sense: Literal[-1, 1] = 1
    rated_torque: Torque = Field(gt=0)
    max_torque: Torque = Field(gt=0)
    rated_speed: Speed = Field(gt=0)
    max_speed: Speed = Field(gt=0)
    torque_1: Torque | None = None
    torque_2: Torque | None = None
    orders: tuple[float, ...] = ()
    housing_limit: Kelvin = 343.15
    lubricant: str = ""


class Limit(Table):
    """Tolerance limits as written in the order, text with unit; SI on use."""

    min: str | float | None = None
    max: str | float | None = None


class Decision(Table):
    rule: Literal["SIMPLE", "GUARD_U", "GUARD_083", "GUARD_15", "CUSTOMER"] = "GUARD_U"
    w: str | float | None = None  # guard band of rule CUSTOMER


class Order(Table):
    """What is tested and how it will be judged."""

    dut: Reducer
    limits: dict[str, Limit] = {}
    decision: Decision = Decision()


def parse_order(tables: dict[str, Any], where: str) -> Order:
    """Check the tables of a DUT file or of a stored run. Raises BenchError."""
    try:
        return Order.model_validate(tables)
    except ValidationError as error:
        raise BenchError(one_line(where, error)) from None


def load_dut(path: Path) -> Order:
    """Read and check ``dut.toml``. Raises BenchError."""
    return parse_order(load_toml(path), str(path))
