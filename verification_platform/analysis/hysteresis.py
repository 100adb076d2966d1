"""The hysteresis loop of a gear under torque: lost motion, backlash, torsional stiffness, loss.

Input locked, output loaded +T_N → −T_N → +T_N: the angle φ(T) follows a rising branch φ↑ and a falling one
φ↓. The midline φ_m = (φ↑ + φ↓)/2 carries the elasticity, the width w = φ↓ − φ↑ the friction and play. GB/T
35089-2018 cl. 8, GB/T 40731-2021 cl. 8; protocol specification RED-HYS. Names are distinct on purpose,
because the field uses "lost motion" for different things:

    LM_mid(p)    φ_m(+pT_N) − φ_m(−pT_N)          LM_HD: the same on a loop run only to ±4 % T_N LM_outer(p)
    φ↓(+pT_N) − φ↑(−pT_N)            BL_0: w(0) K_j          1/slope of φ_m on [0, T_1], [T_1, T_2], [T_2,
    T_N], both signs K_ba         0.5·T_N / (φ_m(T_N) − φ_m(0.5·T_N)) W            ∮T dφ = ∫ w dT

Every quantity is a least-squares estimate over all samples near where it is defined, with the standard
deviation its residuals give (type A). Torque noise needs no model: along a ramp it appears as angle noise
of the same size.
"""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._branches import BINS, Track, track_block
from .blocks import CHUNK, refuse_not_finite
from .errors import AnalysisError, NotMergeableError
from .grouping import group_sums
from .samples import CoverageError, as_blocks

Floats = NDArray[np.float64]

_MIN_SAMPLES = 5
_SEGMENT_CELLS = 24
#: Torque a group of averaged samples may span, as a fraction of the amplitude.
_GROUP_SPAN = 0.002
_LARGEST_GROUP = 256
_SETTLE_LIMIT = 262_144

_Piece = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the standard deviation `u` its residuals give and the degrees of freedom behind it."""

    value: float
    u: float
    nu: float


@dataclass(frozen=True, slots=True)
class Stiffness:
    """Torsional stiffness of one segment [low, high] N·m: mean of both signs and each alone, N·m/rad."""

    low: float
    high: float
    mean: Estimate
    positive: Estimate
    negative: Estimate


@dataclass(frozen=True, slots=True)
class Loop:
    """The branches on a common torque grid: torque N·m, angles rad, arrays of shape (cells,)."""

    torque: Floats = field(repr=False)
    rising: Floats = field(repr=False)
    falling: Floats = field(repr=False)
    midline: Floats = field(repr=False)
    width: Floats = field(repr=False)


@dataclass(frozen=True, slots=True)
class HysteresisResult:
    """Angles rad, stiffness N·m/rad, W joule per loop.

    LM_mid at a loop run to ±4 % T_N is LM_HD. K, K_ba, phi_max and phi_min are empty or None when the loop
    does not reach T_N. closure: φ at the end of the loop minus φ at its start. noise: of one sample of
    φ(T).
    """

    p: float
    LM_mid: Estimate
    LM_outer: Estimate
    BL_0: Estimate
    K: tuple[Stiffness, ...]
    K_ba: Estimate | None
    phi_max: Estimate | None
    phi_min: Estimate | None
    W: Estimate
    closure: Estimate
    noise_rad: float
    loop: Loop
    torque_max: float
    torque_min: float
    rising_passes: int
    falling_passes: int
    samples: int
    unused_samples: int


def wind_up(
    output_angle: ArrayLike,
    input_angle: ArrayLike,
    torque: ArrayLike,
    ratio: float,
    sense: int = 1,
    compliance: float = 0.0,
) -> Floats:
    """φ = θ₂ − s·θ₁/i − C_f·T₂: what the gear itself gives way, rad (the constant θ₂,0 is left in).

    output_angle θ₂ and input_angle θ₁ rad, torque T₂ N·m, shapes (n,); compliance C_f of the fixture
    rad/(N·m).
    """
    theta2, theta1, t2 = as_blocks(output_angle, input_angle, torque)
    phi = theta1 * (-sense / ratio)
    phi += theta2
    if compliance:
        phi -= compliance * t2
    return phi


class Hysteresis:
    """Hysteresis of one or more loops at one position of the output, in a single pass.

    T_N: rated torque, N·m; T_1, T_2: breaks of the stiffness segments, N·m (default 0.2 and 0.6 T_N); p: fraction
    of T_N where lost motion is read; amplitude: torque the loop is run to, N·m (T_N; 0.04·T_N for LM_HD).

    Neighbouring samples within 0.2 % of the amplitude are averaged before they are sorted, which changes nothing
    along a ramp and makes dense sampling cheap. To share one run between workers, give its beginning to one
    accumulator and make the others with its `fork`.
    """

    def __init__(
        self,
        T_N: float,
        T_1: float | None = None,
        T_2: float | None = None,
        *,
        p: float = 0.03,
        amplitude: float | None = None,
    ) -> None:
        self.T_N = float(T_N)
        self.T_1 = 0.2 * T_N if T_1 is None else float(T_1)
        self.T_2 = 0.6 * T_N if T_2 is None else float(T_2)
        self.p = p
        self.amplitude = self.T_N if amplitude is None else float(amplitude)
        if not (0 < self.T_1 < self.T_2 < self.T_N < math.inf):
            raise AnalysisError(f"0 < T_1 < T_2 < T_N is needed, got {self.T_1}, {self.T_2}, {self.T_N} N·m")
        if not (0 < p * self.T_N < self.amplitude):
            raise AnalysisError(
                f"p·T_N = {p * self.T_N} N·m must lie inside the loop of ±{self.amplitude} N·m"
            )
        self._group = 0  # samples averaged; 0 until the rate of loading is known
        self._clear(0)

    def _clear(self, first_index: int) -> None:
        self._track = Track(self.amplitude)
        self._head: list[_Piece] = []  # samples of the group within which this accumulator begins
        self._tail: list[_Piece] = []  # samples of a group that is not complete, or all while waiting
        self._started = False  # has the first whole group been reached?
        self._first = self._index = first_index
        self.samples = 0

    def fork(self, first_index: int) -> Hysteresis:
        """An empty accumulator for the samples from `first_index` of the same run, to be merged into this one.

        Raises CoverageError before this one has seen enough to know the rate of loading.
        """
        if not self._group:
            raise CoverageError(
                "the rate of loading is not known yet: give the first block to this accumulator"
            )
        twin = copy.copy(self)
        twin._clear(first_index)
        return twin

    def update(self, torque: ArrayLike, angle: ArrayLike) -> None:
        """Add a block: torque N·m and wind-up angle φ rad (see `wind_up`), shapes (n,), in order of time."""
        t, phi = as_blocks(torque, angle)
        start = 0
        while start < t.size:
            stop = start + CHUNK * min(max(self._group, 1), 8)
            t_part, phi_part = t[start:stop], phi[start:stop]
            start = stop
            refuse_not_finite(t_part, self._index, "torque")
            refuse_not_finite(phi_part, self._index, "angle")
            self.samples += t_part.size
            if self._group:
                self._take(t_part, phi_part)
                continue
            self._tail.append((t_part.copy(), phi_part.copy()))
            self._index += t_part.size
            if self._settle():
                held, self._tail, self._index = self._tail, [], self._first
                for piece in held:
                    self._take(*piece)

    def _settle(self) -> bool:
        """How many samples to average: decided by the first samples alone, whatever the size of the blocks."""
        t = _joined(self._tail)[0][:_SETTLE_LIMIT]
        away = np.abs(t - t[0])
        begun = np.flatnonzero(away >= 0.02 * self.amplitude)
        ended = np.flatnonzero(away[begun[0] :] >= 0.07 * self.amplitude) if begun.size else begun
        if ended.size:
            within = int(ended[0]) * _GROUP_SPAN / 0.05
            self._group = min(1 << math.floor(math.log2(max(within, 1.0))), _LARGEST_GROUP)
        elif t.size >= _SETTLE_LIMIT:
            self._group = 1
        return self._group > 0

    def _take(self, t: Floats, phi: Floats) -> None:
        """Sort whole groups, hold back the samples of those that are not complete."""
        start = 0
        if not self._started:
            start = min(-self._index % self._group, t.size)
            if start:
                self._head.append((t[:start].copy(), phi[:start].copy()))
            self._started = (self._index + start) % self._group == 0
        if self._tail:
            stop = start + self._group - _length(self._tail)
            self._tail.append((t[start:stop].copy(), phi[start:stop].copy()))
            start = min(stop, t.size)
            self._sort_if_complete()
        whole = start + (t.size - start) // self._group * self._group
        if whole > start:
            self._sort(t[start:whole], phi[start:whole])
        if whole < t.size:
            self._tail.append((t[whole:].copy(), phi[whole:].copy()))
        self._index += t.size

    def _sort_if_complete(self) -> None:
        if _length(self._tail) == self._group:
            t, phi = _joined(self._tail)
            self._tail = []
            self._sort(t, phi)

    def _sort(self, t: Floats, phi: Floats) -> None:
        points = _grouped(t, phi, self._group, 0.02 * self.amplitude)
        self._track.append(track_block(*points, self.amplitude))

    def merge(self, other: Hysteresis) -> None:
        """Append the fork that saw the samples directly behind these. Raises NotMergeableError."""
        same = ("T_N", "T_1", "T_2", "p", "amplitude")
        if any(getattr(self, name) != getattr(other, name) for name in same):
            raise NotMergeableError("hysteresis loops of different torques do not merge")
        if other.samples == 0:
            return
        if other._group != self._group or other._first != self._index:
            raise NotMergeableError("only a fork that begins where this accumulator ends can be merged")
        if self._started:
            self._tail = [*self._tail, *other._head]
            self._sort_if_complete()
        else:
            self._head = [*self._head, *other._head]
        if other._started:
            self._started = True
            self._track.append(copy.deepcopy(other._track))
            self._tail = list(other._tail)
        self._index = other._index
        self.samples += other.samples

    def result(self) -> HysteresisResult:
        """Evaluate. Raises CoverageError when a branch, a torque range or samples around ±p·T_N are
        missing."""
        sums, passes = self._finished().branches()
        for direction, name in ((1, "rising"), (-1, "falling")):
            if passes[direction] == 0:
                raise CoverageError(
                    f"no complete {name} branch: the loop must run from end to end, ±{self.amplitude:g} N·m;"
                    " record +T → −T → +T"
                )
        return _evaluate(self, {d: _Branch.of(sums[d]) for d in (1, -1)}, passes)

    def _finished(self) -> Track:
        """The track with the samples of an incomplete group sorted singly."""
        track = copy.deepcopy(self._track)
        if self._tail:
            t, phi = _joined(self._tail)
            track.append(track_block(t, phi, 1.0, self.amplitude))
        return track


def _length(pieces: list[_Piece]) -> int:
    return sum(t.size for t, _ in pieces)


def _joined(pieces: list[_Piece]) -> _Piece:
    return np.concatenate([t for t, _ in pieces]), np.concatenate([phi for _, phi in pieces])


def _grouped(t: Floats, phi: Floats, group: int, span: float) -> tuple[Floats, Floats, Floats | float]:
    """Means over groups of neighbouring samples and the samples behind each.

    A group whose torque moves by more than `span` (a faster ramp than the first one) is left as single samples.
    """
    if group == 1:
        return t, phi, 1.0
    wide = np.flatnonzero(np.abs(t[group - 1 :: group] - t[::group]) > span)
    mean_t, mean_phi = group_sums(t, group), group_sums(phi, group)
    mean_t /= group
    mean_phi /= group
    if wide.size == 0:
        return mean_t, mean_phi, float(group)
    size = np.ones(mean_t.size, dtype=np.int64)
    size[wide] = group
    single = np.repeat(size > 1, size)
    out_t, out_phi = np.repeat(mean_t, size), np.repeat(mean_phi, size)
    out_t[single] = t.reshape(-1, group)[wide].ravel()
    out_phi[single] = phi.reshape(-1, group)[wide].ravel()
    return out_t, out_phi, np.where(single, 1.0, float(group))


def hysteresis(
    torque: ArrayLike, angle: ArrayLike, T_N: float, T_1: float | None = None, T_2: float | None = None,
    *, p: float = 0.03, amplitude: float | None = None,
) -> HysteresisResult:  # fmt: skip
    """`Hysteresis` of arrays that are in memory: torque N·m, wind-up angle rad, shapes (n,)."""
    accumulator = Hysteresis(T_N, T_1, T_2, p=p, amplitude=amplitude)
    accumulator.update(torque, angle)
    return accumulator.result()


@dataclass(frozen=True, slots=True)
class _Branch:
    """One branch as weighted points, ascending in torque: samples n, mean torque t, mean angle y, per bin."""

    n: Floats
    t: Floats
    y: Floats

    @classmethod
    def of(cls, sums: Floats) -> _Branch:
        used = np.flatnonzero(sums[0, 1 : BINS - 1]) + 1
        n, t, y = sums[:, used]
        return cls(n, t / n, y / n)

    def between(self, low: float, high: float) -> _Branch:
        a, b = np.searchsorted(self.t, (low, high))
        return _Branch(self.n[a:b], self.t[a:b], self.y[a:b])

    @property
    def samples(self) -> float:
        return float(self.n.sum())


@dataclass(frozen=True, slots=True)
class _Local:
    """Polynomial of a branch around `centre`: coefficients, their covariance / σ², residual sum and dof."""

    centre: float
    scale: float
    coefficients: Floats
    shape: Floats
    chi2: float
    dof: int

    def row(self, torque: float) -> Floats:
        return np.asarray(((torque - self.centre) / self.scale) ** np.arange(self.coefficients.size))


def _fit(branch: _Branch, low: float, high: float, degree: int) -> _Local:
    """Weighted least-squares polynomial over [low, high]."""
    part = branch.between(low, high)
    degree = min(degree, part.t.size - 2)
    if degree < 1 or part.samples < _MIN_SAMPLES:
        raise CoverageError(
            f"only {part.samples:.0f} samples between {low:g} and {high:g} N·m; load slower or sample faster"
        )
    centre, scale = 0.5 * (low + high), 0.5 * (high - low)
    design = ((part.t - centre) / scale)[:, None] ** np.arange(degree + 1)
    root = np.sqrt(part.n)
    q, r = np.linalg.qr(design * root[:, None])
    coefficients = np.linalg.solve(r, q.T @ (part.y * root))
    inverse = np.linalg.inv(r)
    residual = part.y - design @ coefficients
    chi2 = float(np.dot(part.n, residual * residual))
    return _Local(centre, scale, coefficients, inverse @ inverse.T, chi2, part.t.size - degree - 1)


def _contrast(terms: list[tuple[_Local, Floats]]) -> Estimate:
    """Σ of row·coefficients over independent fits, noise pooled over them."""
    value = sum(float(row @ fit.coefficients) for fit, row in terms)
    distinct = {id(fit): fit for fit, _ in terms}.values()
    dof = sum(fit.dof for fit in distinct)
    sigma2 = sum(fit.chi2 for fit in distinct) / dof if dof else math.inf
    variance = sum(float(row @ fit.shape @ row) for fit, row in terms)
    return Estimate(value, math.sqrt(sigma2 * variance), max(dof, 1))


def _evaluate(settings: Hysteresis, branch: dict[int, _Branch], passes: dict[int, int]) -> HysteresisResult:
    up, down = branch[1], branch[-1]
    reach = min(settings.p * settings.T_N * 2, settings.amplitude)
    p_torque = settings.p * settings.T_N
    _require_samples(branch, p_torque)
    top, bottom = float(min(up.t[-1], down.t[-1])), float(max(up.t[0], down.t[0]))
    if 1.2 * p_torque < settings.T_1 < reach:
        reach = settings.T_1
    fits = {d: _fit(b, -reach, reach, 3) for d, b in branch.items()}
    lm_mid = _contrast([(f, 0.5 * (f.row(p_torque) - f.row(-p_torque))) for f in fits.values()])
    lm_outer = _contrast([(fits[-1], fits[-1].row(p_torque)), (fits[1], -fits[1].row(-p_torque))])
    loop, area, noise = _loop(branch, bottom, top)
    used = up.samples + down.samples
    reaches = max(top, -bottom) >= 0.98 * settings.T_N and min(top, -bottom) >= 0.98 * settings.T_N
    stiffness = _stiffness(settings, branch) if reaches else ()
    phi_max, phi_min, k_ba = _ends(settings.T_N, branch) if reaches else (None, None, None)
    return HysteresisResult(
        p=settings.p,
        LM_mid=lm_mid,
        LM_outer=lm_outer,
        BL_0=_backlash(settings, branch, fits),
        K=stiffness,
        K_ba=k_ba,
        phi_max=phi_max,
        phi_min=phi_min,
        W=area,
        closure=_closure(branch, bottom, top),
        noise_rad=noise,
        loop=loop,
        torque_max=top,
        torque_min=bottom,
        rising_passes=passes[1],
        falling_passes=passes[-1],
        samples=int(used),
        unused_samples=int(settings.samples - used),
    )


def _require_samples(branch: dict[int, _Branch], p_torque: float) -> None:
    for direction, name in ((1, "rising"), (-1, "falling")):
        inside = branch[direction].between(-p_torque, p_torque).samples
        if inside < _MIN_SAMPLES:
            raise CoverageError(
                f"{inside:.0f} samples of the {name} branch within ±{p_torque:g} N·m, at least {_MIN_SAMPLES}"
                " needed for lost motion; load slower or sample faster"
            )


def _backlash(settings: Hysteresis, branch: dict[int, _Branch], near: dict[int, _Local]) -> Estimate:
    """w(0): over the whole first stiffness segment, unless the curve near zero says otherwise."""

    def width(fits: dict[int, _Local]) -> Estimate:
        return _contrast([(fits[-1], fits[-1].row(0.0)), (fits[1], -fits[1].row(0.0))])

    narrow = width(near)
    reach = min(settings.T_1, 0.2 * settings.T_N, settings.amplitude)
    if reach <= near[1].scale:
        return narrow
    wide = width({d: _fit(b, -reach, reach, 3) for d, b in branch.items()})
    return wide if abs(wide.value - narrow.value) <= 3 * math.hypot(narrow.u, wide.u) else narrow


def _stiffness(settings: Hysteresis, branch: dict[int, _Branch]) -> tuple[Stiffness, ...]:
    breaks = (0.0, settings.T_1, settings.T_2, settings.T_N)
    out = []
    for low, high in itertools.pairwise(breaks):
        plus, minus = _segment(branch, low, high), _segment(branch, -high, -low)
        nu = _pooled_nu(plus, minus)
        mean = Estimate(0.5 * (plus.value + minus.value), 0.5 * math.hypot(plus.u, minus.u), nu)
        out.append(Stiffness(low, high, mean, plus, minus))
    return tuple(out)


def _pooled_nu(a: Estimate, b: Estimate) -> float:
    below = a.u**4 / a.nu + b.u**4 / b.nu
    return (a.u**2 + b.u**2) ** 2 / below if below > 0 else a.nu + b.nu


def _segment(branch: dict[int, _Branch], low: float, high: float) -> Estimate:
    """1/slope of the midline by least squares over equal cells, so that a dwell has no more weight than a
    ramp."""
    cells = _Cells.of(branch, np.linspace(low, high, _SEGMENT_CELLS + 1))
    if cells.t.size < 4:
        raise CoverageError(f"too few samples between {low:g} and {high:g} N·m for a stiffness; load slower")
    t = cells.t - cells.t.mean()
    spread = float(np.dot(t, t))
    slope = float(np.dot(t, cells.mid)) / spread
    residual = cells.mid - cells.mid.mean() - slope * t
    dof = t.size - 2
    u = math.sqrt(float(np.dot(residual, residual)) / dof / spread)
    if slope <= 0:
        raise CoverageError(
            f"the angle does not rise with torque between {low:g} and {high:g} N·m: wrong sign or slip"
        )
    return Estimate(1 / slope, u / slope**2, dof)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Both branches averaged over common torque cells; cells without samples of both are left out."""

    kept: NDArray[np.intp]
    n: dict[int, Floats]
    torque: dict[int, Floats]
    angle: dict[int, Floats]

    @classmethod
    def of(cls, branch: dict[int, _Branch], edges: Floats) -> _Cells:
        sums = {}
        for d, b in branch.items():
            part = b.between(float(edges[0]), float(edges[-1]))
            cell = np.clip(np.searchsorted(edges, part.t, "right") - 1, 0, edges.size - 2)
            weights = (part.n, part.n * part.t, part.n * part.y)
            sums[d] = np.array([np.bincount(cell, w, edges.size - 1) for w in weights], dtype=np.float64)
        kept = np.flatnonzero((sums[1][0] > 0) & (sums[-1][0] > 0))
        sums = {d: s[:, kept] for d, s in sums.items()}
        return cls(
            kept,
            {d: s[0] for d, s in sums.items()},
            {d: s[1] / s[0] for d, s in sums.items()},
            {d: s[2] / s[0] for d, s in sums.items()},
        )

    @property
    def t(self) -> Floats:
        return 0.5 * (self.torque[1] + self.torque[-1])

    @property
    def mid(self) -> Floats:
        return 0.5 * (self.angle[1] + self.angle[-1])


def _loop(branch: dict[int, _Branch], bottom: float, top: float) -> tuple[Loop, Estimate, float]:
    """The branches on a common grid, the loop area, and the noise of one sample."""
    fewest = min(b.between(bottom, top).samples for b in branch.values())
    count = int(min(max(fewest / 8, 16), 200))
    edges = np.linspace(bottom, top, count + 1)
    cells = _Cells.of(branch, edges)
    if cells.kept.size < count:
        raise CoverageError(
            f"the loop has a hole: {count - cells.kept.size} of {count} torque cells between {bottom:g} and"
            f" {top:g} N·m hold no samples of one branch or both"
        )
    centre = 0.5 * (edges[1:] + edges[:-1])
    slope = np.gradient(cells.mid, cells.t)
    rising, falling = (cells.angle[d] + slope * (centre - cells.torque[d]) for d in (1, -1))
    width = falling - rising
    noise = _noise(branch, edges, slope)
    step = (top - bottom) / count
    u = noise * step * math.sqrt(float(np.sum(1 / cells.n[1] + 1 / cells.n[-1])))
    area = Estimate(float(width.sum()) * step, u, max(fewest - count, 1))
    return Loop(centre, rising, falling, 0.5 * (rising + falling), width), area, noise


def _noise(branch: dict[int, _Branch], edges: Floats, slope: Floats) -> float:
    """Standard deviation of one sample: spread of the bins within each cell about the cell's line."""
    chi2 = dof = 0.0
    for b in branch.values():
        part = b.between(float(edges[0]), float(edges[-1]))
        cell = np.clip(np.searchsorted(edges, part.t, "right") - 1, 0, edges.size - 2)
        flat = part.y - slope[cell] * part.t
        n = np.bincount(cell, part.n, edges.size - 1)
        mean = np.bincount(cell, part.n * flat, edges.size - 1) / np.maximum(n, 1)
        left = flat - mean[cell]
        chi2 += float(np.dot(part.n, left * left))
        dof += part.t.size - np.count_nonzero(n)
    return math.sqrt(chi2 / dof) if dof > 0 else math.nan


def _edge_fits(branch: dict[int, _Branch], end: float, depth: float) -> dict[int, _Local]:
    low, high = (end - depth, end * 1.02) if end > 0 else (end * 1.02, end + depth)
    return {d: _fit(b, low, high, 2) for d, b in branch.items()}


def _ends(T_N: float, branch: dict[int, _Branch]) -> tuple[Estimate, Estimate, Estimate]:
    """φ_m(±T_N) relative to φ_m(0), and K_ba."""
    zero = {d: _fit(b, -0.05 * T_N, 0.05 * T_N, 2) for d, b in branch.items()}
    phi, stiffness = {}, {}
    for sign in (1, -1):
        edge = _edge_fits(branch, sign * T_N, 0.15 * T_N)
        half = {d: _fit_wide_enough(b, 0.5 * sign * T_N, 0.02 * T_N) for d, b in branch.items()}
        at_edge = [(f, 0.5 * f.row(sign * T_N)) for f in edge.values()]
        phi[sign] = _contrast([*at_edge, *((f, -0.5 * f.row(0.0)) for f in zero.values())])
        rise = _contrast([*at_edge, *((f, -0.5 * f.row(0.5 * sign * T_N)) for f in half.values())])
        value = 0.5 * sign * T_N / rise.value
        stiffness[sign] = Estimate(value, abs(value * rise.u / rise.value), rise.nu)
    plus, minus = stiffness[1], stiffness[-1]
    mean = Estimate(
        0.5 * (plus.value + minus.value), 0.5 * math.hypot(plus.u, minus.u), _pooled_nu(plus, minus)
    )
    return phi[1], phi[-1], mean


def _fit_wide_enough(branch: _Branch, centre: float, half: float) -> _Local:
    """A line around `centre`, widened until it rests on at least 12 samples."""
    for factor in (1, 2, 4):
        if branch.between(centre - factor * half, centre + factor * half).samples >= 12:
            break
    return _fit(branch, centre - factor * half, centre + factor * half, 1)


def _closure(branch: dict[int, _Branch], bottom: float, top: float) -> Estimate:
    """φ(end) − φ(start): the branches meet at both ends of the loop, except where it was begun and ended."""
    depth = 0.15 * (top - bottom) / 2
    gaps = []
    for end in (top, bottom):
        low, high = (end - depth, end) if end == top else (end, end + depth)
        fits = {
            d: _fit(b, np.nextafter(low, -np.inf), np.nextafter(high, np.inf), 2) for d, b in branch.items()
        }
        last, first = (1, -1) if end == top else (-1, 1)
        gaps.append(_contrast([(fits[last], fits[last].row(end)), (fits[first], -fits[first].row(end))]))
    return max(gaps, key=lambda gap: abs(gap.value))
