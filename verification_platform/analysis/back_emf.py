"""Back-EMF constant K_E and torque constant K_T of a motor that is driven with open terminals.

GB/T 30549-2014 cl. 6; protocol specification SRV-KE. The harmonics are fitted against the measured angle and
not against time: a wavering speed changes the amplitude, which the speed divides out, but not the phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import CHUNK, Float, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError
from .samples import CoverageError, as_blocks

_TURN = 2 * math.pi


@dataclass(frozen=True, slots=True)
class BackEmfResult:
    """Line-to-line back-EMF.

    k_e: U_rms,fundamental/ω, V·s/rad (mechanical); thd: √(ΣU_h²)/U_1; amplitudes: of the electrical orders 1,
    2, …, V·s/rad of peak voltage per speed; u_k_e: standard uncertainty from the noise; periods: electrical.
    """

    k_e_v_s: float
    u_k_e_v_s: float
    thd: float
    amplitudes_v_s: Float
    periods: float
    samples: int

    @property
    def k_e_v_per_krpm(self) -> float:
        """K_E: rms line-to-line voltage at 1000 r/min, V."""
        return self.k_e_v_s * 1000 * _TURN / 60

    @property
    def k_t_n_m_a(self) -> float:
        """K_T = √3·k_e: torque per rms phase current for a sinusoidal motor with i_d = 0, N·m/A."""
        return math.sqrt(3) * self.k_e_v_s

    def at_20_c(self, magnet_c: float, per_kelvin: float = -0.0011) -> float:
        """k_e at magnets of 20 °C, V·s/rad, measured at `magnet_c`; per_kelvin: α_B, NdFeB about −0.11 %/K."""
        return self.k_e_v_s / (1 + per_kelvin * (magnet_c - 20))


class BackEmf:
    """Harmonics of voltage/speed over the electrical angle, in one pass.

    pole_pairs: p; orders: highest electrical order. `update` with blocks, `merge` with other parts of the run
    in any order, `result`. Memory: (2·orders + 1)² numbers and 2 MB.
    """

    def __init__(self, pole_pairs: int, orders: int = 25) -> None:
        if pole_pairs < 1 or orders < 1:
            raise AnalysisError(f"pole pairs and orders must be at least 1, not {pole_pairs}, {orders}")
        self.pole_pairs = pole_pairs
        self.orders = orders
        size = 2 * orders + 1
        self._gram, self._right, self._square = np.zeros((size, size)), np.zeros(size), 0.0
        self._samples = 0
        self._turned = 0.0

    def update(self, voltage_v: ArrayLike, angle_rad: ArrayLike, speed_rad_s: ArrayLike) -> None:
        """Add a block: line-to-line voltage (V), shaft angle (rad, unwrapped within the block) and speed
        (rad/s), shapes (n,). Raises AnalysisError for a speed of 0, NotFiniteError for NaN.
        """
        voltage, angle, speed = as_blocks(voltage_v, angle_rad, speed_rad_s)
        for x, what in ((voltage, "voltage"), (angle, "angle"), (speed, "speed")):
            refuse_not_finite(x, self._samples, what)
        if np.any(speed == 0):
            raise AnalysisError("the motor stands still: back-EMF needs a turning shaft")
        for start in range(0, len(voltage), CHUNK // 8):
            part = slice(start, start + CHUNK // 8)
            self._add(voltage[part] / speed[part], self.pole_pairs * angle[part])
        if len(angle) > 1:
            # n samples stand for n steps
            self._turned += abs(float(angle[-1] - angle[0])) * len(angle) / (len(angle) - 1)

    def _add(self, flux: Float, electrical: Float) -> None:
        columns = np.empty((2 * self.orders + 1, len(flux)))
        columns[0] = 1
        turn = np.exp(1j * electrical)
        power = np.ones_like(turn)
        for q in range(1, self.orders + 1):
            power *= turn
            columns[2 * q - 1], columns[2 * q] = power.real, power.imag
        self._gram += columns @ columns.T
        self._right += columns @ flux
        self._square += float(np.dot(flux, flux))
        self._samples += len(flux)

    def merge(self, other: BackEmf) -> None:
        """Add another part of the run. Raises NotMergeableError for other pole pairs or orders."""
        if (self.pole_pairs, self.orders) != (other.pole_pairs, other.orders):
            raise NotMergeableError("only runs of the same pole pairs and orders can be merged")
        self._gram += other._gram
        self._right += other._right
        self._square += other._square
        self._samples += other._samples
        self._turned += other._turned

    def result(self, periods: float = 10.0) -> BackEmfResult:
        """Raises NotEnoughDataError below `periods` electrical periods or with too few samples, CoverageError
        if the sampled angles leave the orders undetermined.
        """
        found = self._turned * self.pole_pairs / _TURN
        if found < periods * (1 - 1e-9):
            raise NotEnoughDataError(f"{found:.3g} electrical periods, {periods} are needed")
        size = 2 * self.orders + 1
        if self._samples < 4 * size:
            raise NotEnoughDataError(f"{self._samples} samples are too few for {self.orders} orders")
        if np.linalg.cond(self._gram) > 1e6:
            raise CoverageError(
                "the sampled angles do not determine the orders: sample faster or turn slower"
            )
        solution = np.linalg.solve(self._gram, self._right)
        misfit = max(self._square - float(np.dot(solution, self._right)), 0.0)
        sigma = math.sqrt(misfit / (self._samples - size))
        amplitudes = np.hypot(solution[1::2], solution[2::2])
        if amplitudes[0] == 0:
            raise NotEnoughDataError("there is no fundamental")
        return BackEmfResult(
            k_e_v_s=float(amplitudes[0]) / math.sqrt(2),
            u_k_e_v_s=sigma * math.sqrt(2 / self._samples) / math.sqrt(2),
            thd=float(np.linalg.norm(amplitudes[1:]) / amplitudes[0]),
            amplitudes_v_s=amplitudes,
            periods=found,
            samples=self._samples,
        )


def back_emf(
    voltage_v: ArrayLike, angle_rad: ArrayLike, speed_rad_s: ArrayLike, pole_pairs: int, orders: int = 25
) -> BackEmfResult:
    """`BackEmf` of arrays that are in memory, shapes (n,): V, rad (unwrapped), rad/s."""
    emf = BackEmf(pole_pairs, orders)
    emf.update(voltage_v, angle_rad, speed_rad_s)
    return emf.result()
