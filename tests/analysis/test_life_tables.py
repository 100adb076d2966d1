"""Kaplan–Meier against scipy, median ranks, T-WBL regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.life_tables import kaplan_meier, median_rank_regression, median_ranks


def test_T_WBL_regression() -> None:
    got = median_rank_regression([410, 560, 650, 720, 790, 860, 940, 1030, 1150, 1340])
    assert got.beta == pytest.approx(3.163, rel=1e-3)
    assert got.eta == pytest.approx(945.2, rel=1e-3)
    assert 0.98 < got.r2 <= 1.0


@pytest.mark.filterwarnings("ignore:The confidence interval is undefined")
def test_kaplan_meier_against_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(1000):
        n = int(rng.integers(2, 40))
        t = np.round(rng.weibull(1.5, n) * 20) + 1
        failed = rng.random(n) < 0.7
        if not failed.any():
            continue
        got = kaplan_meier(t[failed], t[~failed], confidence=0.9)
        reference = stats.ecdf(stats.CensoredData(uncensored=t[failed], right=t[~failed])).sf
        np.testing.assert_allclose(got.survival, reference.evaluate(got.t), atol=1e-12)
        bounds = reference.confidence_interval(0.9, method="log-log")
        inside = np.isfinite(got.low)
        np.testing.assert_allclose(got.low[inside], bounds.low.evaluate(got.t)[inside], atol=1e-9)
        np.testing.assert_allclose(got.high[inside], bounds.high.evaluate(got.t)[inside], atol=1e-9)


def test_delayed_entry_lowers_the_number_at_risk() -> None:
    got = kaplan_meier([5.0, 8.0], [9.0], entry=[0.0, 6.0, 0.0])
    assert got.at_risk.tolist() == [2, 2]
    assert got.survival.tolist() == [0.5, 0.25]


def test_adjusted_ranks_of_a_textbook_example() -> None:
    """Abernethy, The New Weibull Handbook: failures at 2, 4, 5 … with suspensions between them."""
    t, F = median_ranks([30, 49, 82, 96], [10, 45, 90, 100])
    rank = F * 8.4 + 0.3
    np.testing.assert_allclose(rank, [1.125, 2.4375, 3.75, 5.5], atol=0.2)
    assert np.all(np.diff(F) > 0)
    plain, ranks = median_ranks([3.0, 1.0, 2.0])
    assert plain.tolist() == [1, 2, 3]
    np.testing.assert_allclose(ranks, (np.arange(1, 4) - 0.3) / 3.4)
    assert len(t) == 4


def test_refusals() -> None:
    with pytest.raises(NotEnoughDataError):
        kaplan_meier([], [1.0])
    with pytest.raises(AnalysisError):
        kaplan_meier([1.0], entry=[2.0])
    with pytest.raises(NotEnoughDataError):
        median_rank_regression([1.0])
    with pytest.raises(AnalysisError):
        median_rank_regression([-1.0, 2.0])
