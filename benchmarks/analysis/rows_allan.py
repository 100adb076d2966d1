"""Allan deviations at octave averaging times."""

from __future__ import annotations

from typing import Any

import numpy as np

from verification_platform.analysis.allan import AllanAccumulator, Kind, allan_deviation

from .case import Case, Peer, row
from .runner import stream


def _case(n: int, kind: Kind, points: int | None, goal: float, peer_n: int) -> Case:
    import allantools

    rng = np.random.default_rng(3)
    y = rng.standard_normal(n)
    y += 1e-3 * np.cumsum(rng.standard_normal(n))
    part = y[:peer_n]
    oracle = getattr(allantools, kind)

    def ours() -> Any:
        if points is None:
            return allan_deviation(y, 1.0, kind)
        accumulator = AllanAccumulator(1.0, kind, points_per_tau=points)
        accumulator.update(y)
        return accumulator.result()

    def agrees(_: Any, answers: dict[str, Any]) -> str:
        taus, deviation, _, terms = answers["allantools"]
        mine = allan_deviation(part, 1.0, kind, points_per_tau=points)
        same = np.isin(mine.m, np.rint(taus))
        off = np.abs(mine.deviation[same] / deviation[np.isin(np.rint(taus), mine.m)] - 1)
        if points is None:
            assert np.array_equal(mine.terms[same], terms)
            assert off.max() < 1e-11, off.max()
            return f"to {off.max():.0e} at all {same.sum()} τ"
        many = mine.terms[same] >= 100 * points
        assert off[many].max() < 0.02, off[many].max()
        return f"to {off[many].max():.1e} where 100 τ fit (another estimator)"

    accumulator = AllanAccumulator(1.0, kind, points_per_tau=points)
    return Case(
        ours=ours,
        peers={
            "allantools": Peer(
                lambda: oracle(part, rate=1.0, data_type="freq", taus="octave"), goal, n=peer_n
            )
        },
        agrees=agrees,
        stream=None if points is None else lambda: stream(accumulator.update, y),
        note="every term; memory grows with τ" if points is None else f"stride m/{points}",
    )


@row("OADEV, octave τ, exact", 10_000_000)
def oadev_exact(n: int) -> Case:
    return _case(n, "oadev", None, 6.0, n)


@row("OADEV, octave τ, bounded memory", 10_000_000)
def oadev_bounded(n: int) -> Case:
    return _case(n, "oadev", 32, 20.0, n)


@row("MDEV, octave τ, bounded memory", 10_000_000)
def mdev_bounded(n: int) -> Case:
    return _case(n, "mdev", 32, 27.0, n)
