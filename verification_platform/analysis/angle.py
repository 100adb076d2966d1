"""Signals over angle: unwrapping counters, resampling on angle, time-synchronous average, order spectrum.

Gears do not know time; their errors repeat with angle. Everything here takes an angle measured together
with the signal, so a varying speed changes nothing. Protocol specification §0.6; S. Braun, "The synchronous
(time domain) average revisited", Mech. Syst. Signal Process. 25 (2011).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .blocks import as_block, refuse_not_finite
from .errors import AnalysisError
from .fold import Complexes, Floats, fold_harmonics, peak_to_peak, synthesise
from .revolutions import Revolutions
from .samples import CoverageError, SampleError, as_blocks

_TURN = 2 * math.pi


class Unwrapper:
    """Turns a counter that wraps into a continuous angle, block by block.

    period: of the counter, rad (2π for a single-turn encoder). A step of more than `ambiguous` periods
    (default 0.4) could have gone either way: it is counted in `ambiguous_steps`, and the caller refuses the
    data if it is not 0.
    """

    def __init__(self, period: float = _TURN, ambiguous: float = 0.4) -> None:
        if not period > 0:
            raise AnalysisError(f"the period of a counter must be positive, got {period}")
        self.period, self.ambiguous = period, ambiguous
        self.ambiguous_steps = 0
        self._last: float | None = None
        self._turns = 0.0
        self._n = 0

    def update(self, angle: ArrayLike) -> Floats:
        """Continuous angle of the block, rad, shape (n,); each step is the shortest one. Raises
        NotFiniteError."""
        raw = as_block(angle)
        if raw.size == 0:
            return raw.copy()
        refuse_not_finite(raw, self._n, "angle")
        steps = np.empty_like(raw)
        np.subtract(raw[1:], raw[:-1], out=steps[1:])
        steps[0] = 0.0 if self._last is None else raw[0] - self._last
        jumps = np.rint(steps / self.period)
        self.ambiguous_steps += int(np.count_nonzero(np.abs(steps / self.period - jumps) > self.ambiguous))
        out = raw.copy()
        at = np.flatnonzero(jumps)
        turns = self._turns
        for k, index in enumerate(at):
            turns -= jumps[index]
            stop = at[k + 1] if k + 1 < at.size else raw.size
            out[index:stop] += turns * self.period
        first = at[0] if at.size else raw.size
        out[:first] += self._turns * self.period
        self._turns, self._last, self._n = turns, float(raw[-1]), self._n + raw.size
        return out


def unwrap(angle: ArrayLike, period: float = _TURN) -> Floats:
    """Continuous angle from a counter that wraps at `period`, rad, shape (n,).

    Raises SampleError where a step is too large to say which way it went (more than 0.4 periods).
    """
    unwrapper = Unwrapper(period)
    out = unwrapper.update(angle)
    if unwrapper.ambiguous_steps:
        raise SampleError(
            f"{unwrapper.ambiguous_steps} steps of more than 0.4 counter periods: the counter was read too rarely"
        )
    return out


def resample_on_angle(theta: ArrayLike, x: ArrayLike, points: int, period: float = _TURN) -> Floats:
    """x on a uniform angle grid over all whole periods from the first sample on: shape (periods, points).

    Linear interpolation between neighbouring samples; θ (rad, unwrapped) must move in one direction and no
    step may exceed two grid spacings. Raises SampleError, CoverageError. For averages and orders prefer
    `TimeSynchronousAverage`, which interpolates nothing.
    """
    theta, x = as_blocks(theta, x)
    if theta.size < 2:
        raise CoverageError("resampling needs at least two samples")
    refuse_not_finite(theta, 0, "angle")
    refuse_not_finite(x, 0, "signal")
    turned = (theta - theta[0]) / period * (1.0 if theta[-1] >= theta[0] else -1.0)
    steps = np.diff(turned)
    if steps.min() <= 0:
        raise SampleError(f"the angle does not move forward at sample {int(np.argmin(steps)) + 1}")
    if steps.max() > 2 / points:
        raise CoverageError(f"a step of {360 * steps.max():.3g}° of a period is wider than two grid spacings")
    whole = math.floor(turned[-1] + 1.25 * steps[-1])
    if whole < 1:
        raise CoverageError("the samples do not cover one period")
    return np.interp(np.arange(whole * points) / points, turned, x).reshape(whole, points)


def order_spectrum(x: ArrayLike, periods: int = 1) -> Complexes:
    """Complex amplitudes of a signal on a uniform angle grid over `periods` whole periods: A_q = 2|X_q|/N.

    x: shape (n,); returns shape (n//2 + 1,), order k/periods at index k with x = Re Σ c_k e^{jkθ/periods}.
    No window: it would only smear what is exactly periodic. The mean is at index 0, undoubled.
    """
    x = as_block(x)
    if x.size < 2 or periods < 1 or x.size % periods:
        raise AnalysisError(f"{x.size} points do not cover {periods} whole periods evenly")
    refuse_not_finite(x, 0, "signal")
    spectrum = np.fft.rfft(x) * (2 / x.size)
    spectrum[0] /= 2
    if x.size % 2 == 0:
        spectrum[-1] /= 2
    return np.asarray(spectrum)


@dataclass(frozen=True, slots=True)
class AverageResult:
    """One average period. mean: over the angle; pp: max − min of the average within the band;
    coefficients[q]: of e^{jqα}, α turned since the first sample; noise: standard deviation of one sample
    about the average; mean_u: standard deviation of the mean (from period to period where there are
    several); per-period means.
    """

    mean: float
    mean_u: float
    pp: float
    noise: float
    coefficients: Complexes = field(repr=False)
    period_means: Floats = field(repr=False)
    periods: int
    samples: int
    unused_samples: int
    direction: int
    start_rad: float
    period_rad: float

    def over_angle(self) -> Complexes:
        """Coefficients of e^{jq·2πθ/period} over the angle θ itself: comparable between runs and directions."""
        turned = self.coefficients if self.direction > 0 else self.coefficients.conj()
        start = _TURN * math.fmod(self.start_rad / self.period_rad, 1.0)
        return np.asarray(turned * np.exp(-1j * start * np.arange(turned.size)))

    def curve(self, points: int) -> Floats:
        """The average at α = k/points of a period, k = 0 … points − 1; points > twice the highest order."""
        return synthesise(self.coefficients, points)

    def amplitude(self, order: int) -> float:
        return float(abs(self.coefficients[order]))


class TimeSynchronousAverage:
    """Average of a signal over whole periods of an angle, in a single pass; orders ≤ max_order.

    Samples are folded, not interpolated: the average is a least-squares fit, right for any speed profile
    and for sampling commensurate with the rotation. Share one run between workers with `fork`.
    """

    def __init__(self, max_order: int, period: float = _TURN, direction: int | None = None) -> None:
        self._revolutions = Revolutions(max_order, period=period, direction=direction, widths=False)

    def update(self, theta: ArrayLike, x: ArrayLike) -> None:
        """Add a block: θ rad, unwrapped, and x in any unit, shapes (n,)."""
        self._revolutions.update(*as_blocks(theta, x))

    def fork(self, first_index: int) -> TimeSynchronousAverage:
        """An empty accumulator for the samples from `first_index` of the same run."""
        twin = copy.copy(self)
        twin._revolutions = self._revolutions.fork(first_index)
        return twin

    def merge(self, other: TimeSynchronousAverage) -> None:
        """Add what a fork saw of the same run. Raises NotMergeableError."""
        self._revolutions.merge(other._revolutions)

    def result(self) -> AverageResult:
        """Average of the whole periods seen. Raises CoverageError when there is none."""
        data = self._revolutions.flushed()
        booked = data.booked
        if not len(booked) or data.origin is None or data.direction is None:
            raise CoverageError(
                f"the samples cover {data.travel:.3g} periods, at least one whole period is needed"
            )
        model = fold_harmonics(data.total, data.max_order)
        means = booked.mean
        n = data.total.samples
        mean = float(means.mean()) + model.mean + data.origin[1]
        coefficients = model.coefficients.copy()
        coefficients[0] = 0.0
        low, high = peak_to_peak(synthesise(coefficients, 2 * data.bins))
        coefficients[0] = mean
        within = model.noise / math.sqrt(n)
        between = float(means.std(ddof=1)) / math.sqrt(means.size) if means.size > 1 else 0.0
        return AverageResult(
            mean=mean,
            mean_u=max(within, between),
            pp=high - low,
            noise=model.noise,
            coefficients=coefficients,
            period_means=means + data.origin[1],
            periods=means.size,
            samples=n,
            unused_samples=data.samples - n,
            direction=data.direction,
            start_rad=data.origin[0],
            period_rad=data.period,
        )


def time_synchronous_average(
    theta: ArrayLike, x: ArrayLike, max_order: int, period: float = _TURN
) -> AverageResult:
    """`TimeSynchronousAverage` of arrays that are in memory: θ rad, unwrapped, and x, shapes (n,)."""
    average = TimeSynchronousAverage(max_order, period)
    average.update(theta, x)
    return average.result()
