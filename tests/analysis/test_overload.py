"""Overload: T-OVL, tooth jumps under noise, ringing and wind-up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.overload import allowed_pulses, ratcheting

DEG, RPM = math.pi / 180, 2 * math.pi / 60


def error(rng: np.random.Generator, n: int = 20_000) -> np.ndarray:
    """e with 0.002° of noise and a transmission error of 0.01°."""
    return (0.01 * np.sin(np.arange(n) / 300) + 0.002 * rng.standard_normal(n)) * DEG


def test_T_OVL() -> None:
    assert allowed_pulses(2000 * RPM, 0.15) == pytest.approx(1000)
    rng = np.random.default_rng(1)
    for jump, flagged in ((1.8, True), (-1.8, True), (0.05, False)):
        e = error(rng)
        e[12_345:] += jump * DEG
        r = ratcheting(e, 200)
        assert r.slipped is flagged
        if flagged:
            assert r.sizes_rad / DEG == pytest.approx([jump], abs=0.03)
            assert abs(int(r.indices[0]) - 12_345) <= 2
            assert r.teeth == round(jump / 1.8)


def test_random_jumps_are_counted() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        e = error(rng)
        places = np.sort(rng.choice(np.arange(1, 10), int(rng.integers(0, 4)), replace=False)) * 2000
        places = places + rng.integers(0, 900, places.size)
        sizes = rng.choice([-3.6, -1.8, 1.8, 3.6], places.size)
        for place, size in zip(places, sizes, strict=True):
            e[place:] += size * DEG
        r = ratcheting(e, 200)
        assert r.sizes_rad / DEG == pytest.approx(sizes, abs=0.05)
        assert r.teeth == round(sizes.sum() / 1.8)
        assert np.abs(r.indices - places).max(initial=0) <= 5


def test_wind_up_that_returns_is_no_jump() -> None:
    rng = np.random.default_rng(3)
    for length in (50, 200, 1000, 3000):
        e = error(rng)
        e[8000 : 8000 + length] += 1.5 * DEG
        assert not ratcheting(e, 200, pulse=3100).slipped
    # longer than any pulse: a tooth that jumped there and one that jumped back
    assert ratcheting(e, 200, pulse=2500).sizes_rad.size == 2
    assert ratcheting(e, 200, pulse=2500).slipped


def test_small_slips_that_add_up_to_a_tooth_are_seen() -> None:
    rng = np.random.default_rng(4)
    e = error(rng) + np.linspace(0, 1.8, 20_000) * DEG
    r = ratcheting(e, 200)
    assert r.sizes_rad.size == 0
    assert r.slipped


def test_what_is_refused() -> None:
    with pytest.raises(NotEnoughDataError, match="four windows"):
        ratcheting(np.zeros(900), 200)
    with pytest.raises(AnalysisError, match="teeth"):
        ratcheting(np.zeros(9000), 0)
    with pytest.raises(AnalysisError, match="positive"):
        allowed_pulses(0, 1)
