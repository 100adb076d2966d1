"""The hysteresis loop of a gear under torque: lost motion, backlash, torsional stiffness, loss.

Input locked, output loaded +T_N → −T_N → +T_N: the angle φ(T) follows a rising branch φ↑ and a falling one
φ↓. The midline φ_m = (φ↑ + φ↓)/2 carries the elasticity, the width w = φ↓ − φ↑ the friction and play. GB/T
35089-2018 cl. 8, GB/T 40731-2021 cl. 8; protocol specification RED-HYS. Names are distinct on purpose,
because the field uses "lost motion" for different things:

    LM_mid(p)    φ_m(+pT_N) − φ_m(−pT_N)          LM_HD: the same on a loop run only to ±4 % T_N LM_outer(p)
    φ↓(+pT_N) − φ↑(−pT_N)            BL_0: w(0) K_j          1/slope of φ_m on [0, T_1], [T_1, T_2], [T_2,
    T_N], both signs K_ba         0.5·T_N / (φ_m(T_N) − φ_m(0.5·T_N)) W            ∮T dφ = ∫ w dT

Every quantity is a least-squares estimate over all samples near where it is defined, with the standard
deviation its residuals give (type A). Torque noise needs no model: along a ramp it appears as angle noise
of the same size.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from numpy.typing import ArrayLike

from ._branches import Track, track_block
from ._hysteresis_evaluation import Loading, evaluate
from ._hysteresis_fits import Branch
from .blocks import CHUNK, refuse_not_finite
from .errors import NotMergeableError
from .grouping import group_sums
from .hysteresis_result import Floats, HysteresisResult
from .samples import CoverageError, as_blocks

#: Torque a group of averaged samples may span, as a fraction of the amplitude.
_GROUP_SPAN = 0.002
_LARGEST_GROUP = 256
_SETTLE_LIMIT = 262_144

_Piece = tuple[Floats, Floats]


def wind_up(
    output_angle: ArrayLike,
    input_angle: ArrayLike,
    torque: ArrayLike,
    ratio: float,
    sense: int = 1,
    compliance: float = 0.0,
) -> Floats:
    """φ = θ₂ − s·θ₁/i − C_f·T₂: what the gear itself gives way, rad (the constant θ₂,0 is left in).

    output_angle θ₂ and input_angle θ₁ rad, torque T₂ N·m, shapes (n,); compliance C_f of the fixture
    rad/(N·m).
    """
    theta2, theta1, t2 = as_blocks(output_angle, input_angle, torque)
    phi = theta1 * (-sense / ratio)
    phi += theta2
    if compliance:
        phi -= compliance * t2
    return phi


class Hysteresis:
    """Hysteresis of one or more loops at one position of the output, in a single pass.

    T_N: rated torque, N·m; T_1, T_2: breaks of the stiffness segments, N·m (default 0.2 and 0.6 T_N); p: fraction
    of T_N where lost motion is read; amplitude: torque the loop is run to, N·m (T_N; 0.04·T_N for LM_HD).

    Neighbouring samples within 0.2 % of the amplitude are averaged before they are sorted, which changes nothing
    along a ramp and makes dense sampling cheap. To share one run between workers, give its beginning to one
    accumulator and make the others with its `fork`.
    """

    def __init__(
        self,
        T_N: float,
        T_1: float | None = None,
        T_2: float | None = None,
        *,
        p: float = 0.03,
        amplitude: float | None = None,
    ) -> None:
        self.loading = Loading(
            float(T_N),
            0.2 * T_N if T_1 is None else float(T_1),
            0.6 * T_N if T_2 is None else float(T_2),
            p,
            float(T_N if amplitude is None else amplitude),
        )
        self._group = 0  # samples averaged; 0 until the rate of loading is known
        self._clear(0)

    def _clear(self, first_index: int) -> None:
        self._track = Track(self.loading.amplitude)
        self._head: list[_Piece] = []  # samples of the group within which this accumulator begins
        self._tail: list[_Piece] = []  # samples of a group that is not complete, or all while waiting
        self._started = False  # has the first whole group been reached?
        self._first = self._index = first_index
        self.samples = 0

    def fork(self, first_index: int) -> Hysteresis:
        """An empty accumulator for the samples from `first_index` of the same run, to be merged into this one.

        Raises CoverageError before this one has seen enough to know the rate of loading.
        """
        if not self._group:
            raise CoverageError(
                "the rate of loading is not known yet: give the first block to this accumulator"
            )
        twin = copy.copy(self)
        twin._clear(first_index)
        return twin

    def update(self, torque: ArrayLike, angle: ArrayLike) -> None:
        """Add a block: torque N·m and wind-up angle φ rad (see `wind_up`), shapes (n,), in order of time."""
        t, phi = as_blocks(torque, angle)
        start = 0
        while start < t.size:
            stop = start + CHUNK * min(max(self._group, 1), 8)
            t_part, phi_part = t[start:stop], phi[start:stop]
            start = stop
            refuse_not_finite(t_part, self._index, "torque")
            refuse_not_finite(phi_part, self._index, "angle")
            self.samples += t_part.size
            if self._group:
                self._take(t_part, phi_part)
                continue
            self._tail.append((t_part.copy(), phi_part.copy()))
            self._index += t_part.size
            if self._settle():
                held, self._tail, self._index = self._tail, [], self._first
                for piece in held:
                    self._take(*piece)

    def _settle(self) -> bool:
        """How many samples to average: decided by the first samples alone, whatever the size of the blocks."""
        t = _joined(self._tail)[0][:_SETTLE_LIMIT]
        away = np.abs(t - t[0])
        begun = np.flatnonzero(away >= 0.02 * self.loading.amplitude)
        ended = np.flatnonzero(away[begun[0] :] >= 0.07 * self.loading.amplitude) if begun.size else begun
        if ended.size:
            within = int(ended[0]) * _GROUP_SPAN / 0.05
            self._group = min(1 << math.floor(math.log2(max(within, 1.0))), _LARGEST_GROUP)
        elif t.size >= _SETTLE_LIMIT:
            self._group = 1
        return self._group > 0

    def _take(self, t: Floats, phi: Floats) -> None:
        """Sort whole groups, hold back the samples of those that are not complete."""
        start = 0
        if not self._started:
            start = min(-self._index % self._group, t.size)
            if start:
                self._head.append((t[:start].copy(), phi[:start].copy()))
            self._started = (self._index + start) % self._group == 0
        if self._tail:
            stop = start + self._group - _length(self._tail)
            self._tail.append((t[start:stop].copy(), phi[start:stop].copy()))
            start = min(stop, t.size)
            self._sort_if_complete()
        whole = start + (t.size - start) // self._group * self._group
        if whole > start:
            self._sort(t[start:whole], phi[start:whole])
        if whole < t.size:
            self._tail.append((t[whole:].copy(), phi[whole:].copy()))
        self._index += t.size

    def _sort_if_complete(self) -> None:
        if _length(self._tail) == self._group:
            t, phi = _joined(self._tail)
            self._tail = []
            self._sort(t, phi)

    def _sort(self, t: Floats, phi: Floats) -> None:
        points = _grouped(t, phi, self._group, 0.02 * self.loading.amplitude)
        self._track.append(track_block(*points, self.loading.amplitude))

    def merge(self, other: Hysteresis) -> None:
        """Append the fork that saw the samples directly behind these. Raises NotMergeableError."""
        if self.loading != other.loading:
            raise NotMergeableError("hysteresis loops of different torques do not merge")
        if other.samples == 0:
            return
        if other._group != self._group or other._first != self._index:
            raise NotMergeableError("only a fork that begins where this accumulator ends can be merged")
        if self._started:
            self._tail = [*self._tail, *other._head]
            self._sort_if_complete()
        else:
            self._head = [*self._head, *other._head]
        if other._started:
            self._started = True
            self._track.append(copy.deepcopy(other._track))
            self._tail = list(other._tail)
        self._index = other._index
        self.samples += other.samples

    def result(self) -> HysteresisResult:
        """Evaluate. Raises CoverageError when a branch, a torque range or samples around ±p·T_N are
        missing."""
        sums, passes = self._finished().branches()
        for direction, name in ((1, "rising"), (-1, "falling")):
            if passes[direction] == 0:
                raise CoverageError(
                    f"no complete {name} branch: the loop must run from end to end, ±{self.loading.amplitude:g} N·m;"
                    " record +T → −T → +T"
                )
        return evaluate(self.loading, {d: Branch.of(sums[d]) for d in (1, -1)}, passes, self.samples)

    def _finished(self) -> Track:
        """The track with the samples of an incomplete group sorted singly."""
        track = copy.deepcopy(self._track)
        if self._tail:
            t, phi = _joined(self._tail)
            track.append(track_block(t, phi, 1.0, self.loading.amplitude))
        return track


def _length(pieces: list[_Piece]) -> int:
    return sum(t.size for t, _ in pieces)


def _joined(pieces: list[_Piece]) -> _Piece:
    return np.concatenate([t for t, _ in pieces]), np.concatenate([phi for _, phi in pieces])


def _grouped(t: Floats, phi: Floats, group: int, span: float) -> tuple[Floats, Floats, Floats | float]:
    """Means over groups of neighbouring samples and the samples behind each.

    A group whose torque moves by more than `span` (a faster ramp than the first one) is left as single samples.
    """
    if group == 1:
        return t, phi, 1.0
    wide = np.flatnonzero(np.abs(t[group - 1 :: group] - t[::group]) > span)
    mean_t, mean_phi = group_sums(t, group), group_sums(phi, group)
    mean_t /= group
    mean_phi /= group
    if wide.size == 0:
        return mean_t, mean_phi, float(group)
    size = np.ones(mean_t.size, dtype=np.int64)
    size[wide] = group
    single = np.repeat(size > 1, size)
    out_t, out_phi = np.repeat(mean_t, size), np.repeat(mean_phi, size)
    out_t[single] = t.reshape(-1, group)[wide].ravel()
    out_phi[single] = phi.reshape(-1, group)[wide].ravel()
    return out_t, out_phi, np.where(single, 1.0, float(group))


def hysteresis(
    torque: ArrayLike, angle: ArrayLike, T_N: float, T_1: float | None = None, T_2: float | None = None,
    *, p: float = 0.03, amplitude: float | None = None,
) -> HysteresisResult:  # fmt: skip
    """`Hysteresis` of arrays that are in memory: torque N·m, wind-up angle rad, shapes (n,)."""
    accumulator = Hysteresis(T_N, T_1, T_2, p=p, amplitude=amplitude)
    accumulator.update(torque, angle)
    return accumulator.result()
