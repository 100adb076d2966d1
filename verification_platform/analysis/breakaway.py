"""Starting torque: the torque at which a shaft at rest begins to turn.

GB/T 35089-2018 (starting torque); protocol specification RED-ST (input driven) and RED-BD (output driven).

A gear at rest is not rigid: it winds up in proportion to the torque long before anything slides. So motion is
not "the angle changed" but "the angle left the line of winding-up": the run is confirmed by half a degree that
lasts, then followed back to the last sample on that line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError

#: Motion is confirmed beyond this angle from rest, rad (0.5°) …
MOTION_RAD = math.radians(0.5)
#: … for this long, s.
SUSTAINED_S = 0.05
#: Half width of the band about the line of winding-up, in standard deviations.
BAND_SIGMA = 5.0
#: The torque is the mean over this long before the break, s.
TORQUE_MEAN_S = 0.02


@dataclass(frozen=True, slots=True)
class Breakaway:
    """One ramp. moved False: no motion; torque then is the largest torque reached, a lower bound.

    torque: N·m, with the sign of the ramp; time: of the last sample on the line, s from the first sample;
    compliance: of the winding-up, rad/(N·m); noise: σ of the angle about the line, rad.
    """

    moved: bool
    torque_n_m: float
    time_s: float
    compliance_rad_n_m: float
    noise_rad: float


@dataclass(frozen=True, slots=True)
class StartingTorque:
    """Starting torque from the ramps of all positions and repeats, by magnitude, N·m.

    deviation: n − 1; not_moved: ramps without motion: while there are any, largest is a lower bound ("not
    back-drivable up to …") and mean and deviation are None.
    """

    largest_n_m: float
    mean_n_m: float | None
    deviation_n_m: float | None
    ramps: int
    not_moved: int


def breakaway(
    torque_n_m: ArrayLike,
    angle_rad: ArrayLike,
    period_s: float,
    *,
    motion_rad: float = MOTION_RAD,
    sustained_s: float = SUSTAINED_S,
) -> Breakaway:
    """Breakaway torque of one ramp from rest.

    torque: (n,), N·m, ramping at a constant rate; angle: (n,), rad, of the shaft that is driven; period: s.
    Raises NotEnoughDataError if the shaft moves before 100 samples of winding-up were seen, AnalysisError for
    unequal lengths, NotFiniteError for NaN.
    """
    torque, angle = as_block(torque_n_m, "torque"), as_block(angle_rad, "angle")
    if len(torque) != len(angle):
        raise AnalysisError(f"{len(torque)} torque samples and {len(angle)} angles")
    if not period_s > 0:
        raise AnalysisError(f"the sampling period must be positive, got {period_s}")
    refuse_not_finite(torque, 0, "torque")
    refuse_not_finite(angle, 0, "angle")
    rest = max(20, round(TORQUE_MEAN_S / period_s))
    if len(angle) < 5 * rest:
        raise NotEnoughDataError(f"{len(angle)} samples: a ramp of {5 * rest} or more is needed")
    beyond = np.abs(angle - float(angle[:rest].mean())) > motion_rad
    detected = _first_run(beyond, max(1, round(sustained_s / period_s)))
    if detected < 0:
        line = _Line.fit(torque, angle)
        largest = float(torque[np.argmax(np.abs(torque))])
        return Breakaway(False, largest, (len(angle) - 1) * period_s, line.slope, line.noise)
    at, line = _leave(torque, angle, detected, rest)
    mean = max(1, round(TORQUE_MEAN_S / period_s))
    return Breakaway(
        moved=True,
        torque_n_m=float(torque[max(0, at + 1 - mean) : at + 1].mean()),
        time_s=at * period_s,
        compliance_rad_n_m=line.slope,
        noise_rad=line.noise,
    )


def _first_run(flags: np.ndarray, length: int) -> int:
    """First index of `length` flags in a row, −1 if there are none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for first, last in zip(edges[0::2], edges[1::2], strict=True):
        if last - first >= length:
            return int(first)
    return -1


@dataclass(frozen=True, slots=True)
class _Line:
    """angle = offset + slope·torque, and the scatter about it."""

    offset: float
    slope: float
    noise: float

    @classmethod
    def fit(cls, torque: Float, angle: Float) -> _Line:
        t, a = torque - torque.mean(), angle - angle.mean()
        square = float(np.dot(t, t))
        slope = float(np.dot(t, a)) / square if square > 0 else 0.0
        residual = a - slope * t
        noise = math.sqrt(float(np.dot(residual, residual)) / (len(t) - 2))
        return cls(float(angle.mean()) - slope * float(torque.mean()), slope, noise)

    def inside(self, torque: Float, angle: Float) -> np.ndarray:
        # an angle without any noise still is known to its last digits only
        band = BAND_SIGMA * self.noise + 1e-12 * (1 + abs(self.offset))
        return np.asarray(np.abs(angle - self.offset - self.slope * torque) <= band)


def _leave(torque: Float, angle: Float, detected: int, rest: int) -> tuple[int, _Line]:
    """(last sample on the line before `detected`, the line).

    The line is fitted to the first half of the ramp, then to all but the last part before the break it
    implies, until the break stays where it is.
    """
    end, at = detected // 2, -1
    line = _Line(0.0, 0.0, 0.0)
    for _ in range(10):
        if end < max(100, rest):
            raise NotEnoughDataError(
                f"the shaft moves after {detected} samples: start the ramp lower or slower"
            )
        line = _Line.fit(torque[:end], angle[:end])
        inside = np.flatnonzero(line.inside(torque[:detected], angle[:detected]))
        previous, at = at, int(inside[-1]) if inside.size else end
        end = max(end, at - rest)
        if at == previous:
            break
    return at, line


def starting_torque(ramps: Sequence[Breakaway]) -> StartingTorque:
    """Largest, mean and deviation of the ramps of one direction. Raises NotEnoughDataError below two."""
    if len(ramps) < 2:
        raise NotEnoughDataError(f"starting torque needs two ramps or more, got {len(ramps)}")
    size = np.array([abs(r.torque_n_m) for r in ramps])
    still = sum(not r.moved for r in ramps)
    return StartingTorque(
        largest_n_m=float(size.max()),
        mean_n_m=None if still else float(size.mean()),
        deviation_n_m=None if still else float(size.std(ddof=1)),
        ramps=len(ramps),
        not_moved=still,
    )
