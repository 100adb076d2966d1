"""How a number with its uncertainty is written: U to two significant digits, the value to the same place.

Source: JCGM 100:2008 7.2.6 (and the protocol specification §7.1). U is rounded up when rounding to nearest would make
it smaller by more than 5 %.
"""

from __future__ import annotations

import math


def rounded(value: float, U: float, digits: int = 2) -> tuple[str, str]:
    """Value and U as text, to the same decimal place, in whatever unit both are given in.

    A zero or unknown U leaves the value with six significant digits.

    >>> rounded(0.93371, 0.0382)
    ('0.934', '0.038')
    >>> rounded(15012.3, 131.0)
    ('15010', '130')
    >>> rounded(-0.3, 14.0)
    ('0', '14')
    """
    if not math.isfinite(value):
        return ("–", "–")
    if not math.isfinite(U) or U <= 0:
        return (f"{value:.6g}", "–")
    place = math.floor(math.log10(U)) - digits + 1
    shown_U = round(U, -place)
    if shown_U < 0.95 * U:
        shown_U = math.ceil(U / 10.0**place) * 10.0**place
    place = math.floor(math.log10(shown_U)) - digits + 1  # 0.0996 becomes 0.10, one place up
    decimals = max(0, -place)
    shown = round(value, -place) + 0.0  # a zero has no sign
    return (f"{shown:.{decimals}f}", f"{round(shown_U, -place):.{decimals}f}")
