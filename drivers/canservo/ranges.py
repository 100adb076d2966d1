"""Quantities squeezed into n bits over a range, as MIT-style joint modules and CyberGear send them.

Truncated, not rounded, as in the mini-cheetah's original (Ben Katz, CAN_com.cpp): what other programs send may differ
by one digit. The ranges are data of the product, never constants: one firmware's 30 rad/s is another's 65.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """`low` … `high` in SI, in `bits` bits."""

    low: float
    high: float
    bits: int = 16

    @property
    def most(self) -> int:
        """The largest digit."""
        return (1 << self.bits) - 1

    @property
    def digit(self) -> float:
        """One digit, SI."""
        return (self.high - self.low) / self.most

    def pack(self, value: float) -> int:
        """Digits of `value`. Raises ValueError outside the range: never clamped."""
        if not self.low <= value <= self.high:
            raise ValueError(f"{value:g} is outside {self.low:g} … {self.high:g}")
        return int((value - self.low) * self.most / (self.high - self.low))

    def unpack(self, digits: int) -> float:
        return self.low + digits * self.digit

    def saturated(self, digits: int) -> bool:
        """At its end the device cannot say how far beyond the value is."""
        return digits in (0, self.most)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Of one model: CyberGear has 16 bits everywhere, the MIT frame 16 for the position and 12 for the others."""

    position: Range
    velocity: Range
    kp: Range
    kd: Range
    torque: Range


def symmetric(most: float, bits: int = 16) -> Range:
    return Range(-most, most, bits)
