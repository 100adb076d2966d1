"""SRV-STEP, position steps: from segments to results.

Every repeat is evaluated by itself, because the angle has little noise and friction lets no two repeats be quite the
same: a row is the mean of the repeats, and what they scatter is in its U.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from verification_platform.analysis.samples import CoverageError
from verification_platform.analysis.step_response import Settling, StepResult, settle, step_response
from verification_platform.engine.protocol import ProtocolError, Text
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.records import ChannelRecord
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records.errors import RecordingError
from verification_platform.records.recording import Recording, Segment
from verification_platform.records.unwrapping import Unwrapping

from ..common import TURN, Floats, offered, reading, type_a_mean
from ._signal import TORQUE, signal, torque_limit, torque_share
from ._step import BANDS, bend_of, by_direction

#: The drive has been told when its torque has left what it held the shaft with by so much of its largest change, and by so
#: many standard deviations of what it was before.
_TOLD, _TOLD_NOISE = 0.05, 6.0
#: Attribute of a recording: acceleration of position moves by role, rad/s².
ACCELERATIONS = "accelerations"
NO_TORQUE = Text(
    "未与输入角同步记录驱动器转矩，无法确定位置指令的时刻：不给出位置阶跃",
    "the drive's torque is not recorded together with its angle, so when the position was commanded is not known: no position step",
)
#: A band narrower than this many standard deviations of the noise is not judged.
_NOISE_BANDS = 5.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A position move as the drive is told it: `step`, rad, whose last set-point comes `duration` after the first, s."""

    step: float
    duration: float

    @classmethod
    def of(cls, step: float, speed: float, acceleration: float, cycle: float) -> Profile:
        """A trapezoid of `speed` (rad/s) with `acceleration` (rad/s²), sampled every `cycle` s.

        The first set-point that differs comes one cycle after the move has begun: a move within one cycle is a step in
        truth, of no duration.
        """
        fastest = min(speed, math.sqrt(step * acceleration))
        whole = step / fastest + fastest / acceleration
        return cls(step, (math.ceil(whole / cycle - 1e-6) - 1) * cycle)


@dataclass(frozen=True, slots=True)
class PositionResponse:
    """All repeats of one direction. t is 0 where the drive was told, s; y mean of the repeats, rad in the sense of the step.

    settled: when it came to stay in the positioning band (`band`, rad), from the last set-point on; None when a repeat did not.
    """

    direction: int
    profile: Profile
    band: float
    t: Floats
    y: Floats
    period: float
    metrics: tuple[StepResult, ...]
    settled: tuple[Settling, ...] | None
    torque_share: float | None


def find_positions(recording: Recording, profile: Profile, band: float) -> Iterator[PositionResponse]:
    """One response of the position a direction; `band` is that of positioning, rad.

    Raises ProtocolError for a segment without a step.
    """
    limit = torque_limit(recording)
    for direction, segments in by_direction(recording, "position").items():
        repeats = [_one(segment, direction) for segment in segments]
        before = min(at for *_, at in repeats)
        after = min(t.size - at for t, _, at in repeats)
        y = np.mean([y[at - before : at + after] for _, y, at in repeats], axis=0)
        t = np.mean([t[at - before : at + after] - t[at] for t, _, at in repeats], axis=0)
        metrics = tuple(
            step_response(t, y, float(t[at]), y_0=0.0, target=profile.step, bands=BANDS)
            for t, y, at in repeats
        )
        yield PositionResponse(
            direction,
            profile,
            band,
            t,
            y,
            float(np.median(np.diff(t))),
            metrics,
            _settled(repeats, metrics, profile, band),
            torque_share(segments, limit),
        )


def _one(segment: Segment, direction: int) -> tuple[Floats, Floats, int]:
    """Stamps, angle from where the shaft stood in the sense of the step, index of the sample with which the drive was told.

    Friction holds the shaft for a while, so its angle does not tell when the command came. The torque does: it follows the
    first set-point at once. Set-points and samples go with the same cycle of the bus.
    """
    samples = segment.read("input_angle", TORQUE)
    t, torque = samples.stamps_s, samples.values[:, 1]
    quiet = torque[: t.size // 8]
    change = np.abs(torque - quiet.mean())
    told = change > max(_TOLD * float(change.max()), _TOLD_NOISE * float(quiet.std()))
    at = int(np.argmax(told)) - 1
    if at < quiet.size or t.size - at < 10:
        raise ProtocolError(f"repeat {segment.tag.get('repeat', '?')}: no position step in the segment")
    theta = direction * Unwrapping(TURN)(samples.values[:, :1])[:, 0]
    return t, theta - theta[: at + 1].mean(), at


def _settled(
    repeats: Sequence[tuple[Floats, Floats, int]],
    metrics: Sequence[StepResult],
    profile: Profile,
    band: float,
) -> tuple[Settling, ...] | None:
    """None also where the noise is too much for the band."""
    if any(band < _NOISE_BANDS * m.noise for m in metrics):
        return None
    try:
        return tuple(
            settle(t, y, m.y_inf, band, float(t[at]) + profile.duration, noise=m.noise)
            for (t, y, at), m in zip(repeats, metrics, strict=True)
        )
    except CoverageError:
        return None


def missing_for_positions(recording: Recording) -> list[Text]:
    """Why there can be no results of the position."""
    segment = next((s for s in recording.segments() if s.tag.get("kind") == "position"), None)
    if segment is None:
        return [Text("未记录位置阶跃", "no position step was recorded")]
    if "drive" not in recording.attributes.get(ACCELERATIONS, {}):
        return [
            Text(
                "记录中没有驱动轴位置指令的加速度：不给出位置阶跃",
                "the recording does not say with what acceleration the drive's position was commanded: no position step",
            )
        ]
    try:
        segment.read("input_angle", TORQUE)
    except RecordingError:
        return [NO_TORQUE]
    return []


def position_results(response: PositionResponse, angle: ChannelRecord) -> Iterator[Result]:
    """Rows of one direction. A quantity that a repeat does not have (the peak of one without overshoot) has none."""
    metrics, row = response.metrics, _Rows(response)
    since, both = row.since, row.both
    yield from row("t_d_pos", [m.delay for m in metrics], since)
    yield from row("t_r_pos", [m.rise for m in metrics], both, judged=True)
    yield from row("t_90_pos", [m.to_90 for m in metrics], since)
    yield from row("t_100_pos", [m.reach for m in metrics], since)
    yield from _peak_rows(response, angle, row)
    for b in BANDS:
        doubt = max(m.settling_doubt.get(b, 0.0) for m in metrics)
        times = [m.settling[b] for m in metrics]
        yield from row(f"t_s{b * 100:.0f}_pos", times, [*since, _entered(doubt)], judged=True)
    if response.settled is not None:
        doubt = max(s.doubt for s in response.settled)
        times = [s.settling for s in response.settled]
        lines = [*since, _entered(doubt)]
        yield from row("t_set", times, lines, judged=True, positioning_band=response.band)
    lines = [*reading(angle, math.sqrt(2)), row.reading_noise()]
    yield from row("e_inf_pos", [m.steady_error for m in metrics], lines, "rad", "arcsec")


def _peak_rows(response: PositionResponse, angle: ChannelRecord, row: _Rows) -> Iterator[Result]:
    metrics, bend = response.metrics, bend_of(response.y)
    height = float(np.mean([m.y_inf for m in metrics]))
    share = math.sqrt(2) / height
    lines = [
        *reading(angle, share),
        row.reading_noise(share),
        type_b("top between two samples", bend / height),
    ]
    yield from row("M_p_pos", [m.overshoot for m in metrics], lines, "1", "%", judged=True)
    flat = type_b("how flat the top is", _flat_s(response, bend + _NOISE_BANDS * row.noise))
    yield from row("t_p_pos", [m.peak_time for m in metrics], [*row.since, flat])


def _entered(doubt: float) -> Contribution:
    return type_b("noise where the band is entered", doubt, "normal")


class _Rows:
    """Makes the rows of one response: the mean of the repeats, what they scatter, and the lines that all rows share.

    `since` and `both` are what the sampling period adds to a time since the command and to one between two samples; `noise` is
    that of the angle, rad.
    """

    def __init__(self, response: PositionResponse) -> None:
        self._conditions: dict[str, str | float | int | bool] = {
            "direction": response.direction,
            "position_step": response.profile.step,
            "profile": response.profile.duration,
            **signal(response.torque_share),
        }
        half_s = response.period / 2
        sampling = type_b("sampling period", half_s)
        self.since = [sampling, type_b("instant of the command, within one sampling period", half_s)]
        self.both = [sampling, type_b("sampling period, other end", half_s)]
        self.noise = math.sqrt(float(np.mean([m.noise**2 for m in response.metrics])))

    def reading_noise(self, c: float = 1.0) -> Contribution:
        """Noise of one reading of the angle, with sensitivity `c`."""
        return Contribution("noise of the angle", "A", self.noise, c)

    def __call__(
        self,
        name: str,
        values: Sequence[float | None],
        lines: Sequence[Contribution],
        unit: str = "s",
        display: str = "ms",
        *,
        judged: bool = False,
        **more: float,
    ) -> Iterator[Result]:
        """The row, or none when a repeat has no value; `judged` when the order may limit it, `more` are conditions of its own."""
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return
        result = make_result(
            name,
            float(np.mean(known)),
            unit,
            [*lines, *type_a_mean("repeats", known)],
            n=len(known),
            conditions={**self._conditions, **more},
            display_unit=display,
        )
        yield offered(result, LimitType.MAX) if judged else result


def _flat_s(response: PositionResponse, height: float) -> float:
    """Half of how long y stays within `height` of its top, s: heights that near to each other cannot be told apart."""
    top = int(np.argmax(response.y))
    lower = response.y < response.y[top] - height
    first = top - int(np.argmax(lower[top::-1])) if lower[: top + 1].any() else 0
    last = top + int(np.argmax(lower[top:])) if lower[top:].any() else lower.size - 1
    return float(response.t[last] - response.t[first]) / 2


def unsettled_findings(responses: Sequence[PositionResponse]) -> list[Text]:
    """Said where the settling time of positioning is missing."""
    bands = [response.band for response in responses if response.settled is None]
    if not bands:
        return []
    shown = f"±{math.degrees(bands[0]):.3g}°"
    return [
        Text(
            f"定位整定时间未给出：记录结束前未稳定在 {shown} 以内，或噪声相对该带过大",
            f"no settling time of positioning: the shaft did not come to stay within {shown}, or the noise is too much for that band",
        )
    ]
