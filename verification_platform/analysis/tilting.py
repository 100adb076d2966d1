"""Tilting (bending-moment) rigidity of an output bearing.

GB/T 35089-2018 cl. 10; protocol specification RED-MS. A moment is run round a loop; two displacement sensors a
known span apart show the tilt. The loop is that of `hysteresis`, with moment for torque and tilt for angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .errors import AnalysisError
from .hysteresis import hysteresis
from .hysteresis_result import Estimate, HysteresisResult
from .samples import as_blocks


@dataclass(frozen=True, slots=True)
class TiltingRigidity:
    """K_M = ΔM/Δψ of the midline between 50 and 100 % of M_c, N·m/rad, mean of both signs; the whole loop."""

    K_M: Estimate
    loop: HysteresisResult


def tilting_rigidity(
    moment_n_m: ArrayLike, d_1_m: ArrayLike, d_2_m: ArrayLike, span_m: float, M_c: float
) -> TiltingRigidity:
    """Rigidity from the moment M = F·L (n,), N·m, and the readings d_1, d_2 (n,), m, of two sensors `span_m`
    apart, over three loops 0 → M_c → 0 → −M_c → 0.

    Raises AnalysisError for a span or M_c that is not positive, CoverageError for a loop that is not run.
    """
    if not (span_m > 0 and M_c > 0):
        raise AnalysisError(f"span and M_c must be positive, got {span_m} m, {M_c} N·m")
    moment, first, second = as_blocks(moment_n_m, d_1_m, d_2_m)
    tilt = np.arctan2(first - second, span_m)
    loop = hysteresis(moment, tilt, M_c, 0.25 * M_c, 0.5 * M_c)
    return TiltingRigidity(loop.K[-1].mean, loop)
