"""What several protocols share: budget lines of the bench, environment, angles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from verification_platform.engine.protocol import ProtocolError, Text
from verification_platform.metrology.budget import certificate, resolution
from verification_platform.metrology.distributions import P_K2, coverage_factor
from verification_platform.metrology.records import ChannelRecord
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records.errors import RecordingError
from verification_platform.records.recording import Recording, Segment
from verification_platform.records.unwrapping import Unwrapping

Floats = NDArray[np.float64]

#: Where angle channels wrap, rad.
TURN = 2 * math.pi

#: Environment of precision tests [P] (protocol specification §0.5): 23 ± 3 °C, drift ≤ 1 K/h.
AMBIENT_K, AMBIENT_TOLERANCE_K, AMBIENT_DRIFT_K_S = 296.15, 3.0, 1.0 / 3600
#: A drift is judged over at least so long, s: in less the ambient cannot move enough to matter.
_DRIFT_SPAN_S = 600.0


def offered(result: Result, limit: LimitType) -> Result:
    """`result` offered for judgement: the order's limit of this quantity applies to it."""
    return replace(result, limit_type=limit)


def channel(recording: Recording, name: str) -> ChannelRecord:
    """The record of a channel the evaluation needs. Raises ProtocolError when it was not recorded."""
    try:
        return recording.channels[name]
    except KeyError:
        known = ", ".join(recording.channels)
        raise ProtocolError(f"channel {name!r} was not recorded; the recording has {known}") from None


def reading(record: ChannelRecord, c: float, at: float = 0.0) -> list[Contribution]:
    """Budget lines of one reading of `record` near `at`: certificate and resolution, sensitivity `c`."""
    lines = [
        certificate(f"{record.name}: certificate {record.certificate or '(none)'}", 2 * record.u(at), 2.0, c)
    ]
    if record.resolution > 0:
        lines.append(resolution(f"{record.name}: resolution", record.resolution, c))
    return lines


def angles(segment: Segment) -> Iterator[tuple[Floats, Floats]]:
    """Blocks of (θ₁, θ₂), rad, unwrapped through the segment, shapes (n,).

    A single-turn encoder jumps by 2π once a revolution; two samples lie less than half a turn apart.
    """
    unwrap = Unwrapping(TURN)
    for samples in segment.blocks("input_angle", "output_angle"):
        theta = unwrap(samples.values)
        yield np.ascontiguousarray(theta[:, 0]), np.ascontiguousarray(theta[:, 1])


def type_a_mean(source: str, values: Sequence[float], c: float = 1.0) -> list[Contribution]:
    """Repeatability of a mean as a budget line; none for a single value (its spread is unknown)."""
    if len(values) < 2:
        return []
    s = float(np.std(values, ddof=1))
    return [Contribution(source, "A", s / math.sqrt(len(values)), c, len(values) - 1, "t")]


def environment_findings(recording: Recording) -> tuple[list[Text], bool]:
    """What the ambient temperature says against the run, and whether it makes the run INVALID.

    The drift is the slope of a straight line through the means of the segments, judged only where the run was
    long enough for the slope to be known (its expanded uncertainty is taken off)."""
    if "ambient_temperature" not in recording.channels:
        return [Text("未记录环境温度", "the ambient temperature was not recorded")], False
    times, means, weights = [], [], []
    for segment in recording.segments():
        try:
            samples = segment.read("ambient_temperature")
        except RecordingError:  # a segment need not have rows of every bus
            continue
        if len(samples.stamps_s):
            times.append(float(samples.stamps_s.mean()))
            means.append(float(samples.values.mean()))
            weights.append(len(samples.stamps_s))
    if not times:
        return [Text("未记录环境温度", "the ambient temperature was not recorded")], False
    findings, mean = [], float(np.average(means, weights=weights))
    if abs(mean - AMBIENT_K) > AMBIENT_TOLERANCE_K:
        shown = f"{mean - 273.15:.1f} °C"
        findings.append(
            Text(
                f"环境温度 {shown} 超出 23 ± 3 °C", f"the ambient temperature was {shown}, outside 23 ± 3 °C"
            )
        )
    drift, u = _slope(np.array(times), np.array(means))
    if abs(drift) - coverage_factor(max(len(times) - 2, 1), P_K2) * u > AMBIENT_DRIFT_K_S:
        shown = f"{drift * 3600:.2g} K/h"
        findings.append(
            Text(
                f"环境温度漂移 {shown} 超出 1 K/h",
                f"the ambient temperature drifted by {shown}, more than 1 K/h",
            )
        )
    return findings, bool(findings)


def _slope(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope of the least-squares line and its standard uncertainty; (0, inf) for too few or too short."""
    if x.size < 4 or float(np.ptp(x)) < _DRIFT_SPAN_S:
        return 0.0, math.inf
    x = x - x.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    left = y - y.mean() - slope * x
    return slope, math.sqrt(float(left @ left) / (x.size - 2) / spread)


def rate_deviation(record: ChannelRecord, wanted_hz: float) -> list[Text]:
    """A declared deviation when a channel was sampled more slowly than the method's default."""
    if record.rate_hz >= wanted_hz * (1 - 1e-9):
        return []
    return [
        Text(
            f"通道 {record.name} 采样率 {record.rate_hz:g} Hz，低于规程缺省值 {wanted_hz:g} Hz",
            f"channel {record.name} was sampled at {record.rate_hz:g} Hz, less than {wanted_hz:g} Hz",
        )
    ]
