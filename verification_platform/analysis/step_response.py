"""Step response: how fast and how well damped a drive follows a step.

    t_d   delay to 50 %            t_r   rise from 10 to 90 % (the limits are stated with the result)
    t_90  from the step to 90 %    t_100 first reach of y_∞
    M_p   (y_max − y_∞)/(y_∞ − y_0) t_p   time of the first peak
    t_s   last time |y − y_∞| exceeds a band (5 % and 2 % of the step)

y_∞ is the mean of the last fifth of the record, y_0 the mean before the step. A band narrower than five standard
deviations of the noise cannot be judged, and its settling time is None. GB/T 16439-2024 and practice of servo
drives; protocol specification SRV-STEP and §0.6 `settle`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float as Floats
from .blocks import refuse_not_finite
from .errors import AnalysisError
from .samples import CoverageError, SampleError, as_blocks

_FINAL = 0.2
_NOISE_BANDS = 5.0


@dataclass(frozen=True, slots=True)
class StepResult:
    """Times in s from the step; y in the signal's unit.

    overshoot: fraction of the step, 0 when overdamped (then peak_time and reach are None); settling: band (fraction) → time,
    None where the band is narrower than 5 σ of the noise; settling_doubt: band → half of what the settling time changes by when
    the band is wider and narrower by σ of the noise, s: where a swing just reaches the band, half a swing; steady_error: target − y_∞,
    None without a target.
    """

    y_0: float
    y_inf: float
    delay: float
    rise: float
    rise_limits: tuple[float, float]
    to_90: float
    reach: float | None
    overshoot: float
    peak_time: float | None
    settling: Mapping[float, float | None]
    settling_doubt: Mapping[float, float]
    steady_error: float | None
    noise: float


def step_response(
    t_s: ArrayLike,
    y: ArrayLike,
    step_time_s: float,
    *,
    y_0: float | None = None,
    target: float | None = None,
    bands: Sequence[float] = (0.05, 0.02),
    rise_limits: tuple[float, float] = (0.1, 0.9),
) -> StepResult:
    """Metrics of one step at `step_time_s`, captured on the clock of t_s (s, ascending); t_s, y shapes (n,).

    y_0: value before the step, from the samples before it when None. Raises CoverageError for a record that has not
    settled or has no samples before the step, AnalysisError for a step that is not there.
    """
    t, x = as_blocks(t_s, y)
    refuse_not_finite(t, 0, "time")
    refuse_not_finite(x, 0, "signal")
    if t.size > 1 and np.diff(t).min() <= 0:
        raise SampleError(f"the clock does not move forward at sample {int(np.argmin(np.diff(t))) + 1}")
    before = np.searchsorted(t, step_time_s)
    if y_0 is None:
        if before < 1:
            raise CoverageError("no samples before the step: record earlier or give y_0")
        y_0 = float(x[:before].mean())
    t, x = t[before:] - step_time_s, x[before:]
    final = x[round(x.size * (1 - _FINAL)) :]
    if final.size < 5:
        raise CoverageError(f"{x.size} samples after the step are too few")
    y_inf = float(final.mean())
    noise = _noise(final)
    step = y_inf - y_0
    if abs(step) <= _NOISE_BANDS * noise or step == 0:
        raise AnalysisError(f"no step: {y_0:.6g} before, {y_inf:.6g} after, noise {noise:.2g}")
    # from here on the step is from 0 to 1
    x = (x - y_0) / step
    noise_share = noise / abs(step)
    if np.max(np.abs(final - y_inf)) > max(0.05 * abs(step), 10 * noise):
        raise CoverageError("the signal has not settled in the last fifth of the record: record longer")
    overshoot, peak_time = _peak(t, x, noise_share)
    low, high = rise_limits
    judged = [b for b in bands if b >= _NOISE_BANDS * noise_share]
    return StepResult(
        y_0=y_0,
        y_inf=y_inf,
        delay=_crossing(t, x, 0.5),
        rise=_crossing(t, x, high) - _crossing(t, x, low),
        rise_limits=rise_limits,
        to_90=_crossing(t, x, 0.9),
        reach=None if peak_time is None else _crossing(t, x, 1.0),
        overshoot=overshoot,
        peak_time=peak_time,
        settling={b: _last_exit(t, x, 1.0, b) if b in judged else None for b in bands},
        settling_doubt={b: _doubt(t, x, 1.0, b, noise_share) for b in judged},
        steady_error=None if target is None else target - y_inf,
        noise=noise,
    )


def _noise(final: Floats) -> float:
    """Standard deviation without slow settling: from second differences of the last part (white noise)."""
    second = final[2:] - 2 * final[1:-1] + final[:-2]
    return float(math.sqrt(float(np.mean(second * second)) / 6))


def _crossing(t: Floats, x: Floats, level: float) -> float:
    """First time x reaches a level, interpolated linearly between neighbouring samples (or from 0 at the step)."""
    at = int(np.argmax(x >= level))
    if x[at] < level:
        raise CoverageError(f"the signal never reaches {100 * level:.0f} % of the step")
    t_0, x_0 = (t[at - 1], x[at - 1]) if at else (0.0, 0.0)
    if x[at] == x_0:
        return float(t[at])
    return float(t_0 + (t[at] - t_0) * (level - x_0) / (x[at] - x_0))


def _peak(t: Floats, x: Floats, noise: float) -> tuple[float, float | None]:
    """Overshoot and its time from a parabola through the top of the first swing; (0, None) when overdamped."""
    top = int(np.argmax(x))
    if x[top] - 1.0 <= max(_NOISE_BANDS * noise, 1e-6):
        return 0.0, None
    near = x > 1.0 + 0.95 * (x[top] - 1.0)
    first = top - int(np.argmin(near[top::-1])) + 1 if not near[: top + 1].all() else 0
    last = top + int(np.argmin(near[top:])) if not near[top:].all() else x.size
    first, last = min(first, top - 1), max(last, top + 2)
    if first < 0 or last > x.size or last - first < 3:
        return float(x[top]) - 1.0, float(t[top])
    centre = t[top]
    scale = t[last - 1] - t[first]
    c, b, a = np.polynomial.polynomial.polyfit((t[first:last] - centre) / scale, x[first:last], 2)
    if a >= 0:
        return float(x[top]) - 1.0, float(t[top])
    place = float(np.clip(-b / (2 * a), -1.0, 1.0))
    return float(c + b * place + a * place * place) - 1.0, float(centre + scale * place)


def _last_exit(t: Floats, x: Floats, target: float, band: float) -> float:
    """Last time |x − target| exceeds the band, interpolated; 0 when it never does."""
    outside = np.flatnonzero(np.abs(x - target) > band)
    if outside.size == 0:
        return 0.0
    at = int(outside[-1])
    if at == x.size - 1:
        raise CoverageError(f"the signal is outside ±{band:g} at the end of the record: record longer")
    edge = target + math.copysign(band, x[at] - target)
    return float(t[at] + (t[at + 1] - t[at]) * (edge - x[at]) / (x[at + 1] - x[at]))


def _doubt(t: Floats, x: Floats, target: float, band: float, noise: float) -> float:
    """Half of what the last exit moves by when the band is σ of the noise wider and narrower, s."""
    try:
        return (_last_exit(t, x, target, band - noise) - _last_exit(t, x, target, band + noise)) / 2
    except CoverageError:  # noise alone leaves the narrower band at the very end
        return float(t[-1]) / 2


@dataclass(frozen=True, slots=True)
class Settling:
    """Times in s after `start`: first entry into the band, and the last exit from it (the settling time).

    doubt: half of what the settling time changes by when the band is wider and narrower by the noise, s.
    """

    first_entry: float
    settling: float
    doubt: float = 0.0


def settle(
    t_s: ArrayLike, y: ArrayLike, target: float, band: float, start_s: float = 0.0, *, noise: float = 0.0
) -> Settling:
    """Positioning settling time: from the end of the command profile until y stays within target ± band.

    t_s s, ascending; y, band and noise (one standard deviation) in one unit, shapes (n,). Raises CoverageError when y is
    outside at the end.
    """
    t, x = as_blocks(t_s, y)
    refuse_not_finite(t, 0, "time")
    refuse_not_finite(x, 0, "signal")
    if not band > 0:
        raise AnalysisError(f"the band must be positive, got {band}")
    after = np.searchsorted(t, start_s)
    t, x = t[after:] - start_s, x[after:]
    inside = np.flatnonzero(np.abs(x - target) <= band)
    if inside.size == 0:
        raise CoverageError(f"the signal never comes within ±{band:g} of {target:g}")
    doubt = _doubt(t, x, target, band, noise) if noise else 0.0
    return Settling(float(t[inside[0]]), _last_exit(t, x, target, band), doubt)
