"""Peak-to-peak of a noisy curve: max − min without what the noise adds to it.

Noise can only widen max − min, so the plain difference is biased. How much is found by adding noise of the known
size once more (parametric bootstrap with a fixed seed, so that the same data give the same bits). JCGM 101
recommends propagating distributions for such outputs; the bias is reported beside the value, to be budgeted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .fold import Complexes, Floats, peak_to_peak, ring_widths, synthesise
from .samples import CoverageError

_DRAWS = 64
_SEED = 9283
_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Width:
    """max − min with the bias taken off, the bias, and the standard deviation that the noise leaves."""

    value: float
    bias: float
    noise: float


def curve_points(orders: int) -> int:
    """Grid on which a curve with this many orders is drawn: at least 16 points a cycle."""
    return 1 << math.ceil(math.log2(16 * max(orders - 1, 1)))


def debiased_widths(coefficients: Complexes, u_lines: Sequence[float], ramp: float = 0.0) -> list[Width]:
    """Width of Re Σ c_q e^{jqθ} + ramp·θ/2π over one revolution, for each of several sizes of noise.

    u_lines: standard deviations of the cosine and of the sine part of every coefficient. The orders that stand out of
    the noise (4 u_line) are taken as the curve, noise is added to all orders, and the widening is the bias. All sizes
    share the same draws.
    """
    points = curve_points(coefficients.size)

    def widths(curves: Floats) -> Floats:
        if not ramp:
            return ring_widths(curves)
        slope = ramp * np.arange(curves.shape[1] + 1) / curves.shape[1]
        return np.array([_width(np.append(curve, curve[0]) + slope) for curve in curves])

    found = float(widths(synthesise(coefficients[None], points))[0])
    points //= 2  # enough for the difference of two widths
    clean = {
        u: synthesise(np.where(np.abs(coefficients) > 4 * u, coefficients, 0.0)[None], points)
        for u in u_lines
        if u > 1e-9 * found
    }
    shaken: dict[float, list[float]] = {u: [] for u in clean}
    rng = np.random.default_rng(_SEED)
    for _ in range(_DRAWS // _TOGETHER if clean else 0):
        noise = rng.standard_normal((2, _TOGETHER, coefficients.size))
        curves = synthesise(noise[0] + 1j * noise[1], points)
        for u, curve in clean.items():
            shaken[u] += widths(curve + u * curves).tolist()
    out = []
    for u in u_lines:
        bias, left = _widening(shaken[u], float(widths(clean[u])[0])) if u in clean else (0.0, 0.0)
        out.append(Width(found - bias, bias, left))
    return out


def _width(curve: Floats) -> float:
    low, high = peak_to_peak(curve)
    return high - low


def _widening(shaken: list[float], clean: float) -> tuple[float, float]:
    return float(np.mean(shaken)) - clean, float(np.std(shaken, ddof=1))


@dataclass(frozen=True, slots=True)
class Part:
    """A smoothed piece of a curve, its mean removed: value per bin, mean, rms, noise of one sample, width."""

    curve: Floats
    mean: float
    rms: float
    noise: float
    width: Width


def smooth_part(y: Floats, count: Floats, bins_per_cycle: float) -> Part:
    """Smooth bin means y (n,) of `count` samples each over one cycle of the highest order of interest.

    Local polynomials of degree 6 (Savitzky, Golay 1964): a cycle passes with 0.1 % loss. Raises CoverageError for
    fewer bins than the window.
    """
    half = max(round(bins_per_cycle / 2), 4)
    if y.size < 4 * half:
        raise CoverageError(f"{y.size} angle bins are too few to smooth over {2 * half + 1}")
    mean = float(np.average(y, weights=count))
    curve = _smooth(y - mean, half)
    kernel = _kernel(half)
    rest = (y - mean - curve)[half:-half]
    # the residual has lost the part of the noise that the smoothing kept
    kept = 1 - 2 * kernel[half] + float(np.dot(kernel, kernel))
    noise = math.sqrt(float(np.mean(rest * rest * count[half:-half])) / kept)
    rng = np.random.default_rng(_SEED)
    sigma = noise / np.sqrt(count)

    shaken = [_width(curve + _smooth(sigma * rng.standard_normal(y.size), half)) for _ in range(_DRAWS)]
    found = _width(curve)
    widening, spread = _widening(shaken, found)
    # the curve already holds its noise, so noise added once more widens it by about half as much
    bias = 2 * widening
    variance = float(np.var(curve)) - float(np.dot(kernel, kernel)) * float(np.mean(sigma * sigma))
    return Part(curve, mean, math.sqrt(max(variance, 0.0)), noise, Width(found - bias, bias, spread))


def _kernel(half: int, degree: int = 6) -> Floats:
    k = np.arange(-half, half + 1) / half
    return np.asarray(np.linalg.pinv(k[:, None] ** np.arange(degree + 1))[0])


def _smooth(y: Floats, half: int, degree: int = 6) -> Floats:
    """Savitzky–Golay smoothing; the ends take the polynomial of the first and last full window."""
    out = np.convolve(y, _kernel(half, degree), "same")
    k = np.arange(-half, half + 1) / half
    powers = k[:, None] ** np.arange(degree + 1)
    hat = powers @ np.linalg.pinv(powers)
    out[:half] = (hat @ y[: 2 * half + 1])[:half]
    out[-half:] = (hat @ y[-2 * half - 1 :])[half + 1 :]
    return out
