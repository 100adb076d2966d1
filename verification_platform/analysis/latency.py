"""Command-to-motion latency: when does an axis begin to move after it was told to?

Protocol specification CTL-LAT (platform method). The first sample above the noise is always late, by
√(2·5σ/a) at constant acceleration a; fitting √(x − m₀), which then is a straight line, back to zero finds the
beginning itself. Both are reported: the first as an upper bound that assumes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import NotEnoughDataError
from .samples import as_times

#: Distance of the threshold from the baseline, in standard deviations of the baseline.
THRESHOLD_SIGMA = 5.0
#: Part of the motion used for the fit, s after the detection (protocol specification CTL-LAT).
FIT_WINDOW_S = (0.5e-3, 10e-3)

_BASELINE = 20
_SUSTAINED = 3


@dataclass(frozen=True, slots=True)
class Onset:
    """Beginning of a motion, s after the command.

    threshold: first of three samples beyond m₀ ± 5σ (upper bound); extrapolated: zero of the line through
    √|x − m₀|; u: its standard uncertainty from the scatter about the line; acceleration: from its slope;
    misfit: rms deviation from the line over the rise of it: above some per cent the motion did not begin with
    constant acceleration, and only the threshold may be used.
    """

    threshold_s: float
    extrapolated_s: float
    u_extrapolated_s: float
    acceleration: float
    misfit: float
    noise: float
    direction: int


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Median, 95th percentile and largest of the latencies of n repeats, s, and their deviation (n − 1)."""

    median_s: float
    p95_s: float
    largest_s: float
    smallest_s: float
    deviation_s: float
    repeats: int


def onset(
    times_s: ArrayLike,
    signal: ArrayLike,
    command_s: float,
    fit_window_s: tuple[float, float] = FIT_WINDOW_S,
) -> Onset:
    """Beginning of the motion in one recording.

    times, signal: (n,), s and any unit (position for a step of torque or velocity); command: instant of the
    command on the same clock. The baseline is what lies before it, at least 20 samples. Raises
    NotEnoughDataError for a shorter baseline, no motion, or a recording that ends within the fit window.
    """
    x = as_block(signal, "signal")
    t = as_times(times_s, len(x), "samples")
    refuse_not_finite(x, 0, "signal")
    start = int(np.searchsorted(t, command_s))
    if start < _BASELINE:
        raise NotEnoughDataError(
            f"{start} samples before the command: {_BASELINE} are needed for the baseline"
        )
    noise = float(x[:start].std(ddof=1))
    moved = x[start:] - float(x[:start].mean())
    first = _first_sustained(np.abs(moved) > THRESHOLD_SIGMA * noise)
    if first < 0:
        raise NotEnoughDataError("no motion after the command")
    direction = 1 if moved[first] > 0 else -1
    detected = float(t[start + first])
    after = t[start:] - detected
    if after[-1] < fit_window_s[1]:
        raise NotEnoughDataError(
            f"the recording ends {after[-1]:.3g} s after the motion began: record longer"
        )
    window = np.flatnonzero((after >= fit_window_s[0]) & (after <= fit_window_s[1]))
    zero, u, slope, misfit = _back_to_zero(after[window], np.sqrt(np.maximum(direction * moved[window], 0.0)))
    return Onset(
        threshold_s=detected - command_s,
        extrapolated_s=detected + zero - command_s,
        u_extrapolated_s=u,
        acceleration=direction * 2 * slope * slope,
        misfit=misfit,
        noise=noise,
        direction=direction,
    )


def _first_sustained(flags: np.ndarray) -> int:
    """Index of the first of three flags in a row, −1 if there is none."""
    if flags.size < _SUSTAINED:
        return -1
    runs = np.lib.stride_tricks.sliding_window_view(flags, _SUSTAINED).all(axis=1)
    return int(np.argmax(runs)) if runs.any() else -1


def _back_to_zero(t: Float, root: Float) -> tuple[float, float, float, float]:
    """(zero crossing, its u, slope, misfit) of the least-squares line through (t, root)."""
    if t.size < 5:
        raise NotEnoughDataError(f"{t.size} samples in the fit window: sample faster")
    centred = t - t.mean()
    square = float(np.dot(centred, centred))
    slope = float(np.dot(centred, root)) / square
    if slope <= 0:
        raise NotEnoughDataError("the motion does not go on after it was detected")
    residual = root - root.mean() - slope * centred
    scatter = math.sqrt(float(np.dot(residual, residual)) / (t.size - 2))
    zero = float(t.mean()) - float(root.mean()) / slope
    u = scatter / slope * math.sqrt(1 / t.size + (zero - float(t.mean())) ** 2 / square)
    return zero, u, slope, scatter / (slope * float(np.ptp(t)))


def latency_statistics(latencies_s: ArrayLike, *, repeats: int = 100) -> LatencyResult:
    """Summary of the latencies of all repeats, shape (n,), s. Raises NotEnoughDataError below `repeats`."""
    x = as_block(latencies_s, "latencies")
    refuse_not_finite(x, 0, "latencies")
    if len(x) < max(repeats, 2):
        raise NotEnoughDataError(f"{len(x)} repeats, {max(repeats, 2)} are needed")
    return LatencyResult(
        median_s=float(np.median(x)),
        p95_s=float(np.quantile(x, 0.95, method="inverted_cdf")),
        largest_s=float(x.max()),
        smallest_s=float(x.min()),
        deviation_s=float(x.std(ddof=1)),
        repeats=len(x),
    )
