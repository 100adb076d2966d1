"""The transmission error as a numpy user would write it: interpolated onto even angles, then transformed.

Peers for the benchmark. `Interpolated` has orders and peak-to-peak, in three formulations. `by_interpolation` is the whole report,
written for speed as far as plain numpy goes: one transform of every turn serves orders, their spread and the noise, and
curves are drawn with as many points as their band needs.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

TURN = 2 * np.pi
_DRAWS = 64
_POINTS = 4096  # of a band-limited curve


class Interpolated:
    """Mean peak-to-peak and the amplitudes of `orders`; θ in rad, shapes (n,), turning forward; `points` of a turn."""

    def __init__(
        self, theta1: np.ndarray, theta2: np.ndarray, ratio: float, orders: tuple[int, ...], points: int
    ) -> None:
        self.theta1, self.theta2, self.ratio = theta1, theta2, ratio
        self.orders, self.points = list(orders), points
        self.turns = int((theta2[-1] - theta2[0]) / TURN)
        self.end = theta2[0] + self.turns * TURN
        longest = int(np.searchsorted(theta2, self.end))
        # the first call warms up and does not count
        self._lengths = itertools.chain([longest], itertools.count(longest, -1))

    def as_many_points_as_samples(self) -> tuple[float, np.ndarray]:
        """One less in each call: what rfft takes follows from the prime factors, which nobody chooses."""
        m = next(self._lengths)
        curve = self._error(np.linspace(self.theta2[0], self.end, m, endpoint=False))
        edges = np.linspace(0, m, self.turns + 1).astype(int)
        widths = [np.ptp(curve[a:b]) for a, b in itertools.pairwise(edges)]
        return float(np.mean(widths)), self._amplitudes(curve, self.turns)

    def of_the_mean_turn(self) -> tuple[float, np.ndarray]:
        curve = self._resampled().mean(axis=0)
        return float(np.ptp(curve)), self._amplitudes(curve, 1)

    def of_the_record(self) -> tuple[float, np.ndarray]:
        each = self._resampled()
        return float(np.ptp(each, axis=1).mean()), self._amplitudes(each.ravel(), self.turns)

    def _error(self, grid: np.ndarray) -> np.ndarray:
        return np.interp(grid, self.theta2, self.theta2 - self.theta1 / self.ratio)

    def _resampled(self) -> np.ndarray:
        grid = self.theta2[0] + np.arange(self.turns * self.points) * (TURN / self.points)
        return self._error(grid).reshape(self.turns, self.points)

    def _amplitudes(self, curve: np.ndarray, turns: int) -> np.ndarray:
        return np.abs(np.fft.rfft(curve))[np.array(self.orders) * turns] * 2 / curve.size


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
