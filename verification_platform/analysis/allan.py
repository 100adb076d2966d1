"""Allan, modified, Hadamard and time deviations of rate data: whole arrays, or any length in bounded memory.

    allan = AllanAccumulator(tau0_s=0.01, kind="oadev")
    for block in recording: allan.update(block)         # rates: rad/s, m/s², relative frequency …
    points = allan.result()                             # deviation, terms and confidence at m = 1, 2, 4 …

Definitions: NIST SP 1065 (W. J. Riley, 2008), clause 5, with y the rate averaged over m samples,
τ = m·τ0: Allan σ²(τ) = ½⟨(ȳ[i+m] − ȳ[i])²⟩; Hadamard 1/6⟨(ȳ[i+2m] − 2ȳ[i+m] + ȳ[i])²⟩; modified Allan: the mean of
m consecutive differences in place of one; time deviation TDEV = τ/√3·MDEV.

`points_per_tau` None evaluates every overlapping term; memory then grows with the longest averaging time. A
number p keeps one term per m/p samples once m exceeds p: bounded memory, several times faster. That is another
estimator, so results carry its name; with the default 32 its standard deviation is 0.24 % larger. 1 means
terms that do not overlap.

Policy for gaps: none is ever bridged. An accumulator refuses NaN; `allan_deviation` cuts at NaN and either
takes the longest stretch (protocol specification, SEN-IMU) or pools the terms of all stretches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ._allan_columns import Columns
from ._allan_front import Front
from ._allan_levels import Chain
from .allan_confidence import edf, identify_noise, noise_from_slope
from .blocks import Bool, Float, Int, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError
from .moments import inner
from .special import chi2_quantile, normal_quantile

Kind = Literal["adev", "oadev", "mdev", "tdev", "hdev", "ohdev"]
Gaps = Literal["refuse", "longest", "pool"]

_ORDER = {"adev": 1, "oadev": 1, "mdev": 1, "tdev": 1, "hdev": 2, "ohdev": 2}
_NOT_OVERLAPPING = ("adev", "hdev")
_SHORT = 512  # up to this factor every term is found in the cache
_SHORT_OF_ARRAY = 2048  # the same for a whole array: fewer, longer columns are left
_ENOUGH_AVERAGES = 8192
_AVERAGED_AT_ONCE = 64
_MIN_AVERAGES = 30  # fewer do not show a type of noise
ONE_SIGMA = math.erf(math.sqrt(0.5))


@dataclass(frozen=True, slots=True)
class AllanResult:
    """Deviations at averaging times tau_s (k,), all arrays of that shape; deviation in the unit of the data.

    m: averaging factor. terms: terms averaged. noise: exponent α of the power-law noise S_y ∝ f^α identified
    at that τ (2 white PM … −2 random walk FM; for a gyro 0 is angle random walk, −1 bias instability, −2 rate
    random walk). edf: equivalent degrees of freedom of it. low, high: bounds of the confidence interval.
    estimator: "overlapping", "not overlapping" or "overlapping, stride m/p".
    """

    kind: Kind
    estimator: str
    n: int
    confidence: float
    m: Int
    tau_s: Float
    deviation: Float
    terms: Int
    noise: Int
    edf: Float
    low: Float
    high: Float


class AllanAccumulator:
    """Octave averaging times in one pass: `update(block)`, `merge(later)`, `result()`.

    tau0_s: sampling interval, s. start: number of samples of the recording in front of the first one given
    here; pieces that are to be merged must say where they begin. Kinds adev and hdev are oadev and ohdev with
    points_per_tau = 1.
    """

    def __init__(
        self, tau0_s: float, kind: Kind = "oadev", *, points_per_tau: int | None = 32, start: int = 0
    ) -> None:
        if not (math.isfinite(tau0_s) and tau0_s > 0):
            raise AnalysisError(f"Allan: the sampling interval must be positive, not {tau0_s}")
        if kind not in _ORDER:
            raise AnalysisError(f"Allan: {kind!r} is none of {', '.join(_ORDER)}")
        if points_per_tau is not None and (points_per_tau < 1 or points_per_tau & (points_per_tau - 1)):
            raise AnalysisError(f"Allan: points_per_tau must be a power of two or None, not {points_per_tau}")
        if kind in ("mdev", "tdev") and points_per_tau == 1:
            raise AnalysisError("Allan: the modified variance is defined by overlapping terms")
        self.tau0_s, self.kind = tau0_s, kind
        self.points = 1 if kind in _NOT_OVERLAPPING else points_per_tau
        limit = max(_SHORT, self.points or 1)
        order, modified = _ORDER[kind], kind in ("mdev", "tdev")
        self._front = Front(limit, self.points, order, modified, start)
        self._chain = Chain(2 * limit, self.points, order, modified)

    @property
    def start(self) -> int:
        """Number of the first sample."""
        return self._front.begin

    @property
    def n(self) -> int:
        """Number of samples taken."""
        return self._front.end - self._front.begin

    def update(self, samples: ArrayLike) -> None:
        """Rates (n,) that follow the ones before without a gap. Raises NotFiniteError for NaN or infinity."""
        self._front.feed(as_block(samples), self._chain.feed)

    def merge(self, later: AllanAccumulator) -> None:
        """Append the piece of recording that follows this one without a gap, and use `later` up.

        Terms that straddle the seam are counted, so any partition gives the result of one pass. Raises
        NotMergeableError if `later` does not begin where this one ends.
        """
        if (self.tau0_s, self.kind, self.points) != (later.tau0_s, later.kind, later.points):
            raise NotMergeableError("Allan: different sampling intervals, kinds or estimators")
        if later.n == 0:
            return
        if self.n and later.start != self.start + self.n:
            raise NotMergeableError(
                f"Allan: samples {self.start} … {self.start + self.n - 1} are followed by {later.start}: "
                "pieces with a gap between them are pooled, not merged"
            )
        if self.n == 0:
            self._front, self._chain = later._front, later._chain
            return
        if later.n < later._front.halo:
            self.update(later._front.head)
            return
        across: list[tuple[Float, int]] = []
        self._front.join(later._front, lambda parts, begin: across.append((parts[0] + parts[1], begin)))
        self._chain.drain()
        later._chain.drain()
        sums, begin = across[0] if across else (np.empty(0), 0)
        self._chain.join(sums, begin, later._chain)

    def result(self, confidence: float = ONE_SIGMA) -> AllanResult:
        """All octaves that have a term. Raises NotEnoughDataError if none has."""
        return _result(self.kind, self.tau0_s, self._name(), self.n, self._sums(), self.points, confidence)

    def _sums(self) -> dict[int, tuple[float, int]]:
        self._chain.drain()
        short = {m: (self._front.squares[m], self._front.terms[m]) for m in self._front.factors}
        long = {level.m: (level.squares, level.terms) for level in self._chain.levels}
        return {m: (squares, terms) for m, (squares, terms) in (short | long).items() if terms}

    def _name(self) -> str:
        if self.points is None:
            return "overlapping"
        return "not overlapping" if self.points == 1 else f"overlapping, stride m/{self.points}"


def allan_deviation(
    rates: ArrayLike,
    tau0_s: float,
    kind: Kind = "oadev",
    *,
    m: Sequence[int] | Literal["octave"] = "octave",
    points_per_tau: int | None = None,
    gaps: Gaps = "refuse",
    confidence: float = ONE_SIGMA,
) -> AllanResult:
    """Deviations of rates (n,) in one call, by default with every overlapping term at octave averaging times.

    m: averaging factors (points_per_tau is then not used). gaps: what to do with NaN, which stands for a lost
    sample: refuse, take the longest stretch without one, or pool the terms of all stretches; a term never
    spans a gap. Raises NotFiniteError, NotEnoughDataError.
    """
    stretches = _stretches(as_block(rates), gaps)
    sums: dict[int, tuple[float, int]] = {}
    for stretch in stretches:
        if isinstance(m, str):
            accumulator = AllanAccumulator(tau0_s, kind, points_per_tau=points_per_tau)
            points = accumulator.points
            if points is None:
                part = _every_term(stretch, kind)
            else:
                accumulator.update(stretch)
                part = accumulator._sums()
            name = accumulator._name()
        else:
            factors = [int(value) for value in m]
            if not factors or min(factors) < 1:
                raise AnalysisError("Allan: averaging factors must be 1 or more")
            refuse_not_finite(stretch, 0)
            part = _direct(stretch, kind, sorted(set(factors)))
            points = 1 if kind in _NOT_OVERLAPPING else None
            name = "not overlapping" if points else "overlapping"
        for factor, (squares, terms) in part.items():
            before = sums.get(factor, (0.0, 0))
            sums[factor] = (before[0] + squares, before[1] + terms)
    n = sum(len(stretch) for stretch in stretches)
    longest = max(stretches, key=len)
    return _result(kind, tau0_s, name, n, dict(sorted(sums.items())), points, confidence, longest)


def _every_term(rates: Float, kind: Kind) -> dict[int, tuple[float, int]]:
    """Sums of squares at octave averaging factors with every overlapping term; needs room for one more array."""
    order, modified = _ORDER[kind], kind in ("mdev", "tdev")
    front = Front(_SHORT_OF_ARRAY, None, order, modified)
    columns = Columns(len(rates), 2 * _SHORT_OF_ARRAY, order, modified)
    front.feed(rates, columns.put)
    short = {m: (front.squares[m], front.terms[m]) for m in front.factors if front.terms[m]}
    return short | columns.squares()


def rates_from_phase(phase: ArrayLike, tau0_s: float) -> Float:
    """Rates (n − 1,) whose sum phase (n,) is: angle → angular rate, time error → relative frequency."""
    return np.diff(as_block(phase, "phase")) / tau0_s


def _direct(rates: Float, kind: Kind, factors: list[int]) -> dict[int, tuple[float, int]]:
    """Sums of squares for any averaging factors, from the cumulative sum of the rates without their mean."""
    phase = np.empty(len(rates) + 1)
    phase[0] = 0.0
    np.cumsum(rates - rates.mean(), out=phase[1:])
    order = _ORDER[kind] + 1
    sums: dict[int, tuple[float, int]] = {}
    for m in factors:
        if kind in ("mdev", "tdev"):
            if len(phase) < 3 * m + 1:
                continue
            total = np.concatenate(([0.0], np.cumsum(phase)))
            window = total[m:] - total[:-m]
            terms = window[2 * m :] - 2 * window[m:-m] + window[: -2 * m]
        else:
            if len(phase) < order * m + 1:
                continue
            terms = phase
            for _ in range(order):
                terms = terms[m:] - terms[:-m]
            if kind in _NOT_OVERLAPPING:
                terms = np.ascontiguousarray(terms[::m])
        sums[m] = (inner(terms, terms), len(terms))
    return sums


def _stretches(rates: Float, gaps: Gaps) -> list[Float]:
    """Stretches without a gap, by the policy asked for."""
    if gaps == "refuse":
        return [rates]
    good: Bool = np.isfinite(rates)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    pieces = [rates[a:b] for a, b in zip(edges[0::2], edges[1::2], strict=True)]
    if not pieces:
        raise NotEnoughDataError("Allan: no sample is finite")
    if gaps == "longest":
        return [max(pieces, key=len)]
    if gaps == "pool":
        return pieces
    raise AnalysisError(f"Allan: {gaps!r} is no policy for gaps")


def _result(
    kind: Kind,
    tau0_s: float,
    estimator: str,
    n: int,
    sums: dict[int, tuple[float, int]],
    points: int | None,
    confidence: float,
    rates: Float | None = None,
) -> AllanResult:
    """Deviations and confidence intervals. Noise is identified from `rates` where there are 30 averages of
    them, else from the slope of the deviations.
    """
    if not 0 < confidence < 1:
        raise AnalysisError(f"Allan: a confidence lies between 0 and 1, not {confidence}")
    if not sums:
        raise NotEnoughDataError(f"Allan: {n} samples are too few for a single term")
    m = np.array(list(sums), dtype=np.int64)
    squares = np.array([s for s, _ in sums.values()])
    terms = np.array([t for _, t in sums.values()], dtype=np.int64)
    modified = kind in ("mdev", "tdev")
    scale = np.array([_scale(kind, int(factor)) for factor in m])
    deviation = np.sqrt(squares / terms / scale)
    averages = n // m if rates is None else len(rates) // m
    reliable = averages >= _MIN_AVERAGES
    noise = noise_from_slope(m, deviation, modified)
    if rates is not None:
        for at, alpha in _identified(rates, m, reliable, _ORDER[kind] + 1):
            noise[at] = alpha
    if reliable.any():  # the longest averaging times show too little: the noise in front of them goes on
        last = int(reliable.nonzero()[0][-1])
        noise[last + 1 :] = noise[last]
    freedom = np.array(
        [
            edf(int(alpha), _ORDER[kind] + 1, int(f), n + 1, points=points, modified=modified)
            for f, alpha in zip(m, noise, strict=True)
        ]
    )
    low = deviation * np.sqrt([1 / _chi2_per_freedom((1 + confidence) / 2, v) for v in freedom])
    high = deviation * np.sqrt([1 / _chi2_per_freedom((1 - confidence) / 2, v) for v in freedom])
    tau = m.astype(np.float64) * tau0_s
    if kind == "tdev":
        factor = tau / math.sqrt(3.0)
        deviation, low, high = deviation * factor, low * factor, high * factor
    return AllanResult(kind, estimator, n, confidence, m, tau, deviation, terms, noise, freedom, low, high)


def _identified(rates: Float, m: Int, reliable: Bool, d_max: int) -> Iterator[tuple[int, int]]:
    """(position, α) for the reliable averaging factors (k,), of the first averages if there are plenty of them.

    Long averages are made of shorter ones, so that the whole record is read about once.
    """
    averages, factor = rates, 1
    for at in reliable.nonzero()[0]:
        wanted = int(m[at])
        count = min(len(rates) // wanted, _ENOUGH_AVERAGES)
        if wanted % factor:
            yield int(at), identify_noise(rates[: count * wanted], wanted, d_max)
            continue
        step = wanted // factor
        if step >= _AVERAGED_AT_ONCE:
            averages = averages[: len(averages) // step * step].reshape(-1, step).mean(axis=1)
            factor, step = wanted, 1
        yield int(at), identify_noise(averages[: count * step], step, d_max)


def _chi2_per_freedom(p: float, nu: float) -> float:
    """χ²_p/ν; above ν = 1000 by Wilson and Hilferty's cube, whose error is then below 1e-5."""
    if nu <= 1000:
        return chi2_quantile(p, nu) / nu
    spread = 2 / (9 * nu)
    return float((1 - spread + normal_quantile(p) * math.sqrt(spread)) ** 3)


def _scale(kind: Kind, m: int) -> float:
    """Mean square of the terms over the variance: terms are sums, not means."""
    if kind in ("mdev", "tdev"):
        return 2.0 * float(m) ** 4
    return (2.0 if _ORDER[kind] == 1 else 6.0) * float(m) ** 2
