"""What is known of a measuring channel and of the bench's own influence: the traceability of every sample.

Each channel of a recording carries one `ChannelRecord` (protocol specification §0.4). Evaluation reads uncertainties
from here and from nowhere else, so a recording measured elsewhere is judged by the same rules.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """One measured quantity: SI unit, sensor, and the calibration that leads to the SI.

    `U` (absolute, in `unit`) and `U_relative` (fraction of the reading) are expanded with `k`; `rate_hz` is the nominal
    sampling rate, `resolution` one digit in `unit`. Zeros are readings at rest before and after the run, in `unit`.
    """

    name: str
    unit: str
    rate_hz: float
    sensor: str = ""
    resolution: float = 0.0
    range: float | None = None
    certificate: str = ""
    laboratory: str = ""
    calibrated: dt.date | None = None
    due: dt.date | None = None
    U: float = 0.0
    U_relative: float = 0.0
    k: float = 2.0
    zero_before: float | None = None
    zero_after: float | None = None

    def u(self, reading: float = 0.0) -> float:
        """Standard uncertainty of one reading, in `unit`."""
        return float(((self.U / self.k) ** 2 + (self.U_relative * reading / self.k) ** 2) ** 0.5)


@dataclass(frozen=True, slots=True)
class FixtureRecord:
    """What the bench adds to a measurement, and its U (k = 2); SI."""

    compliance: float = 0.0  # rad/(N·m), of fixture and couplings
    compliance_U: float = 0.0
    drag_coulomb: float = 0.0  # N·m at the input, with the DUT removed
    drag_viscous: float = 0.0  # N·m·s/rad
    drag_U: float = 0.0
    sync_skew_U: float = 0.0  # s, between angle channels of one group
    mounting_U: float = 0.0  # rad, eccentricity of the output encoder's coupling
