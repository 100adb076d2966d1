"""T-STEP: the step response of a second-order system, in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: ζ = 0.5, ω_n = 100 rad/s: protocol specification; t_90 and t_100 from the closed form, t_100 = (π − arccos ζ)/ω_d.
T_STEP = {
    "t_r": 16.38e-3, "t_p": 36.28e-3, "t_s5": 52.89e-3, "t_s2": 80.76e-3, "t_90": 21.26e-3, "t_100": 24.18e-3, "t_d": 12.94e-3,
}  # fmt: skip


def second_order(t: Any, zeta: float = 0.5, omega: float = 100.0) -> Any:
    at = np.maximum(t, 0)
    damped = omega * math.sqrt(1 - zeta**2)
    return 1 - np.exp(-zeta * omega * at) * (
        np.cos(damped * at) + zeta * omega / damped * np.sin(damped * at)
    )
