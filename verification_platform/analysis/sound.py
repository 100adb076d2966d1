"""Sound pressure and power levels, vibration velocity.

GB/T 6404.1, ISO 3744/3746 (sound); GB/T 6404.2 (vibration); protocol specification RED-NV.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .blocks import as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError

#: Least distance of the level from the background, dB.
LEAST_ABOVE_BACKGROUND_DB = 6.0


def mean_level(levels_db: ArrayLike) -> float:
    """Energy mean of levels, shape (n,): 10·lg(1/N·Σ 10^(L/10)), dB."""
    levels = as_block(levels_db, "levels")
    refuse_not_finite(levels, 0, "levels")
    if levels.size == 0:
        raise NotEnoughDataError("no levels")
    # relative to the loudest: no overflow, whatever the reference
    top = float(levels.max())
    return top + 10 * math.log10(float(np.mean(10 ** (0.1 * (levels - top)))))


def background_correction(above_background_db: float) -> float:
    """K_1 = −10·lg(1 − 10^(−ΔL/10)), dB, to be subtracted; ΔL: measured level less background.

    Raises AnalysisError below 6 dB, where the machine cannot be heard over the room (ISO 3744).
    """
    if above_background_db < LEAST_ABOVE_BACKGROUND_DB:
        raise AnalysisError(f"only {above_background_db:.3g} dB above the background: 6 dB are needed")
    return -10 * math.log10(1 - 10 ** (-0.1 * above_background_db))


def surface_level(levels_db: ArrayLike, background_db: float | None = None, K_2: float = 0.0) -> float:
    """L̄_p = mean level − K_1 − K_2, dB; background: mean level with the machine off, None if none is heard;
    K_2: correction for the room, dB. Raises AnalysisError as `background_correction`.
    """
    level = mean_level(levels_db)
    k_1 = 0.0 if background_db is None else background_correction(level - background_db)
    return level - k_1 - K_2


def sound_power_level(surface_level_db: float, surface_m2: float) -> float:
    """L_W = L̄_p + 10·lg(S/1 m²), dB re 1 pW. Raises AnalysisError for a surface that is not positive."""
    if not surface_m2 > 0:
        raise AnalysisError(f"the measuring surface must be positive, got {surface_m2} m²")
    return surface_level_db + 10 * math.log10(surface_m2)


def vibration_velocity(
    acceleration_m_s2: ArrayLike, rate_hz: float, band_hz: tuple[float, float] = (10.0, 1000.0)
) -> float:
    """v_rms, m/s, in a band, from acceleration (n,), m/s²: the spectrum divided by ω.

    Averaged over Hann windows of 1 s (four periods of a lower band edge below 4 Hz) that overlap by half; a
    line at either edge counts with half its power. Raises NotEnoughDataError for less than a window,
    AnalysisError for a band beyond rate/2.56.
    """
    a = as_block(acceleration_m_s2, "acceleration")
    refuse_not_finite(a, 0, "acceleration")
    low, high = band_hz
    if not 0 < low < high <= rate_hz / 2.56:
        raise AnalysisError(f"a band of {low} … {high} Hz needs 0 < low < high ≤ {rate_hz / 2.56:.6g} Hz")
    length = round(rate_hz * max(1.0, 4 / low))
    if len(a) < length:
        raise NotEnoughDataError(
            f"{len(a) / rate_hz:.3g} s of acceleration: {length / rate_hz:.3g} s are needed"
        )
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    step = rate_hz / length
    frequency = np.arange(length // 2 + 1) * step
    # the share of each line's cell, one step wide, that lies in the band
    share = np.clip(
        (np.minimum(frequency + step / 2, high) - np.maximum(frequency - step / 2, low)) / step, 0, 1
    )
    weight = share / np.maximum(2 * np.pi * frequency, step) ** 2
    starts = range(0, len(a) - length + 1, max(1, length // 2))
    total = 0.0
    for start in starts:
        piece = a[start : start + length]
        spectrum = np.fft.rfft((piece - piece.mean()) * window)
        total += float(np.dot(weight, spectrum.real**2 + spectrum.imag**2))
    return math.sqrt(2 * total / len(starts) / (length * float(np.dot(window, window))))
