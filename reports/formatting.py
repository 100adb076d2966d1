"""Numbers as a reader sees them: display units at the edge, the value rounded to the place of its
uncertainty.

Nothing here feeds back: verdicts are decided on unrounded SI values, and the attached JSON holds all digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from verification_platform.metrology.result import LimitType, Result
from verification_platform.metrology.rounding import rounded
from verification_platform.metrology.units import to_display, unit

DOT = "\u22c5"  # N⋅m is written with U+22C5, not with the middle dot of text
MINUS = "\u2212"
DASH = "–"
GROUP = "\u2009"  # thin space between groups of digits
_SYMBOLS = {"arcsec": "″", "arcmin": "′", "deg": "°", "rpm": "r/min", "1": ""}


@dataclass(frozen=True, slots=True)
class Shown:
    """A result in its display unit, rounded; all text."""

    value: str
    U: str
    unit: str


def unit_symbol(symbol: str) -> str:
    """How a unit is printed: arcsec → ″, N·m → N⋅m; the unit one prints nothing."""
    return _SYMBOLS.get(symbol, symbol).replace("·", DOT)


def typographic(number: str) -> str:
    """A number with the typographic minus sign."""
    return number.replace("-", MINUS)


def significant(value: float, digits: int = 2) -> str:
    """`value` with exactly so many significant digits, trailing zeros kept; powers of ten below 0.001 and
    above 99999."""
    if not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if -4 < exponent < 5:
        rounded_value = float(f"{value:.{digits - 1}e}")
        return grouped(typographic(f"{rounded_value:.{max(0, digits - 1 - exponent)}f}"))
    return f"{typographic(f'{value / 10.0**exponent:.{digits - 1}f}')}×10^{typographic(str(exponent))}"


def grouped(number: str) -> str:
    """Digits before the point in groups of three when there are five or more (ISO 80000-1, 7.3.1)."""
    sign, body = ("", number) if number[:1] not in (MINUS, "-") else (number[0], number[1:])
    whole, point, rest = body.partition(".")
    if len(whole) >= 5 and whole.isdigit():
        whole = f"{int(whole):,}".replace(",", GROUP)
    return f"{sign}{whole}{point}{rest}"


def show(result: Result) -> Shown:
    """Value and U in the display unit, U to two significant digits, the value to the same place (JCGM 100
    7.2.6).

    Where that takes more than five decimals both carry the same power of ten, as ``1.900×10^−4`` and
    ``0.060×10^−4``.
    """
    symbol = result.display_unit or result.unit
    value, U = to_display(result.value, symbol), result.U / unit(symbol).factor
    shown_value, shown_U = rounded(value, U)
    if len(shown_value.partition(".")[2]) > 5 and value != 0:
        exponent = math.floor(math.log10(abs(value)))
        shown_value, shown_U = rounded(value / 10.0**exponent, U / 10.0**exponent)
        power = f"×10^{typographic(str(exponent))}"
        return Shown(
            typographic(shown_value) + power,
            shown_U if shown_U == DASH else typographic(shown_U) + power,
            unit_symbol(symbol),
        )
    return Shown(grouped(typographic(shown_value)), grouped(shown_U), unit_symbol(symbol))


def plain(value: float | None, symbol: str, digits: int = 6) -> str:
    """An SI value without uncertainty in a display unit, with `digits` significant digits; a dash for
    None."""
    if value is None or not math.isfinite(value):
        return DASH
    return grouped(typographic(f"{to_display(value, symbol):.{digits}g}"))


def quantity(value: float | None, symbol: str, digits: int = 6) -> str:
    """Like `plain`, with the unit; a plane angle in ″ ′ ° stands close to its number."""
    number, printed = plain(value, symbol, digits), unit_symbol(symbol)
    if number == DASH or not printed:
        return number
    return f"{number}{printed}" if printed in ("″", "′", "°") else f"{number} {printed}"


def difference(value: float, symbol: str, digits: int = 2) -> str:
    """A width in SI (an uncertainty, a guard band) in a display unit: no offset is applied."""
    return significant(value / unit(symbol).factor, digits)


def limit(result: Result) -> str:
    """The tolerance limit of a result, e.g. ``≤ 60``, in its display unit (unit not printed)."""
    symbol = result.display_unit or result.unit
    low, high = plain(result.TL_low, symbol), plain(result.TL_high, symbol)
    if result.limit_type is LimitType.MAX:
        return f"≤ {high}"
    if result.limit_type is LimitType.MIN:
        return f"≥ {low}"
    if result.limit_type is LimitType.TWO_SIDED:
        return f"{low} … {high}"
    return DASH


def probability(p: float | None) -> str:
    """A probability in percent, never rounded to a certainty it does not have."""
    if p is None or not math.isfinite(p):
        return DASH
    if p >= 0.9999:
        return "> 99.99 %"
    if p < 0.0001:
        return "< 0.01 %"
    return f"{100 * p:.2f} %"
