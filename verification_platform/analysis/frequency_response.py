"""Bandwidth and resonance from a frequency response, and responses from sine tests (SRV-BW, GB/T 16439).

Two ways lead to a response: H1 of a chirp or noise (`spectrum.CrossSpectrum`), and one sine after the other
(`sine_response`: least squares over whole records, so neither window nor integer periods are needed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError
from .spectrum import Complex

LEAST_COHERENCE = 0.9
_PLATEAU_BELOW = 5.0  # the plateau H_0 ends at this fraction of the bandwidth, or at a decade from the start


@dataclass(frozen=True, slots=True)
class BodeMetrics:
    """Characteristics of a frequency response; NaN where the data do not reach a crossing.

    f_3db_hz: first frequency at which |H/H_0| falls to −3 dB. f_90deg_hz: first one at which the phase falls to
    −90°. bandwidth_hz: the lower of the two. H_0: magnitude of the low-frequency plateau. peak_db, peak_hz: the
    largest |H/H_0|; above +3 dB it is a resonance to be reported. used: points with sufficient coherence.
    """

    f_3db_hz: float
    f_90deg_hz: float
    bandwidth_hz: float
    H_0: float
    peak_db: float
    peak_hz: float
    used: int


def bode_metrics(
    frequency_hz: ArrayLike,
    H: ArrayLike,
    coherence: ArrayLike | None = None,
    *,
    least_coherence: float = LEAST_COHERENCE,
) -> BodeMetrics:
    """Bandwidths of a response H (k,) at ascending frequencies (k,) > 0.

    Points of a coherence below `least_coherence`, or whose H is NaN, are left out; crossings are interpolated
    in log f. The plateau is the mean of |H| over the lowest decade, cut at a fifth of the −3 dB frequency.
    Raises NotEnoughDataError for fewer than 5 usable points, AnalysisError for frequencies that do not ascend.
    """
    f = as_block(frequency_hz, "frequency_hz")
    response: NDArray[np.complex128] = np.asarray(H, dtype=np.complex128)
    if response.shape != f.shape:
        raise AnalysisError(f"bode_metrics: {len(f)} frequencies, but responses of shape {response.shape}")
    if np.any(np.diff(f) <= 0):
        raise AnalysisError("bode_metrics: frequencies must ascend")
    usable = (f > 0) & np.isfinite(response)
    if coherence is not None:
        usable &= np.asarray(coherence, dtype=np.float64) >= least_coherence
    f, response = f[usable], response[usable]
    if len(f) < 5:
        raise NotEnoughDataError(f"bode_metrics: {len(f)} usable points")
    magnitude = np.abs(response)
    limit = 10.0 * f[0]
    for _ in range(8):
        H_0 = float(magnitude[f <= limit].mean())
        level = 20 * np.log10(magnitude / H_0)
        f_3dB = _falls_to(f, level, -3.0)
        shorter = min(limit, max(f_3dB / _PLATEAU_BELOW, f[0])) if math.isfinite(f_3dB) else limit
        if shorter == limit:
            break
        limit = shorter
    phase = np.degrees(np.unwrap(np.angle(response)))
    phase -= 360.0 * round(float(phase[0]) / 360.0)
    f_90 = _falls_to(f, phase, -90.0)
    at = int(np.argmax(level))
    return BodeMetrics(
        f_3db_hz=f_3dB,
        f_90deg_hz=f_90,
        bandwidth_hz=float(np.fmin(f_3dB, f_90)),
        H_0=H_0,
        peak_db=float(level[at]),
        peak_hz=float(f[at]),
        used=len(f),
    )


def sine_response(u: ArrayLike, y: ArrayLike, fs_hz: float, frequency_hz: float) -> complex:
    """Response y/u at one frequency from records (n,) of a stationary sine, by least squares.

    Offset and sine are fitted to both signals together. Raises NotEnoughDataError for less than two periods or
    fewer than 8 samples a record, AnalysisError for frequencies not below fs/2.
    """
    u_block, y_block = as_block(u, "u"), as_block(y, "y")
    if len(u_block) != len(y_block):
        raise AnalysisError(f"sine_response: {len(u_block)} samples of u, but {len(y_block)} of y")
    refuse_not_finite(u_block, 0, "u")
    refuse_not_finite(y_block, 0, "y")
    if not 0 < frequency_hz < fs_hz / 2:
        raise AnalysisError(f"sine_response: {frequency_hz} Hz does not lie between 0 and {fs_hz / 2} Hz")
    if len(u_block) < 8 or len(u_block) * frequency_hz / fs_hz < 2:
        raise NotEnoughDataError("sine_response: at least two periods and 8 samples are needed")
    angle = 2 * np.pi * frequency_hz / fs_hz * np.arange(len(u_block))
    basis = np.stack((np.cos(angle), np.sin(angle), np.ones(len(angle))), axis=1)
    fit, *_ = np.linalg.lstsq(basis, np.stack((u_block, y_block), axis=1), rcond=None)
    phasors = fit[0] - 1j * fit[1]
    if abs(phasors[0]) == 0:
        raise NotEnoughDataError(f"sine_response: the input does not move at {frequency_hz} Hz")
    return complex(phasors[1] / phasors[0])


def _falls_to(f: Float, values: Float, level: float) -> float:
    """First frequency at which values (k,) fall to `level`, linear in log f between points; NaN if never."""
    below = np.flatnonzero(values <= level)
    if not len(below):
        return math.nan
    k = int(below[0])
    if k == 0:
        return math.nan
    share = (values[k - 1] - level) / (values[k - 1] - values[k])
    return float(math.exp(math.log(f[k - 1]) + share * math.log(f[k] / f[k - 1])))


def second_order_response(frequency_hz: ArrayLike, natural_hz: float, damping: float) -> Complex:
    """H of ω_n²/(s² + 2ζω_n s + ω_n²) at frequencies (k,): the model a test compares with."""
    r = np.asarray(frequency_hz, dtype=np.float64) / natural_hz
    return np.asarray(1.0 / (1.0 - r**2 + 2j * damping * r), dtype=np.complex128)
