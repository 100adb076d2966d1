"""What a hysteresis loop is evaluated to; see `hysteresis` for the definitions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the standard deviation `u` its residuals give and the degrees of freedom behind it."""

    value: float
    u: float
    nu: float


@dataclass(frozen=True, slots=True)
class Stiffness:
    """Torsional stiffness of one segment [low, high] N·m: mean of both signs and each alone, N·m/rad."""

    low: float
    high: float
    mean: Estimate
    positive: Estimate
    negative: Estimate


@dataclass(frozen=True, slots=True)
class Loop:
    """The branches on a common torque grid: torque N·m, angles rad, arrays of shape (cells,)."""

    torque: Floats = field(repr=False)
    rising: Floats = field(repr=False)
    falling: Floats = field(repr=False)
    midline: Floats = field(repr=False)
    width: Floats = field(repr=False)


@dataclass(frozen=True, slots=True)
class HysteresisResult:
    """Angles rad, stiffness N·m/rad, W joule per loop.

    LM_mid at a loop run to ±4 % T_N is LM_HD. K, K_ba, phi_max and phi_min are empty or None when the loop
    does not reach T_N. closure: φ at the end of the loop minus φ at its start. noise: of one sample of
    φ(T).
    """

    p: float
    LM_mid: Estimate
    LM_outer: Estimate
    BL_0: Estimate
    K: tuple[Stiffness, ...]
    K_ba: Estimate | None
    phi_max: Estimate | None
    phi_min: Estimate | None
    W: Estimate
    closure: Estimate
    noise_rad: float
    loop: Loop
    torque_max: float
    torque_min: float
    rising_passes: int
    falling_passes: int
    samples: int
    unused_samples: int
