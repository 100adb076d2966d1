"""Torque–speed regions and speed regulation: T-TN, T-REG."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError, NotFiniteError
from verification_platform.analysis.operating_region import operating_region, shaft_power
from verification_platform.analysis.speed_regulation import (
    SpeedFluctuation,
    speed_fluctuation,
    speed_regulation,
)

RPM = 2 * math.pi / 60


def test_T_TN() -> None:
    assert shaft_power(3.1831, 3000 * RPM) == pytest.approx(1000.0, rel=0.0005)
    region = operating_region([0, 2000, 3000, 4000], [4, 4, 3.2, 0])
    assert region.limit(2500) == pytest.approx(3.6)
    assert region.contains(2500, 3.5)
    assert not region.contains(2500, 3.7)
    assert region.contains(-2500, -3.5)
    assert not region.contains(2500, 3.5, guard=0.2)
    assert region.margin(2500, 3.5) == pytest.approx(0.1)
    assert not region.contains(4001, 0)
    assert region.knee == pytest.approx(2250)


def test_the_continuous_region_lies_within_the_peak_region() -> None:
    continuous = operating_region([0, 2000, 4000], [4, 4, 1])
    peak = operating_region([0, 1500, 4000], [12, 12, 1.5])
    assert continuous.within(peak)
    assert not peak.within(continuous)
    # crossing between the vertices of the inner region
    assert not continuous.within(operating_region([0, 1900, 2000, 4000], [12, 12, 2, 1.5]))
    with pytest.raises(AnalysisError, match="increasing from 0"):
        operating_region([100, 200], [1, 1])
    with pytest.raises(NotEnoughDataError):
        operating_region([0], [1])


def test_inside_is_what_a_polygon_test_says_in_1000_random_cases() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        n = np.concatenate([[0], np.cumsum(rng.uniform(1, 10, 5))])
        t = rng.uniform(0, 10, 6)
        x, y = rng.uniform(0, n[-1]), rng.uniform(0, 10)
        polygon = [(0.0, 0.0), *zip(n.tolist(), t.tolist(), strict=True), (n[-1], 0.0)]
        inside = False
        for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
        assert operating_region(n, t).contains(x, y) == inside


def test_T_REG() -> None:
    turn = 2 * np.pi * np.arange(3600) / 3600
    r = speed_fluctuation(3000 + 1.5 * np.sin(turn))
    assert r.coefficient == pytest.approx(0.000500, abs=1e-8)
    assert r.mean == pytest.approx(3000)
    assert speed_regulation(3000.5, 2999.0, 3000.0) == pytest.approx(0.000500, abs=1e-12)
    assert speed_fluctuation(-3000 + 1.5 * np.sin(turn)).coefficient == pytest.approx(0.0005)


def test_fluctuation_merges_and_refuses() -> None:
    rng = np.random.default_rng(2)
    speed = 100 + rng.standard_normal(50_000)
    whole = speed_fluctuation(speed)
    for _ in range(50):
        parts = np.split(speed, np.sort(rng.integers(0, speed.size, 5)))
        total = SpeedFluctuation()
        for k in rng.permutation(len(parts)):
            one = SpeedFluctuation()
            one.update(parts[k])
            total.merge(one)
        assert total.result().coefficient == whole.coefficient
        assert total.result().mean == pytest.approx(whole.mean, rel=1e-12)
    with pytest.raises(AnalysisError, match="through 0"):
        speed_fluctuation(speed - 100)
    with pytest.raises(NotEnoughDataError):
        SpeedFluctuation().result()
    with pytest.raises(NotFiniteError):
        speed_fluctuation([1.0, math.nan])
