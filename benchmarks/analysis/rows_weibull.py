"""Weibull maximum likelihood with right-censoring: a small sample, a million lives, bootstrap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from verification_platform.analysis._weibull_profile import fit_many
from verification_platform.analysis.weibull import LifeData, fit_weibull

from .case import Case, Peer, row

FAILED = np.array([54.0, 187, 216, 240, 244, 335, 361, 373, 375, 386])
CENSORED = np.full(10, 500.0)


def _agrees(tolerance: float) -> Any:
    def agrees(ours: Any, answers: dict[str, Any]) -> str:
        off = {}
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                continue
            off[name] = max(abs(answer[0] / ours[0] - 1), abs(answer[1] / ours[1] - 1))
        good = {name: value for name, value in off.items() if value < tolerance}
        assert good, off
        bad = "".join(f"; {name} off by {value:.1e}" for name, value in off.items() if value >= tolerance)
        return f"{', '.join(good)} to {max(good.values()):.0e}{bad}"

    return agrees


def _peers(failed: np.ndarray, censored: np.ndarray, goals: tuple[float, float]) -> dict[str, Peer]:
    import surpyval
    from lifelines import WeibullFitter
    from predictr import Analysis
    from reliability.Fitters import Fit_Weibull_2P

    times = np.concatenate((failed, censored))
    seen = np.concatenate((np.ones(len(failed)), np.zeros(len(censored))))
    failed_list, censored_list = failed.tolist(), censored.tolist()

    def by_reliability() -> Any:
        fit = Fit_Weibull_2P(
            failures=failed_list,
            right_censored=censored_list,
            show_probability_plot=False,
            print_results=False,
        )
        return fit.alpha, fit.beta

    def by_lifelines() -> Any:
        fit = WeibullFitter().fit(times, seen)
        return fit.lambda_, fit.rho_

    def by_surpyval() -> Any:
        return tuple(surpyval.Weibull.fit(times, c=1 - seen).params)

    def by_predictr() -> Any:
        fit = Analysis(df=failed_list, ds=censored_list, show=False, bounds=None)
        fit.mle()
        return fit.eta, fit.beta

    return {
        "reliability": Peer(by_reliability, goals[0], "full fit"),
        "lifelines": Peer(by_lifelines, goals[0], "full fit"),
        "surpyval": Peer(by_surpyval, goals[0], "full fit"),
        "predictr": Peer(by_predictr, goals[1], "estimates only"),
    }


@row("Weibull MLE, 20 units, 10 censored", 1, "fits")
def small(_: int) -> Case:
    work = 500  # a few dozen milliseconds a call, like the peers'

    def ours() -> Any:
        for _ in range(work):
            fit = fit_weibull(LifeData.right_censored(FAILED, CENSORED))
        return fit.eta, fit.beta

    def times(n: int, peer: Peer) -> Peer:
        def call() -> Any:
            for _ in range(n):
                answer = peer.call()
            return answer

        return Peer(call, peer.goal, peer.group, n)

    peers = {
        name: times(50 if name == "predictr" else 1, peer)
        for name, peer in _peers(FAILED, CENSORED, (100.0, 7.0)).items()
    }
    return Case(
        ours=ours,
        peers=peers,
        agrees=_agrees(1e-4),
        work=work,
        note="NIST/SEMATECH 8.4.1.3; ours with covariance",
    )


@row("Weibull MLE, 1e6 lives, 30 % censored", 1_000_000, "lives")
def large(n: int) -> Case:
    lives = 1000 * np.random.default_rng(8).weibull(2.0, n)
    cut = 1000 * (-math.log(0.3)) ** 0.5
    failed, censored = lives[lives <= cut], np.full(int((lives > cut).sum()), cut)
    data = LifeData.right_censored(failed, censored)

    def ours() -> Any:
        fit = fit_weibull(data)
        return fit.eta, fit.beta

    peers = _peers(failed, censored, (20.0, 20.0))
    kept = {name: Peer(p.call, 20.0) for name, p in peers.items() if name in ("lifelines", "surpyval")}
    tenth = _peers(failed[::10], censored[::10], (20.0, 20.0))
    kept["reliability (n = 1e5)"] = Peer(tenth["reliability"].call, 20.0, n=n // 10)
    return Case(ours=ours, peers=kept, agrees=_agrees(5e-4), note="reliability is slow: a tenth of the lives")


@row("Weibull MLE, bootstrap of 20 units", 10_000, "fits")
def bootstrap(n: int) -> Case:
    rng = np.random.default_rng(9)
    lives = np.concatenate((FAILED, CENSORED))
    seen = np.arange(20) < 10
    pick = rng.integers(0, 20, (n, 20))
    sample, failed = lives[pick], seen[pick]
    enough = np.array([len(np.unique(s[f])) > 1 for s, f in zip(sample, failed, strict=True)])
    sample, failed = sample[enough], failed[enough]

    def by(name: str, count: int) -> Any:
        def call() -> Any:
            out = []
            for s, f in zip(sample[:count], failed[:count], strict=True):
                out.append(_peers(s[f], s[~f], (1000.0, 1.0))[name].call())
            return np.array(out, dtype=float)

        return call

    def agrees(ours: Any, answers: dict[str, Any]) -> str:
        beta, _eta = ours
        theirs = answers["predictr"]
        off = np.abs(theirs[:, 1] / beta[: len(theirs)] - 1)
        assert np.median(off) < 1e-3, np.median(off)
        return f"predictr: β to {np.median(off):.0e} (median)"

    return Case(
        ours=lambda: fit_many(sample, failed),
        peers={
            "reliability": Peer(by("reliability", 10), 1000.0, n=10),
            "surpyval": Peer(by("surpyval", 20), 1000.0, n=20),
            "lifelines": Peer(by("lifelines", 5), 1000.0, n=5),
            "predictr": Peer(by("predictr", 100), 7.0, "estimates only", 100),
        },
        agrees=agrees,
        note="a fit at a time, as the peers do it",
    )
