"""The two branches of a hysteresis loop as weighted points, and local least-squares fits to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._branches import BINS
from .hysteresis_result import Estimate, Floats
from .samples import CoverageError

MIN_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch as weighted points, ascending in torque: samples n, mean torque t, mean angle y, per bin."""

    n: Floats
    t: Floats
    y: Floats

    @classmethod
    def of(cls, sums: Floats) -> Branch:
        used = np.flatnonzero(sums[0, 1 : BINS - 1]) + 1
        n, t, y = sums[:, used]
        return cls(n, t / n, y / n)

    def between(self, low: float, high: float) -> Branch:
        a, b = np.searchsorted(self.t, (low, high))
        return Branch(self.n[a:b], self.t[a:b], self.y[a:b])

    @property
    def samples(self) -> float:
        return float(self.n.sum())


@dataclass(frozen=True, slots=True)
class Local:
    """Polynomial of a branch around `centre`: coefficients, their covariance / σ², residual sum and dof."""

    centre: float
    scale: float
    coefficients: Floats
    shape: Floats
    chi2: float
    dof: int

    def row(self, torque: float) -> Floats:
        return np.asarray(((torque - self.centre) / self.scale) ** np.arange(self.coefficients.size))


def fit_polynomial(branch: Branch, low: float, high: float, degree: int) -> Local:
    """Weighted least-squares polynomial over [low, high]."""
    part = branch.between(low, high)
    degree = min(degree, part.t.size - 2)
    if degree < 1 or part.samples < MIN_SAMPLES:
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
    return Local(centre, scale, coefficients, inverse @ inverse.T, chi2, part.t.size - degree - 1)


def contrast(terms: list[tuple[Local, Floats]]) -> Estimate:
    """Σ of row·coefficients over independent fits, noise pooled over them."""
    value = sum(float(row @ fit.coefficients) for fit, row in terms)
    distinct = {id(fit): fit for fit, _ in terms}.values()
    dof = sum(fit.dof for fit in distinct)
    sigma2 = sum(fit.chi2 for fit in distinct) / dof if dof else math.inf
    variance = sum(float(row @ fit.shape @ row) for fit, row in terms)
    return Estimate(value, math.sqrt(sigma2 * variance), max(dof, 1))


def pooled_nu(a: Estimate, b: Estimate) -> float:
    below = a.u**4 / a.nu + b.u**4 / b.nu
    return (a.u**2 + b.u**2) ** 2 / below if below > 0 else a.nu + b.nu


@dataclass(frozen=True, slots=True)
class Cells:
    """Both branches averaged over common torque cells; cells without samples of both are left out."""

    kept: NDArray[np.intp]
    n: dict[int, Floats]
    torque: dict[int, Floats]
    angle: dict[int, Floats]

    @classmethod
    def of(cls, branch: dict[int, Branch], edges: Floats) -> Cells:
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
