"""Units at the edge: text to SI, SI to display.

Inside the platform every number is SI. A unit string appears only where people write (bench descriptions,
command line, mapping files) and where they read (reports). `parse("3 r/min", "rad/s")` is the one door in,
`to_display(x, "arcsec")` the one door out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

ARCSEC = math.pi / 180 / 3600
ARCMIN = math.pi / 180 / 60
DEGREE = math.pi / 180
RPM = 2 * math.pi / 60


class UnitError(ValueError):
    """A quantity cannot be understood; the message says what was written and what is expected."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A display unit: `si` names the SI unit, `factor` and `offset` lead to it (SI = factor·x + offset)."""

    symbol: str
    si: str
    factor: float
    offset: float = 0.0


_UNITS = {
    unit.symbol: unit
    for unit in (
        Unit("rad", "rad", 1.0), Unit("mrad", "rad", 1e-3), Unit("°", "rad", DEGREE), Unit("deg", "rad", DEGREE),
        Unit("arcmin", "rad", ARCMIN), Unit("′", "rad", ARCMIN), Unit("arcsec", "rad", ARCSEC), Unit("″", "rad", ARCSEC),
        Unit("r", "rad", 2 * math.pi),
        Unit("rad/s", "rad/s", 1.0), Unit("°/s", "rad/s", DEGREE), Unit("r/min", "rad/s", RPM), Unit("rpm", "rad/s", RPM),
        Unit("rad/s²", "rad/s²", 1.0), Unit("r/min/s", "rad/s²", RPM),
        Unit("N·m", "N·m", 1.0), Unit("mN·m", "N·m", 1e-3), Unit("kN·m", "N·m", 1e3),
        Unit("N·m/s", "N·m/s", 1.0),
        Unit("N·m/rad", "N·m/rad", 1.0), Unit("N·m/arcmin", "N·m/rad", 1 / ARCMIN), Unit("rad/(N·m)", "rad/(N·m)", 1.0),
        Unit("N·m·s/rad", "N·m·s/rad", 1.0), Unit("N·m/(r/min)", "N·m·s/rad", 1 / RPM),
        Unit("kg·m²", "kg·m²", 1.0), Unit("J", "J", 1.0), Unit("W", "W", 1.0),
        Unit("s", "s", 1.0), Unit("ms", "s", 1e-3), Unit("µs", "s", 1e-6), Unit("min", "s", 60.0), Unit("h", "s", 3600.0),
        Unit("Hz", "Hz", 1.0), Unit("kHz", "Hz", 1e3),
        Unit("K", "K", 1.0), Unit("°C", "K", 1.0, 273.15), Unit("K/h", "K/s", 1 / 3600), Unit("K/s", "K/s", 1.0),
        Unit("m", "m", 1.0), Unit("mm", "m", 1e-3), Unit("µm", "m", 1e-6), Unit("m/s²", "m/s²", 1.0), Unit("g", "m/s²", 9.80665),
        Unit("mm/s", "m/s", 1e-3), Unit("m/s", "m/s", 1.0),
        Unit("V", "V", 1.0), Unit("A", "A", 1.0), Unit("N", "N", 1.0),
        Unit("1/s", "1/s", 1.0), Unit("%/s", "1/s", 0.01), Unit("1", "1", 1.0), Unit("%", "1", 0.01), Unit("ppm", "1", 1e-6), Unit("dB", "dB", 1.0),
    )
}  # fmt: skip
_ALIASES = {"Nm": "N·m", "N*m": "N·m", "N.m": "N·m", "N⋅m": "N·m", "mNm": "mN·m", "degC": "°C", "us": "µs", "min⁻¹": "r/min",
            "\"": "arcsec", "'": "arcmin", "": "1", "Nm/rad": "N·m/rad", "Nm/arcmin": "N·m/arcmin", "1/min": "r/min",
            "Nm/s": "N·m/s", "rad/Nm": "rad/(N·m)", "kgm²": "kg·m²", "deg/s": "°/s", "rad/s^2": "rad/s²"}  # fmt: skip
_QUANTITY = re.compile(r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")


def unit(symbol: str) -> Unit:
    """Look a unit up by its symbol. Raises UnitError for a symbol nobody defined."""
    symbol = symbol.strip()
    try:
        return _UNITS[_ALIASES.get(symbol, symbol)]
    except KeyError:
        raise UnitError(f"unknown unit {symbol!r}; known are {', '.join(_UNITS)}") from None


def parse(text: str | float | int, si: str) -> float:
    """Read a quantity such as ``"3 r/min"`` into the SI unit `si`; a bare number is taken as SI.

    Raises UnitError for text that is no quantity, an unknown unit, or a unit of another kind.

    >>> round(parse("1 arcmin", "rad"), 9)
    0.000290888
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        value, found = float(text), unit(si)
    else:
        match = _QUANTITY.match(str(text))
        if match is None:
            raise UnitError(f"{text!r} is not a quantity; write a number and a unit, e.g. '1.5 {si}'")
        value, found = float(match[1].replace("_", "")), unit(match[2] or si)
    if found.si != si:
        raise UnitError(f"{text!r} is in {found.symbol}, expected a quantity in {si}")
    result = value * found.factor + found.offset
    if not math.isfinite(result):
        raise UnitError(f"{text!r} is not a finite quantity")
    return result


def to_display(value: float, symbol: str) -> float:
    """SI value → number in the display unit `symbol`."""
    shown = unit(symbol)
    return (value - shown.offset) / shown.factor
