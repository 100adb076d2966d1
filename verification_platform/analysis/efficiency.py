"""Electrical and mechanical power, efficiency, and the loss model behind an efficiency map.

GB/T 35089-2018 cl. 7, IEC 60034-2-1; protocol specification RED-EFF, SRV-EFF. Between measured points losses
are interpolated and not efficiencies: losses are smooth where an efficiency goes to zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import CHUNK, Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError, NotMergeableError


@dataclass(frozen=True, slots=True)
class PowerResult:
    """Active power of all phases with every harmonic, W; rms voltage (V) and current (A) of each phase.

    power_factor: P / Σ U·I.
    """

    power_w: float
    voltage_v: Float
    current_a: Float
    power_factor: float
    samples: int


class PowerMeter:
    """Mean of Σ u_k·i_k over a stream: P = (1/τ)∫Σ u_k i_k dt.

    phases: number of phases (two-wattmeter connections count two). The caller averages over whole electrical
    and mechanical periods; what lies beyond the last whole one falsifies the mean. `update` with blocks,
    `merge` with other parts in any order, `result`.
    """

    def __init__(self, phases: int = 3) -> None:
        if phases < 1:
            raise AnalysisError(f"one phase or more, not {phases}")
        self.phases = phases
        self._samples = 0
        #: rows Σui, Σu², Σi²
        self._sums = np.zeros((3, phases))

    def update(self, voltage_v: ArrayLike, current_a: ArrayLike) -> None:
        """Add a block: voltage and current of shape (phases, n), V and A, sampled together.

        Raises AnalysisError for other shapes, NotFiniteError for NaN.
        """
        u, i = (np.ascontiguousarray(x, dtype=np.float64) for x in (voltage_v, current_a))
        if u.shape != i.shape or u.ndim != 2 or u.shape[0] != self.phases:
            raise AnalysisError(f"voltage and current of shape ({self.phases}, n), not {u.shape}, {i.shape}")
        for start in range(0, u.shape[1], CHUNK):
            for k in range(self.phases):
                a, b = u[k, start : start + CHUNK], i[k, start : start + CHUNK]
                refuse_not_finite(a, self._samples + start, f"voltage {k}")
                refuse_not_finite(b, self._samples + start, f"current {k}")
                self._sums[:, k] += np.dot(a, b), np.dot(a, a), np.dot(b, b)
        self._samples += u.shape[1]

    def merge(self, other: PowerMeter) -> None:
        """Add the sums of another part. Raises NotMergeableError for another number of phases."""
        if other.phases != self.phases:
            raise NotMergeableError(f"{self.phases} and {other.phases} phases do not mix")
        self._samples += other._samples
        self._sums += other._sums

    def result(self) -> PowerResult:
        """Raises NotEnoughDataError without samples."""
        if self._samples == 0:
            raise NotEnoughDataError("no samples of power yet")
        power, square_u, square_i = self._sums / self._samples
        voltage, current = np.sqrt(square_u), np.sqrt(square_i)
        apparent = float(np.dot(voltage, current))
        return PowerResult(
            power_w=float(power.sum()),
            voltage_v=voltage,
            current_a=current,
            power_factor=float(power.sum()) / apparent if apparent > 0 else math.nan,
            samples=self._samples,
        )


def electrical_power(voltage_v: ArrayLike, current_a: ArrayLike) -> PowerResult:
    """`PowerMeter` of arrays (phases, n) that are in memory, V and A."""
    meter = PowerMeter(len(np.asarray(voltage_v)))
    meter.update(voltage_v, current_a)
    return meter.result()


def efficiency(input_w: float, output_w: float) -> float:
    """η = P_out/P_in; where both are negative (generating) the power runs back and η = P_in/P_out.

    Raises AnalysisError for η outside [0, 1] or powers of unequal sign: such a reading is INVALID and never
    clipped.
    """
    if input_w < 0 and output_w < 0:
        input_w, output_w = -output_w, -input_w
    if not input_w > 0 or not 0 <= output_w <= input_w:
        raise AnalysisError(
            f"powers of {input_w:.6g} W in and {output_w:.6g} W out give no efficiency: check zeros"
        )
    return output_w / input_w


def gear_efficiency(input_n_m: float, output_n_m: float, ratio: float, *, back_driven: bool = False) -> float:
    """η of a gear of ratio i from the torques at input and output, N·m, by magnitude: T_2/(i·T_1).

    back_driven: the output drives, η' = i·T_1/T_2. The speed ratio is exact. Raises AnalysisError as
    `efficiency`.
    """
    geared, output = abs(ratio * input_n_m), abs(output_n_m)
    return efficiency(output, geared) if back_driven else efficiency(geared, output)


@dataclass(frozen=True, slots=True)
class LossModel:
    """P_loss = c₀ + c₁ω + c₂ω² + c₃|T|ω + c₄T², W, with ω in rad/s and T in N·m, both at the output.

    u: standard uncertainties of the coefficients; residual: standard deviation about the model, W; speed and
    torque limits: the range that was measured, outside which `loss` refuses.
    """

    coefficients: Float
    u: Float
    residual_w: float
    speed_limits: tuple[float, float]
    torque_limits: tuple[float, float]

    def loss(self, speed_rad_s: ArrayLike, torque_n_m: ArrayLike) -> NDArray[np.float64]:
        """Loss, W, at speeds and torques (any shapes that fit together). Raises AnalysisError outside the range."""
        speed = np.abs(np.asarray(speed_rad_s, np.float64))
        torque = np.abs(np.asarray(torque_n_m, np.float64))
        for x, (low, high), what in (
            (speed, self.speed_limits, "speed"),
            (torque, self.torque_limits, "torque"),
        ):
            if np.any(x < low * (1 - 1e-9)) or np.any(x > high * (1 + 1e-9)):
                raise AnalysisError(
                    f"{what} outside the measured {low:.6g} … {high:.6g}: losses are not extrapolated"
                )
        terms = np.stack(np.broadcast_arrays(np.ones_like(speed), speed, speed**2, torque * speed, torque**2))
        return np.asarray(np.tensordot(self.coefficients, terms, 1))

    def efficiency(self, speed_rad_s: ArrayLike, torque_n_m: ArrayLike) -> NDArray[np.float64]:
        """η = P_2/(P_2 + P_loss), NaN where no power leaves the gear."""
        power = np.abs(np.asarray(speed_rad_s, np.float64) * np.asarray(torque_n_m, np.float64))
        total = power + self.loss(speed_rad_s, torque_n_m)
        return np.where(power > 0, power / np.where(power > 0, total, 1.0), np.nan)


def fit_losses(
    speed_rad_s: Sequence[float], torque_n_m: Sequence[float], loss_w: Sequence[float]
) -> LossModel:
    """Loss model through measured points, shapes (n,), n ≥ 6: speed and torque at the output, loss in W.

    Raises NotEnoughDataError if there are fewer points or speeds and torques do not separate the terms.
    """
    speed, torque, loss = (as_block(x) for x in (speed_rad_s, torque_n_m, loss_w))
    if not len(speed) == len(torque) == len(loss):
        raise AnalysisError("every point needs speed, torque and loss")
    for x, what in ((speed, "speed"), (torque, "torque"), (loss, "loss")):
        refuse_not_finite(x, 0, what)
    speed, torque = np.abs(speed), np.abs(torque)
    if len(loss) < 6:
        raise NotEnoughDataError(f"a loss model needs 6 points or more, got {len(loss)}")
    design = np.stack([np.ones_like(speed), speed, speed**2, torque * speed, torque**2], axis=1)
    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    solution, _, rank, _ = np.linalg.lstsq(design / scale, loss, rcond=1e-10)
    if rank < 5:
        raise NotEnoughDataError("three speeds and three torques are needed to separate the losses")
    residual = loss - design / scale @ solution
    variance = float(np.dot(residual, residual)) / (len(loss) - 5)
    covariance = np.linalg.inv((design / scale).T @ (design / scale)) * variance
    return LossModel(
        coefficients=solution / scale,
        u=np.sqrt(np.diag(covariance)) / scale,
        residual_w=math.sqrt(variance),
        speed_limits=(float(speed.min()), float(speed.max())),
        torque_limits=(float(torque.min()), float(torque.max())),
    )
