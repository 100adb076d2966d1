"""Coverage factors and risks: the distributions of `analysis.special` under the names metrology uses."""

from __future__ import annotations

import math

from verification_platform.analysis.special import (
    chi2_cdf,
    chi2_quantile,
    incomplete_beta,
    incomplete_gamma,
    normal_cdf,
    normal_quantile,
    t_cdf,
    t_quantile,
)

__all__ = [
    "P_K2",
    "chi2_cdf",
    "chi2_quantile",
    "coverage_factor",
    "incomplete_beta",
    "incomplete_gamma",
    "normal_cdf",
    "normal_quantile",
    "t_cdf",
    "t_quantile",
]

#: Coverage probability of k = 2 for a normal distribution, quoted as 95.45 %.
P_K2 = math.erf(math.sqrt(2.0))


def coverage_factor(nu: float, probability: float = P_K2) -> float:
    """k = t_p(ν) of JCGM 100 G.3: half-width of the symmetric interval that holds `probability`.

    ν = inf gives the normal factor (2 at 95.45 %). Raises ValueError for probability outside (0, 1) or ν ≤ 0.
    """
    if not 0 < probability < 1:
        raise ValueError(f"coverage probability must lie between 0 and 1, got {probability}")
    return -t_quantile((1.0 - probability) / 2, nu)
