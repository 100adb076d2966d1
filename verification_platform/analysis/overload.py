"""Momentary overload of a gear: how many pulses are allowed, and whether teeth jumped.

GB/T 37165-2018 cl. 6.6, 6.7; selection procedure of harmonic-drive catalogues; protocol specification RED-OVL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .blocks import Float, as_block, refuse_not_finite
from .errors import AnalysisError, NotEnoughDataError

#: Deflections of the flexspline that a harmonic drive stands at momentary peak torque.
ALLOWED_DEFLECTIONS = 1e4
#: A jump counts beyond this share of the angle of one tooth.
JUMP_SHARE = 0.5


def allowed_pulses(speed_rad_s: float, duration_s: float) -> float:
    """Pulses of momentary peak torque a harmonic drive is allowed: 1e4/(2·n·t), n in turns of the input per
    second, two deflections a turn. Raises AnalysisError unless speed and duration are positive.
    """
    if not (speed_rad_s > 0 and duration_s > 0):
        raise AnalysisError(f"speed and duration must be positive, got {speed_rad_s}, {duration_s}")
    return ALLOWED_DEFLECTIONS / (2 * speed_rad_s / (2 * math.pi) * duration_s)


@dataclass(frozen=True, slots=True)
class Ratcheting:
    """Lasting jumps of the angle error e (rad): size and index of the sample, shape (jumps,).

    total: e at the end less e at the beginning, rad; teeth: the same in teeth, rounded.
    """

    sizes_rad: Float
    indices: np.ndarray
    total_rad: float
    teeth: int

    @property
    def slipped(self) -> bool:
        """Did the teeth jump, at once or in small steps that add up to one?"""
        return bool(self.sizes_rad.size) or self.teeth != 0


def ratcheting(error_rad: ArrayLike, teeth: int, window: int = 250, pulse: int = 0) -> Ratcheting:
    """Jumps of e = θ₂ − s·θ₁/i, shape (n,), of more than half a tooth (0.5·2π/z) that last.

    teeth: z of the wheel that may jump; window: samples on either side of which the medians are compared,
    longer than the ringing of a pulse; pulse: longest pulse of torque, samples. A jump that is taken back
    within two windows or a pulse is elastic wind-up and does not count; one taken back later is two jumps.
    Jumps closer than four windows are reported as one. Raises NotEnoughDataError below four windows.
    """
    e = as_block(error_rad, "angle error")
    refuse_not_finite(e, 0, "angle error")
    if teeth < 1 or window < 3:
        raise AnalysisError(f"teeth ≥ 1 and a window ≥ 3 are needed, got {teeth}, {window}")
    blocks = len(e) // window
    if blocks < 4:
        raise NotEnoughDataError(f"{len(e)} samples: four windows of {window} are needed")
    tooth = 2 * math.pi / teeth
    level = np.median(e[: blocks * window].reshape(blocks, window), axis=1)
    step = level[2:] - level[:-2]
    sizes, indices = [], []
    k = 0
    while k < step.size:
        if abs(step[k]) <= JUMP_SHARE * tooth:
            k += 1
            continue
        last = k
        while last + 1 < step.size and abs(step[last + 1]) > JUMP_SHARE * tooth:
            last += 1
        sizes.append(float(level[last + 2] - level[k]))
        indices.append(_place(e, k * window, (last + 3) * window))
        k = last + 1
    kept = _without_returns(sizes, indices, tooth, max(pulse, 2 * window))
    total = float(level[-1] - level[0])
    return Ratcheting(
        sizes_rad=np.array([sizes[i] for i in kept]),
        indices=np.array([indices[i] for i in kept], dtype=np.int64),
        total_rad=total,
        teeth=round(total / tooth),
    )


def _without_returns(sizes: list[float], indices: list[int], tooth: float, within: int) -> list[int]:
    """Positions of the jumps that are not taken back by the next one within so many samples."""
    kept: list[int] = []
    for i, size in enumerate(sizes):
        if abs(size) <= JUMP_SHARE * tooth:
            continue
        last = kept[-1] if kept else i
        returned = abs(sizes[last] + size) <= JUMP_SHARE * tooth and indices[i] - indices[last] <= within
        if kept and returned:
            kept.pop()
        else:
            kept.append(i)
    return kept


def _place(e: Float, start: int, end: int) -> int:
    """Sample after which e[start:end] is split into two levels best (least squares)."""
    part = e[start:end] - e[start]
    n = np.arange(1, part.size)
    left = np.cumsum(part)[:-1]
    gain = left**2 / n + (part.sum() - left) ** 2 / (part.size - n)
    return start + 1 + int(np.argmax(gain))
