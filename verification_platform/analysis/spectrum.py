"""Power and cross spectral densities by Welch's method, H1, H2 and coherence: one pass, mergeable.

    spectrum = CrossSpectrum(fs_hz=10_000.0)
    for u, y in recording: spectrum.update(u, y)
    result = spectrum.result(); H = result.H1; usable = result.coherence > 0.9

P. D. Welch, IEEE Trans. Audio Electroacoust. 15 (1967); estimators H1, H2 and coherence: J. S. Bendat and
A. G. Piersol, Random Data, chapter 6. Segments of n samples overlap by half and begin at multiples of the hop
counted from the beginning of the recording, so pieces of it fit together and any partition gives the segments
of one pass. A batch of segments is transformed at a time; the transform of a segment is used for all spectra.

Densities are one-sided, in unit²/Hz. Each segment loses its mean (detrend), as is usual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import Float, as_block, buffers, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError

Window = Literal["hann", "rectangular", "flattop"]
Complex = NDArray[np.complex128]

# Samples transformed at a time. A call works the twiddle factors out anew, which takes as long as two segments:
# the more segments share them the better, as long as windowed samples and transforms stay in the cache.
_BATCH = 131072
_BATCHES = 4  # batches between two looks for NaN
_COSINES: dict[str, tuple[float, ...]] = {
    "rectangular": (1.0,),
    "hann": (0.5, 0.5),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}


@dataclass(frozen=True, slots=True)
class SpectrumResult:
    """Spectra at frequency_hz (k,) = 0 … fs/2, means over `segments` segments.

    Pxx, Pyy: one-sided power spectral densities, unit²/Hz. Pxy: cross-spectral density, conj(X)·Y; None for a
    single signal. averages: equivalent number of independent segments. resolution_hz: noise bandwidth of the
    window.
    """

    frequency_hz: Float
    Pxx: Float
    Pyy: Float | None
    Pxy: Complex | None
    segments: int
    averages: float
    resolution_hz: float

    @property
    def H1(self) -> Complex:  # noqa: N802 the estimator's name
        """Response Pxy/Pxx (k,): unbiased by noise on the output."""
        _, cross = self._pair()
        return _ratio(cross, self.Pxx)

    @property
    def H2(self) -> Complex:  # noqa: N802
        """Response Pyy/Pyx (k,): unbiased by noise on the input."""
        output, cross = self._pair()
        return _ratio(output, np.conj(cross))

    @property
    def coherence(self) -> Float:
        """γ² (k,) in 0 … 1; 1 with a single segment, whatever the signals."""
        output, cross = self._pair()
        return np.abs(_ratio(np.abs(cross) ** 2, self.Pxx * output))

    @property
    def relative_std(self) -> float:
        """Standard deviation of Pxx over its value, 1/√averages."""
        return 1.0 / math.sqrt(self.averages)

    def response_relative_std(self) -> Float:
        """Standard deviation of |H1| over |H1|, and of its phase in rad (k,): √((1−γ²)/(2·γ²·averages))."""
        g = np.clip(self.coherence, 1e-12, 1.0)
        return np.sqrt((1.0 - g) / (2.0 * g * self.averages))

    def _pair(self) -> tuple[Float, Complex]:
        if self.Pyy is None or self.Pxy is None:
            raise AnalysisError("spectrum: a response needs two signals")
        return self.Pyy, self.Pxy


class CrossSpectrum:
    """Accumulator: `update(x)` or `update(x, y)`, `merge(later)`, `result()`.

    fs_hz: sampling rate. segment: samples a segment (even). start: number of samples of the recording in front
    of the first one given here; pieces that are to be merged must say where they begin.
    """

    def __init__(
        self,
        fs_hz: float,
        segment: int = 4096,
        *,
        window: Window = "hann",
        overlap: float = 0.5,
        detrend: bool = True,
        start: int = 0,
    ) -> None:
        if not (math.isfinite(fs_hz) and fs_hz > 0):
            raise AnalysisError(f"spectrum: the sampling rate must be positive, not {fs_hz}")
        if segment < 8 or segment % 2:
            raise AnalysisError(
                f"spectrum: a segment has an even number of samples, 8 or more, not {segment}"
            )
        if window not in _COSINES:
            raise AnalysisError(f"spectrum: {window!r} is none of {', '.join(_COSINES)}")
        if not 0 <= overlap < 1:
            raise AnalysisError(f"spectrum: overlap must lie in 0 … 1, not {overlap}")
        self.fs_hz, self.segment, self.window, self.detrend, self.start = (
            fs_hz,
            segment,
            window,
            detrend,
            start,
        )
        self.hop = max(1, round(segment * (1 - overlap)))
        self.n = 0
        self.segments = 0
        self._w = cosine_window(window, segment)
        self._w_low: Complex = np.fft.rfft(self._w)[: len(_COSINES[window])]  # its other bins are zero
        self._averaging = np.full(self.hop, 1.0 / segment)
        self._next = -(-start // self.hop) * self.hop  # sample at which the next segment begins
        self._head: list[Float] = []  # the first segment + hop samples of each signal
        self._pending: list[Float] = []  # samples from `_next` on, or from `start` before the first segment
        self._squares: list[Float] = []  # sums of squares of real and imaginary parts, of x and of y
        self._cross: Complex = np.zeros(segment // 2 + 1, dtype=np.complex128)
        self._batch = max(1, _BATCH // segment)  # segments transformed at a time
        self._spectra: list[Complex] = []
        self._work: Float = np.empty((0, segment))

    def update(self, x: ArrayLike, y: ArrayLike | None = None) -> None:
        """Samples (n,) that follow the ones before without a gap; always one signal or always two.

        Raises NotFiniteError for NaN or infinity, AnalysisError for unequal lengths.
        """
        signals = [as_block(x, "x")] if y is None else [as_block(x, "x"), as_block(y, "y")]
        if len({len(signal) for signal in signals}) > 1:
            raise AnalysisError(f"spectrum: {len(signals[0])} samples of x, but {len(signals[1])} of y")
        if self._pending and len(self._pending) != len(signals):
            raise AnalysisError(f"spectrum: {len(signals)} signals after {len(self._pending)}")
        if not self._pending:
            self._pending = [np.empty(0) for _ in signals]
            self._head = [np.empty(0) for _ in signals]
            self._squares = [np.zeros(self.segment + 2) for _ in signals]
        step = max(_BATCHES * self._batch * self.hop, self.segment + self.hop)
        for begin in range(0, len(signals[0]), step):
            end = min(begin + step, len(signals[0]))
            for signal, name in zip(signals, "xy", strict=False):
                refuse_not_finite(signal[begin:end], self.n, name)
            self._feed([signal[:end] for signal in signals], begin)

    def merge(self, later: CrossSpectrum) -> None:
        """Append the piece of recording that follows this one without a gap. `later` is left as it was.

        Raises NotMergeableError for other settings, or if `later` does not begin where this one ends.
        """
        if self._settings() != later._settings():
            raise NotMergeableError("spectrum: different settings")
        if later.n == 0:
            return
        if self.n == 0:
            self.start, self._next = later.start, -(-later.start // self.hop) * self.hop
        elif later.start != self.start + self.n:
            raise NotMergeableError(f"spectrum: sample {self.start + self.n} is followed by {later.start}")
        elif len(self._pending) != len(later._pending):
            raise NotMergeableError("spectrum: one signal and two signals")
        if later.segments == 0:
            self.update(*later._pending)
            return
        own_next = later._next - later.segments * later.hop  # where the first segment of `later` begins
        missing = own_next - self.hop + self.segment - later.start
        if self.n == 0:
            self.update(*(head[:0] for head in later._head))
        self.update(*(head[: max(missing, 0)] for head in later._head))
        self.n += later.n - max(missing, 0)
        self._head = [
            np.concatenate((mine, theirs[max(missing, 0) :]))[: self.segment + self.hop]
            for mine, theirs in zip(self._head, later._head, strict=True)
        ]
        self._pending = [pending.copy() for pending in later._pending]
        self._next = later._next
        self.segments += later.segments
        for mine, theirs in zip(self._squares, later._squares, strict=True):
            mine += theirs
        self._cross += later._cross

    def result(self) -> SpectrumResult:
        """Raises NotEnoughDataError before the first whole segment."""
        if self.segments == 0:
            raise NotEnoughDataError(f"spectrum: {self.n} samples hold no segment of {self.segment}")
        scale = np.full(self.segment // 2 + 1, 2.0)
        scale[0] = scale[-1] = 1.0
        power = float(np.dot(self._w, self._w))
        scale /= self.fs_hz * power * self.segments
        densities = [(squares[0::2] + squares[1::2]) * scale for squares in self._squares]
        two = len(densities) == 2
        return SpectrumResult(
            frequency_hz=np.arange(self.segment // 2 + 1, dtype=np.float64) * (self.fs_hz / self.segment),
            Pxx=densities[0],
            Pyy=densities[1] if two else None,
            Pxy=self._cross * scale if two else None,
            segments=self.segments,
            averages=self._averages(),
            resolution_hz=self.fs_hz * power / float(self._w.sum()) ** 2,
        )

    def _averages(self) -> float:
        """Equivalent independent segments (Welch 1967): overlapping ones share samples."""
        shared, power = 0.0, float(np.dot(self._w, self._w))
        for k in range(1, min(self.segments, -(-self.segment // self.hop))):
            common = float(np.dot(self._w[: -k * self.hop], self._w[k * self.hop :])) / power
            shared += 2 * (1 - k / self.segments) * common**2
        return self.segments / (1 + shared)

    def _settings(self) -> tuple[object, ...]:
        return self.fs_hz, self.segment, self.hop, self.window, self.detrend

    def _feed(self, signals: list[Float], begin: int) -> None:
        """Go on from sample `begin` of a block to its end; the calls before have fed what is in front."""
        if len(self._head[0]) < self.segment + self.hop:
            missing = self.segment + self.hop - len(self._head[0])
            self._head = [np.append(h, s[begin:][:missing]) for h, s in zip(self._head, signals, strict=True)]
        first, length = self.start + self.n - begin, len(signals[0])  # the block begins at sample `first`
        self.n += length - begin
        if begin == 0 and not self._feed_across(signals, first):
            return
        skip = self._next - first
        self._transform([s[skip:] for s in signals], (length - skip - self.segment) // self.hop + 1)
        if self.segments:
            self._pending = [s[self._next - first :].copy() for s in signals]
        else:
            self._pending = [np.append(w, s) for w, s in zip(self._pending, signals, strict=True)]

    def _feed_across(self, signals: list[Float], first: int) -> bool:
        """Transform the segments that begin before a block, whose first sample is number `first`: samples that
        wait joined with as much of the block as they need. Whether the block was long enough to end them all.
        """
        waiting = len(self._pending[0])
        skip = self._next - (first - waiting)
        joined = [np.append(w, s[: self.segment]) for w, s in zip(self._pending, signals, strict=True)]
        before = max(0, -(-(first - self._next) // self.hop))
        fits = (len(joined[0]) - skip - self.segment) // self.hop + 1
        count = max(0, min(before, fits))
        self._transform([s[skip:] for s in joined], count)
        if count < before:
            keep = skip + count * self.hop if self.segments else 0
            self._pending = [np.append(w, s)[keep:] for w, s in zip(self._pending, signals, strict=True)]
        return count == before

    def _transform(self, signals: list[Float], count: int) -> None:
        """Add the spectra of the first `count` segments of the signals."""
        if count <= 0:
            return
        if not self._spectra:
            bins = self.segment // 2 + 1
            *rooms, work = buffers(len(signals) + 1, self._batch * 2 * bins)
            self._spectra = [room.view(np.complex128).reshape(self._batch, bins) for room in rooms]
            self._work = work[: self._batch * self.segment].reshape(self._batch, self.segment)
        segments = [self._overlapping(signal, count) for signal in signals]
        means = [self._means(signal, count) for signal in signals] if self.detrend else []
        for first in range(0, count, self._batch):
            batch = slice(first, min(first + self._batch, count))
            rows = batch.stop - first
            for k, spectra in enumerate(self._spectra):
                work = np.multiply(segments[k][batch], self._w, out=self._work[:rows])
                spectrum = np.fft.rfft(work, axis=1, out=spectra[:rows])
                if self.detrend:
                    # Of a window that is a sum of cosines, few bins are not zero: only those hold the mean.
                    low = spectrum[:, : len(self._w_low)]
                    np.subtract(low, means[k][batch] * self._w_low, out=low)
                parts = spectrum.view(np.float64)
                self._squares[k] += np.einsum("kf,kf->f", parts, parts)
            if len(signals) == 2:
                product = np.conjugate(self._spectra[0][:rows], out=self._spectra[0][:rows])
                product *= self._spectra[1][:rows]
                self._cross += np.add.reduce(product, axis=0)
        self.segments += count
        self._next += count * self.hop

    def _overlapping(self, signal: Float, count: int) -> Float:
        """The first `count` segments of a signal as rows of a view."""
        (step,) = signal.strides
        return np.lib.stride_tricks.as_strided(
            signal, (count, self.segment), (self.hop * step, step), writeable=False
        )

    def _means(self, signal: Float, count: int) -> Float:
        """Means (count, 1) of the first segments; every sample is added up once if the hop divides the segment."""
        hops = self.segment // self.hop
        if hops * self.hop != self.segment:
            return np.asarray(self._overlapping(signal, count).mean(axis=1, keepdims=True))
        # A product with ones / segment: np.add.reduce along rows takes three times as long.
        parts = np.dot(signal[: (count - 1 + hops) * self.hop].reshape(-1, self.hop), self._averaging)
        return np.asarray(sum(parts[k : k + count] for k in range(hops)))[:, None]


def cosine_window(name: Window, n: int) -> Float:
    """Periodic window (n,) as a sum of cosines: hann, flattop (ISO 18431-2) or rectangular."""
    phase = 2 * np.pi * np.arange(n) / n
    terms = _COSINES[name]
    return np.asarray(sum((-1) ** k * a * np.cos(k * phase) for k, a in enumerate(terms)))


def power_spectrum(
    samples: ArrayLike, fs_hz: float, segment: int = 4096, window: Window = "hann"
) -> SpectrumResult:
    """One-call form for one signal (n,)."""
    spectrum = CrossSpectrum(fs_hz, segment, window=window)
    spectrum.update(samples)
    return spectrum.result()


def cross_spectrum(
    x: ArrayLike, y: ArrayLike, fs_hz: float, segment: int = 4096, window: Window = "hann"
) -> SpectrumResult:
    """One-call form for an input x (n,) and an output y (n,)."""
    spectrum = CrossSpectrum(fs_hz, segment, window=window)
    spectrum.update(x, y)
    return spectrum.result()


def _ratio(a: NDArray[np.generic], b: NDArray[np.generic]) -> Complex:
    """a/b, NaN where b is 0: a bin without power has no response."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.asarray(a) / np.asarray(b)
    quotient[np.asarray(b) == 0] = np.nan
    return np.asarray(quotient, dtype=np.complex128)
