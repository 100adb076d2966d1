"""Propagation of uncertainty: Monte Carlo after JCGM 101, the GUM's first-order law on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from verification_platform.metrology.arrays import uncertain
from verification_platform.metrology.monte_carlo import Normal, monte_carlo

from .case import Case, Peer, row

#: P = U·I·cos φ of a motor: value and standard uncertainty of each factor.
VOLTAGE, CURRENT, COSINE = (48.0, 0.05), (6.0, 0.02), (0.85, 0.004)


@row("JCGM 101 Monte Carlo, three inputs", 2_000_000, "trials")
def trials(n: int) -> Case:
    import metrolopy
    import suncal

    inputs = [Normal(*VOLTAGE), Normal(*CURRENT), Normal(*COSINE)]
    rng = np.random.default_rng(12)
    scratch = np.empty((3, 1 << 14))

    def ours() -> Any:
        return monte_carlo(
            lambda x: x[0] * x[1] * x[2], inputs, seed=12, min_trials=n, max_trials=n, digits=2
        )

    done = ours().trials

    def by_metrolopy() -> Any:
        a, b, c = (metrolopy.gummy(*each) for each in (VOLTAGE, CURRENT, COSINE))
        power = a * b * c
        power.sim(n=n)
        return power.xsim, power.usim

    def by_suncal() -> Any:
        model = suncal.Model("P = U*I*c")
        for name, (value, u) in zip(("U", "I", "c"), (VOLTAGE, CURRENT, COSINE), strict=True):
            model.var(name).measure(value).typeb(std=u)
        result = model.monte_carlo(samples=n)
        return result.expected["P"], result.uncertainty["P"]

    blocks = n // scratch.shape[1]

    def draw() -> Any:
        for _ in range(blocks):
            rng.standard_normal(out=scratch)

    def agrees(mine: Any, answers: dict[str, Any]) -> str:
        off = max(abs(mine.u / float(answers[name][1]) - 1) for name in ("metrolopy", "suncal"))
        assert off < 0.01, off
        return f"u to {off:.0e} (random)"

    return Case(
        ours=ours,
        peers={
            "metrolopy": Peer(by_metrolopy, 1.4, "metrolopy"),
            "suncal": Peer(by_suncal, 2.0, "suncal"),
            "random numbers alone": Peer(
                draw,
                0.85,
                "limit",
                n=blocks * scratch.shape[1],
                note="three of numpy's standard_normal a trial; ours draws them in pairs (Box and Muller), which is faster",
            ),
        },
        agrees=agrees,
        work=done,
    )


@row("linear GUM on arrays", 1_000_000, "values")
def arrays(n: int) -> Case:
    import auto_uncertainties
    from uncertainties import unumpy

    rng = np.random.default_rng(13)
    a, b = rng.uniform(40, 50, n), rng.uniform(5, 7, n)
    part = n // 50

    def ours() -> Any:
        power = uncertain(a, 0.05, "voltage") * uncertain(b, 0.02, "current")
        return power.values, power.u

    def by_auto() -> Any:
        x = auto_uncertainties.Uncertainty(a, np.full(n, 0.05)) * auto_uncertainties.Uncertainty(
            b, np.full(n, 0.02)
        )
        return x.value, x.error

    def by_unumpy() -> Any:
        x = unumpy.uarray(a[:part], 0.05) * unumpy.uarray(b[:part], 0.02)
        return unumpy.nominal_values(x), unumpy.std_devs(x)

    def agrees(mine: Any, answers: dict[str, Any]) -> str:
        off = float(np.max(np.abs(mine[1][:part] / answers["unumpy"][1] - 1)))
        off = max(off, float(np.max(np.abs(mine[1] / answers["auto_uncertainties"][1] - 1))))
        assert off < 1e-12, off
        return f"u to {off:.0e}"

    return Case(
        ours=ours,
        peers={
            "auto_uncertainties": Peer(by_auto, 1.0, "arrays"),
            "unumpy": Peer(by_unumpy, 100.0, "objects", n=part),
        },
        agrees=agrees,
    )
