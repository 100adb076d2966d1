"""Tables in files (TOML, JSON): strict and frozen, quantities written with a unit and SI after loading, complaints of one line."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from verification_platform.metrology.units import parse


class Table(BaseModel):
    """Immutable; an entry that nobody knows is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, table: Any) -> Any:
        """Before pydantic does, which says neither the name nor what could be meant."""
        for name in table if isinstance(table, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(f"unknown entry {name!r}; known are {', '.join(cls.model_fields)}")
        return table


def quantity(unit: str) -> BeforeValidator:
    """Annotated[float, quantity("rad/s")]: accepts ``"3 r/min"`` or a bare SI number."""
    return BeforeValidator(lambda value: parse(value, unit))


Angle = Annotated[float, quantity("rad")]
Speed = Annotated[float, quantity("rad/s")]
Acceleration = Annotated[float, quantity("rad/s²")]
Torque = Annotated[float, quantity("N·m")]
TorqueRate = Annotated[float, quantity("N·m/s")]
Duration = Annotated[float, quantity("s")]
Hertz = Annotated[float, quantity("Hz")]
Kelvin = Annotated[float, quantity("K")]
Compliance = Annotated[float, quantity("rad/(N·m)")]
Stiffness = Annotated[float, quantity("N·m/rad")]
Viscous = Annotated[float, quantity("N·m·s/rad")]
Inertia = Annotated[float, quantity("kg·m²")]
Ratio = Annotated[float, quantity("1")]
RatioRate = Annotated[float, quantity("1/s")]


def one_line(where: str, error: ValidationError) -> str:
    """First complaint of pydantic as one clear line: where, what."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    text = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {place + ': ' if place else ''}{text}"
