"""Monte Carlo after JCGM 101: its worked examples, the failure of the first-order law, reproducibility."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verification_platform.metrology._input_distributions import Draws
from verification_platform.metrology.budget import BudgetError
from verification_platform.metrology.monte_carlo import (
    Arcsine,
    CurvilinearTrapezoid,
    Distribution,
    Histogram,
    Normal,
    Rectangular,
    ScaledT,
    Triangular,
    monte_carlo,
    tolerance,
)

UNIT = Rectangular(-math.sqrt(3), math.sqrt(3))


def total(x: np.ndarray) -> np.ndarray:
    return x.sum(axis=0)


def half_width(interval: tuple[float, float]) -> float:
    return 0.5 * (interval[1] - interval[0])


@pytest.mark.parametrize(
    ("inputs", "u", "half"),
    [
        ([Normal(0, 1)] * 4, 2.00, 3.92),  # 9.2.2
        ([UNIT] * 4, 2.00, 3.88),  # 9.2.3
        ([UNIT] * 3 + [Rectangular(-10 * math.sqrt(3), 10 * math.sqrt(3))], 10.1, 17.0),  # 9.2.4
    ],
)
def test_jcgm_101_additive_model(inputs: list[Distribution], u: float, half: float) -> None:
    m = monte_carlo(total, inputs, seed=20, min_trials=3_000_000)
    place = 0.005 if u < 10 else 0.05
    assert m.stable
    assert m.mean == pytest.approx(0.0, abs=0.01 * u)
    assert m.u == pytest.approx(u, abs=place + 0.002 * u)
    for interval in (m.shortest, m.equal_tailed):
        assert half_width(interval) == pytest.approx(half, abs=place + 0.003 * half)
    assert m.first_order_valid


def test_jcgm_101_mass_calibration() -> None:
    """9.3, in mg; the first-order law misses u by a third."""
    m = monte_carlo(
        lambda x: (x[0] + x[1]) * (1 + (x[2] - 1.2) * (1 / x[3] - 1 / x[4])) - 100_000,
        [
            Normal(100_000, 0.05),
            Normal(1.234, 0.02),
            Rectangular(1.1, 1.3),
            Rectangular(7000, 9000),
            Rectangular(7950, 8050),
        ],
        seed=5,
        min_trials=4_000_000,
    )
    assert m.mean == pytest.approx(1.2340, abs=2e-4)
    assert m.u == pytest.approx(0.0754, abs=2e-4)
    assert 2 * half_width(m.shortest) == pytest.approx(0.2991, abs=1e-3)
    assert m.first_order_u == pytest.approx(0.0539, abs=1e-4)
    assert not m.first_order_valid
    assert "not linear" in m.warnings[0]


def test_jcgm_101_gauge_block() -> None:
    """9.5, in nm: 838, u 36, 99 % interval [745, 932]."""

    def model(x: np.ndarray) -> np.ndarray:
        length, d, d1, d2, alpha, theta_0, delta, d_alpha, d_theta = x
        theta = theta_0 + delta
        return (length * (1 + alpha * (theta - d_theta)) + d + d1 + d2) / (
            1 + (alpha + d_alpha) * theta
        ) - 50_000_000

    inputs: list[Distribution] = [
        ScaledT(50_000_623, 25, 18),
        ScaledT(215, 6, 24),
        ScaledT(0, 4, 5),
        ScaledT(0, 7, 8),
        Rectangular(9.5e-6, 13.5e-6),
        Normal(-0.1, 0.2),
        Arcsine(-0.5, 0.5),
        CurvilinearTrapezoid(-1.0e-6, 1.0e-6, 0.1e-6),
        CurvilinearTrapezoid(-0.05, 0.05, 0.025),
    ]
    m = monte_carlo(model, inputs, seed=3, probability=0.99, min_trials=2_000_000)
    assert m.mean == pytest.approx(838, abs=0.6)
    assert m.u == pytest.approx(36, abs=0.6)
    assert m.shortest == pytest.approx((745, 932), abs=2.5)
    assert half_width(m.shortest) == pytest.approx(93.5, abs=1.0)


def test_T_GUM_quadratic() -> None:
    m = monte_carlo(lambda x: x[0] ** 2, [Normal(0, 1)], seed=8, min_trials=4_000_000)
    assert m.mean == pytest.approx(1.00, abs=0.005)
    assert m.u == pytest.approx(math.sqrt(2), rel=0.005)
    assert m.first_order_u == 0
    assert not m.first_order_valid
    assert m.warnings
    assert m.shortest[0] == pytest.approx(0.0, abs=0.01)
    assert m.shortest[1] == pytest.approx(3.8415, abs=0.03)


def test_T_EFF_efficiency() -> None:
    """η = T₂/(i·T₁) with 0.1 % on each torque: Monte-Carlo 95 % interval [0.79779, 0.80221]."""
    m = monte_carlo(
        lambda x: x[0] / (100 * x[1]), [Normal(100, 0.1), Normal(1.25, 0.00125)], seed=2, min_trials=4_000_000
    )
    assert m.u == pytest.approx(0.001131, abs=2e-6)
    assert m.equal_tailed == pytest.approx((0.79778, 0.80222), abs=5e-5)


def test_same_seed_same_bits() -> None:
    a, b, c = (monte_carlo(total, [UNIT, Normal(1, 2)], seed=s, min_trials=1) for s in (1, 1, 2))
    assert a == b
    assert a.mean != c.mean
    assert a.seed == 1


def test_adaptive_stops_when_stable_and_says_when_not() -> None:
    """u far from a power of ten, where the unit of its last digit, and the trials with it, depend on chance."""
    few = monte_carlo(total, [Normal(0, 1.5)], seed=1, digits=1)
    more = monte_carlo(total, [Normal(0, 1.5)], seed=1, digits=3)
    assert few.stable
    assert more.stable
    assert more.trials > few.trials
    capped = monte_carlo(total, [Normal(0, 1.5)], seed=1, digits=5, max_trials=1_000_000)
    assert not capped.stable
    assert "not stable" in capped.warnings[-1]
    assert tolerance(0.0754, 2) == pytest.approx(0.0005)
    assert tolerance(0.0, 2) == 0.0


def test_correlated_inputs() -> None:
    r = np.array([[1.0, 0.8], [0.8, 1.0]])
    m = monte_carlo(lambda x: x[0] - x[1], [Normal(5, 1), Normal(3, 2)], seed=4, correlation=r)
    assert m.mean == pytest.approx(2.0, abs=0.01)
    assert m.u == pytest.approx(math.sqrt(1 + 4 - 2 * 0.8 * 2), rel=0.005)
    assert m.first_order_valid


@pytest.mark.parametrize(
    "q",
    [
        Normal(3, 2),
        Rectangular(-1, 4),
        Triangular(0, 3),
        Arcsine(-2, 5),
        CurvilinearTrapezoid(1, 3, 0.4),
        ScaledT(2, 3, 7),
    ],
)
def test_distributions_have_their_moments(q: Distribution) -> None:
    out = np.empty(400_000)
    q.draw(np.random.default_rng(1), out)
    assert out.mean() == pytest.approx(q.mean, abs=5 * q.u / math.sqrt(out.size))
    assert out.std() == pytest.approx(q.u, rel=0.02)


def test_inputs_drawn_together_are_those_drawn_one_by_one_to_the_last_bit() -> None:
    inputs = [
        Normal(3, 2),
        Normal(0, 1),
        UNIT,
        Normal(-1e6, 1e-3),
        ScaledT(2, 3, 7),
        Triangular(0, 3),
        Normal(1, 0),
    ]
    draws, rng = Draws(inputs, 1000), np.random.default_rng(6)
    one_by_one, alone = np.random.default_rng(6), np.empty((len(inputs), 1000))
    for _ in range(3):
        for q, row in zip(inputs, alone, strict=True):
            q.draw(one_by_one, row)
        assert np.array_equal(draws(rng), alone)


@pytest.mark.parametrize("mean", [0.0, 1.0, -600.0, 800.0, 1e5, -1e9, 1e15])
@pytest.mark.parametrize("u", [1.0, 1e-100, 1e100])
def test_histogram_wherever_its_values_lie(mean: float, u: float) -> None:
    """Near 0 values are summed and binned as they are, far from it less their mean."""
    y = (mean + np.random.default_rng(7).standard_normal(50_000)) * u
    histogram = Histogram(y[:20_000])
    histogram.update(y)
    assert 2800 < histogram.bins < 5800
    about = y - y[0]  # exact
    assert (histogram.mean - y[0]) / u == pytest.approx(about.mean() / u, rel=1e-12, abs=1e-15 * abs(mean))
    assert histogram.u / u == pytest.approx(about.std(ddof=1) / u, rel=1e-10)
    assert histogram.counts.sum() + sum(map(len, histogram.outside)) == len(y)
    edges = histogram.low + np.arange(histogram.bins + 1) * (histogram.high - histogram.low) / histogram.bins
    below = np.concatenate(([0], np.cumsum(histogram.counts)))
    on_edge = np.isin(y, edges).sum()
    assert np.abs(below - np.searchsorted(np.sort(y), edges)).max() <= on_edge


def test_a_value_on_an_edge_is_counted_once() -> None:
    y = np.random.default_rng(8).uniform(-1, 1, 8192)
    histogram = Histogram(y)
    edges = histogram.low + np.arange(histogram.bins + 1) * (histogram.high - histogram.low) / histogram.bins
    histogram.update(edges)
    assert histogram.counts.sum() + sum(map(len, histogram.outside)) == histogram.n == len(edges)
    assert histogram.counts.max() <= 2
    _, below = histogram._cumulated()
    assert below[-1] == len(edges)


def test_histogram_streams_and_merges() -> None:
    y = np.random.default_rng(3).standard_t(3, 400_000)
    whole = Histogram(y[:10_000])
    whole.update(y)
    parts = [Histogram(y[:10_000]) for _ in range(4)]
    for part, piece in zip(parts, np.array_split(y, 4), strict=True):
        part.update(piece)
    for part in parts[1:]:
        parts[0].merge(part)
    assert np.array_equal(parts[0].counts, whole.counts)
    assert parts[0].mean == pytest.approx(y.mean(), rel=1e-9)
    assert whole.u == pytest.approx(y.std(ddof=1), rel=1e-9)
    _, equal = whole.intervals(0.95)
    assert equal == pytest.approx(np.quantile(y, [0.025, 0.975]), rel=2e-3)
    _, wide = whole.intervals(0.9999)
    assert wide == pytest.approx(np.quantile(y, [0.00005, 0.99995]), rel=0.05)
    with pytest.raises(BudgetError):
        whole.merge(Histogram(y[10_000:20_000]))


def test_what_lies_outside_the_bins_is_kept_exactly() -> None:
    """Just outside, far outside, and so far that its bin has no number."""
    y = np.random.default_rng(4).uniform(-1, 1, 8192)
    histogram = Histogram(y)
    width = (histogram.high - histogram.low) / histogram.bins
    outside = [
        histogram.low - 0.5 * width,
        histogram.low - 2 * width,
        histogram.high + 0.5 * width,
        50.0,
        -1e12,
        1e100,
    ]
    inside = [histogram.low + 0.5 * width, histogram.high - 0.5 * width]
    for value in outside + inside:
        histogram.update(np.append(y, value))
    assert np.concatenate(histogram.outside).tolist() == outside
    assert histogram.counts.sum() == 8 * len(y) + 2
    assert histogram.counts[0] == histogram.counts[-1] == 1
    expected, _ = np.histogram(y, histogram.bins, (histogram.low, histogram.high))
    assert np.abs(histogram.counts[1:-1] - 8 * expected[1:-1]).sum() <= 16  # edges to the last bit
    for infinite in (np.nan, np.inf, -np.inf):
        with pytest.raises(BudgetError, match="NaN or infinity"):
            histogram.update(np.array([0.0, infinite]))


def test_refusals() -> None:
    with pytest.raises(BudgetError):
        monte_carlo(total, [], seed=1)
    with pytest.raises(BudgetError, match="NaN"), np.errstate(invalid="ignore"):
        monte_carlo(lambda x: np.sqrt(x[0]), [Normal(0, 1)], seed=1)
    with pytest.raises(BudgetError, match="shape"):
        monte_carlo(lambda x: x, [Normal(0, 1)], seed=1)
    with pytest.raises(BudgetError):
        monte_carlo(total, [UNIT, UNIT], seed=1, correlation=np.eye(2))
    with pytest.raises(BudgetError):
        monte_carlo(total, [Normal(0, 1)] * 2, seed=1, correlation=np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_a_constant_has_no_uncertainty() -> None:
    m = monte_carlo(total, [Normal(3, 0)], seed=1, min_trials=1)
    assert (m.mean, m.u) == (3.0, 0.0)
    assert m.shortest == pytest.approx((3.0, 3.0))
