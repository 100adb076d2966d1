"""Arrays with uncertainty: the GUM's first-order law, element by element, correlations included.

`UncertainArray` carries values and, for every independent source, the sensitivity of each element to it. Arithmetic
applies analytic derivatives; two quantities made from the same source stay correlated, so ``x - x`` is exactly 0 ± 0.
Cost is a few passes over the array per operation. JCGM 100:2008 clause 5.2 and F.1.2.3.

>>> v = uncertain([5.0, 6.0], 0.01, "voltage")
>>> i = uncertain([0.5, 0.5], 0.002, "current")
>>> r = v / i
>>> [round(float(u), 4) for u in r.u]
[0.0447, 0.052]
>>> float((r * i - v).u.max()) < 1e-15
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .budget import BudgetError

Floats = NDArray[np.float64]

#: Elements worked on at a time.
_PIECE = 16384


@dataclass(frozen=True, slots=True, eq=False)
class UncertainArray:
    """Values and signed standard uncertainties c·u per named source, all of one shape (or broadcastable to it).

    Elements of one source are fully correlated with those of the same source in other arrays, element by element.
    """

    values: Floats
    parts: Mapping[str, Floats]

    #: numpy hands ``ndarray * UncertainArray`` to this class instead of building an object array
    __array_ufunc__ = None

    @property
    def u(self) -> Floats:
        """Combined standard uncertainty, shape of `values`."""
        total = np.empty(self.values.shape)
        flat = total.reshape(-1)
        same = sum(float(part) ** 2 for part in self.parts.values() if part.ndim == 0)
        own = [np.broadcast_to(part, total.shape).reshape(-1) for part in self.parts.values() if part.ndim]
        work = np.empty(min(_PIECE, flat.size))
        for start in range(0, flat.size, _PIECE):  # temporaries stay in the cache
            piece = flat[start : start + _PIECE]
            piece.fill(same)
            for part in own:
                square = work[: piece.size]
                np.multiply(part[start : start + _PIECE], part[start : start + _PIECE], out=square)
                piece += square
            np.sqrt(piece, out=piece)
        return total

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def share(self, source: str) -> Floats:
        """|c·u| of one source."""
        return np.abs(np.broadcast_to(self.parts[source], self.values.shape))

    def correlation(self, other: UncertainArray) -> Floats:
        """r between elements of two arrays (0 where one has no uncertainty)."""
        shared = self.parts.keys() & other.parts.keys()
        covariance: Floats = np.zeros(np.broadcast_shapes(self.shape, other.shape))
        for name in shared:
            covariance += self.parts[name] * other.parts[name]
        scale = self.u * other.u
        return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)

    def __getitem__(self, index: int | slice | NDArray[np.intp] | NDArray[np.bool_]) -> UncertainArray:
        full = {name: np.broadcast_to(part, self.shape)[index] for name, part in self.parts.items()}
        return UncertainArray(np.asarray(self.values[index]), full)

    def _unary(self, values: Floats, slope: Floats | float) -> UncertainArray:
        return UncertainArray(values, {name: part * slope for name, part in self.parts.items()})

    def _linear(
        self, other: UncertainArray, values: Floats, a: Floats | float, b: Floats | float
    ) -> UncertainArray:
        """values with sensitivities a to self and b to other."""
        parts = {name: part * a for name, part in self.parts.items()}
        for name, part in other.parts.items():
            parts[name] = parts[name] + part * b if name in parts else part * b
        return UncertainArray(values, parts)

    def __add__(self, other: UncertainArray | ArrayLike) -> UncertainArray:
        if isinstance(other, UncertainArray):
            parts = dict(self.parts)
            for name, part in other.parts.items():
                parts[name] = parts[name] + part if name in parts else part
            return UncertainArray(self.values + other.values, parts)
        return UncertainArray(self.values + np.asarray(other), self.parts)

    __radd__ = __add__

    def __neg__(self) -> UncertainArray:
        return self._unary(-self.values, -1.0)

    def __sub__(self, other: UncertainArray | ArrayLike) -> UncertainArray:
        if isinstance(other, UncertainArray):
            return self._linear(other, self.values - other.values, 1.0, -1.0)
        return UncertainArray(self.values - np.asarray(other), self.parts)

    def __rsub__(self, other: ArrayLike) -> UncertainArray:
        return self._unary(np.asarray(other) - self.values, -1.0)

    def __mul__(self, other: UncertainArray | ArrayLike) -> UncertainArray:
        if isinstance(other, UncertainArray):
            return self._linear(other, self.values * other.values, other.values, self.values)
        factor = np.asarray(other, dtype=np.float64)
        return self._unary(self.values * factor, factor)

    __rmul__ = __mul__

    def __truediv__(self, other: UncertainArray | ArrayLike) -> UncertainArray:
        if isinstance(other, UncertainArray):
            inverse = 1.0 / other.values
            ratio = self.values * inverse
            return self._linear(other, ratio, inverse, -ratio * inverse)
        factor = 1.0 / np.asarray(other, dtype=np.float64)
        return self._unary(self.values * factor, factor)

    def __rtruediv__(self, other: ArrayLike) -> UncertainArray:
        values = np.asarray(other, dtype=np.float64) / self.values
        return self._unary(values, -values / self.values)

    def __pow__(self, exponent: float) -> UncertainArray:
        if exponent == 2:
            return self._unary(self.values * self.values, 2.0 * self.values)
        return self._unary(self.values**exponent, exponent * self.values ** (exponent - 1))


def uncertain(values: ArrayLike, u: ArrayLike, source: str) -> UncertainArray:
    """Measured values with standard uncertainty u (scalar or per element) from one named source.

    Raises BudgetError for u < 0 or not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    part = np.asarray(u, dtype=np.float64)
    if not np.all(np.isfinite(part)) or np.any(part < 0):
        raise BudgetError(f"{source}: standard uncertainties must be finite and 0 or more")
    if part.shape not in ((), values.shape):
        raise BudgetError(f"{source}: u of shape {part.shape} does not fit values of shape {values.shape}")
    return UncertainArray(values, {source: part})


def apply(
    f: Callable[[Floats], Floats], derivative: Callable[[Floats], Floats], x: UncertainArray
) -> UncertainArray:
    """f(x) element by element with its analytic derivative."""
    return x._unary(np.asarray(f(x.values)), np.asarray(derivative(x.values)))


def sqrt(x: UncertainArray) -> UncertainArray:
    root = np.sqrt(x.values)
    return x._unary(root, 0.5 / root)


def exp(x: UncertainArray) -> UncertainArray:
    value = np.exp(x.values)
    return x._unary(value, value)


def log(x: UncertainArray) -> UncertainArray:
    return x._unary(np.log(x.values), 1.0 / x.values)


def sin(x: UncertainArray) -> UncertainArray:
    return x._unary(np.sin(x.values), np.cos(x.values))


def cos(x: UncertainArray) -> UncertainArray:
    return x._unary(np.cos(x.values), -np.sin(x.values))


def mean(x: UncertainArray, source_correlation: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Mean over all elements and its u. Elements of a source count as independent (r = 0) unless `source_correlation`
    gives its r between elements: 1 for a calibration that shifts all readings alike.
    """
    n = x.values.size
    variance = 0.0
    for name, part in x.parts.items():
        full = np.broadcast_to(part, x.shape).ravel()
        r = (source_correlation or {}).get(name, 0.0)
        own, shared = float(np.dot(full, full)), float(full.sum()) ** 2
        variance += (1 - r) * own + r * shared
    return float(x.values.mean()), math.sqrt(max(variance, 0.0)) / n
