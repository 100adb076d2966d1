"""Welch's method, H1, H2 and coherence against scipy; any partition gives one pass."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from verification_platform.analysis import spectrum as spectrum_module
from verification_platform.analysis.errors import (
    AnalysisError,
    NotEnoughDataError,
    NotFiniteError,
    NotMergeableError,
)
from verification_platform.analysis.spectrum import (
    CrossSpectrum,
    cosine_window,
    cross_spectrum,
    power_spectrum,
)

from .merging import merged_neighbours


def test_against_scipy() -> None:
    rng = np.random.default_rng(1)
    for case in range(1000):
        segment = int(2 ** rng.integers(3, 9))
        n = segment + int(rng.integers(0, 5 * segment))
        fs = 10 ** rng.uniform(0, 4)
        x = rng.standard_normal(n) + 3
        y = np.convolve(x, [0.5, 0.3, 0.1])[:n] + 0.3 * rng.standard_normal(n)
        overlap, detrend = (0.5, 0.0, 0.75, 0.6)[case % 4], case % 3 > 0
        mine = CrossSpectrum(fs, segment, overlap=overlap, detrend=detrend)
        mine.update(x, y)
        got = mine.result()
        keywords = {
            "fs": fs,
            "window": "hann",
            "nperseg": segment,
            "noverlap": segment - mine.hop,
            "detrend": "constant" if detrend else False,
        }
        f, pxx = signal.welch(x, **keywords)
        _, pxy = signal.csd(x, y, **keywords)
        _, c = signal.coherence(x, y, **keywords)
        np.testing.assert_allclose(got.frequency_hz, f, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.Pxx, pxx, rtol=1e-9, atol=1e-12 * pxx.max())
        np.testing.assert_allclose(got.Pxy, pxy, rtol=1e-9, atol=1e-12 * np.abs(pxy).max())
        inner = slice(2, -1)
        np.testing.assert_allclose(got.coherence[inner], c[inner], rtol=1e-7)
        np.testing.assert_allclose(got.H1[inner], pxy[inner] / pxx[inner], rtol=1e-7)


@pytest.mark.parametrize("batch", [1, 200, spectrum_module._BATCH])
@pytest.mark.parametrize("two", [False, True])
def test_any_partition_and_merge_tree(two: bool, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    for case in range(300):
        n = int(rng.integers(64, 1500))
        x, y = rng.standard_normal((2, n))
        offset = int(rng.integers(0, 100)) if case % 2 else 0
        signals = (x, y) if two else (x,)

        def new(start: int) -> CrossSpectrum:
            return CrossSpectrum(1.0, 64, overlap=(0.5, 0.75, 0.0)[case % 3], start=start)  # noqa: B023

        whole = new(offset)
        whole.update(*signals)
        monkeypatch.setattr(spectrum_module, "_BATCH", batch)
        cuts = np.sort(rng.integers(0, n + 1, 5))
        parts = []
        for begin, end in zip([0, *cuts], [*cuts, n], strict=True):
            part = new(offset + int(begin))
            middle = (begin + end) // 2
            part.update(*(s[begin:middle] for s in signals))
            part.update(*(s[middle:end] for s in signals))
            parts.append(part)
        joined = merged_neighbours(parts, rng)
        assert joined.segments == whole.segments
        assert joined.n == n
        monkeypatch.undo()
        if whole.segments == 0:
            continue
        one, other = whole.result(), joined.result()
        np.testing.assert_allclose(one.Pxx, other.Pxx, rtol=1e-11, atol=1e-14 * one.Pxx.max())
        if two:
            np.testing.assert_allclose(one.Pxy, other.Pxy, rtol=1e-9, atol=1e-12 * np.abs(one.Pxy).max())


def test_power_of_a_sine_and_of_noise() -> None:
    rng = np.random.default_rng(3)
    fs, n = 1000.0, 200_000
    t = np.arange(n) / fs
    x = 3.0 * np.sin(2 * np.pi * 100.0 * t) + 0.1 * rng.standard_normal(n)
    got = power_spectrum(x, fs, 1000)
    df = got.frequency_hz[1]
    assert got.Pxx.sum() * df == pytest.approx(9 / 2 + 0.01, rel=1e-3)
    assert np.median(got.Pxx[300:]) == pytest.approx(2 * 0.01 / fs, rel=0.02)
    assert got.resolution_hz == pytest.approx(1.5 * df)
    spread = np.std(got.Pxx[200:-1]) / np.mean(got.Pxx[200:-1])
    assert spread == pytest.approx(got.relative_std, rel=0.15)


def test_flattop_reads_amplitudes_between_bins() -> None:
    n = 4096
    x = 2.0 * np.sin(2 * np.pi * (100.47 / n) * np.arange(20 * n))
    got = power_spectrum(x, 1.0, n, "flattop")
    assert np.sqrt(2 * got.Pxx.max() * got.resolution_hz) == pytest.approx(2.0, rel=1e-3)
    assert cosine_window("hann", 4).tolist() == pytest.approx([0, 0.5, 1, 0.5])


def test_H1_and_H2_bracket_a_noisy_response() -> None:
    rng = np.random.default_rng(4)
    n = 400_000
    u = rng.standard_normal(n)
    y = 2.0 * u + rng.standard_normal(n)
    got = cross_spectrum(u, y, 1.0, 256)
    assert np.mean(np.abs(got.H1[5:-5])) == pytest.approx(2.0, rel=2e-3)
    assert np.mean(np.abs(got.H2[5:-5])) == pytest.approx(2.5, rel=5e-3)
    assert np.mean(got.coherence[5:-5]) == pytest.approx(0.8, rel=5e-3)
    assert np.std(np.abs(got.H1[5:-5])) / 2 == pytest.approx(
        np.mean(got.response_relative_std()[5:-5]), rel=0.25
    )


def test_refusals() -> None:
    with pytest.raises(NotEnoughDataError):
        power_spectrum(np.zeros(4000), 1.0)
    with pytest.raises(NotFiniteError, match=r"y\[7\]"):
        CrossSpectrum(1.0, 8).update(np.zeros(9), np.where(np.arange(9) == 7, np.nan, 0.0))
    with pytest.raises(AnalysisError, match="even"):
        CrossSpectrum(1.0, 15)
    with pytest.raises(AnalysisError, match="two signals"):
        _ = power_spectrum(np.arange(100.0), 1.0, 16).H1
    with pytest.raises(AnalysisError, match="of y"):
        CrossSpectrum(1.0, 8).update(np.zeros(9), np.zeros(8))
    a, b = CrossSpectrum(1.0, 8), CrossSpectrum(1.0, 8, start=3)
    a.update(np.zeros(9))
    b.update(np.zeros(9))
    with pytest.raises(NotMergeableError, match="followed"):
        a.merge(b)
    with pytest.raises(NotMergeableError):
        a.merge(CrossSpectrum(1.0, 16))
