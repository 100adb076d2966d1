"""SRV-STEP, from segments to results: repeats laid over each other, uncertainty budget, rows and plot."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from verification_platform.analysis.step_response import StepResult, step_response
from verification_platform.engine.protocol import Curve, ProtocolError, Text
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.records import ChannelRecord
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records import Recording, RecordingError, Segment, Unwrapping

from ..common import TURN, Floats, offered, reading, type_a_mean

#: The drive's own torque, where the bench has it.
TORQUE = "drive_torque"
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
_BANDS = (0.05, 0.02)
#: Of the drive's limit. A torque that touches the limit between two samples is seen this high beside it.
_SATURATED = 0.95


@dataclass(frozen=True, slots=True)
class _Origin:
    """When the step came, s; how far off that may be for not knowing how the response begins, and for noise (u)."""

    at: float
    doubt: float
    noise: float


@dataclass(frozen=True, slots=True)
class Response:
    """All repeats of one direction, averaged. t is 0 where the step came, s; y in rad/s in the sense of the step.

    period: of the samples, s;
    finals: final speed of each repeat by the angle encoder, rad/s; span: over which it was taken, s;
    torque_share: largest drive torque of all repeats as a fraction of the drive's limit; None when it was not recorded.
    """

    direction: int
    t: Floats
    y: Floats
    period: float
    origin: _Origin
    repeats: int
    finals: tuple[float, ...]
    span: float
    metrics: StepResult
    torque_share: float | None

    @property
    def saturated(self) -> bool | None:
        """The drive has limited its torque: then this is its large-signal response. None when that is not known."""
        return None if self.torque_share is None else self.torque_share >= _SATURATED


def find_responses(recording: Recording) -> Iterator[Response]:
    """One response a direction."""
    found: dict[int, list[tuple[Floats, Floats, int, float, float]]] = {}
    shares: dict[int, list[float]] = {}
    limit = _torque_limit(recording)
    for segment in recording.segments():
        direction = int(segment.tag.get("direction", 1))
        found.setdefault(direction, []).append(_one(segment, direction))
        if limit:
            with contextlib.suppress(RecordingError):  # a segment need not have rows of every channel
                torque = segment.read(TORQUE).values
                shares.setdefault(direction, []).append(float(np.max(np.abs(torque), initial=0.0)) / limit)
    for direction, repeats in found.items():
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
            step_response(t, y, origin.at, y_0=float(y[t < origin.at].mean()), bands=_BANDS),
            max(shares[direction]) if direction in shares else None,
        )


def _torque_limit(recording: Recording) -> float | None:
    """Range of the drive's own torque, N·m: where it ends, the drive limits it. None when it was not recorded."""
    record = recording.channels.get(TORQUE)
    return None if record is None else record.range


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


def _one(segment: Segment, direction: int) -> tuple[Floats, Floats, int, float, float]:
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
    final, _ = np.polyfit(t[last:] - t[last], theta[last:], 1)
    return t, y, at, float(final), float(t[-1] - t[last])


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
    }
    if response.saturated is not None:
        conditions["signal"] = "large" if response.saturated else "small"
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
    bend = type_b("top between two samples", _bend(response) / height)
    yield offered(row("M_p", m.overshoot, [noise, bend], "1", "%"), LimitType.MAX)
    if m.peak_time is not None:
        yield row("t_p", m.peak_time, [sampling, *origin])
    for band, time in m.settling.items():
        if time is not None:
            noise = type_b("noise where the band is entered", m.settling_doubt[band], "normal")
            lines = [sampling, *origin, noise]
            yield offered(row(f"t_s{band * 100:.0f}", time, lines), LimitType.MAX)
    error = base + step - float(np.mean(response.finals))
    span = math.sqrt(2) / response.span
    lines = [*reading(angle, span), *type_a_mean("repeats", response.finals)]
    yield row("e_inf", error, lines, "rad/s", "r/min")


def _bend(response: Response) -> float:
    """How much higher than its samples the top may be: what a parabola adds at half a sampling period, rad/s."""
    y = response.y
    top = min(max(int(np.argmax(y)), 1), y.size - 2)
    return abs(float(y[top - 1] - 2 * y[top] + y[top + 1])) / 2


def plot(response: Response) -> Curve:
    which = {1: Text("正向", "forward"), -1: Text("反向", "reverse")}[response.direction]
    return Curve(
        f"step_{'forward' if response.direction > 0 else 'reverse'}",
        Text(f"转速阶跃响应，{which.zh}", f"Speed step, {which.en}"),
        Text("时间 t", "time t"),
        Text("转速 n", "speed n"),
        response.t,
        {"n": response.y},
        "s",
        "rad/s",
        "ms",
        "r/min",
    )
