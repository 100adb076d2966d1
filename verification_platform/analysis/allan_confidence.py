"""How far to trust an Allan deviation: type of noise and equivalent degrees of freedom.

Noise types are the exponents α of S_y(f) ∝ f^α: 2 white PM, 1 flicker PM, 0 white FM, −1 flicker FM,
−2 random walk FM (−3 and −4 for Hadamard variances).

* Lag-1 autocorrelation of the averaged rates: W. J. Riley and C. A. Greenhall, "Power law noise identification
  using the lag 1 autocorrelation", EFTF 2004.
* Degrees of freedom: C. A. Greenhall and W. J. Riley, "Uncertainty of stability variances based on finite
  differences", PTTI 2003, the sum (10) over the autocorrelation of the terms, evaluated as it stands.
"""

from __future__ import annotations

import math

import numpy as np

from .blocks import Float, Int
from .errors import NotEnoughDataError

_STRIDES = 32  # more terms per averaging time add no degrees of freedom, except for phase noise
_EXACT_FILTER = 100  # up to this m·(d+1) the filter is exact, above it its limit for large m serves (α ≤ 0)


def noise_from_slope(m: Int, deviation: Float, modified: bool) -> Int:
    """α at every averaging factor (k,) from the local slope of the deviations, when only they are known.

    σ² ∝ τ^μ with μ = −α − 1, except that an unmodified variance shows −2 for both kinds of phase noise: white
    is then assumed.
    """
    if len(m) < 2:
        return np.zeros(len(m), dtype=np.int64)
    positive = np.maximum(deviation, np.finfo(float).tiny)
    slope = 2 * np.gradient(np.log(positive), np.log(m.astype(np.float64)))
    alpha: Int = np.clip(np.rint(-slope - 1), -2, 2).astype(np.int64)
    if not modified:
        alpha[slope < -1.5] = 2
    return alpha


def identify_noise(rates: Float, m: int, d_max: int = 2) -> int:
    """α of the noise of rates (n,) averaged over m, by the lag-1 autocorrelation.

    Raises NotEnoughDataError for fewer than 30 averages.
    """
    count = len(rates) // m
    if count < 30:
        raise NotEnoughDataError(f"noise identification needs 30 averages, {count} are there")
    z = rates[: count * m].reshape(count, m).mean(axis=1)
    t = np.arange(count) - (count - 1) / 2
    z = z - z.mean() - t * (np.dot(t, z) / np.dot(t, t))  # without drift
    d = 0
    while True:
        c = z - z.mean()
        power = float(np.dot(c, c))
        r1 = float(np.dot(c[:-1], c[1:])) / power if power > 0 else 0.0
        delta = r1 / (1.0 + r1)
        if delta < 0.25 or d >= d_max:
            return max(min(-round(2 * delta) - 2 * d, 2), -2 * d_max)
        z = np.diff(z)
        d += 1


def edf(
    alpha: int, d: int, m: int, n_phase: int, *, points: int | None = None, modified: bool = False
) -> float:
    """Equivalent degrees of freedom of a variance from differences of order d (2 Allan, 3 Hadamard).

    m: averaging factor; n_phase: number of phase values (rates + 1); points: terms per averaging time, all of
    them if None, 1 for terms that do not overlap.
    """
    alpha = max(min(alpha, 2), 2 - 2 * d)
    strides = m if points is None else min(m, points)
    kernel = 1.0 if modified else float(m)
    length = m / kernel + m * d
    count = 1 + math.floor(strides * (n_phase - length) / m)
    if count < 1:
        return 1.0
    if alpha == 2 and not modified and count / strides > d:
        # White PM, unmodified: terms are correlated only where they share a phase value; closed form (case 4).
        a0 = math.comb(4 * d, 2 * d) / math.comb(2 * d, d) ** 2
        return max(1.0, count / (a0 - d / 2 * strides / count))
    if alpha <= 0 or modified:
        strides = min(strides, _STRIDES)
        count = 1 + math.floor(strides * (n_phase - length) / m)
    if alpha <= 0 and not modified and m * (d + 1) > _EXACT_FILTER:
        kernel = math.inf
    reach = int(min(count, (d + 1) * strides))
    j = np.arange(reach + 1)
    if len(j) > 100_000:  # flicker PM at a long averaging time: thin the sum, its terms change slowly
        j = np.unique(np.concatenate((j[:1000], np.geomspace(1000, reach, 20_000).astype(np.int64))))
    terms = _terms(j / strides, kernel, alpha, d)
    squares = (terms / terms[0]) ** 2
    weights = (1 - j / count) * squares
    total = 1.0 + 2.0 * float(np.trapezoid(weights[1:], j[1:]) + (weights[1] + weights[-1]) / 2) - weights[-1]
    return max(1.0, count / total) if reach > 1 else 1.0


def _terms(t: Float, kernel: float, alpha: int, d: int) -> Float:
    """Autocovariance of the terms at lag t averaging times, but for a factor (eq. 9)."""
    k = np.arange(-d, d + 1)
    weights = np.array([(-1.0) ** each * math.comb(2 * d, d + each) for each in k.tolist()])
    return np.asarray(weights @ _averaged(t + k[:, None], kernel, alpha))


def _averaged(t: Float, kernel: float, alpha: int) -> Float:
    """Generalised autocovariance of the filtered phase (eq. 8)."""
    if math.isinf(kernel):
        return _phase(t, alpha + 2)
    step = 1.0 / kernel
    return kernel**2 * (2 * _phase(t, alpha) - _phase(t - step, alpha) - _phase(t + step, alpha))


def _phase(t: Float, alpha: int) -> Float:
    """Generalised autocovariance of the phase (eq. 7) but for its sign: |t|^(3−α), times ln|t| if α is odd."""
    size = np.abs(t)
    if alpha % 2 == 0:
        return np.asarray(size ** (3 - alpha))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size > 0, size ** (3 - alpha) * np.log(size), 0.0)
