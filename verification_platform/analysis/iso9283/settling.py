"""What happens at the end of a move: stabilization time, overshoot, minimum posing time.

ISO 9283:1998 cl. 7.4, 7.5, 9; protocol specification ROB-ST, ROB-MPT. All three look at the distance D(t) of
the tool from its final position: `arrival` does it for one cycle, the others combine cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..blocks import Float
from ..errors import AnalysisError, NotEnoughDataError
from ._points import as_point, as_record, need_cycles

#: The final position is the mean of this last part of a recording, s (protocol specification §5.0).
FINAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Arrival:
    """One approach to a pose.

    first_entry: the tool first comes within the band; settled: it stays inside from then on; overshoot:
    largest distance after the first entry if it leaves the band again, else 0; noise: rms distance from the
    final position at rest. conclusive: noise at most a third of the band. Times on the recording's clock.
    """

    first_entry_s: float
    settled_s: float
    overshoot_m: float
    noise_m: float
    conclusive: bool
    final_m: Float

    @property
    def stabilization_s(self) -> float:
        """Time from the first entry to the last one."""
        return self.settled_s - self.first_entry_s


@dataclass(frozen=True, slots=True)
class Stabilization:
    """Mean and largest stabilization time, OV = largest overshoot of the cycles; conclusive if every one is."""

    time_s: float
    longest_s: float
    overshoot_m: float
    conclusive: bool
    cycles: int


@dataclass(frozen=True, slots=True)
class PosingTime:
    """Mean time of a move of `distance`: from leaving the start to resting within the band; its spread (n − 1)."""

    time_s: float
    deviation_s: float
    distance_m: float
    conclusive: bool
    cycles: int


def arrival(
    times_s: ArrayLike, positions_m: ArrayLike, band_m: float, final_m: ArrayLike | None = None
) -> Arrival:
    """Stabilization and overshoot of one approach.

    times: (n,); positions: (n, 3), m, from before the arrival until rest, ≥ 1 kHz; band: radius, RP or a
    stated value; final: the position at rest, by default the mean of the last 0.2 s. Entries and exits are
    interpolated between samples. Raises NotEnoughDataError if the recording starts inside the band, or ends
    outside it or less than 0.2 s after settling when no final position is given.
    """
    times, positions = as_record(times_s, positions_m)
    if not band_m > 0:
        raise AnalysisError(f"the band must be positive, got {band_m}")
    tail = np.flatnonzero(times >= times[-1] - FINAL_S)
    at_rest = positions[tail]
    final = at_rest.mean(axis=0) if final_m is None else as_point(final_m, "final position")
    noise = float(np.sqrt(np.mean(np.sum((at_rest - at_rest.mean(axis=0)) ** 2, axis=1))))
    distance = np.linalg.norm(positions - final, axis=1)
    outside = distance > band_m
    if not outside[0]:
        raise NotEnoughDataError("the recording starts within the band: begin it before the arrival")
    if outside[-1]:
        raise NotEnoughDataError("the tool is not within the band at the end of the recording")
    first = int(np.argmin(outside))
    last = int(np.flatnonzero(outside)[-1])
    if final_m is None and last >= tail[0]:
        raise NotEnoughDataError(f"the tool rests for less than {FINAL_S} s: record longer")
    left_again = last >= first
    return Arrival(
        first_entry_s=_crossing(times, distance, band_m, first - 1),
        settled_s=_crossing(times, distance, band_m, last),
        overshoot_m=float(distance[first:].max()) if left_again else 0.0,
        noise_m=noise,
        conclusive=noise <= band_m / 3,
        final_m=final,
    )


def _crossing(times: Float, distance: Float, band: float, before: int) -> float:
    """Instant between samples `before` (outside) and `before` + 1 (inside) when D crosses the band."""
    a, b = float(distance[before]), float(distance[before + 1])
    share = (a - band) / (a - b) if a > b else 1.0
    return float(times[before] + share * (times[before + 1] - times[before]))


def stabilization(arrivals: Sequence[Arrival], *, cycles: int = 3) -> Stabilization:
    """Cl. 7.4 and 7.5 from the approaches of one pose. Raises NotEnoughDataError below `cycles`."""
    need_cycles(len(arrivals), cycles, "stabilization")
    took = [a.stabilization_s for a in arrivals]
    return Stabilization(
        time_s=float(np.mean(took)),
        longest_s=max(took),
        overshoot_m=max(a.overshoot_m for a in arrivals),
        conclusive=all(a.conclusive for a in arrivals),
        cycles=len(arrivals),
    )


def posing_time(
    recordings: Sequence[tuple[ArrayLike, ArrayLike]], band_m: float, *, cycles: int = 3
) -> PosingTime:
    """Minimum posing time (cl. 9) of one distance: recordings of (times (n,), positions (n, 3)), one a cycle.

    Each begins at rest and ends at rest. The start is left when the tool is further than the band from its
    first position for good. Raises NotEnoughDataError below `cycles` or for a move shorter than two bands.
    """
    need_cycles(len(recordings), cycles, "posing time")
    took, lengths, conclusive = [], [], True
    for times_s, positions_m in recordings:
        times, positions = as_record(times_s, positions_m)
        end = arrival(times, positions, band_m)
        lengths.append(float(np.linalg.norm(end.final_m - positions[0])))
        if lengths[-1] <= 2 * band_m:
            raise NotEnoughDataError(
                f"a move of {lengths[-1]:.3g} m is not longer than two bands of {band_m} m"
            )
        from_start = np.linalg.norm(positions - positions[0], axis=1)
        inside = int(np.flatnonzero(from_start <= band_m)[-1])
        left = _crossing(times, -from_start, -band_m, inside)
        took.append(end.settled_s - left)
        conclusive = conclusive and end.conclusive
    return PosingTime(
        time_s=float(np.mean(took)),
        deviation_s=float(np.std(took, ddof=1)),
        distance_m=float(np.mean(lengths)),
        conclusive=conclusive,
        cycles=len(took),
    )
