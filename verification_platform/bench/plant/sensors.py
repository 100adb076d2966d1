"""Sensors as they are: right on average over many instruments, wrong in this one.

A calibration certificate states U (k) for a reading. Each seed is another instrument of that quality: its
systematic error is drawn so that at any reading it is normal with standard deviation U/k, no more and no
less, and stays the same all through. So a budget that takes U/k from the certificate must cover the truth
as often as it says. Every sensor has random streams of its own: reading one does not change another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from verification_platform.bench.description import Channel

_CHUNK = 1024  # normals drawn at a time; one at a time costs ten times as much


def normals(generator: np.random.Generator) -> Iterator[float]:
    """Endless standard normals as plain floats."""
    while True:
        yield from generator.standard_normal(_CHUNK).tolist()


@dataclass(frozen=True, slots=True)
class CalibrationU:
    """Standard uncertainties of one reading: `absolute` in SI, `relative` of the reading."""

    absolute: float = 0.0
    relative: float = 0.0

    @classmethod
    def of(cls, channel: Channel | None) -> CalibrationU:
        """Taken from the channel's calibration record; zero where there is none."""
        record = None if channel is None else channel.calibration
        return cls() if record is None else cls(record.U / record.k, record.U_relative / record.k)


class AngleEncoder:
    """Angle with periodic error: orders per revolution that share the variance u², drawn once; then noise."""

    #: order per revolution → share of the variance (grating eccentricity, its ellipse, subdivision).
    SHARES = ((1.0, 0.55), (2.0, 0.30), (3.0, 0.05), (64.0, 0.10))

    __slots__ = ("_lines", "_noise", "_sigma")

    def __init__(self, u: float, noise: float, rng: np.random.Generator, eccentricity_u: float = 0.0) -> None:
        self._lines: list[tuple[float, float, float]] = []
        for order, share in self.SHARES:
            sigma = math.hypot(u * math.sqrt(share), eccentricity_u if order == 1.0 else 0.0)
            a, b = rng.normal(0.0, sigma, 2).tolist() if sigma else (0.0, 0.0)
            self._lines.append((order, math.hypot(a, b), math.atan2(a, b)))
        self._sigma, self._noise = noise, normals(rng)

    def error(self, angle: float) -> float:
        """Systematic error at `angle`, rad."""
        sin = math.sin
        total = 0.0
        for order, amplitude, phase in self._lines:
            total += amplitude * sin(order * angle + phase)
        return total

    def read(self, angle: float) -> float:
        """One reading of `angle`, rad."""
        return angle + self.error(angle) + self._sigma * next(self._noise)


class TorqueTransducer:
    """Torque with zero offset, linearity and sensitivity error, and noise.

    The absolute part u² is shared between the offset, which zeroing removes, and a linearity error over the
    range (one period), which nothing removes.
    """

    OFFSET_SHARE = 0.6

    __slots__ = ("_cos", "_gain", "_noise", "_scale", "_sigma", "_sin", "offset")

    def __init__(self, u: CalibrationU, range_: float, noise: float, rng: np.random.Generator) -> None:
        linearity = u.absolute * math.sqrt(1 - self.OFFSET_SHARE)
        offset, cos, sin, sensitivity = (float(draw) for draw in rng.standard_normal(4))
        self.offset = u.absolute * math.sqrt(self.OFFSET_SHARE) * offset
        self._cos, self._sin = linearity * cos, linearity * sin
        self._scale = math.pi / range_
        self._gain = 1 + u.relative * sensitivity
        self._sigma, self._noise = noise, normals(rng)

    def error(self, torque: float) -> float:
        """Systematic error at `torque`, N·m."""
        x = self._scale * torque
        return (self._gain - 1) * torque + self.offset + self._cos * math.cos(x) + self._sin * math.sin(x)

    def read(self, torque: float) -> float:
        """One reading, N·m."""
        return torque + self.error(torque) + self._sigma * next(self._noise)


class Thermometer:
    """Temperature with a constant error and noise."""

    __slots__ = ("_noise", "_sigma", "offset")

    def __init__(self, u: float, noise: float, rng: np.random.Generator) -> None:
        self.offset = float(rng.normal(0.0, u)) if u else 0.0
        self._sigma, self._noise = noise, normals(rng)

    def read(self, temperature: float) -> float:
        """One reading, K."""
        return temperature + self.offset + self._sigma * next(self._noise)
