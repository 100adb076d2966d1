"""Spectrum of a vibration signal's envelope in a band: the classical way to see a damaged rolling bearing.

A defect rings a resonance once per pass. The band around the resonance is cut out, its envelope taken, and the
envelope's spectrum shows the pass frequency and its multiples. R. B. Randall, J. Antoni, "Rolling element bearing
diagnostics — A tutorial", Mech. Syst. Signal Process. 25 (2011) 485–520.

Band-pass, Hilbert transform and decimation are one step: overlapping blocks are transformed, the band's lines alone
are transformed back as a complex signal at the rate the band needs, and its magnitude is the envelope. The band has
raised-cosine edges, which bounds the filter's ringing to the part of a block that is thrown away. Several blocks are
transformed in one call, because numpy computes the factors of an FFT anew in each.

>>> t = np.arange(200_000) / 20e3
>>> x = (1 + 0.5 * np.cos(2 * np.pi * 90 * t)) * np.cos(2 * np.pi * 5000 * t)
>>> s = envelope_spectrum(x, 20e3, (4000, 6000), resolution_hz=1.0)
>>> round(float(s.frequency_hz[s.amplitude.argmax()]), 1), round(float(s.amplitude.max()), 2)
(90.0, 0.5)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float as Floats
from .blocks import as_block, refuse_not_finite
from .errors import AnalysisError
from .samples import CoverageError

_BLOCK = 8192
#: Samples transformed in one call.
_TOGETHER = 98304


@dataclass(frozen=True, slots=True)
class EnvelopeSpectrumResult:
    """Single-sided amplitude spectrum of the envelope, mean removed: frequency Hz, amplitude in the signal's unit.

    rms and mean of the envelope; averages: windows averaged; rate_hz: of the envelope.
    """

    frequency_hz: Floats = field(repr=False)
    amplitude: Floats = field(repr=False)
    mean: float
    rms: float
    averages: int
    rate_hz: float
    samples: int

    def peak(self, near_hz: float, within: float = 0.02) -> tuple[float, float]:
        """(frequency Hz, amplitude) of the highest line within ±`within` (fraction) of a frequency."""
        reach = max(within * near_hz, self.frequency_hz[1])
        low, high = np.searchsorted(self.frequency_hz, (near_hz - reach, near_hz + reach))
        if low >= high:
            raise CoverageError(
                f"the spectrum ends at {self.frequency_hz[-1]:.4g} Hz, {near_hz:.4g} Hz lies beyond"
            )
        at = low + int(self.amplitude[low:high].argmax())
        return float(self.frequency_hz[at]), float(self.amplitude[at])

    def prominence(self, near_hz: float, within: float = 0.02) -> float:
        """Peak near a frequency over the median of the lines around it (± a quarter of the frequency)."""
        _, amplitude = self.peak(near_hz, within)
        low, high = np.searchsorted(self.frequency_hz, (0.75 * near_hz, 1.25 * near_hz))
        return amplitude / float(np.median(self.amplitude[low:high]))


def _fast_length(least: float) -> int:
    """Smallest even number ≥ `least` without a prime factor above 5: its FFT is fast."""
    length = max(2 * math.ceil(least / 2), 2)
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2


def _fast_ratio(largest: float) -> int:
    """Largest 2^a or 3·2^a not above `largest`, at least 1: such blocks transform fastest."""
    power = 1 << max(math.floor(math.log2(max(largest, 1.0))), 0)
    return 3 * power // 2 if power > 1 and 1.5 * power <= largest else power


class BandEnvelope:
    """Envelope of the band (low, high) Hz of a stream, decimated, block by block.

    rate_hz of the input, band within (0, rate/2), transition: width of the raised-cosine edges outside the band, Hz
    (default a tenth of the band's width). `output_rate_hz` is at least the width of the band with its edges.
    The signal is taken as zero before its first and behind its last sample.
    """

    def __init__(
        self, rate_hz: float, band_hz: tuple[float, float], transition_hz: float | None = None
    ) -> None:
        low, high = band_hz
        if not (0 < low < high < rate_hz / 2):
            raise AnalysisError(f"the band must lie within 0 … {rate_hz / 2:g} Hz, got {low:g} … {high:g} Hz")
        edge = 0.1 * (high - low) if transition_hz is None else transition_hz
        edge = min(edge, 0.9 * low, 0.9 * (rate_hz / 2 - high))
        # of the impulse response of a raised-cosine edge, 2.5e-4 (rms) lies beyond four times 1/edge
        halo = math.ceil(4 * rate_hz / edge)
        if halo > 1 << 18:
            raise AnalysisError(
                f"edges of {edge:g} Hz are too steep for {rate_hz:g} Hz sampling; widen the band"
            )
        # one output sample for `ratio` input samples; the transform back has a little room to spare
        ratio = _fast_ratio(rate_hz / (1.02 * (high - low + 2 * edge)))
        short = 1 << math.ceil(math.log2(max(_BLOCK, 8 * halo) / ratio))
        size = short * ratio
        df = rate_hz / size
        first, last = math.floor((low - edge) / df), math.ceil((high + edge) / df)
        self._short, self._step_ratio = short, ratio
        # the part thrown away on either side is a whole number of output samples
        self._halo = math.ceil(halo / ratio) * ratio
        self._lines = slice(first, last + 1)
        f = np.arange(first, last + 1) * df
        rise = np.clip((f - (low - edge)) / edge, 0, 1)
        fall = np.clip(((high + edge) - f) / edge, 0, 1)
        self._weight = 2.0 * (self._short / size) * (0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall)))
        self.output_rate_hz = rate_hz / ratio
        rows, hop = max(_TOGETHER // size, 1), size - 2 * self._halo
        self._buffer = np.zeros(2 * self._halo + rows * hop)
        self._blocks = np.lib.stride_tricks.sliding_window_view(self._buffer, size)[::hop]
        self._filled = self._halo
        self._lines_of = np.empty((rows, size // 2 + 1), dtype=np.complex128)
        self._band = np.zeros((rows, short), dtype=np.complex128)
        self._signal = np.empty((rows, short), dtype=np.complex128)
        self.samples = 0

    def update(self, x: ArrayLike) -> Floats:
        """Add samples, shape (n,); returns the envelope values that are final, shape (m,). Raises NotFiniteError."""
        block = as_block(x)
        room = self._buffer.size - 2 * self._halo
        times = max(self._filled + block.size - 2 * self._halo, 0) // room
        out = np.empty((times, room // self._step_ratio))
        start = 0
        for values in out:
            take = self._buffer.size - self._filled
            self._fill(block[start : start + take])
            start += take
            self._transform(values)
        self._fill(block[start:])
        return out.ravel()

    def _fill(self, part: Floats) -> None:
        end = self._filled + part.size
        self._buffer[self._filled : end] = part
        with np.errstate(over="ignore", invalid="ignore"):
            refuse_not_finite(self._buffer[self._filled : end], self.samples, "signal")
        self._filled = end
        self.samples += part.size

    def _transform(self, out: Floats) -> None:
        """The envelope of a full buffer into out, and room for what follows."""
        np.fft.rfft(self._blocks, axis=1, out=self._lines_of)
        np.multiply(self._lines_of[:, self._lines], self._weight, out=self._band[:, : self._weight.size])
        np.fft.ifft(self._band, axis=1, out=self._signal)
        drop = self._halo // self._step_ratio
        np.abs(self._signal[:, drop : self._short - drop], out=out.reshape(self._signal.shape[0], -1))
        self._filled = 2 * self._halo
        self._buffer[: self._filled] = self._buffer[-self._filled :]

    def finish(self) -> Floats:
        """The envelope of what is left in the buffer; the stream ends here."""
        wanted = -(-(self._filled - self._halo) // self._step_ratio)
        values = np.empty((self._buffer.size - 2 * self._halo) // self._step_ratio)
        out = []
        while wanted > 0:
            self._buffer[self._filled :] = 0.0
            self._transform(values)
            out.append(values[:wanted].copy())
            wanted -= values.size
        return np.concatenate(out) if out else np.empty(0)


class EnvelopeSpectrum:
    """Averaged amplitude spectrum of a band's envelope, in a single pass and bounded memory.

    resolution_hz: largest distance of the lines; the stream is cut into Hann windows of 1/resolution that overlap by half.
    Pieces of a recording that do not touch may be merged: windows never cross from one to another.
    """

    def __init__(
        self,
        rate_hz: float,
        band_hz: tuple[float, float],
        resolution_hz: float = 1.0,
        transition_hz: float | None = None,
    ) -> None:
        self.settings = (rate_hz, band_hz, resolution_hz, transition_hz)
        self._envelope = BandEnvelope(rate_hz, band_hz, transition_hz)
        rate = self._envelope.output_rate_hz
        self._length = _fast_length(rate / resolution_hz)
        if self._length < 16:
            raise AnalysisError(
                f"a resolution of {resolution_hz:g} Hz is too coarse for a band of this width"
            )
        self._window = np.hanning(self._length + 1)[:-1]
        self._power = np.zeros(self._length // 2 + 1)
        self._windows = 0
        self._held = np.empty(0)
        self._sum = self._square = 0.0
        self._count = 0
        self._finished = False

    def update(self, x: ArrayLike) -> None:
        """Add samples in any unit, shape (n,), in order of time. Raises NotFiniteError."""
        if self._finished:
            raise AnalysisError("this spectrum is finished; start another one and merge")
        self._take(self._envelope.update(x))

    def _take(self, envelope: Floats) -> None:
        self._sum += float(envelope.sum())
        self._square += float(np.add.reduce(envelope * envelope))
        self._count += envelope.size
        held = np.concatenate((self._held, envelope))
        half = self._length // 2
        used = 0
        while held.size - used >= self._length:
            part = held[used : used + self._length]
            line = np.fft.rfft((part - part.mean()) * self._window)
            self._power += line.real**2 + line.imag**2
            self._windows += 1
            used += half
        self._held = held[used:]

    def finish(self) -> None:
        """The stream ends: take in the envelope of the last samples. Called by `merge` and `result`."""
        if not self._finished:
            self._take(self._envelope.finish())
            self._finished = True

    def merge(self, other: EnvelopeSpectrum) -> None:
        """Add the windows of another piece. Raises AnalysisError for other settings."""
        if self.settings != other.settings:
            raise AnalysisError("envelope spectra of different bands or resolutions do not merge")
        self.finish()
        other.finish()
        self._power += other._power
        self._windows += other._windows
        self._sum += other._sum
        self._square += other._square
        self._count += other._count
        self._envelope.samples += other._envelope.samples

    def result(self) -> EnvelopeSpectrumResult:
        """The averaged spectrum. Raises CoverageError when not one window was filled."""
        self.finish()
        if self._windows == 0:
            raise CoverageError(
                f"the signal is shorter than one window of {self._length / self._envelope.output_rate_hz:.3g} s;"
                " use a coarser resolution"
            )
        amplitude = np.sqrt(self._power / self._windows) * (2 / self._window.sum())
        rate = self._envelope.output_rate_hz
        return EnvelopeSpectrumResult(
            frequency_hz=np.arange(amplitude.size) * (rate / self._length),
            amplitude=amplitude,
            mean=self._sum / self._count,
            rms=math.sqrt(self._square / self._count),
            averages=self._windows,
            rate_hz=rate,
            samples=self._envelope.samples,
        )


def envelope_spectrum(
    x: ArrayLike,
    rate_hz: float,
    band_hz: tuple[float, float],
    resolution_hz: float = 1.0,
    transition_hz: float | None = None,
) -> EnvelopeSpectrumResult:
    """`EnvelopeSpectrum` of a signal in memory, shape (n,): band and resolution in Hz."""
    spectrum = EnvelopeSpectrum(rate_hz, band_hz, resolution_hz, transition_hz)
    spectrum.update(x)
    return spectrum.result()
