"""Welch spectra and responses."""

from __future__ import annotations

from typing import Any

import numpy as np

from verification_platform.analysis.spectrum import CrossSpectrum, cross_spectrum, power_spectrum

from .case import Case, Peer, row
from .runner import stream


@row("Welch, segments of 4096", 10_000_000)
def welch(n: int) -> Case:
    from scipy import signal

    x = np.random.default_rng(4).standard_normal(n) + 0.3
    spectrum = CrossSpectrum(1.0)
    segments = x[: n // 4096 * 4096].reshape(-1, 4096)
    out = np.empty((len(segments), 2049), dtype=complex)

    def limit() -> Any:
        """Every sample twice through the transform, as segments that overlap by half need it."""
        np.fft.rfft(segments, axis=1, out=out)
        return np.fft.rfft(segments, axis=1, out=out)

    def agrees(ours: Any, answers: dict[str, Any]) -> str:
        off = np.max(np.abs(ours.Pxx / answers["scipy.signal.welch"][1] - 1))
        assert off < 1e-10, off
        return f"to {off:.0e} in all bins"

    return Case(
        ours=lambda: power_spectrum(x, 1.0),
        peers={
            "scipy.signal.welch": Peer(lambda: signal.welch(x, nperseg=4096), 4.0),
            "rfft alone": Peer(limit, 0.6, "limit"),
        },
        agrees=agrees,
        stream=lambda: stream(spectrum.update, x),
    )


@row("H1 and coherence, one pass", 5_000_000)
def response(n: int) -> Case:
    from scipy import signal

    rng = np.random.default_rng(5)
    u = rng.standard_normal(n)
    y = np.convolve(u, [0.5, 0.3, 0.2])[:n] + 0.1 * rng.standard_normal(n)
    spectrum = CrossSpectrum(1.0)

    def by_scipy() -> Any:
        _, pxy = signal.csd(u, y, nperseg=4096)
        _, pxx = signal.welch(u, nperseg=4096)
        _, c = signal.coherence(u, y, nperseg=4096)
        return pxy / pxx, c

    def ours() -> Any:
        result = cross_spectrum(u, y, 1.0)
        return result.H1, result.coherence

    def agrees(mine: Any, answers: dict[str, Any]) -> str:
        H, c = answers["scipy.signal"]
        off = max(np.max(np.abs(mine[0] / H - 1)), np.max(np.abs(mine[1] / c - 1)))
        assert off < 1e-8, off
        return f"to {off:.0e} in all bins"

    return Case(
        ours=ours,
        peers={"scipy.signal": Peer(by_scipy, 12.0)},
        agrees=agrees,
        stream=lambda: stream(lambda block: spectrum.update(block, y), u),
    )
