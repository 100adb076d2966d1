"""Torque ripple of a driven motor and cogging of an unpowered one.

Ripple: the drive holds its torque command, a large inertia or a second machine holds the speed, and the torque over
one mechanical revolution shows poles, slots and the current loop. Cogging: the motor is turned slowly without
current, both ways; half the sum at equal angles is the cogging torque, half the difference the friction.
GB/T 30549-2014, GB/T 16439-2009 (coefficient K_Tb, deleted in 2024); protocol specification SRV-RIP, SRV-COG.

Both rest on the time-synchronous average: whole revolutions, no interpolation, orders up to `max_order`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .angle import AverageResult
from .blocks import Float as Floats
from .errors import AnalysisError
from .fold import peak_to_peak, synthesise
from .samples import UndersampledError

#: Fewest samples per mechanical revolution (specification SRV-RIP).
SAMPLES_PER_REVOLUTION = 3600
#: Orders that a misaligned sensor or coupling makes; reported separately.
ALIGNMENT_ORDERS = 2


@dataclass(frozen=True, slots=True)
class RippleResult:
    """Torque ripple over the average revolution; torque N·m.

    K_Tb = (T_max − T_min)/(T_max + T_min); pp_over_mean = (T_max − T_min)/|mean|; pp_without_alignment: the same
    difference with orders 1 and 2 taken out; amplitudes[q] of order q per mechanical revolution.
    """

    mean: float
    T_max: float
    T_min: float
    K_Tb: float
    pp_over_mean: float
    pp_without_alignment: float
    amplitudes: Floats = field(repr=False)
    noise: float
    revolutions: int
    direction: int


def torque_ripple(average: AverageResult) -> RippleResult:
    """Ripple metrics of an average torque revolution (`TimeSynchronousAverage` of torque over motor angle).

    Raises UndersampledError below 3600 samples a revolution, AnalysisError when the torque changes its sign: K_Tb
    and a ratio to the mean have no meaning there.
    """
    _require_sampling(average)
    low, high = _extremes(average.coefficients)
    if low <= 0 <= high:
        raise AnalysisError(
            f"the torque changes sign within a revolution ({low:.4g} … {high:.4g} N·m): no ripple ratio"
        )
    aligned = average.coefficients.copy()
    aligned[1 : ALIGNMENT_ORDERS + 1] = 0.0
    bottom, top = _extremes(aligned)
    return RippleResult(
        mean=average.mean,
        T_max=high,
        T_min=low,
        K_Tb=(high - low) / abs(high + low),
        pp_over_mean=(high - low) / abs(average.mean),
        pp_without_alignment=top - bottom,
        amplitudes=np.abs(average.coefficients),
        noise=average.noise,
        revolutions=average.periods,
        direction=average.direction,
    )


@dataclass(frozen=True, slots=True)
class CoggingResult:
    """Cogging torque T_cog(θ) and friction; torque N·m, θ rad.

    pp: max − min of T_cog (not its half: state which); friction: mean of [T_CW − T_CCW]/2, offset: mean of the half
    sum (zero error of the sensor); amplitudes[q] of order q per mechanical revolution.
    """

    pp: float
    pp_without_alignment: float
    friction: float
    offset: float
    amplitudes: Floats = field(repr=False)
    theta_rad: Floats = field(repr=False)
    cogging: Floats = field(repr=False)
    friction_curve: Floats = field(repr=False)


def cogging(forward: AverageResult, backward: AverageResult) -> CoggingResult:
    """Split torque measured in both directions over the same angle into cogging and friction.

    forward and backward: `TimeSynchronousAverage` of torque over one mechanical revolution; the angle must have the
    same zero in both. Raises AnalysisError for runs of the same direction or different periods or bands,
    UndersampledError.
    """
    if (forward.direction, backward.direction) != (1, -1):
        raise AnalysisError("cogging needs one run forward and one backward")
    if forward.period_rad != backward.period_rad or forward.coefficients.size != backward.coefficients.size:
        raise AnalysisError("both runs must be averaged over the same period with the same highest order")
    for average in (forward, backward):
        _require_sampling(average)
    with_motion, against = forward.over_angle(), backward.over_angle()
    position, friction = 0.5 * (with_motion + against), 0.5 * (with_motion - against)
    offset = float(position[0].real)
    position[0] = 0.0
    low, high = _extremes(position)
    aligned = position.copy()
    aligned[1 : ALIGNMENT_ORDERS + 1] = 0.0
    bottom, top = _extremes(aligned)
    points = _points(position.size)
    return CoggingResult(
        pp=high - low,
        pp_without_alignment=top - bottom,
        friction=float(friction[0].real),
        offset=offset,
        amplitudes=np.abs(position),
        theta_rad=forward.period_rad * np.arange(points) / points,
        cogging=synthesise(position, points),
        friction_curve=synthesise(friction, points),
    )


def cogging_order(slots: int, poles: int) -> int:
    """Lowest cogging order per mechanical revolution: lcm(slots, 2p), 2p the number of poles."""
    return math.lcm(slots, poles)


def _points(orders: int) -> int:
    return 1 << math.ceil(math.log2(16 * orders))


def _extremes(coefficients: np.ndarray) -> tuple[float, float]:
    curve = synthesise(coefficients, _points(coefficients.size))
    # close the ring, so that an extreme at the seam is refined like any other
    return peak_to_peak(np.concatenate((curve[-1:], curve, curve[:1])))


def _require_sampling(average: AverageResult) -> None:
    per_turn = average.samples / average.periods
    if per_turn < SAMPLES_PER_REVOLUTION - 1:
        raise UndersampledError(
            f"{per_turn:.0f} samples a revolution, at least {SAMPLES_PER_REVOLUTION} needed: sample faster or turn slower"
        )
