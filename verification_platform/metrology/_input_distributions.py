"""Distributions of input quantities: what a Monte Carlo draws from (JCGM 101:2008, 6.4)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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
        _draw_normal(rng, out, self.mean, self.u)


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


def _draw_normal(rng: Generator, out: Floats, mean: float | Floats, u: float | Floats) -> None:
    rng.standard_normal(out=out)
    out *= u
    out += mean


class Draws:
    """Samples of all inputs, drawn again and again into one array.

    To the last bit they are what `Distribution.draw` gives row by row; but adjacent normal inputs are drawn together,
    since for some thousand samples the calls cost as much as the arithmetic.
    """

    def __init__(self, inputs: Sequence[Distribution], n: int) -> None:
        self._x = np.empty((len(inputs), n))
        self._steps: list[Callable[[Generator], None]] = []
        row = 0
        for normal, run in itertools.groupby(inputs, lambda q: type(q) is Normal):
            members = list(run)
            rows = self._x[row : row + len(members)]
            row += len(members)
            if normal:
                mean, u = np.array([q.mean for q in members]), np.array([q.u for q in members])
                self._steps.append(partial(_draw_normal, out=rows, mean=mean[:, None], u=u[:, None]))
            else:
                self._steps += [partial(q.draw, out=out) for q, out in zip(members, rows, strict=True)]

    def __call__(self, rng: Generator) -> Floats:
        """The next samples, shape (inputs, n), valid until the next call."""
        for step in self._steps:
            step(rng)
        return self._x
