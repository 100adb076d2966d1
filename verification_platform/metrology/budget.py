"""Uncertainty budgets after the GUM: a result is the sum of named contributions, never a bare number.

A protocol lists `Contribution` lines and hands them to `make_result`, the one place where standard
uncertainty, effective degrees of freedom, coverage factor and expanded uncertainty are formed. JCGM 100:2008
clauses 5 and G.4, JJF 1059.1-2012; protocol specification §7.1.

>>> lines = [Contribution("repeatability", "A", 1.0, nu=9), Contribution("certificate", "B", 0.5)]
>>> s = combine(lines)
>>> round(s.u, 5), s.nu_eff, round(s.k, 3)
(1.11803, 14.0, 2.195)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distributions import P_K2, coverage_factor
from .result import Contribution, Result

#: Divisor from half-width (or expanded uncertainty) to standard uncertainty, JCGM 100 clause 4.3.
_DIVISORS = {
    "rectangular": math.sqrt(3.0),
    "triangular": math.sqrt(6.0),
    "u-shaped": math.sqrt(2.0),
    "normal": 1.0,
}


class BudgetError(ValueError):
    """A budget that cannot be evaluated; one clear line."""


@dataclass(frozen=True, slots=True)
class Combined:
    """Combined uncertainty: u and U in the result's unit, ν_eff truncated (inf allowed), k at
    `probability`.
    """

    u: float
    nu_eff: float
    k: float
    U: float
    probability: float


def type_b(source: str, half_width: float, distribution: str = "rectangular", c: float = 1.0) -> Contribution:
    """Contribution from a half-width a: a/√3 rectangular, a/√6 triangular, a/√2 U-shaped, a for normal (k =
    1).

    `half_width` in the source's unit, `c` = ∂y/∂x. Raises BudgetError for an unknown distribution or a < 0.
    """
    if distribution not in _DIVISORS:
        raise BudgetError(
            f"{source}: unknown distribution {distribution!r}; known are {', '.join(_DIVISORS)}"
        )
    if not half_width >= 0:
        raise BudgetError(f"{source}: half-width must be 0 or more, got {half_width}")
    return Contribution(source, "B", half_width / _DIVISORS[distribution], c, math.inf, distribution)


def certificate(source: str, U: float, k: float = 2.0, c: float = 1.0) -> Contribution:
    """Contribution from a certificate that states U with coverage factor k."""
    if not (U >= 0 and k > 0):
        raise BudgetError(f"{source}: a certificate states U >= 0 and k > 0, got U={U}, k={k}")
    return Contribution(source, "B", U / k, c)


def resolution(source: str, step: float, c: float = 1.0) -> Contribution:
    """Contribution of one digit of `step`: rectangular with half-width step/2."""
    return type_b(source, step / 2, "rectangular", c)


def type_a(source: str, s: float, n: int, c: float = 1.0) -> Contribution:
    """Contribution of the mean of n readings with sample standard deviation s: s/√n, ν = n − 1.

    Raises BudgetError for n < 2: one reading says nothing about its spread.
    """
    if n < 2:
        raise BudgetError(f"{source}: a type A evaluation needs 2 or more readings, got {n}")
    return Contribution(source, "A", s / math.sqrt(n), c, n - 1, "t")


def type_a_of_spread(source: str, s: float, n: int, c: float = 1.0) -> Contribution:
    """Contribution to a characteristic that is itself a spread: u(s) ≈ s/√(2(n − 1)) (JCGM 100 E.4.3)."""
    if n < 2:
        raise BudgetError(f"{source}: a standard deviation needs 2 or more readings, got {n}")
    return Contribution(source, "A", s / math.sqrt(2 * (n - 1)), c, n - 1)


def combine(
    contributions: Sequence[Contribution],
    correlations: Mapping[tuple[str, str], float] | None = None,
    probability: float = P_K2,
) -> Combined:
    """u_c² = Σ(c_i u_i)² + 2ΣΣ c_i c_j u_i u_j r_ij; ν_eff by Welch–Satterthwaite, truncated; k = t_p(ν_eff).

    `correlations` maps pairs of source names to r in [−1, 1]. With correlated lines ν_eff keeps the form of
    JCGM 100 G.4.1 with u_c the correlated value. Raises BudgetError for no, non-finite or negative entries,
    an unknown or ambiguous source name, or a correlation matrix that is not positive semi-definite.
    """
    if not contributions:
        raise BudgetError("an uncertainty budget needs at least one contribution")
    for line in contributions:
        if not (math.isfinite(line.u) and line.u >= 0 and math.isfinite(line.c) and line.nu > 0):
            raise BudgetError(f"{line.source}: needs finite u >= 0, finite c and nu > 0, got {line}")
    signed = np.array([line.c * line.u for line in contributions])
    r = _correlation_matrix([line.source for line in contributions], correlations or {})
    u = math.sqrt(max(float(signed @ r @ signed), 0.0))
    nu_eff = welch_satterthwaite(u, np.abs(signed), np.array([line.nu for line in contributions]))
    k = coverage_factor(nu_eff, probability)
    return Combined(u, nu_eff, k, k * u, probability)


def _correlation_matrix(
    sources: list[str], correlations: Mapping[tuple[str, str], float]
) -> NDArray[np.float64]:
    matrix = np.eye(len(sources))
    for (a, b), value in correlations.items():
        for name in (a, b):
            if sources.count(name) != 1:
                raise BudgetError(
                    f"correlation names source {name!r}, which appears {sources.count(name)} times"
                )
        if not -1 <= value <= 1:
            raise BudgetError(f"correlation of {a} and {b} must lie in [-1, 1], got {value}")
        i, j = sources.index(a), sources.index(b)
        matrix[i, j] = matrix[j, i] = value
    if correlations and np.linalg.eigvalsh(matrix)[0] < -1e-9:
        raise BudgetError("the correlations contradict each other (matrix is not positive semi-definite)")
    return matrix


def welch_satterthwaite(u: float, shares: NDArray[np.float64], nu: NDArray[np.float64]) -> float:
    """ν_eff = u⁴/Σ(share_i⁴/ν_i), truncated to the next lower integer and at least 1; inf when nothing limits
    it.
    """
    if u == 0:
        return math.inf
    below = float(np.sum((shares / u) ** 4 / nu))
    if below <= 0 or 1 / below > 1e9:
        return math.inf
    # 1e-9 keeps exact integers (equal ν, one line) from falling to the integer below
    return float(max(math.floor(1 / below * (1 + 1e-9)), 1))


def make_result(
    quantity: str,
    value: float,
    unit: str,
    contributions: Sequence[Contribution],
    *,
    n: int,
    conditions: Mapping[str, str | float | int | bool] | None = None,
    correlations: Mapping[tuple[str, str], float] | None = None,
    probability: float = P_K2,
    display_unit: str = "",
) -> Result:
    """A `Result` with its budget, without limit or verdict (those come from the order, through `judge`).

    `value` in the SI unit `unit`; `n` the number of samples or repeats behind it. Raises BudgetError.
    """
    total = combine(contributions, correlations, probability)
    return Result(
        quantity=quantity,
        value=float(value),
        unit=unit,
        u=total.u,
        nu_eff=total.nu_eff,
        k=total.k,
        U=total.U,
        n=n,
        conditions=dict(conditions or {}),
        budget=tuple(contributions),
        display_unit=display_unit,
    )


@dataclass(frozen=True, slots=True)
class Propagated:
    """Output of `propagate`: y and u in the model's unit, sensitivities ∂y/∂x_i."""

    y: float
    u: float
    sensitivities: NDArray[np.float64]
    #: |second-order term| / u: above 0.1 the linear law is doubtful and Monte Carlo is due.
    nonlinearity: float


def propagate(
    f: Callable[[NDArray[np.float64]], float],
    x: ArrayLike,
    u: ArrayLike,
    r: ArrayLike | None = None,
) -> Propagated:
    """First-order propagation through y = f(x) with central differences h = u_i (JCGM 100 clause 5).

    x, u: shape (n,); r: correlation matrix (n, n) or None; f takes the vector x. A source with u = 0 has
    sensitivity 0 reported as such. `nonlinearity` compares the second-order terms ½∂²f/∂x_i²·u_i² with u.
    Raises BudgetError for shapes that do not fit or negative u.
    """
    x = np.asarray(x, dtype=np.float64)
    u = np.asarray(u, dtype=np.float64)
    if x.ndim != 1 or x.shape != u.shape or np.any(u < 0) or not np.all(np.isfinite(u)):
        raise BudgetError(
            f"propagate needs x and u of one shape (n,) and u >= 0, got {x.shape} and {u.shape}"
        )
    matrix = np.eye(x.size) if r is None else np.asarray(r, dtype=np.float64)
    if matrix.shape != (x.size, x.size):
        raise BudgetError(f"correlation matrix must be {x.size} × {x.size}, got {matrix.shape}")
    y = float(f(x))
    c = np.zeros_like(x)
    curvature = 0.0
    for i in np.flatnonzero(u):
        step = np.zeros_like(x)
        step[i] = u[i]
        up, down = float(f(x + step)), float(f(x - step))
        near_up, near_down = float(f(x + step / 10)), float(f(x - step / 10))
        c[i] = (near_up - near_down) / (0.2 * u[i])
        curvature += (0.5 * (up + down - 2 * y)) ** 2
    signed = c * u
    u_y = math.sqrt(max(float(signed @ matrix @ signed), 0.0))
    nonlinearity = math.sqrt(curvature) / u_y if u_y > 0 else (math.inf if curvature > 0 else 0.0)
    return Propagated(y, u_y, c, nonlinearity)


def rounded(value: float, U: float, digits: int = 2) -> tuple[str, str]:
    """Value and U as decimal text: U to `digits` significant digits, value to the same place (JCGM 100
    7.2.6).

    U is rounded up when rounding down would hide more than 5 % of it. U = 0 or not finite leaves the value as
    is.

    >>> rounded(56.04561, 1.23456)
    ('56.0', '1.2')
    """
    if not (math.isfinite(U) and U > 0 and math.isfinite(value)):
        return repr(float(value)), repr(float(U))
    exact = Decimal(repr(float(U)))
    place = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    shown = exact.quantize(place, ROUND_HALF_EVEN)
    if shown < exact * Decimal("0.95"):
        shown = exact.quantize(place, ROUND_CEILING)
    place = Decimal(1).scaleb(shown.adjusted() - digits + 1)
    shown = shown.quantize(place)
    return f"{Decimal(repr(float(value))).quantize(place, ROUND_HALF_EVEN):f}", f"{shown:f}"
