"""Rainflow counting: sparse, dense, noisy and adversarial signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from verification_platform.analysis.rainflow import RainflowCounter, rainflow

from .case import Case, Peer, row
from .runner import stream

BINS = 64


def _case(x: np.ndarray, compiled: float, python: float, note: str = "") -> Case:
    """Histogram of ranges from our counter and from every peer. Compiled peers get the whole signal, the
    others a part of it.
    """
    import fatpack
    import pyyeti.cyclecount
    import pyyeti.rainflow.c_rain
    import rainflow as rainflow_peer
    import rfcnt
    from pylife.stress.rainflow import FourPointDetector
    from pylife.stress.rainflow.recorders import LoopValueRecorder

    width = float(np.ptp(x)) / BINS * (1 + 1e-12)
    part = x[: len(x) // 50]
    edges = np.arange(BINS + 1) * width

    def by_pylife() -> Any:
        recorder = LoopValueRecorder()
        detector = FourPointDetector(recorder=recorder)
        detector.process(x)
        ranges = np.abs(np.asarray(recorder.values_from) - np.asarray(recorder.values_to))
        open_ranges = np.abs(np.diff(detector.residuals))
        return np.histogram(ranges, edges)[0] + 0.5 * np.histogram(open_ranges, edges)[0]

    def by_pyyeti() -> Any:
        turning = x[pyyeti.cyclecount.findap(x)]
        table = pyyeti.cyclecount.rainflow(turning, use_pandas=False)
        return np.histogram(2 * table[:, 0], edges, weights=table[:, 2])[0]

    def by_rfcnt() -> Any:
        return rfcnt.rfc(
            x, class_width=width, class_count=BINS + 2, class_offset=float(x.min()) - width, hysteresis=0
        )

    def by_rainflow() -> Any:
        return rainflow_peer.count_cycles(part, binsize=width)

    def by_fatpack() -> Any:
        ranges = fatpack.find_rainflow_ranges(part, k=256)
        return np.histogram(ranges, edges)[0]

    def agrees(ours: Any, answers: dict[str, Any]) -> str:
        # A range on the edge of a bin may fall to either side of it in a peer's subtraction; pyyeti also joins
        # turning points that differ by less than 1e-6 of the range.
        counts = np.append(ours.counts, np.zeros(BINS))[:BINS]
        off = {peer: float(np.abs(counts - answers[peer]).sum()) for peer in ("pylife", "pyyeti")}
        assert off["pylife"] <= 2, off
        assert off["pyyeti"] <= 1e-5 * counts.sum() + 2, off
        few = rainflow(part, width)
        theirs = np.array([c for _, c in answers["rainflow"]])
        assert abs(few.cycles - theirs.sum()) <= 0.5, (few.cycles, theirs.sum())
        return f"{ours.cycles:.0f} cycles; in another bin: pylife {off['pylife']:g}, pyyeti {off['pyyeti']:g}"

    counter = RainflowCounter(width)
    return Case(
        ours=lambda: rainflow(x, width),
        peers={
            "pylife": Peer(by_pylife, compiled, "compiled"),
            "pyyeti": Peer(by_pyyeti, compiled, "compiled"),
            "rfcnt": Peer(by_rfcnt, compiled, "compiled"),
            "rainflow": Peer(by_rainflow, python, "python", len(part)),
            "fatpack": Peer(by_fatpack, compiled, "compiled", len(part)),
        },
        agrees=agrees,
        stream=lambda: stream(counter.update, x),
        note=note,
    )


@row("rainflow, 3 % turning points", 10_000_000)
def sparse(n: int) -> Case:
    """Random load, the band below 2 % of the sampling rate."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(n))
    spectrum[int(0.0195 * n) :] = 0
    return _case(np.fft.irfft(spectrum, n), 5.0, 30.0)


@row("rainflow, 3 % turning points, modulated", 10_000_000)
def modulated(n: int) -> Case:
    """A vibration whose amplitude swells and fades: loops nested a hundred deep."""
    t = np.arange(n)
    x = np.sin(2 * np.pi * 0.013 * t) * (1 + 0.5 * np.sin(2 * np.pi * 1.1e-4 * t))
    x += 0.5 * np.sin(2 * np.pi * 0.0031 * t + 1) + 1e-3 * np.sin(2 * np.pi * 7.7e-7 * t)
    return _case(x, 5.0, 30.0)


@row("rainflow, 33 % turning points with plateaus", 10_000_000)
def plateaus(n: int) -> Case:
    return _case(np.round(np.cumsum(np.random.default_rng(1).standard_normal(n))), 1.5, 3.0)


@row("rainflow, white noise", 10_000_000)
def white(n: int) -> Case:
    return _case(np.random.default_rng(2).standard_normal(n), 3.0, 3.0)


@row("rainflow, dense beats (adversarial)", 10_000_000)
def beats(n: int) -> Case:
    t = np.arange(n)
    x = np.sin(2 * np.pi * 0.21 * t) * np.sin(2 * np.pi * t / 4000) + 1e-6 * np.sin(7.7e-7 * t)
    return _case(x, 1.0, 3.0, "42 % turning points")


@row("rainflow, nested loops, every sample turns", 5_000_000)
def nested(n: int) -> Case:
    t = np.arange(n)
    x = (1 - 2.0 * (t & 1)) * (np.abs(np.sin(np.pi * t / 2000.3)) + 1e-4 * np.sin(7.7e-6 * t))
    return _case(x, 1.0, 3.0, "worse than any real signal")
