"""What is really there: the answers a protocol must find within its stated uncertainty.

Quantities are named as in the protocol specification (RED-TE, RED-HYS, RED-NL) and follow from the plant's
parameters analytically; nothing here is measured or simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .torsion import TorsionLaw


@dataclass(frozen=True, slots=True)
class Truth:
    """True values of one plant, SI. Arguments `p` are fractions of T_N."""

    ratio: float
    sense: int
    orders: tuple[tuple[float, float, float], ...]  # (q per output revolution, A_q in rad, φ_q in rad)
    law: TorsionLaw
    friction_coulomb: float  # T_C at the reference temperature, N·m at the input
    friction_viscous: float  # N·m·s/rad at the reference temperature
    friction_load: float
    friction_per_kelvin: float
    reference_temperature: float
    # of the bench, not of the DUT; a protocol corrects them with the fixture record
    compliance: float = 0.0
    drag_coulomb: float = 0.0
    drag_viscous: float = 0.0
    sync_skew: float = 0.0

    def transmission_error(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """e(θ₂) of the unloaded reducer, rad, same shape as `angle`."""
        error = np.zeros_like(angle)
        for order, amplitude, phase in self.orders:
            error += amplitude * np.sin(order * angle + phase)
        return error

    @property
    def TE_pp(self) -> float:
        """max e − min e over one output revolution, rad; extremes refined by Newton to the last digit."""
        finest = max((order for order, *_ in self.orders), default=1.0)
        angle = np.linspace(0.0, 2 * math.pi, int(64 * finest) + 1)
        error = self.transmission_error(angle)
        highest, lowest = (self._refine(float(angle[i])) for i in (error.argmax(), error.argmin()))
        return max(highest, float(error.max())) - min(lowest, float(error.min()))

    def _refine(self, angle: float) -> float:
        """Value of e at the stationary point next to `angle`."""
        for _ in range(20):
            slope = sum(a * q * math.cos(q * angle + phase) for q, a, phase in self.orders)
            bend = -sum(a * q * q * math.sin(q * angle + phase) for q, a, phase in self.orders)
            if bend == 0.0:
                break
            angle -= slope / bend
        return sum(a * math.sin(q * angle + phase) for q, a, phase in self.orders)

    @property
    def TE_rms(self) -> float:
        """RMS of e about its mean over one revolution, rad (whole orders)."""
        return math.sqrt(sum(a * a for _, a, _ in self.orders) / 2)

    def A(self, order: float) -> float:
        """Amplitude A_q, rad; zero for an order that is not there."""
        return sum(a for q, a, _ in self.orders if q == order)

    @property
    def T_N(self) -> float:
        return self.law.rated_torque

    @property
    def K_1(self) -> float:
        return self.law.stiffness[0]

    @property
    def K_2(self) -> float:
        return self.law.stiffness[1]

    @property
    def K_3(self) -> float:
        return self.law.stiffness[2]

    @property
    def K_ba(self) -> float:
        """(T_N − 0.5·T_N)/(φ_m(T_N) − φ_m(0.5·T_N)), N·m/rad."""
        return 0.5 * self.T_N / (self.law.midline(self.T_N) - self.law.midline(0.5 * self.T_N))

    @property
    def BL_0(self) -> float:
        """Width of the ±T_N loop at zero torque, rad."""
        return self.law.loop_width(0.0, self.T_N)

    @property
    def W(self) -> float:
        """Work lost in one ±T_N loop, ∫ w dT = w0·(4/3)·T_N, J."""
        return self.law.width * 4 / 3 * self.T_N

    def phi_m(self, torque: float) -> float:
        """Midline of the ±T_N loop, rad."""
        return self.law.midline(torque)

    def LM_mid(self, p: float = 0.03) -> float:
        """φ_m(+p·T_N) − φ_m(−p·T_N), rad."""
        return 2 * self.law.midline(p * self.T_N)

    def LM_outer(self, p: float = 0.03) -> float:
        """φ_↓(+p·T_N) − φ_↑(−p·T_N), rad."""
        return self.LM_mid(p) + self.law.loop_width(p * self.T_N, self.T_N)

    def LM_HD(self, p: float = 0.04) -> float:
        """φ_m(+p·T_N) − φ_m(−p·T_N) on a loop run only to ±p·T_N, rad: the loop's own ends."""
        return 2 * self.law.loop_midline(p * self.T_N, p * self.T_N)

    def friction_scale(self, temperature: float) -> float:
        """Factor of the housing temperature (K) on the reducer's friction; 1 at the reference."""
        return math.exp(-self.friction_per_kelvin * (temperature - self.reference_temperature))

    def T_NL(self, speed: float, temperature: float | None = None) -> float:
        """No-load running torque at the input at `speed` (rad/s, input) and housing temperature (K), N·m."""
        at = self.reference_temperature if temperature is None else temperature
        return (self.friction_coulomb + self.friction_viscous * abs(speed)) * self.friction_scale(at)
