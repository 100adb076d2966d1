"""Trajectory following error, split into what a delay explains and what it does not.

Protocol specification CTL-TRK (platform method). Command and actual position are sampled together on one
clock. e = q_cmd − q_act = (q_cmd(t) − q_cmd(t − τ)) + (q_cmd(t − τ) − q_act(t)): the first part comes from
the delay τ alone, the second is the change of shape that remains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError


@dataclass(frozen=True, slots=True)
class FollowingError:
    """Following error in the unit of the position, delay in s.

    largest, rms: of e over the whole record; delay: τ (positive: the actual position lags); u_delay: its
    standard uncertainty if what remains were white noise; shape_*, delay_*: of the two parts, over the part of
    the record where q_cmd(t − τ) is known.
    """

    largest: float
    rms: float
    mean: float
    delay_s: float
    u_delay_s: float
    delay_largest: float
    shape_largest: float
    shape_rms: float


@dataclass(frozen=True, slots=True)
class VelocityLag:
    """Steady following error at constant velocity: error per segment with its velocity; K_v = v/e, 1/s."""

    velocity: Float
    error: Float
    gain_1_s: Float


def _record(command: ArrayLike, actual: ArrayLike, period_s: float) -> tuple[Float, Float]:
    q, a = as_block(command, "command"), as_block(actual, "actual")
    if len(q) != len(a):
        raise AnalysisError(f"{len(q)} command samples and {len(a)} actual ones")
    refuse_not_finite(q, 0, "command")
    refuse_not_finite(a, 0, "actual")
    if not period_s > 0:
        raise AnalysisError(f"the sampling period must be positive, got {period_s}")
    if len(q) < 32:
        raise NotEnoughDataError(f"following error needs 32 samples or more, got {len(q)}")
    return q, a


def following_error(
    command: ArrayLike, actual: ArrayLike, period_s: float, longest_delay_s: float | None = None
) -> FollowingError:
    """Following error of one trajectory; command, actual: (n,), any unit; period: s.

    The delay is searched within ± `longest_delay_s` (a quarter of the record by default) by cross-correlation
    and refined by least squares; for a periodic trajectory it is the smallest of those possible. Raises
    NotEnoughDataError for a command that does not move, AnalysisError for unequal lengths.
    """
    q, a = _record(command, actual, period_s)
    if np.ptp(q) == 0:
        raise NotEnoughDataError("the command does not move: there is no delay to be found")
    reach = len(q) // 4 if longest_delay_s is None else round(longest_delay_s / period_s)
    delay, u = _delay(q, a, max(1, min(reach, len(q) // 2)))
    inner = slice(*_inner(len(q), delay))
    shifted, _ = _shifted(q, delay, inner)
    error, shape, by_delay = q - a, shifted - a[inner], q[inner] - shifted
    return FollowingError(
        largest=float(np.abs(error).max()),
        rms=math.sqrt(float(np.dot(error, error)) / error.size),
        mean=float(error.mean()),
        delay_s=delay * period_s,
        u_delay_s=u * period_s,
        delay_largest=float(np.abs(by_delay).max()),
        shape_largest=float(np.abs(shape).max()),
        shape_rms=math.sqrt(float(np.dot(shape, shape)) / shape.size),
    )


def _delay(q: Float, a: Float, reach: int) -> tuple[float, float]:
    """(delay, u) in samples: the best whole lag by Σ(a − q shifted)², then Gauss–Newton between samples."""
    delay = float(_whole_lag(q - q.mean(), a - q.mean(), reach))
    u = math.inf
    for _ in range(30):
        inner = slice(*_inner(len(q), delay))
        shifted, slope = _shifted(q, delay, inner)
        square = float(np.dot(slope, slope))
        if square == 0:
            raise NotEnoughDataError("the command does not move where the delay could be seen")
        misfit = shifted - a[inner]
        step = float(np.dot(slope, misfit)) / square
        u = math.sqrt(float(np.dot(misfit, misfit)) / max(misfit.size - 1, 1) / square)
        delay += max(-1.0, min(1.0, step))
        if abs(step) < 1e-9:
            break
    if abs(delay) > reach + 1:
        raise NotEnoughDataError(f"no delay within ±{reach} samples fits")
    return delay, u


def _whole_lag(q: Float, a: Float, reach: int) -> int:
    """Lag (samples) with the smallest mean square difference on the overlap, by FFT."""
    n = len(q)
    size = 1 << (2 * n - 1).bit_length()
    cross = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(q, size)), size)
    lags = np.arange(-reach, reach + 1)
    qq, aa = (np.concatenate([[0.0], np.cumsum(v * v)]) for v in (q, a))
    first_a, last_a = np.maximum(lags, 0), np.minimum(n, n + lags)
    energy = qq[last_a - lags] - qq[first_a - lags] + aa[last_a] - aa[first_a]
    cost = (energy - 2 * cross[lags]) / (last_a - first_a)
    # a periodic trajectory fits as well a whole period later: of the valleys as deep as the deepest (to 1 %
    # of the relief) the one nearest to no delay
    valley = np.flatnonzero((cost <= np.roll(cost, 1)) & (cost <= np.roll(cost, -1)))
    lowest = float(cost.min())
    deep = valley[cost[valley] <= lowest + 0.01 * (float(cost.mean()) - lowest)]
    return int(lags[deep[np.argmin(np.abs(lags[deep]))]])


def _inner(n: int, delay: float) -> tuple[int, int]:
    """Samples whose delayed place has the four neighbours a cubic needs."""
    return max(0, math.ceil(delay) + 1), min(n, n - 2 + math.floor(delay))


def _shifted(q: Float, delay: float, inner: slice) -> tuple[Float, Float]:
    """q at (k − delay) for k in `inner`, and its slope per sample, by the cubic through four neighbours."""
    whole = math.floor(-delay)
    f = -delay - whole
    weights = (
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    )
    slopes = (
        -(3 * f * f - 6 * f + 2) / 6,
        (3 * f * f - 4 * f - 1) / 2,
        -(3 * f * f - 2 * f - 2) / 2,
        (3 * f * f - 1) / 6,
    )
    views = [q[inner.start + whole + k : inner.stop + whole + k] for k in (-1, 0, 1, 2)]
    value = sum((w * v for w, v in zip(weights, views, strict=True)), np.zeros(views[0].size))
    slope = sum((w * v for w, v in zip(slopes, views, strict=True)), np.zeros(views[0].size))
    return value, slope


def velocity_lag(
    command: ArrayLike, actual: ArrayLike, period_s: float, shortest_s: float = 0.1
) -> VelocityLag:
    """Following error where the command runs at constant velocity: the second half of each such segment.

    command, actual: (n,), period: s. A segment is constant when its velocity differs by less than 1e-6 of the
    largest, and lasts `shortest_s` or longer. Raises NotEnoughDataError if there is none.
    """
    q, a = _record(command, actual, period_s)
    step = np.diff(q)
    top = float(np.abs(step).max())
    if top == 0:
        raise NotEnoughDataError("the command does not move")
    steady = (np.abs(np.diff(step)) < 1e-6 * top) & (np.abs(step[1:]) > 1e-3 * top)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steady, [False]]).astype(np.int8)))
    velocity, error = [], []
    for first, last in zip(edges[0::2], edges[1::2], strict=True):
        if (last - first) * period_s >= shortest_s:
            half = slice((first + last) // 2 + 1, last + 1)
            velocity.append(float(step[half].mean()) / period_s)
            error.append(float((q[half] - a[half]).mean()))
    if not velocity:
        raise NotEnoughDataError(f"the command has no constant velocity for {shortest_s} s")
    v, e = np.array(velocity), np.array(error)
    with np.errstate(divide="ignore"):
        return VelocityLag(v, e, v / e)


def contour_error(path: ArrayLike, actual: ArrayLike) -> Float:
    """Distance of each actual point (m, d) from the command path, a polyline of points (n, d); shape (m,).

    Work grows with m·n; memory stays below 16 MB. Raises AnalysisError for shapes that do not fit.
    """
    line, points = np.asarray(path, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if line.ndim != 2 or points.ndim != 2 or line.shape[1] != points.shape[1] or len(line) < 2:
        raise AnalysisError(
            f"a path (n ≥ 2, d) and points (m, d) are needed, not {line.shape}, {points.shape}"
        )
    refuse_not_finite(np.ascontiguousarray(line).reshape(-1), 0, "path")
    refuse_not_finite(np.ascontiguousarray(points).reshape(-1), 0, "actual")
    leg = np.diff(line, axis=0)
    square = np.maximum(np.sum(leg * leg, axis=1), np.finfo(np.float64).tiny)
    out = np.empty(len(points))
    block = max(1, 200_000 // (len(leg) * line.shape[1]))
    for first in range(0, len(points), block):
        away = points[first : first + block, None, :] - line[None, :-1, :]
        share = np.clip(np.einsum("mnd,nd->mn", away, leg) / square, 0, 1)
        away -= share[:, :, None] * leg
        out[first : first + block] = np.sqrt(np.einsum("mnd,mnd->mn", away, away).min(axis=1))
    return out
