"""Normal, Student t, χ², beta and Poisson distributions from the standard library alone.

They serve reliability analysis here and coverage factors and risks in `metrology`. scipy is a peer to test
against, not a dependency of the laboratory's numbers. Cumulative functions go through
the regularised incomplete beta and gamma functions (continued fraction by the modified Lentz method, series
where it converges faster: NIST Digital Library of Mathematical Functions §8.9, §8.17); quantiles invert them
by a bracketed Newton iteration. Relative error below 1e-9 for degrees of freedom 0.5 … 1e9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_STANDARD = NormalDist()
_TINY = 1e-300
_EPS = 1e-16


def normal_cdf(z: float) -> float:
    """Φ(z), accurate in both tails."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def normal_quantile(p: float) -> float:
    """z with Φ(z) = p; ±inf at p = 1 and 0. Raises ValueError outside [0, 1]."""
    _check_probability(p)
    if p == 0.0 or p == 1.0:
        return math.inf if p else -math.inf
    return _STANDARD.inv_cdf(p)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 ≤ x ≤ 1 (DLMF 8.17.22)."""
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        raise ValueError(f"incomplete_beta needs a, b > 0 and 0 <= x <= 1, got a={a}, b={b}, x={x}")
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    return _beta_front(a, b, x) / a * _beta_fraction(a, b, x)


def _log_beta(a: float, b: float) -> float:
    """ln B(a, b) without the cancellation of three large ln Γ (Stirling remainders subtracted)."""
    small, large = min(a, b), max(a, b)
    if large < 50:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    total = small + large
    tail = _stirling(large) - _stirling(total)
    return (
        math.lgamma(small)
        + small
        - small * math.log(total)
        + (large - 0.5) * math.log1p(-small / total)
        + tail
    )


def _stirling(x: float) -> float:
    """ln Γ(x) − [(x − ½) ln x − x + ½ ln 2π] for x ≥ 50 (DLMF 5.11.1)."""
    return (1 / 12 - (1 / 360 - (1 / 1260) / x**2) / x**2) / x


def _beta_front(a: float, b: float, x: float) -> float:
    return math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b))


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    h = d
    for m in range(1, 100_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + numerator / c
            c = c if abs(c) > _TINY else _TINY
            h *= d * c
        if abs(d * c - 1.0) < _EPS * 4:
            return h
    raise ArithmeticError(f"incomplete_beta did not converge at a={a}, b={b}, x={x}")


def incomplete_gamma(a: float, x: float) -> float:
    """Regularised lower incomplete gamma function P(a, x), for a > 0 and x ≥ 0 (DLMF 8.11.4, 8.9.2)."""
    if not (a > 0 and x >= 0):
        raise ValueError(f"incomplete_gamma needs a > 0 and x >= 0, got a={a}, x={x}")
    if x == 0:
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1.0 / a
        k = a
        while abs(term) > abs(total) * _EPS:
            k += 1
            term *= x / k
            total += term
        return front * total
    return 1.0 - _gamma_upper(a, x)


def _gamma_upper(a: float, x: float) -> float:
    """Q(a, x) = 1 − P(a, x) without cancellation, for x ≥ a + 1 or close below (DLMF 8.9.2)."""
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    h = d
    for i in range(1, 1_000_000):
        numerator = -i * (i - a)
        b += 2
        d = numerator * d + b
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = b + numerator / c
        c = c if abs(c) > _TINY else _TINY
        h *= d * c
        if abs(d * c - 1.0) < _EPS * 4:
            return front * h
    raise ArithmeticError(f"incomplete_gamma did not converge at a={a}, x={x}")


def t_cdf(t: float, nu: float) -> float:
    """P(T ≤ t) of Student's t with `nu` > 0 degrees of freedom; normal for nu = inf."""
    _check_nu(nu)
    if math.isinf(nu):
        return normal_cdf(t)
    tail = 0.5 * (
        incomplete_beta(nu / 2, 0.5, nu / (nu + t * t))
        if t * t > nu / 1e6
        else 1.0 - incomplete_beta(0.5, nu / 2, t * t / (nu + t * t))
    )
    return 1.0 - tail if t > 0 else tail


def t_quantile(p: float, nu: float) -> float:
    """t with P(T ≤ t) = p; ±inf at p = 1 and 0."""
    _check_probability(p)
    _check_nu(nu)
    if math.isinf(nu) or p in (0.0, 1.0):
        return normal_quantile(p)
    if p == 0.5:
        return 0.0
    if p > 0.5:
        return -_t_lower(1.0 - p, nu)
    return _t_lower(p, nu)


def _t_lower(p: float, nu: float) -> float:
    log_norm = -0.5 * math.log(nu) - _log_beta(0.5, nu / 2)

    def density(t: float) -> float:
        return math.exp(log_norm - (nu + 1) / 2 * math.log1p(t * t / nu))

    return _invert(
        lambda t: t_cdf(t, nu), density, p, _STANDARD.inv_cdf(p) if p > 1e-300 else -37.0, -math.inf, 0.0
    )


def chi2_cdf(x: float, nu: float) -> float:
    """P(X ≤ x) of χ² with `nu` > 0 degrees of freedom."""
    _check_nu(nu)
    return incomplete_gamma(nu / 2, x / 2) if x > 0 else 0.0


def chi2_quantile(p: float, nu: float) -> float:
    """x with P(X ≤ x) = p; 0 at p = 0, inf at p = 1."""
    _check_probability(p)
    _check_nu(nu)
    if p in (0.0, 1.0):
        return math.inf if p else 0.0
    a = nu / 2
    log_norm = -a * math.log(2) - math.lgamma(a)

    def density(x: float) -> float:
        return math.exp(log_norm + (a - 1) * math.log(x) - x / 2)

    wilson_hilferty = nu * (1 - 2 / (9 * nu) + _STANDARD.inv_cdf(p) * math.sqrt(2 / (9 * nu))) ** 3
    small = 2 * math.exp((math.log(p) + math.lgamma(a + 1)) / a)
    start = wilson_hilferty if wilson_hilferty > 0 and (nu > 2 or p > 0.1) else small
    return _invert(lambda x: chi2_cdf(x, nu), density, p, start, 0.0, math.inf)


def beta_quantile(p: float, a: float, b: float) -> float:
    """x with I_x(a, b) = p; 0 at p = 0 and 1 at p = 1. Raises ValueError unless a, b > 0 and 0 ≤ p ≤ 1."""
    _check_probability(p)
    if not (a > 0 and b > 0):
        raise ValueError(f"beta_quantile needs a, b > 0, got a={a}, b={b}")
    if p in (0.0, 1.0):
        return p
    log_norm = -_log_beta(a, b)

    def density(x: float) -> float:
        return math.exp(log_norm + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)) if 0 < x < 1 else 0.0

    return _invert(lambda x: incomplete_beta(a, b, x), density, p, a / (a + b), 0.0, 1.0)


def poisson_cdf(r: int, mean: float) -> float:
    """P(N ≤ r) of a Poisson count with the given mean ≥ 0; 0 for r < 0."""
    if not mean >= 0:
        raise ValueError(f"a Poisson mean is not negative, got {mean}")
    if r < 0:
        return 0.0
    return 1.0 - incomplete_gamma(r + 1.0, mean) if mean < r + 1 else _gamma_upper(r + 1.0, mean)


def _invert(
    cdf: Callable[[float], float],
    density: Callable[[float], float],
    p: float,
    start: float,
    low: float,
    high: float,
) -> float:
    """Root of cdf(x) = p by Newton steps kept inside a shrinking bracket."""
    x = start if low < start < high else (-1.0 if math.isinf(low) else 1.0)
    for _ in range(400):
        error = cdf(x) - p
        if error == 0:
            return x
        if error > 0:
            high = x
        else:
            low = x
        slope = density(x)
        step = error / slope if slope > 0 else math.inf
        proposal = x - step
        if low < proposal < high:
            # Newton doubles the digits: behind so small a step only the rounding of the cdf is left
            settled = abs(step) <= 1e-9 * abs(x)
        else:
            if math.isinf(low):
                proposal = x * 2 - 1
            elif math.isinf(high):
                proposal = x * 2 + 1
            else:
                proposal = 0.5 * (low + high)
            settled = abs(proposal - x) <= 1e-15 * abs(x)
        if settled:
            return proposal
        x = proposal
    return x


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies between 0 and 1, got {p}")


def _check_nu(nu: float) -> None:
    if not nu > 0:
        raise ValueError(f"degrees of freedom must be positive, got {nu}")
