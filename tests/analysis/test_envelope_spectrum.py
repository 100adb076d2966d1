"""Band envelope spectrum: against the Hilbert transform, and on real records of damaged bearings."""

from __future__ import annotations

import gzip
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from verification_platform.analysis.envelope_spectrum import BandEnvelope, EnvelopeSpectrum, envelope_spectrum
from verification_platform.analysis.errors import AnalysisError, NotFiniteError
from verification_platform.analysis.samples import CoverageError

RECORDS = Path(__file__).parents[3] / "shared" / "data" / "bearing"
RATE = 20_000.0


def modulated(n: int = 400_000, depth: float = 0.5, line: float = 90.0) -> np.ndarray:
    t = np.arange(n) / RATE
    return 3.0 * (1 + depth * np.cos(2 * np.pi * line * t)) * np.cos(2 * np.pi * 5000 * t + 0.3)


def test_amplitude_modulation_is_read_exactly() -> None:
    s = envelope_spectrum(modulated(), RATE, (4000, 6000), resolution_hz=2.0)
    frequency, amplitude = s.peak(90.0)
    assert frequency == pytest.approx(90.0, abs=s.frequency_hz[1])
    assert amplitude == pytest.approx(1.5, rel=0.02)
    assert s.mean == pytest.approx(3.0, rel=1e-3)
    assert s.rms == pytest.approx(3 * math.sqrt(1 + 0.125), rel=1e-3)


def test_what_lies_outside_the_band_stays_out() -> None:
    t = np.arange(400_000) / RATE
    x = 10 * (1 + np.cos(2 * np.pi * 60 * t)) * np.cos(2 * np.pi * 2000 * t) + modulated()
    s = envelope_spectrum(x, RATE, (4000, 6000), resolution_hz=2.0)
    assert s.peak(90.0)[1] == pytest.approx(1.5, rel=0.02)
    assert s.peak(60.0)[1] < 1e-3


def test_agrees_with_the_hilbert_transform() -> None:
    """Noise through the same band: the envelope equals |analytic signal|, sample for sample."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal(120_000)
    low, high, edge = 3000.0, 5000.0, 400.0
    band = BandEnvelope(RATE, (low, high), edge)
    envelope = np.concatenate([band.update(x), band.finish()])
    f = np.fft.rfftfreq(x.size, 1 / RATE)
    rise, fall = np.clip((f - low + edge) / edge, 0, 1), np.clip((high + edge - f) / edge, 0, 1)
    weight = 0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))
    filtered = np.fft.irfft(np.fft.rfft(x) * weight, x.size)
    reference = np.abs(signal.hilbert(filtered))
    step = RATE / band.output_rate_hz
    assert step == round(step)
    reference = reference[:: int(step)]
    inner = slice(200, reference.size - 200)
    np.testing.assert_allclose(
        envelope[: reference.size][inner], reference[inner], atol=2e-3 * reference.mean()
    )


def test_blocks_of_any_size_give_the_same_envelope() -> None:
    x = np.random.default_rng(2).standard_normal(150_000)
    one = BandEnvelope(RATE, (3000, 5000))
    whole = np.concatenate([one.update(x), one.finish()])
    many = BandEnvelope(RATE, (3000, 5000))
    cuts = [0, *sorted(np.random.default_rng(3).integers(0, x.size, 40)), x.size]
    parts = [many.update(x[a:b]) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([*parts, many.finish()]), whole)
    assert whole.size == math.ceil(x.size / (RATE / one.output_rate_hz))


@pytest.mark.parametrize("cuts", [[], [1000, 250_001], [299_999]])
def test_what_is_not_finite_is_refused_with_its_index(cuts: list[int]) -> None:
    x = np.random.default_rng(4).standard_normal(400_000)
    x[300_000] = math.inf
    band = BandEnvelope(RATE, (3000, 5000))
    for a, b in itertools.pairwise([0, *cuts]):
        band.update(x[a:b])
    with pytest.raises(NotFiniteError, match=r"signal\[300000\] is inf"):
        band.update(x[max(cuts, default=0) :])


def test_pieces_merge() -> None:
    x = modulated()
    a, b = EnvelopeSpectrum(RATE, (4000, 6000), 2.0), EnvelopeSpectrum(RATE, (4000, 6000), 2.0)
    a.update(x[:250_000])
    b.update(x[250_000:])
    windows = a.result().averages + b.result().averages
    a.merge(b)
    assert a.result().averages == windows
    assert a.result().peak(90.0)[1] == pytest.approx(1.5, rel=0.02)
    assert a.result().samples == x.size


@pytest.mark.parametrize(
    ("name", "line", "harmonics"), [("InnerRaceFault_vload_1", 118.0, 3), ("OuterRaceFault_vload_1", 80.2, 3)]
)
def test_damaged_bearings(name: str, line: float, harmonics: int) -> None:
    path = RECORDS / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip("real bearing records are not beside the checkout (../shared/data/bearing)")
    with gzip.open(path, "rt") as file:
        x = np.loadtxt(file, skiprows=1)
    s = envelope_spectrum(x, 48828.0, (2000, 15000), resolution_hz=1.0)
    low, high = np.searchsorted(s.frequency_hz, (50.0, 150.0))
    found = s.frequency_hz[low + int(s.amplitude[low:high].argmax())]
    assert found == pytest.approx(line, rel=0.01)
    for k in range(1, harmonics + 1):
        assert s.prominence(k * line) > 4


def test_refusals() -> None:
    with pytest.raises(AnalysisError):
        BandEnvelope(RATE, (6000, 4000))
    with pytest.raises(AnalysisError):
        BandEnvelope(RATE, (4000, 11000))
    with pytest.raises(AnalysisError, match="steep"):
        BandEnvelope(RATE, (4000, 4001), transition_hz=0.01)
    with pytest.raises(NotFiniteError):
        envelope_spectrum(np.array([0.0, math.nan]), RATE, (4000, 6000))
    with pytest.raises(CoverageError):
        envelope_spectrum(np.zeros(1000), RATE, (4000, 6000))
    with pytest.raises(CoverageError):
        envelope_spectrum(modulated(), RATE, (4000, 6000)).peak(9000.0)
    a = EnvelopeSpectrum(RATE, (4000, 6000))
    with pytest.raises(AnalysisError):
        a.merge(EnvelopeSpectrum(RATE, (4000, 7000)))
    a.finish()
    with pytest.raises(AnalysisError):
        a.update([0.0])
