"""Distributions of input quantities: what a Monte Carlo draws from (JCGM 101:2008, 6.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ._normal_draws import NormalDraws

Floats = NDArray[np.float64]


class Distribution(Protocol):
    """An input quantity: draws samples and knows its mean and standard deviation."""

    def draw(self, rng: Generator, out: Floats) -> None:
        """Fill `out` (n,) with samples."""
        ...

    @property
    def mean(self) -> float: ...

    @property
    def u(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Normal:
    """Gaussian with mean and standard uncertainty u (JCGM 101 6.4.7)."""

    mean: float
    u: float

    def draw(self, rng: Generator, out: Floats) -> None:
        NormalDraws(out.size)(rng, out, self.mean, self.u)


@dataclass(frozen=True, slots=True)
class _Between:
    """Symmetric about the middle of two limits."""

    low: float
    high: float

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)


@dataclass(frozen=True, slots=True)
class Rectangular(_Between):
    """Uniform between two limits (6.4.2)."""

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.random(out=out)
        out *= self.high - self.low
        out += self.low

    @property
    def u(self) -> float:
        return (self.high - self.low) / math.sqrt(12)


@dataclass(frozen=True, slots=True)
class CurvilinearTrapezoid(_Between):
    """Rectangular a ± d whose limits are known to ± d each: R(a, b) with inexact limits (6.4.3)."""

    d: float

    def draw(self, rng: Generator, out: Floats) -> None:
        edge = self.low + self.d * (2 * rng.random(out.size) - 1)
        rng.random(out=out)
        out *= (self.low + self.high) - 2 * edge
        out += edge

    @property
    def u(self) -> float:
        return math.sqrt((self.high - self.low) ** 2 / 12 + self.d**2 / 9)


@dataclass(frozen=True, slots=True)
class Triangular(_Between):
    """Symmetric triangle between two limits (6.4.5)."""

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.random(out=out)
        out += rng.random(out.size)
        out *= 0.5 * (self.high - self.low)
        out += self.low

    @property
    def u(self) -> float:
        return (self.high - self.low) / math.sqrt(24)


@dataclass(frozen=True, slots=True)
class Arcsine(_Between):
    """U-shaped between two limits, e.g. a cycling temperature (6.4.6)."""

    def draw(self, rng: Generator, out: Floats) -> None:
        rng.random(out=out)
        out *= 2 * math.pi
        np.sin(out, out=out)
        out *= 0.5 * (self.high - self.low)
        out += 0.5 * (self.low + self.high)

    @property
    def u(self) -> float:
        return (self.high - self.low) / math.sqrt(8)


@dataclass(frozen=True, slots=True)
class ScaledT:
    """Student's t with ν degrees of freedom, shifted and scaled: mean of n readings with ν = n − 1 (6.4.9)."""

    mean: float
    scale: float
    nu: float

    def draw(self, rng: Generator, out: Floats) -> None:
        out[:] = rng.standard_t(self.nu, out.size)
        out *= self.scale
        out += self.mean

    @property
    def u(self) -> float:
        return self.scale * math.sqrt(self.nu / (self.nu - 2)) if self.nu > 2 else math.inf


class Draws:
    """Samples of all inputs, drawn again and again into one array: to the last bit what `Distribution.draw` gives."""

    def __init__(self, inputs: Sequence[Distribution], n: int) -> None:
        self._x = np.empty((len(inputs), n))
        normal = NormalDraws(n)  # its arrays serve all inputs: fresh ones cost a fault every page
        self._steps: list[Callable[[Generator], None]] = [
            partial(normal, out=row, mean=q.mean, u=q.u) if type(q) is Normal else partial(q.draw, out=row)
            for q, row in zip(inputs, self._x, strict=True)
        ]

    def __call__(self, rng: Generator) -> Floats:
        """The next samples, shape (inputs, n), valid until the next call."""
        for step in self._steps:
            step(rng)
        return self._x
