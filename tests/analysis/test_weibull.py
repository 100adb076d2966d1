"""Weibull fits: reference answers, scipy as oracle for every kind of censoring, intervals that cover."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy import optimize, stats

from verification_platform.analysis import _weibull_likelihood as likelihood
from verification_platform.analysis import _weibull_profile as profile
from verification_platform.analysis._weibull_profile import fit_many
from verification_platform.analysis.errors import AnalysisError, NotEnoughDataError
from verification_platform.analysis.weibull import LifeData, fit_weibull, fit_weibull_3p

NIST = LifeData.right_censored([54, 187, 216, 240, 244, 335, 361, 373, 375, 386], [500] * 10)


def test_nist_sematech_8_4_1_3() -> None:
    fit = fit_weibull(NIST)
    assert fit.eta == pytest.approx(606.528, abs=5e-4)
    assert fit.beta == pytest.approx(1.7208, abs=5e-5)
    assert fit.se_beta == pytest.approx(0.50215, abs=5e-6)
    assert fit.se_eta == pytest.approx(124.91, abs=5e-3)
    assert -fit.log_likelihood == pytest.approx(75.135, abs=5e-4)


def test_T_WBL_maximum_likelihood() -> None:
    fit = fit_weibull(LifeData.right_censored([410, 560, 650, 720, 790, 860, 940, 1030, 1150, 1340]))
    assert fit.beta == pytest.approx(3.498, rel=1e-3)
    assert fit.eta == pytest.approx(940.58, rel=1e-3)
    assert fit.life(0.10) == pytest.approx(494.3, rel=1e-3)
    assert fit.reliability(fit.life(0.10)) == pytest.approx(0.9)


def sample(rng: np.random.Generator, kind: int) -> LifeData:
    n = int(rng.integers(8, 60))
    t = rng.weibull(rng.uniform(0.6, 4), n) * 10 ** rng.uniform(-1, 4)
    cut = np.quantile(t, rng.uniform(0.5, 1.0))
    if kind == 0:
        return LifeData.right_censored(t[t <= cut], np.full(int((t > cut).sum()), cut))
    if kind == 1:  # inspected at intervals
        step = cut / rng.integers(4, 12)
        low = np.floor(np.minimum(t, cut) / step) * step
        return LifeData.of(low, np.where(t < cut, low + step, np.inf))
    if kind == 2:  # found failed at the first look
        look = rng.uniform(0, 1, n) * cut
        return LifeData.of(np.where(t < look, 0.0, t), np.where(t < look, look, t))
    if kind == 3:  # delayed entry
        entry = np.quantile(t, rng.uniform(0, 0.3))
        kept = t[t > entry]
        return LifeData.of(
            np.minimum(kept, cut), np.where(kept <= cut, kept, np.inf), np.full(len(kept), entry)
        )
    limit = np.quantile(t, rng.uniform(0.9, 1.0)) * 1.01  # only failures up to a limit are known at all
    kept = t[t < limit]
    return LifeData.of(kept, kept, exit=np.full(len(kept), limit))


def direct(data: LifeData, beta: float, eta: float) -> float:
    """Log-likelihood from scipy's distribution, sample by sample."""
    d = stats.weibull_min(beta, scale=eta)
    exact = data.low == data.high
    total = d.logpdf(data.low[exact]).sum()
    a, b = data.low[~exact], data.high[~exact]
    total += np.log(d.sf(a) - d.sf(b)).sum()
    total -= np.log(d.sf(data.entry) - d.sf(data.exit)).sum()
    return float(total)


@pytest.mark.parametrize("kind", range(5))
def test_likelihood_and_its_derivatives(kind: int) -> None:
    rng = np.random.default_rng([1, kind])
    for _ in range(220):
        data = sample(rng, kind)
        middle = float(np.median(data.low) + 1e-3)
        theta = np.array([rng.uniform(-0.4, 1.2), math.log(middle) + rng.uniform(-0.3, 0.6)])
        value, gradient, hessian = likelihood.log_likelihood(data, *theta)
        with np.errstate(divide="ignore"):
            reference = direct(data, *np.exp(theta))
        if not np.isfinite(reference):  # 1 − 1 in the oracle, not here
            assert np.isfinite(value)
            continue
        assert value == pytest.approx(reference, rel=1e-6, abs=1e-6)
        h = 1e-5
        for k in range(2):
            step = np.eye(2)[k] * h
            up, down = (likelihood.log_likelihood(data, *(theta + s)) for s in (step, -step))
            scale = 1 + np.abs(hessian).max()
            assert gradient[k] == pytest.approx((up[0] - down[0]) / (2 * h), abs=1e-5 * scale)
            np.testing.assert_allclose(hessian[k], (up[1] - down[1]) / (2 * h), atol=1e-4 * scale)


@pytest.mark.parametrize("kind", range(5))
def test_fit_is_the_maximum(kind: int) -> None:
    """No other optimiser, started at the fit or at the truth, finds a better likelihood."""
    rng = np.random.default_rng([2, kind])
    fitted = agreed = 0
    for case in range(210):
        data = sample(rng, kind)
        try:
            fit = fit_weibull(data)
        except NotEnoughDataError:
            continue
        fitted += 1
        _, gradient, hessian = likelihood.log_likelihood(data, math.log(fit.beta), math.log(fit.eta))
        assert np.abs(gradient).max() < 1e-6 * (1 + data.n)
        assert np.linalg.eigvalsh(hessian)[-1] < 0
        if case % 10 == 0:
            found = optimize.minimize(
                lambda p: -likelihood.log_likelihood(data, *p)[0],  # noqa: B023
                [math.log(fit.beta) + 0.2, math.log(fit.eta) - 0.2],
                method="Nelder-Mead",
                options={"xatol": 1e-9, "fatol": 1e-10},
            )
            assert -found.fun <= fit.log_likelihood + 1e-9 * (1 + abs(fit.log_likelihood))
            if (
                np.linalg.eigvalsh(hessian)[-1] < -1e-3
            ):  # else a ridge, and rounding decides where a search stops on it
                assert np.exp(found.x) == pytest.approx((fit.beta, fit.eta), rel=1e-4)
                agreed += 1
    assert agreed >= 15
    assert fitted > 150


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's optimiser leaves the domain
def test_against_scipys_censored_fit() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        data = sample(rng, int(rng.integers(0, 3)))
        try:
            fit = fit_weibull(data)
        except NotEnoughDataError:
            continue
        low = np.where(data.low > 0, data.low, -np.inf)
        censored = stats.CensoredData(interval=np.stack((low, data.high), axis=1))
        beta, _, eta = stats.weibull_min.fit(censored, floc=0)
        theirs = direct(data, beta, eta)
        assert fit.log_likelihood >= theirs - 1e-9
        if fit.log_likelihood - theirs < 1e-6:
            assert (fit.beta, fit.eta) == pytest.approx((beta, eta), rel=2e-3)


def test_the_root_is_found_from_samples_of_any_spread() -> None:
    """Nearly equal lives, lives over many decades, two clusters far apart, many survivors far behind the failures."""
    rng = np.random.default_rng(11)
    samples = [np.exp(rng.normal(0, spread, 20)) for spread in (1e-3, 1, 20)]
    samples.append(np.concatenate((1 + 1e-4 * rng.random(10), 1e8 * (1 + 1e-4 * rng.random(10)))))
    for lives in samples:
        for survivors in ([], np.full(200, 10 * lives.max())):
            fit = fit_weibull(LifeData.right_censored(lives, survivors))
            x = np.log(np.concatenate((lives, survivors)))
            w = np.exp(fit.beta * (x - x.max()))
            g = (w @ x) / w.sum() - 1 / fit.beta - np.log(lives).mean()
            assert abs(g) < 1e-11 * (np.ptp(x) + 1 / fit.beta) + 4e-16 * np.abs(x).max()


def test_large_samples_are_fitted_in_pieces_to_the_same_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    for n in (20, 2_000, 70_000):
        lives = rng.weibull(1.4, n) * 900
        data = LifeData.right_censored(lives[lives < 800], np.full(int((lives >= 800).sum()), 800.0))
        found = []
        for small in (0, 1 << 20):
            monkeypatch.setattr(profile, "_SMALL", small)
            found.append(fit_weibull(data))
        pieces, whole = found
        assert (pieces.beta, pieces.eta) == pytest.approx((whole.beta, whole.eta), rel=1e-12)
        assert pieces.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)
        np.testing.assert_allclose(pieces.covariance, whole.covariance, rtol=1e-9)


def test_memory_of_a_large_sample_is_that_of_its_logarithms() -> None:
    n = 400_000
    data = LifeData.right_censored(np.random.default_rng(13).weibull(2.0, n))
    fit_weibull(data)
    tracemalloc.start()
    fit_weibull(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9 * n + 1_000_000  # a double and a flag for each life, and two pieces


def test_batch_equals_single_fits() -> None:
    rng = np.random.default_rng(4)
    lives = rng.weibull(1.7, (1000, 12)) * 300
    failed = lives < 320
    lives = np.minimum(lives, 320)
    beta, eta = fit_many(lives, failed)
    for k in range(1000):
        if np.isnan(beta[k]):
            assert len(np.unique(lives[k][failed[k]])) < 2
            continue
        fit = fit_weibull(LifeData.of(lives[k], np.where(failed[k], lives[k], np.inf)))
        assert (beta[k], eta[k]) == pytest.approx((fit.beta, fit.eta), rel=1e-8)


def test_intervals_cover_and_agree_for_large_samples() -> None:
    rng = np.random.default_rng(5)
    hits = np.zeros(3)
    for _ in range(80):
        fit = fit_weibull(LifeData.right_censored(rng.weibull(2.0, 25) * 100))
        truth = (2.0, 100.0, 100 * (-math.log(0.9)) ** 0.5)
        for k, parameter in enumerate(("beta", "eta", "life")):
            low, high = fit.likelihood_interval(parameter, 0.9)
            hits[k] += low <= truth[k] <= high
    assert np.all(hits / 80 > 0.78)
    assert np.all(hits / 80 < 0.99)
    large = fit_weibull(LifeData.right_censored(rng.weibull(2.0, 20_000) * 100))
    for parameter in ("beta", "eta", "life"):
        assert large.likelihood_interval(parameter, 0.9) == pytest.approx(
            large.fisher_interval(parameter, 0.9), rel=1e-3
        )


def test_likelihood_interval_is_where_the_likelihood_has_fallen() -> None:
    fit = fit_weibull(NIST)
    low, high = fit.likelihood_interval("beta", 0.9)
    for beta in (low, high):
        failed = np.isfinite(NIST.high)
        eta = (np.sum(NIST.low**beta) / failed.sum()) ** (1 / beta)
        assert fit.log_likelihood - direct(NIST, beta, eta) == pytest.approx(
            stats.chi2.ppf(0.9, 1) / 2, rel=1e-6
        )


def test_three_parameters_recover_a_location() -> None:
    rng = np.random.default_rng(6)
    fit = fit_weibull_3p(LifeData.right_censored(500 + 1000 * rng.weibull(2.0, 2000)))
    assert fit.location == pytest.approx(500, abs=40)
    assert fit.beta == pytest.approx(2.0, abs=0.15)
    two = fit_weibull(fit.data)
    assert fit.log_likelihood > two.log_likelihood + 10
    assert fit.life(0.1) == pytest.approx(500 + 1000 * math.sqrt(-math.log(0.9)), rel=0.03)
    none = fit_weibull_3p(LifeData.right_censored(rng.weibull(3.0, 60) * 100))
    assert none.log_likelihood >= fit_weibull(none.data).log_likelihood


def test_too_few_failures_are_refused() -> None:
    for data in (
        LifeData.right_censored([100.0], [200.0] * 9),
        LifeData.right_censored([100.0] * 5),
        LifeData.right_censored([0.1 + 0.2] * 3000, [0.5] * 10),
        LifeData.right_censored([], [5.0]),
        LifeData.of([], []),
        LifeData.of([0.0] * 4, [50.0] * 4),
    ):
        with pytest.raises(NotEnoughDataError):
            fit_weibull(data)
    with pytest.raises(NotEnoughDataError):
        fit_weibull_3p(LifeData.right_censored([1.0, 2.0, 3.0]))


def test_impossible_data_are_refused() -> None:
    for low, high in (([5.0], [4.0]), ([-1.0], [2.0]), ([np.nan], [1.0]), ([0.0], [0.0])):
        with pytest.raises(AnalysisError):
            LifeData.of(low, high)
    with pytest.raises(AnalysisError, match="truncation"):
        LifeData.of([5.0], [5.0], entry=[6.0])
