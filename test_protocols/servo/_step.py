"""SRV-STEP, from segments to results: repeats laid over each other, uncertainty budget and rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from verification_platform.analysis.step_response import StepResult, step_response
from verification_platform.engine.protocol import ProtocolError
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.records import ChannelRecord
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records.recording import Recording, Segment
from verification_platform.records.unwrapping import Unwrapping

from ..common import TURN, Floats, offered, reading
from ._signal import signal, torque_limit, torque_share

#: The speed has moved when it has left its mean by so much of the step; the first sample after the step has gone much farther.
_MOVED = 0.05
_FINAL = 0.2
#: Where noise is less, the response still begins at this fraction of the step.
_LEAST_LEVEL = 1e-4
#: From the step to level L, in times from L to 3·L: y ∝ t² takes 1/(√3 − 1), y ∝ t takes 1/2.
_EARLIEST, _LATEST = 1 / (math.sqrt(3) - 1), 0.5
#: Of the instant of the step, per σ/L and time from L to 3·L: both crossings with their slopes (y ∝ t², which has the lesser
#: ones), and the mean of _EARLIEST and _LATEST times their difference.
_ONSET_NOISE = 1.4
BANDS = (0.05, 0.02)


@dataclass(frozen=True, slots=True)
class _Origin:
    """When the step came, s; how far off that may be for not knowing how the response begins, and for noise (u)."""

    at: float
    doubt: float
    noise: float


@dataclass(frozen=True, slots=True)
class _Final:
    """A final speed by the angle encoder and its standard uncertainty from the residuals of the line, rad/s, with ν of it.

    The residuals hold the noise of the angle and of the instants at which it was taken: at 100 r/min a stamp that is 30 µs
    off is as bad as an angle that is 65″ off, and through a computer's network of processes stamps are.
    """

    speed: float
    u: float
    dof: int


@dataclass(frozen=True, slots=True)
class Response:
    """All repeats of one direction, averaged. t is 0 where the step came, s; y in rad/s in the sense of the step.

    period: of the samples, s;
    finals: final speed of each repeat by the angle encoder; span: over which it was taken, s;
    torque_share: largest drive torque of all repeats as a fraction of the drive's limit; None when it was not recorded.
    """

    direction: int
    t: Floats
    y: Floats
    period: float
    origin: _Origin
    repeats: int
    finals: tuple[_Final, ...]
    span: float
    metrics: StepResult
    torque_share: float | None


def find_responses(recording: Recording) -> Iterator[Response]:
    """One response of the speed a direction."""
    limit = torque_limit(recording)
    for direction, segments in by_direction(recording, "speed").items():
        repeats = [_one(segment, direction) for segment in segments]
        before = min(at for _, _, at, _, _ in repeats)
        after = min(t.size - at for t, _, at, _, _ in repeats)
        t = np.mean([t[at - before : at + after] - t[at] for t, _, at, _, _ in repeats], axis=0)
        y = np.mean([y[at - before : at + after] for _, y, at, _, _ in repeats], axis=0)
        origin = _origin(t, y)
        yield Response(
            direction,
            t - origin.at,
            y,
            float(np.median(np.diff(t))),
            origin,
            len(repeats),
            tuple(final for *_, final, _ in repeats),
            repeats[0][4],
            step_response(t, y, origin.at, y_0=float(y[t < origin.at].mean()), bands=BANDS),
            torque_share(segments, limit),
        )


def by_direction(recording: Recording, kind: str) -> dict[int, list[Segment]]:
    """Segments of one kind of step. Recordings from before there were kinds hold steps of the speed."""
    found: dict[int, list[Segment]] = {}
    for segment in recording.segments():
        if segment.tag.get("kind", "speed") == kind:
            found.setdefault(int(segment.tag.get("direction", 1)), []).append(segment)
    return found


def _origin(t: Floats, y: Floats) -> _Origin:
    """When the step came: from where y leaves its noise, at level L, and where it has come
    to 3·L.

    Whether the response begins linearly (as a first-order drive's) or quadratically (with an inertia) is not known.
    """
    before, last = t.size // 8, round(t.size * (1 - _FINAL))
    y_0 = float(y[:before].mean())
    x = (y - y_0) / (float(y[last:].mean()) - y_0)
    level = max(6 * float(x[:before].std()), _LEAST_LEVEL)
    begun, rising = _crossing(t, x, level), _crossing(t, x, 3 * level)
    earliest, latest = _EARLIEST * (rising - begun), _LATEST * (rising - begun)
    noise = _ONSET_NOISE * float(x[:before].std()) * (rising - begun) / level
    return _Origin(begun - 0.5 * (earliest + latest), 0.5 * (earliest - latest), noise)


def _crossing(t: Floats, x: Floats, level: float) -> float:
    """When x first exceeds a level, between its neighbours, s. Raises ProtocolError when it does from the beginning."""
    k = int(np.argmax(x > level))
    if k < 1:
        raise ProtocolError("the speed moves before the step; give the drive more time to settle")
    return float(t[k - 1] + (t[k] - t[k - 1]) * (level - x[k - 1]) / (x[k] - x[k - 1]))


def _one(segment: Segment, direction: int) -> tuple[Floats, Floats, int, _Final, float]:
    """Stamps, speed in the sense of the step, index of the last sample before it moves, final speed by the angle, span."""
    samples = segment.read("input_speed", "input_angle")
    t, y = samples.stamps_s, direction * samples.values[:, 0]
    last = round(t.size * (1 - _FINAL))
    y_inf, y_0 = float(y[last:].mean()), float(y[: t.size // 8].mean())
    moved = np.abs(y - y_0) > max(_MOVED * abs(y_inf - y_0), 6 * float(y[: t.size // 8].std()))
    at = int(np.argmax(moved)) - 1
    if at < 1 or t.size - at < 10:
        raise ProtocolError(f"repeat {segment.tag.get('repeat', '?')}: no step in the segment; record longer")
    theta = direction * Unwrapping(TURN)(samples.values[:, 1:])[:, 0]
    return t, y, at, _final_speed(t[last:], theta[last:]), float(t[-1] - t[last])


def _final_speed(t: Floats, theta: Floats) -> _Final:
    """Slope of the straight line through the angle, and what its residuals say of it."""
    t, theta = t - t.mean(), theta - theta.mean()
    spread = float(t @ t)
    speed = float(t @ theta) / spread
    left = theta - speed * t
    dof = t.size - 2
    return _Final(speed, math.sqrt(float(left @ left) / dof / spread), dof)


def results_of(
    response: Response, speed: ChannelRecord, angle: ChannelRecord, base: float, step: float
) -> Iterator[Result]:
    """Rows of one direction. Times owe most of their U to the sampling period: where between two samples something
    happened is not known.
    """
    m, n = response.metrics, response.repeats
    height = abs(m.y_inf - m.y_0)
    conditions: dict[str, str | float | int | bool] = {
        "direction": response.direction,
        "base_speed": base,
        "step": step,
        **signal(response.torque_share),
    }
    sampling = type_b("sampling period", response.period / 2)
    origin = [
        type_b("instant of the step, within one sampling period", response.period / 2),
        type_b("how the response begins: at once or with an inertia", response.origin.doubt, "u-shaped"),
        Contribution("noise where the response begins", "A", response.origin.noise),
    ]
    both = [sampling, type_b("sampling period, other end", response.period / 2)]

    def row(
        name: str, value: float, lines: list[Contribution], unit: str = "s", display: str = "ms"
    ) -> Result:
        return make_result(name, value, unit, lines, n=n, conditions=conditions, display_unit=display)

    yield row("t_d", m.delay, [sampling, *origin])
    yield offered(row("t_r", m.rise, both), LimitType.MAX)
    yield row("t_90", m.to_90, [sampling, *origin])
    if m.reach is not None:
        yield row("t_100", m.reach, [sampling, *origin])
    noise = Contribution("noise of the mean response", "A", m.noise / height * math.sqrt(2))
    bend = type_b("top between two samples", bend_of(response.y) / height)
    yield offered(row("M_p", m.overshoot, [noise, bend], "1", "%"), LimitType.MAX)
    if m.peak_time is not None:
        yield row("t_p", m.peak_time, [sampling, *origin])
    for band, time in m.settling.items():
        if time is not None:
            noise = type_b("noise where the band is entered", m.settling_doubt[band], "normal")
            lines = [sampling, *origin, noise]
            yield offered(row(f"t_s{band * 100:.0f}", time, lines), LimitType.MAX)
    error = base + step - float(np.mean([final.speed for final in response.finals]))
    span = math.sqrt(2) / response.span
    lines = [*reading(angle, span), *_final_lines(response.finals)]
    yield row("e_inf", error, lines, "rad/s", "r/min")


def _final_lines(finals: Sequence[_Final]) -> Iterator[Contribution]:
    """What the samples about their lines say, pooled over all repeats, and what the repeats scatter beyond that.

    A handful of repeats alone says little: their spread is by chance often much too small.
    """
    n = len(finals)
    within = math.sqrt(sum(final.u**2 for final in finals)) / n
    yield Contribution(
        "noise of angle and instants about the final line", "A", within, 1.0, sum(f.dof for f in finals), "t"
    )
    if n > 1:
        between = float(np.std([final.speed for final in finals], ddof=1)) / math.sqrt(n)
        beyond = math.sqrt(max(between**2 - within**2, 0.0))
        yield Contribution("repeats, beyond that noise", "A", beyond, 1.0, n - 1, "t")


def bend_of(y: Floats) -> float:
    """How much higher than its samples the top may be: what a parabola adds at half a sampling period, in y's unit."""
    top = min(max(int(np.argmax(y)), 1), y.size - 2)
    return abs(float(y[top - 1] - 2 * y[top] + y[top + 1])) / 2
