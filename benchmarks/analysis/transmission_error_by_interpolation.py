"""The whole transmission error report as a numpy user would write it: interpolate onto turns, transform each turn.

A peer for the benchmark, written for speed as far as plain numpy goes: one transform of every turn serves orders,
their spread and the noise, and curves are drawn with as many points as their band needs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TURN = 2 * np.pi
_DRAWS = 64
_POINTS = 4096  # of a band-limited curve


class Report(NamedTuple):
    pp: float  # of the mean turn, bias of the noise taken off
    amplitudes: np.ndarray  # of the orders asked for
    phases: np.ndarray
    u: float  # of an amplitude
    pp_bias: float
    pp_noise: float
    pp_each: np.ndarray
    pp_worst: float
    rms: float
    mean: float
    closure: float
    noise: float  # of one sample
    top: np.ndarray
    curve: np.ndarray
    revolutions: int


def by_interpolation(
    theta1: np.ndarray, theta2: np.ndarray, ratio: float, orders: tuple[int, ...], points: int
) -> Report:
    """θ in rad, shapes (n,), turning forward; `points` of a turn after interpolation."""
    band = int(1.25 * max(orders)) + 1
    error = theta2 - theta1 / ratio
    steps = np.diff(theta2)
    if not (np.isfinite(error).all() and steps.min() > 0 and steps.max() < TURN / (2 * max(orders))):
        raise ValueError("samples are missing, or the output turned back")
    turns = int((theta2[-1] - theta2[0]) / TURN)
    grid = theta2[0] + np.arange(turns * points) * (TURN / points)
    resampled = np.interp(grid, theta2, error).reshape(turns, points)
    means = resampled.mean(axis=1)
    closure = float(np.polyfit(np.arange(turns), means, 1)[0]) if turns > 1 else 0.0

    spectra = np.fft.rfft(resampled, axis=1)[:, :band] * (2 / points)
    spectra[:, 0] = 0.0
    power = float(np.mean(np.einsum("ij,ij->i", resampled, resampled) / points - means**2))
    noise = float(np.sqrt(max(power - np.mean(np.sum(np.abs(spectra) ** 2, axis=1)) / 2, 0.0)))
    pp_each = np.ptp(_curves(spectra), axis=1)

    mean = spectra.mean(axis=0)
    u = noise * np.sqrt(2 / resampled.size)
    curve = _curves(mean)
    clean = np.where(np.abs(mean) > 4 * u, mean, 0.0)
    shaken = np.random.default_rng(1).standard_normal((2, _DRAWS, band))
    widths = np.ptp(_curves(clean + u * (shaken[0] + 1j * shaken[1])), axis=1)
    bias = float(widths.mean() - np.ptp(_curves(clean)))
    at = list(orders)
    start = np.exp(-1j * theta2[0] * np.array(at))
    return Report(
        pp=float(np.ptp(curve)) - bias,
        amplitudes=np.abs(mean[at]),
        phases=np.angle(mean[at] * start * 1j),
        u=u,
        pp_bias=bias,
        pp_noise=float(widths.std(ddof=1)),
        pp_each=pp_each,
        pp_worst=float(pp_each.max()) - bias,
        rms=float(curve.std()),
        mean=float(means.mean()),
        closure=closure,
        noise=noise,
        top=np.argsort(-np.abs(mean))[:10],
        curve=curve,
        revolutions=turns,
    )


def _curves(spectra: np.ndarray) -> np.ndarray:
    return np.fft.irfft(spectra, _POINTS, axis=-1) * (_POINTS / 2)
