"""Fatigue damage of counted cycles, and equivalent loads of duty cycles.

* `SNCurve`: cycles to failure as a power law with an optional knee, damage by Palmgren–Miner's rule
  (A. Palmgren, VDI-Z 68 (1924); M. A. Miner, J. Appl. Mech. 12 (1945); knee with the second slope 2k−1 after
  E. Haibach, 1970);
* `EquivalentLoad`: the power mean of torque weighted with revolutions, and the equivalent rated hours of an
  endurance run (the catalogue formulas of strain-wave gears, p = 3, and of cycloidal gears, p = 10/3);
  streaming and mergeable, so it is also the bench's life counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError

#: p of `EquivalentLoad`, as the catalogues of the two kinds of gear have it.
STRAIN_WAVE_EXPONENT, CYCLOIDAL_EXPONENT = 3.0, 10.0 / 3.0


@dataclass(frozen=True, slots=True)
class SNCurve:
    """N(S) = knee_cycles·(S/knee_range)^−k above the knee, with slope k_below under it.

    `knee_range` in the unit of the ranges (peak to valley); `k_below` None means no damage below the knee
    (original Miner), k the straight line without a knee (elementary Miner), 2k − 1 Haibach.
    """

    knee_range: float
    knee_cycles: float
    k: float
    k_below: float | None = None

    def __post_init__(self) -> None:
        for name in ("knee_range", "knee_cycles", "k"):
            if not getattr(self, name) > 0:
                raise AnalysisError(f"SNCurve: {name} must be positive, not {getattr(self, name)}")
        if self.k_below is not None and self.k_below < self.k:
            raise AnalysisError(f"SNCurve: k_below {self.k_below} is smaller than k {self.k}")

    def cycles_to_failure(self, ranges: ArrayLike) -> Float:
        """N for each range; shape as `ranges`; infinite where the curve gives no damage."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / self.damage_per_cycle(ranges))

    def damage_per_cycle(self, ranges: ArrayLike) -> Float:
        """1/N for each range; shape as `ranges`. Raises AnalysisError for a negative or not finite range."""
        S = np.asarray(ranges, dtype=np.float64)
        if not np.all(np.isfinite(S) & (S >= 0)):
            raise AnalysisError("SNCurve: ranges must be finite and not negative")
        relative = S / self.knee_range
        above = relative >= 1.0
        damage = np.where(above, relative, 1.0) ** self.k / self.knee_cycles
        if self.k_below is None:
            return np.where(above, damage, 0.0)
        return np.where(above, damage, np.where(above, 1.0, relative) ** self.k_below / self.knee_cycles)

    def damage(self, ranges: ArrayLike, counts: ArrayLike) -> float:
        """Miner sum Σ counts/N(ranges); 1 is failure by the hypothesis. Shapes equal."""
        n = np.asarray(counts, dtype=np.float64)
        if np.shape(ranges) != n.shape:
            raise AnalysisError(f"SNCurve: {np.shape(ranges)} ranges but {n.shape} counts")
        return float(np.sum(self.damage_per_cycle(ranges) * n))


def equivalent_range(ranges: ArrayLike, counts: ArrayLike, k: float, cycles: float) -> float:
    """Range that does, `cycles` times, the same damage as the spectrum on a straight S–N line of slope k.

    (Σ n_i·S_i^k / cycles)^(1/k), unit of `ranges`.
    """
    S, n = np.asarray(ranges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if cycles <= 0:
        raise AnalysisError(f"equivalent_range: cycles must be positive, not {cycles}")
    return float((np.sum(n * S**k) / cycles) ** (1.0 / k))


@dataclass(frozen=True, slots=True)
class Duty:
    """Result of `EquivalentLoad`.

    mean_torque: T_av, power mean of |torque| weighted with revolutions, N·m (NaN if nothing turned).
    mean_speed: n_av over all time, pauses included, in the unit of the speeds given.
    hours: all time, h; equivalent_hours: H_eq at rated torque and speed, h (NaN without ratings);
    revolutions: ∫|speed|dt in (unit of speed)·s.
    """

    mean_torque: float
    mean_speed: float
    hours: float
    equivalent_hours: float
    revolutions: float


class EquivalentLoad:
    """Streaming T_av, n_av and H_eq: `update(torque, speed, dt)`, `merge`, `result`.

    exponent p: 3 for the wave generator's ball bearing, 10/3 for roller bearings.
    rated_torque in N·m and rated_speed in the unit of the speeds give H_eq = Σ Δt·(n/n_N)·(|T|/T_N)^p.
    """

    def __init__(
        self, exponent: float, *, rated_torque: float | None = None, rated_speed: float | None = None
    ) -> None:
        if not exponent > 0:
            raise AnalysisError(f"EquivalentLoad: exponent must be positive, not {exponent}")
        for name, value in (("rated_torque", rated_torque), ("rated_speed", rated_speed)):
            if value is not None and not value > 0:
                raise AnalysisError(f"EquivalentLoad: {name} must be positive, not {value}")
        self.exponent, self.rated_torque, self.rated_speed = exponent, rated_torque, rated_speed
        self._time_s = self._turned = self._loaded = 0.0

    def update(self, torque: ArrayLike, speed: ArrayLike, dt_s: ArrayLike) -> None:
        """Samples or duty segments: torque (n,) N·m, speed (n,), dt_s scalar or (n,) s.

        A pause is a segment of speed 0. Raises NotFiniteError for NaN, AnalysisError for unequal shapes or
        a negative duration.
        """
        T, n = as_block(torque, "torque"), as_block(speed, "speed")
        dt = (
            np.broadcast_to(np.asarray(dt_s, dtype=np.float64), T.shape)
            if np.ndim(dt_s) == 0
            else as_block(dt_s)
        )
        if not len(T) == len(n) == len(dt):
            raise AnalysisError(f"EquivalentLoad: {len(T)} torques, {len(n)} speeds, {len(dt)} durations")
        for values, what in ((T, "torque"), (n, "speed"), (dt, "dt_s")):
            refuse_not_finite(values, 0, what)
        if len(dt) and dt.min() < 0:
            raise AnalysisError("EquivalentLoad: a duration is negative")
        turned = np.abs(n) * dt
        self._time_s += float(dt.sum())
        self._turned += float(turned.sum())
        self._loaded += float(np.dot(turned, np.abs(T) ** self.exponent))

    def merge(self, other: EquivalentLoad) -> None:
        mine = (self.exponent, self.rated_torque, self.rated_speed)
        if mine != (other.exponent, other.rated_torque, other.rated_speed):
            raise NotMergeableError("EquivalentLoad: different exponents or ratings")
        self._time_s += other._time_s
        self._turned += other._turned
        self._loaded += other._loaded

    def result(self) -> Duty:
        """Raises NotEnoughDataError if no time has passed."""
        if self._time_s == 0:
            raise NotEnoughDataError("EquivalentLoad: no time has passed")
        mean = (self._loaded / self._turned) ** (1.0 / self.exponent) if self._turned else float("nan")
        rated = float("nan")
        if self.rated_torque is not None and self.rated_speed is not None:
            rated = self._loaded / self.rated_speed / self.rated_torque**self.exponent / 3600.0
        return Duty(mean, self._turned / self._time_s, self._time_s / 3600.0, rated, self._turned)


def duty_cycle(
    torque: Sequence[float], speed: Sequence[float], duration_s: Sequence[float], exponent: float
) -> Duty:
    """One-call form of `EquivalentLoad` for the segments of a duty cycle (pauses: speed 0)."""
    load = EquivalentLoad(exponent)
    load.update(torque, speed, duration_s)
    return load.result()


def acceleration_factor(
    test_torque: float, use_torque: float, test_speed: float, use_speed: float, exponent: float
) -> float:
    """AF = (T_test/T_use)^p·(n_test/n_use): hours of use that one hour of test stands for."""
    if min(test_torque, use_torque, test_speed, use_speed) <= 0:
        raise AnalysisError("acceleration_factor: torques and speeds must be positive")
    return float((test_torque / use_torque) ** exponent * (test_speed / use_speed))


def rated_life_hours(
    catalogue_hours: float,
    rated_torque: float,
    mean_torque: float,
    rated_speed: float,
    mean_speed: float,
    exponent: float,
) -> float:
    """L = L_n·(n_N/n_av)·(T_N/T_av)^p, h: catalogue life at the mean torque and speed of a duty cycle."""
    if min(catalogue_hours, rated_torque, mean_torque, rated_speed, mean_speed) <= 0:
        raise AnalysisError("rated_life_hours: hours, torques and speeds must be positive")
    return float(catalogue_hours * (rated_speed / mean_speed) * (rated_torque / mean_torque) ** exponent)
