"""Moments with extremes, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from verification_platform.analysis.moments import Moments, moments
from verification_platform.analysis.quantiles import QuantileSketch

from .case import Case, Peer, row
from .runner import stream

SHARES = np.array([0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])


@row("moments to order 4 and extremes", 10_000_000)
def moments_row(n: int) -> Case:
    import polars
    from scipy import stats

    x = np.random.default_rng(6).gamma(3.0, size=n)
    frame = polars.Series("x", x).to_frame()
    column = polars.col("x")
    wanted = [
        column.mean().alias("mean"),
        column.var().alias("var"),
        column.skew().alias("skew"),
        column.kurtosis().alias("kurtosis"),
        column.min().alias("min"),
        column.max().alias("max"),
    ]
    accumulator = Moments()

    def agrees(ours: Any, answers: dict[str, Any]) -> str:
        theirs = answers["polars"].row(0)
        mine = (ours.mean, ours.variance, ours.skewness, ours.excess_kurtosis, ours.minimum, ours.maximum)
        off = max(abs(a / b - 1) for a, b in zip(mine, theirs, strict=True))
        assert off < 1e-8, off
        return f"to {off:.0e}"

    return Case(
        ours=lambda: moments(x),
        peers={
            "polars": Peer(lambda: frame.select(wanted), 2.0),
            "scipy.stats.describe": Peer(lambda: stats.describe(x), 2.0),
        },
        agrees=agrees,
        stream=lambda: stream(accumulator.update, x),
    )


@row("quantile sketch", 10_000_000)
def quantile_row(n: int) -> Case:
    import datasketches

    x = np.random.default_rng(7).standard_normal(n)
    ordered = np.sort(x)

    def ours() -> Any:
        sketch = QuantileSketch()
        sketch.update(x)
        result = sketch.result()
        return np.array([result.quantile(float(p)) for p in SHARES]), max(map(result.rank_error, SHARES))

    def by_kll() -> Any:
        sketch = datasketches.kll_doubles_sketch(800)
        sketch.update(x)
        return np.array(sketch.get_quantiles(SHARES))

    def worst(values: Any) -> float:
        return float(np.max(np.abs(np.searchsorted(ordered, values) / n - SHARES)))

    def agrees(mine: Any, answers: dict[str, Any]) -> str:
        values, bound = mine
        error = worst(values)
        assert error <= bound + 1 / n <= 2e-4, (error, bound)
        theirs = worst(answers["datasketches KLL"])
        return f"rank error {error:.0e} (bound {bound:.0e}), KLL {theirs:.0e}"

    accumulator = QuantileSketch()
    return Case(
        ours=ours,
        peers={"datasketches KLL": Peer(by_kll, 3.5)},
        agrees=agrees,
        stream=lambda: stream(accumulator.update, x),
    )
