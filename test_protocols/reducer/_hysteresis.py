"""RED-HYS, from segments to loops: torque zero, correction of the angle, delay of the torque channel,
closure.

The torque arrives on another bus than the angles, so its stamps may be late by a constant part of its period.
A delay d shifts both branches against each other by 2·(dT/dt)·d/K everywhere; hysteresis itself vanishes at
the ends of the loop, where the torque turns. So the opening of the loop at its ends tells d. It is corrected
as long as it is shorter than one period of the torque channel, its uncertainty enters the budget, and it is
reported."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from verification_platform.analysis.hysteresis import hysteresis, wind_up
from verification_platform.analysis.hysteresis_result import Estimate, HysteresisResult
from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Text
from verification_platform.records.recording import Recording, Segment
from verification_platform.records.spread import map_segments

from ..common import angles, channel

Floats = NDArray[np.float64]

#: Part of the loop, from its end, from which the opening at the end is extrapolated.
_TIP = 0.3


@dataclass(frozen=True, slots=True)
class Zero:
    """Torque zero: reading at no load, N·m, and its change from before the run to after it."""

    value: float = 0.0
    drift: float = 0.0
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """Evaluated loops at one position of the output. Rates are |dT/dt| in N·m/s."""

    number: int
    loops: Sequence[HysteresisResult]
    rate: float
    small: HysteresisResult | None = None
    small_rate: float = 0.0
    other_rate: HysteresisResult | None = None


@dataclass(frozen=True, slots=True)
class Loops:
    """Everything RED-HYS found in a recording. `delay` of the torque channel, s."""

    positions: Sequence[Position]
    delay: Estimate
    zero: Zero
    findings: Sequence[Text] = ()
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class _Series:
    """One recorded loop as arrays: torque less its zero at its own stamps, angles at theirs."""

    kind: str
    position: int
    rate: float
    torque_s: Floats
    torque: Floats
    angle_s: Floats
    theta1: Floats
    theta2: Floats

    @property
    def latched(self) -> bool:
        """Torque and angles come in one row: no delay between them."""
        return np.array_equal(self.torque_s, self.angle_s)

    @property
    def period_s(self) -> float:
        return float(self.torque_s[-1] - self.torque_s[0]) / (self.torque_s.size - 1)

    def evaluate(
        self, dut: Reducer, compliance: float, delay_s: float, p: float, amplitude: float | None = None
    ) -> HysteresisResult:
        """The characteristics of this loop. Raises AnalysisError when it has none."""
        at = self.torque_s - delay_s
        use = np.flatnonzero((at >= self.angle_s[0]) & (at <= self.angle_s[-1]))
        theta1 = np.interp(at[use], self.angle_s, self.theta1)
        theta2 = np.interp(at[use], self.angle_s, self.theta2)
        torque = self.torque[use]
        phi = wind_up(theta2, theta1, torque, dut.ratio, dut.sense, compliance)
        result = hysteresis(
            torque, phi, dut.rated_torque, dut.torque_1, dut.torque_2, p=p, amplitude=amplitude
        )
        # the grid of the branches ends before the loop turns, by up to a cell
        return replace(result, torque_min=float(torque.min()), torque_max=float(torque.max()))


@dataclass(frozen=True, slots=True)
class _Run:
    """A recorded loop: what is known of it without its arrays, which are read where it is evaluated."""

    segment: Segment
    kind: str
    position: int
    rate: float
    latched: bool
    period_s: float


@dataclass(frozen=True, slots=True)
class _Settings:
    """What all loops of a recording are evaluated with."""

    recording: Recording
    dut: Reducer
    p: float
    zero: Zero

    def evaluate(
        self, runs: Sequence[_Run], delay_s: float, p: float | None = None, amplitude: float | None = None
    ) -> list[HysteresisResult]:
        function = partial(
            _evaluate,
            zero=self.zero,
            dut=self.dut,
            compliance=self.recording.fixture.compliance,
            delay_s=delay_s,
            p=self.p if p is None else p,
            amplitude=amplitude,
        )
        return list(map_segments(self.recording, function, [run.segment for run in runs]))


def find_loops(
    recording: Recording, dut: Reducer, p: float, small_loop: float, closure_limit: float
) -> Loops:
    """Evaluate every loop. A loop that does not close is left out; a position without a loop is INVALID."""
    zero = _zero(recording)
    settings = _Settings(recording, dut, p, zero)
    segments = [segment for segment in recording.segments() if segment.tag.get("kind") != "zero"]
    described = map_segments(recording, partial(_describe, zero=zero), segments)
    series = [_Run(segment, *known) for segment, known in zip(segments, described, strict=True)]
    full = [one for one in series if one.kind == "loop"]
    period_s = 1 / channel(recording, "output_torque").rate_hz
    delay, findings = _delay(full, settings, period_s)
    positions, invalid = [], False
    for number in sorted({one.position for one in full}):
        here = [one for one in series if one.position == number]
        by_kind = {kind: [one for one in here if one.kind == kind] for kind in ("loop", "rate", "small")}
        loops = settings.evaluate(by_kind["loop"], delay.value)
        closed = [loop for loop in loops if not _open(loop, closure_limit)]
        if len(closed) < len(loops):
            findings.append(_closure_finding(number, len(loops) - len(closed), len(loops), closure_limit))
            invalid = invalid or not closed
        small = settings.evaluate(
            by_kind["small"], delay.value, small_loop * (1 - 1e-9), small_loop * dut.rated_torque
        )
        other = settings.evaluate(by_kind["rate"], delay.value)
        positions.append(
            Position(
                number,
                closed or loops,
                by_kind["loop"][0].rate,
                small[-1] if small else None,
                by_kind["small"][-1].rate if small else 0.0,
                other[-1] if other else None,
            )
        )
    return Loops(positions, delay, zero, findings, invalid)


def _describe(segment: Segment, zero: Zero) -> tuple[str, int, float, bool, float]:
    """Kind, position, rate, latched, period of the torque: fields of `_Run`."""
    one = _read(segment, zero)
    return one.kind, one.position, one.rate, one.latched, one.period_s


def _evaluate(
    segment: Segment,
    zero: Zero,
    dut: Reducer,
    compliance: float,
    delay_s: float,
    p: float,
    amplitude: float | None,
) -> HysteresisResult:
    return _read(segment, zero).evaluate(dut, compliance, delay_s, p, amplitude)


def _read(segment: Segment, zero: Zero) -> _Series:
    torque = segment.read("output_torque")
    stamps = segment.read("input_angle", "output_angle").stamps_s
    theta1, theta2 = (np.concatenate(parts) for parts in zip(*angles(segment), strict=True))
    value = torque.values[:, 0] - zero.value
    duration_s = float(torque.stamps_s[-1] - torque.stamps_s[0])
    swept = 2 * float(np.ptp(value))
    return _Series(
        str(segment.tag.get("kind", "loop")),
        int(segment.tag.get("position", 0)),
        float(segment.tag.get("rate", swept / duration_s)),
        torque.stamps_s,
        value,
        stamps,
        theta1 - theta1[0],
        theta2 - theta2[0],
    )


def _zero(recording: Recording) -> Zero:
    """Readings at rest before and after the run; without them what the channel record knows."""
    found = {}
    for segment in recording.segments(kind="zero"):
        found[str(segment.tag.get("when"))] = float(segment.read("output_torque").values.mean())
    record = recording.channels["output_torque"]
    before = found.get("before", record.zero_before)
    after = found.get("after", record.zero_after)
    known = [value for value in (before, after) if value is not None]
    drift = after - before if before is not None and after is not None else 0.0
    return Zero(math.fsum(known) / len(known), drift, True) if known else Zero()


# ------------------------------------------------------------------------------------ delay and closure


def _delay(loops: Sequence[_Run], settings: _Settings, period_s: float) -> tuple[Estimate, list[Text]]:
    """Delay of the torque stamps, from the opening of the loops at their ends; and what must be said of
    it."""
    separate = [one for one in loops if not one.latched]
    if not separate:
        return Estimate(0.0, 0.0, math.inf), []
    guess = 0.0
    for _ in range(2):  # the second round starts from loops that are nearly right
        results = settings.evaluate(separate, guess)
        found = [_delay_of(one, result, settings.dut) for one, result in zip(separate, results, strict=True)]
        guess += math.fsum(one.value for one in found) / len(found)
    noise = math.sqrt(math.fsum(one.u**2 for one in found)) / len(found)
    spread = (
        float(np.std([one.value for one in found], ddof=1)) / math.sqrt(len(found)) if len(found) > 1 else 0.0
    )
    estimate = Estimate(guess, max(noise, spread), found[0].nu)
    if abs(guess) <= period_s + 2 * estimate.u:
        return estimate, []
    text = Text(
        f"滞回环两端张开，相当于扭矩通道滞后 {guess * 1e3:.1f} ms，超过一个采样周期，未作修正：检查蠕变与通道同步",
        f"the loops stay open at their ends as if the torque were {guess * 1e3:.1f} ms late, more than one sample; "
        "not corrected: check creep and the synchronisation of the channels",
    )
    return Estimate(0.0, period_s / math.sqrt(3), math.inf), [text]


def _delay_of(one: _Run, result: HysteresisResult, dut: Reducer) -> Estimate:
    """What is left of the delay after a guess has been taken off: d = −w(ends)·K/(2·|dT/dt|)."""
    top, bottom = tips(result)
    stiffness = result.K[-1].mean.value if result.K else dut.rated_torque / (result.loop.midline.max() or 1.0)
    scale = stiffness / (2 * one.rate)
    opening = 0.5 * (top.value + bottom.value)
    # the loop turned between two samples: its true end is not known better than a quarter of a sample
    unseen = result.BL_0.value * stiffness / (4 * dut.rated_torque * math.sqrt(3)) * one.period_s
    noise = 0.5 * math.hypot(top.u, bottom.u) * scale
    return Estimate(-opening * scale, math.hypot(noise, unseen), top.nu + bottom.nu)


def tips(result: HysteresisResult) -> tuple[Estimate, Estimate]:
    """Width of the loop extrapolated to its upper and its lower end, rad."""
    loop = result.loop
    middle, half = (
        0.5 * (result.torque_max + result.torque_min),
        0.5 * (result.torque_max - result.torque_min),
    )
    x = (loop.torque - middle) / half
    return _extrapolated(1 - x, loop.width), _extrapolated(1 + x, loop.width)


def _extrapolated(distance: Floats, width: Floats) -> Estimate:
    """Value at distance 0 of a parabola through the cells within `_TIP` of the end."""
    near = np.flatnonzero(distance <= _TIP)
    x, y = distance[near], width[near]
    design = np.vander(x, 3, increasing=True)
    coefficients, _, _, _ = np.linalg.lstsq(design, y, rcond=None)
    dof = max(x.size - 3, 1)
    left = y - design @ coefficients
    covariance = np.linalg.pinv(design.T @ design) * float(left @ left) / dof
    return Estimate(float(coefficients[0]), math.sqrt(float(covariance[0, 0])), dof)


def creep(result: HysteresisResult) -> Estimate:
    """φ at the end of the loop minus φ at its start: what the two ends of the loop differ by."""
    top, bottom = tips(result)
    return Estimate(bottom.value - top.value, math.hypot(top.u, bottom.u), top.nu + bottom.nu)


def _open(result: HysteresisResult, limit: float) -> bool:
    found = creep(result)
    return abs(found.value) - 2 * found.u > limit * abs(result.LM_mid.value)


def _closure_finding(position: int, bad: int, total: int, limit: float) -> Text:
    return Text(
        f"位置 {position}：{total} 个环中 {bad} 个不闭合（超过 LM_mid 的 {limit:.0%}）：检查蠕变与打滑",
        f"position {position}: {bad} of {total} loops do not close (by more than {limit:.0%} of LM_mid): "
        "check creep and slip",
    )


def each(positions: Sequence[Position]) -> Iterator[HysteresisResult]:
    """All full loops."""
    for position in positions:
        yield from position.loops


__all__ = ["Loops", "Position", "Zero", "creep", "each", "find_loops", "tips"]
