"""Calibration of force and torque transducers: how straight, how repeatable, how stable a line is.

Series of increasing and decreasing steps, repeated in one mounting and in others, give a handful of numbers that the
standards define by differences. The reference line is always named, because "linearity" means nothing without it.
JJG 995, JJG 391, ISO 376, DIN 51309; protocol specification SEN-TQ. x: applied torque or force (SI), y: reading in
the transducer's unit (mV/V, V, digits); every characteristic is relative to the full-scale output Y_N unless said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float as Floats
from .blocks import refuse_not_finite
from .errors import AnalysisError
from .samples import CoverageError, as_blocks

#: end: through the first and the last point; zero: least squares through the origin; free: least squares.
Line = Literal["end", "zero", "free"]
_FEWEST_STEPS = 5


@dataclass(frozen=True, slots=True)
class Linearity:
    """Largest |ȳ − line|/Y_N and where; the line y = offset + slope·x it was measured against, named."""

    value: float
    at: float
    line: Line
    slope: float
    offset: float


def linearity(x: ArrayLike, y: ArrayLike, line: Line = "end") -> Linearity:
    """Linearity of mean readings y over steps x, both shape (n,), the last step full scale.

    Raises CoverageError below 5 steps, AnalysisError when full scale reads zero.
    """
    x, y = _steps(x, y)
    if line == "end":
        slope = float((y[-1] - y[0]) / (x[-1] - x[0]))
        offset = float(y[0] - slope * x[0])
    elif line == "zero":
        slope, offset = float(np.sum(x * y) / np.sum(x * x)), 0.0
    elif line == "free":
        dx = x - x.mean()
        slope = float(np.sum(dx * y) / np.sum(dx * dx))
        offset = float(y.mean() - slope * x.mean())
    else:
        raise AnalysisError(f"unknown reference line {line!r}; known are end, zero, free")
    deviation = np.abs(y - offset - slope * x)
    worst = int(np.argmax(deviation))
    return Linearity(float(deviation[worst] / _full_scale(y)), float(x[worst]), line, slope, offset)


def reversal_error(y_increasing: ArrayLike, y_decreasing: ArrayLike) -> float:
    """Hysteresis H = max|y_dec − y_inc|/Y_N over the steps, both in the order of ascending load, shape (n,)."""
    up, down = as_blocks(y_increasing, y_decreasing)
    return float(np.max(np.abs(down - up)) / _full_scale(up))


def repeatability(series: Sequence[ArrayLike]) -> float:
    """b' = largest span of increasing series in one mounting relative to their mean, over all steps above zero."""
    return _relative_span(series)


def reproducibility(series: Sequence[ArrayLike]) -> float:
    """b: as `repeatability`, for one series (or mean) of each mounting position."""
    return _relative_span(series)


def _relative_span(series: Sequence[ArrayLike]) -> float:
    rows = np.array(as_blocks(*series))
    if rows.shape[0] < 2:
        raise CoverageError("a span needs at least two series")
    refuse_not_finite(rows.ravel(), 0, "reading")
    mean = np.abs(rows.mean(axis=0))
    # the zero step has no relative span: leave out what is below a thousandth of full scale
    loaded = mean > 1e-3 * mean.max()
    return float(np.max(np.ptp(rows, axis=0)[loaded] / mean[loaded]))


def zero_return(before: float, after: float, Y_N: float) -> float:
    """f_0 = (y_0,after − y_0,before)/Y_N."""
    return (after - before) / Y_N


def creep(t_s: ArrayLike, y: ArrayLike, Y_N: float, start_s: float = 30.0, end_s: float = 1800.0) -> float:
    """(y(30 min) − y(30 s))/Y_N under constant load; t_s from the moment full load was reached, ascending.

    Readings at other times are not interpolated: the nearest within 5 % is taken. Raises CoverageError otherwise.
    """
    t, reading = as_blocks(t_s, y)
    refuse_not_finite(reading, 0, "reading")
    values = []
    for wanted in (start_s, end_s):
        at = int(np.argmin(np.abs(t - wanted)))
        if abs(t[at] - wanted) > 0.05 * wanted:
            raise CoverageError(f"no reading at {wanted:g} s after loading (nearest {t[at]:g} s)")
        values.append(float(reading[at]))
    return (values[1] - values[0]) / Y_N


def temperature_coefficient(value: float, reference: float, dT_K: float, Y_N: float | None = None) -> float:
    """Change per 10 K: of the zero relative to Y_N (TK_0, give Y_N), of the sensitivity relative to itself (TK_C)."""
    if dT_K == 0:
        raise AnalysisError("a temperature coefficient needs two temperatures")
    return (value - reference) / (reference if Y_N is None else Y_N) / dT_K * 10.0


@dataclass(frozen=True, slots=True)
class Interpolation:
    """y = Σ c_k·x^k through zero, k = 1 … degree; deviation: largest |ȳ − curve| relative to the reading."""

    coefficients: tuple[float, ...]
    deviation: float

    def reading(self, x: ArrayLike) -> Floats:
        """y of the curve at loads x."""
        load = np.asarray(x, dtype=np.float64)
        return np.asarray(sum(c * load ** (k + 1) for k, c in enumerate(self.coefficients)))

    def load(self, y: float, full_scale: float) -> float:
        """x at a reading y by Newton's method, for a curve that rises from 0 to `full_scale`."""
        x = y / self.coefficients[0]
        for _ in range(50):
            slope = sum((k + 1) * c * x**k for k, c in enumerate(self.coefficients))
            step = (float(self.reading(x)) - y) / slope
            x -= step
            if abs(step) <= 1e-14 * full_scale:
                return x
        raise AnalysisError(f"the interpolation curve cannot be inverted at a reading of {y:g}")


def interpolation(x: ArrayLike, y: ArrayLike, degree: int = 3) -> Interpolation:
    """Polynomial through zero by least squares (ISO 376, DIN 51309: degree 3, or 1). Zero is subtracted first."""
    x, y = _steps(x, y)
    y = y - y[0] if x[0] == 0 else y
    if x.size <= degree:
        raise CoverageError(f"{x.size} steps cannot determine a curve of degree {degree}")
    powers = (x / x[-1])[:, None] ** np.arange(1, degree + 1)
    solution = np.linalg.lstsq(powers, y, rcond=None)[0]
    loaded = x > 1e-3 * x[-1]
    deviation = np.abs(y - powers @ solution)[loaded] / np.abs(y[loaded])
    scale = x[-1] ** np.arange(1, degree + 1)
    return Interpolation(tuple(float(c) for c in solution / scale), float(deviation.max()))


@dataclass(frozen=True, slots=True)
class Series:
    """One run over the steps in one mounting position: readings at ascending load, and at the same loads coming down."""

    mounting: str
    increasing: Floats
    decreasing: Floats | None = None


@dataclass(frozen=True, slots=True)
class TransducerResult:
    """The characteristics of a transducer; all relative (1), S in reading per unit of load. None: not measured."""

    Y_N: float
    S: float
    linearity_end: Linearity
    linearity_zero: Linearity
    linearity_increasing: Linearity
    hysteresis: float | None
    repeatability: float | None
    reproducibility: float | None
    interpolation: Interpolation


def calibrate(x: ArrayLike, series: Sequence[Series]) -> TransducerResult:
    """All line metrics from the series of a calibration: x shape (steps,), ascending from 0 to full scale.

    Linearity is of the mean over all series and both directions, and of the increasing ones alone; hysteresis the
    largest of any series; repeatability over the increasing series of the mounting measured most often;
    reproducibility over the mean of each mounting. Raises CoverageError.
    """
    if not series:
        raise CoverageError("a calibration needs at least one series")
    load = np.asarray(x, dtype=np.float64)
    rising = np.array([_checked(load, s.increasing) for s in series])
    both = [s for s in series if s.decreasing is not None]
    falling = np.array([_checked(load, s.decreasing) for s in both if s.decreasing is not None])
    up = rising.mean(axis=0)
    mean = 0.5 * (up + falling.mean(axis=0)) if both else up
    mountings = {
        s.mounting: [r for r, t in zip(rising, series, strict=True) if t.mounting == s.mounting]
        for s in series
    }
    most = max(mountings.values(), key=len)
    pairs = [(s.increasing, s.decreasing) for s in both if s.decreasing is not None]
    Y_N = float(up[-1] - up[0])
    return TransducerResult(
        Y_N=Y_N,
        S=Y_N / float(load[-1] - load[0]),
        linearity_end=linearity(load, mean, "end"),
        linearity_zero=linearity(load, mean, "zero"),
        linearity_increasing=linearity(load, up, "end"),
        hysteresis=max(reversal_error(a, b) for a, b in pairs) if pairs else None,
        repeatability=repeatability(most) if len(most) > 1 else None,
        reproducibility=(
            reproducibility([np.mean(rows, axis=0) for rows in mountings.values()])
            if len(mountings) > 1
            else None
        ),
        interpolation=interpolation(load, up),
    )


def _checked(load: Floats, y: ArrayLike) -> Floats:
    return _steps(load, y)[1]


def _steps(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    load, reading = as_blocks(x, y)
    refuse_not_finite(load, 0, "load")
    refuse_not_finite(reading, 0, "reading")
    if load.size < _FEWEST_STEPS:
        raise CoverageError(f"{load.size} calibration steps, at least {_FEWEST_STEPS} needed")
    if np.diff(load).min() <= 0:
        raise AnalysisError(
            "calibration steps must ascend; give decreasing readings at the same ascending loads"
        )
    return load, reading


def _full_scale(y: Floats) -> float:
    span = abs(float(y[-1] - y[0]))
    if span == 0:
        raise AnalysisError("the reading at full scale equals the zero: no output")
    return span
