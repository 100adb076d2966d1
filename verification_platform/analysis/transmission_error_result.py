"""What a transmission error measurement says, for one direction and for both together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import AnalysisError
from .fold import Floats


@dataclass(frozen=True, slots=True)
class Order:
    """One harmonic per output revolution: e contains amplitude·sin(order·θ₂ + phase); `u` of the amplitude
    (noise).
    """

    order: int
    amplitude_rad: float
    phase_rad: float
    u_rad: float


@dataclass(frozen=True, slots=True)
class TransmissionErrorResult:
    """All angles in rad, at the output.

    pp: max − min of the average revolution, bias of noise removed; pp_worst: the same for the worst single
    revolution; rms about the mean; closure e(2π) − e(0) with its noise, None where no full revolution was
    made; mean: ē, holds the mounting offset; noise: standard deviation of one sample of e; curve e over
    theta without ē.
    """

    pp_rad: float
    pp_bias_rad: float
    pp_noise_rad: float
    pp_worst_rad: float
    rms_rad: float
    mean_rad: float
    closure_rad: float | None
    closure_noise_rad: float | None
    noise_rad: float
    orders: tuple[Order, ...]
    top: tuple[Order, ...]
    spectrum_rad: Floats
    theta_rad: Floats
    curve_rad: Floats
    range_rad: float
    direction: int
    revolutions: int
    samples: int
    unused_samples: int
    max_order: int
    pp_per_revolution_rad: Floats = field(repr=False)

    def order(self, q: int) -> Order:
        """The requested order q. Raises KeyError if it was not asked for."""
        for line in self.orders:
            if line.order == q:
                return line
        raise KeyError(q)


@dataclass(frozen=True, slots=True)
class BothDirections:
    """Both directions of rotation together, rad: each with its own mean removed, so that lost motion stays
    out.

    pp_max: the larger of the two TE_pp; pp_bidirectional: max − min over both curves; reversal_offset:
    ē(−) − ē(+), for information only, it contains the lost motion.
    """

    pp_max_rad: float
    pp_bidirectional_rad: float
    reversal_offset_rad: float


def both_directions(results: Mapping[int, TransmissionErrorResult]) -> BothDirections:
    """Combine {+1: …, −1: …}. Raises AnalysisError unless each key matches its result's direction."""
    if set(results) != {-1, 1} or any(results[d].direction != d for d in results):
        raise AnalysisError("both directions need one result for +1 and one for -1")
    forward, backward = results[1], results[-1]
    high = max(float(r.curve_rad.max() - r.curve_rad.mean()) for r in (forward, backward))
    low = min(float(r.curve_rad.min() - r.curve_rad.mean()) for r in (forward, backward))
    return BothDirections(
        pp_max_rad=max(forward.pp_rad, backward.pp_rad),
        pp_bidirectional_rad=high - low - max(forward.pp_bias_rad, backward.pp_bias_rad),
        reversal_offset_rad=backward.mean_rad - forward.mean_rad,
    )
