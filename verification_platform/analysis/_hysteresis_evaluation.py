"""From the sorted branches of a hysteresis loop to its characteristics."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ._hysteresis_fits import MIN_SAMPLES, Branch, Cells, Local, contrast, fit_polynomial, pooled_nu
from .errors import AnalysisError
from .hysteresis_result import Estimate, Floats, HysteresisResult, Loop, Stiffness
from .samples import CoverageError

_SEGMENT_CELLS = 24


@dataclass(frozen=True, slots=True)
class Loading:
    """How the loop was run and where it is read, N·m; p as a fraction of T_N. Raises AnalysisError."""

    T_N: float
    T_1: float
    T_2: float
    p: float
    amplitude: float

    def __post_init__(self) -> None:
        if not (0 < self.T_1 < self.T_2 < self.T_N < math.inf):
            raise AnalysisError(f"0 < T_1 < T_2 < T_N is needed, got {self.T_1}, {self.T_2}, {self.T_N} N·m")
        if not (0 < self.p * self.T_N < self.amplitude):
            raise AnalysisError(
                f"p·T_N = {self.p * self.T_N} N·m must lie inside the loop of ±{self.amplitude} N·m"
            )


def evaluate(
    loading: Loading, branch: dict[int, Branch], passes: dict[int, int], samples: int
) -> HysteresisResult:
    up, down = branch[1], branch[-1]
    reach = min(loading.p * loading.T_N * 2, loading.amplitude)
    p_torque = loading.p * loading.T_N
    _require_samples(branch, p_torque)
    top, bottom = float(min(up.t[-1], down.t[-1])), float(max(up.t[0], down.t[0]))
    if 1.2 * p_torque < loading.T_1 < reach:
        reach = loading.T_1
    fits = {d: fit_polynomial(b, -reach, reach, 3) for d, b in branch.items()}
    lm_mid = contrast([(f, 0.5 * (f.row(p_torque) - f.row(-p_torque))) for f in fits.values()])
    lm_outer = contrast([(fits[-1], fits[-1].row(p_torque)), (fits[1], -fits[1].row(-p_torque))])
    loop, area, noise = _loop(branch, bottom, top)
    used = up.samples + down.samples
    reaches = max(top, -bottom) >= 0.98 * loading.T_N and min(top, -bottom) >= 0.98 * loading.T_N
    stiffness = _stiffness(loading, branch) if reaches else ()
    phi_max, phi_min, k_ba = _ends(loading.T_N, branch) if reaches else (None, None, None)
    return HysteresisResult(
        p=loading.p,
        LM_mid=lm_mid,
        LM_outer=lm_outer,
        BL_0=_backlash(loading, branch, fits),
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
        unused_samples=int(samples - used),
    )


def _require_samples(branch: dict[int, Branch], p_torque: float) -> None:
    for direction, name in ((1, "rising"), (-1, "falling")):
        inside = branch[direction].between(-p_torque, p_torque).samples
        if inside < MIN_SAMPLES:
            raise CoverageError(
                f"{inside:.0f} samples of the {name} branch within ±{p_torque:g} N·m, at least {MIN_SAMPLES}"
                " needed for lost motion; load slower or sample faster"
            )


def _backlash(loading: Loading, branch: dict[int, Branch], near: dict[int, Local]) -> Estimate:
    """w(0): over the whole first stiffness segment, unless the curve near zero says otherwise."""

    def width(fits: dict[int, Local]) -> Estimate:
        return contrast([(fits[-1], fits[-1].row(0.0)), (fits[1], -fits[1].row(0.0))])

    narrow = width(near)
    reach = min(loading.T_1, 0.2 * loading.T_N, loading.amplitude)
    if reach <= near[1].scale:
        return narrow
    wide = width({d: fit_polynomial(b, -reach, reach, 3) for d, b in branch.items()})
    return wide if abs(wide.value - narrow.value) <= 3 * math.hypot(narrow.u, wide.u) else narrow


def _stiffness(loading: Loading, branch: dict[int, Branch]) -> tuple[Stiffness, ...]:
    breaks = (0.0, loading.T_1, loading.T_2, loading.T_N)
    out = []
    for low, high in itertools.pairwise(breaks):
        plus, minus = _segment(branch, low, high), _segment(branch, -high, -low)
        nu = pooled_nu(plus, minus)
        mean = Estimate(0.5 * (plus.value + minus.value), 0.5 * math.hypot(plus.u, minus.u), nu)
        out.append(Stiffness(low, high, mean, plus, minus))
    return tuple(out)


def _segment(branch: dict[int, Branch], low: float, high: float) -> Estimate:
    """1/slope of the midline by least squares over equal cells, so that a dwell has no more weight than a
    ramp."""
    cells = Cells.of(branch, np.linspace(low, high, _SEGMENT_CELLS + 1))
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


def _loop(branch: dict[int, Branch], bottom: float, top: float) -> tuple[Loop, Estimate, float]:
    """The branches on a common grid, the loop area, and the noise of one sample."""
    fewest = min(b.between(bottom, top).samples for b in branch.values())
    count = int(min(max(fewest / 8, 16), 200))
    edges = np.linspace(bottom, top, count + 1)
    cells = Cells.of(branch, edges)
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


def _noise(branch: dict[int, Branch], edges: Floats, slope: Floats) -> float:
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


def _edge_fits(branch: dict[int, Branch], end: float, depth: float) -> dict[int, Local]:
    low, high = (end - depth, end * 1.02) if end > 0 else (end * 1.02, end + depth)
    return {d: fit_polynomial(b, low, high, 2) for d, b in branch.items()}


def _ends(T_N: float, branch: dict[int, Branch]) -> tuple[Estimate, Estimate, Estimate]:
    """φ_m(±T_N) relative to φ_m(0), and K_ba."""
    zero = {d: fit_polynomial(b, -0.05 * T_N, 0.05 * T_N, 2) for d, b in branch.items()}
    phi, stiffness = {}, {}
    for sign in (1, -1):
        edge = _edge_fits(branch, sign * T_N, 0.15 * T_N)
        half = {d: _fit_wide_enough(b, 0.5 * sign * T_N, 0.02 * T_N) for d, b in branch.items()}
        at_edge = [(f, 0.5 * f.row(sign * T_N)) for f in edge.values()]
        phi[sign] = contrast([*at_edge, *((f, -0.5 * f.row(0.0)) for f in zero.values())])
        rise = contrast([*at_edge, *((f, -0.5 * f.row(0.5 * sign * T_N)) for f in half.values())])
        value = 0.5 * sign * T_N / rise.value
        stiffness[sign] = Estimate(value, abs(value * rise.u / rise.value), rise.nu)
    plus, minus = stiffness[1], stiffness[-1]
    mean = Estimate(
        0.5 * (plus.value + minus.value), 0.5 * math.hypot(plus.u, minus.u), pooled_nu(plus, minus)
    )
    return phi[1], phi[-1], mean


def _fit_wide_enough(branch: Branch, centre: float, half: float) -> Local:
    """A line around `centre`, widened until it rests on at least 12 samples."""
    for factor in (1, 2, 4):
        if branch.between(centre - factor * half, centre + factor * half).samples >= 12:
            break
    return fit_polynomial(branch, centre - factor * half, centre + factor * half, 1)


def _closure(branch: dict[int, Branch], bottom: float, top: float) -> Estimate:
    """φ(end) − φ(start): the branches meet at both ends of the loop, except where it was begun and ended."""
    depth = 0.15 * (top - bottom) / 2
    gaps = []
    for end in (top, bottom):
        low, high = (end - depth, end) if end == top else (end, end + depth)
        fits = {
            d: fit_polynomial(b, np.nextafter(low, -np.inf), np.nextafter(high, np.inf), 2)
            for d, b in branch.items()
        }
        last, first = (1, -1) if end == top else (-1, 1)
        gaps.append(contrast([(fits[last], fits[last].row(end)), (fits[first], -fits[first].row(end))]))
    return max(gaps, key=lambda gap: abs(gap.value))
