"""RED-TE 角度传动误差 — angular transmission error of a reducer.

The output of a perfect reducer follows its input divided by the ratio i. What it does instead is the
transmission error

    e(θ₂) = θ₂ − s·θ₁/i            θ₁, θ₂: input and output angle, s = ±1: sense of rotation

It is measured while the input turns slowly at constant speed (dynamic) or step by step (static), over whole
output revolutions, in both directions, without a reversal inside a run. Reported per load and direction:

    TE_pp    max e − min e over exactly one output revolution, of the average revolution (time-synchronous
    average);
             this equals the makers' "sum of the largest positive and largest negative difference"
    TE_rms   root mean square of e about its mean
    A_q      amplitude of order q per output revolution: A_q·sin(qθ₂ + φ_q)

A constant offset of e is removed by definition. Nothing else is: e is never detrended, so a wrong ratio, slip
or thermal drift shows as closure c = e(2π) − e(0), and |c| > 10 % of TE_pp makes the run INVALID.

GB/T 35089-2018 cl. 8; GB/T 37165-2018 6.10; protocol specification RED-TE.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from drivers.device import Mode
from verification_platform.analysis.transmission_error import TransmissionError as TransmissionErrorOfRun
from verification_platform.analysis.transmission_error import TransmissionErrorResult, both_directions
from verification_platform.bench.dut import Order, Reducer
from verification_platform.engine.protocol import (
    Curve,
    Evaluation,
    Objections,
    Procedure,
    Protocol,
    ProtocolError,
    ProtocolParameters,
    Requires,
    Standard,
    Text,
    parameter,
)
from verification_platform.engine.steps import Record, Rest, Seconds, Set, Step, Together, Turns, Wait
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.result import Contribution, LimitType, Result, RunStatus
from verification_platform.records import Recording, Segment, Tag

from ..common import (
    Acceleration,
    Duration,
    Ratio,
    RatioRate,
    Speed,
    angles,
    channel,
    environment_findings,
    offered,
    rate_deviation,
    reading,
    type_a_mean,
)

#: Recorded beyond the whole revolutions, so that the last one is complete, r.
_EXTRA_TURN = 0.01
_DIRECTIONS = {1: Text("正向", "forward"), -1: Text("反向", "reverse")}


class TransmissionErrorParameters(ProtocolParameters):
    """Marks: C/K confirmed or common practice, V to be verified in the standard, P platform default."""

    mode: Literal["dynamic", "static", "both"] = parameter(
        "dynamic", mark="P", why="continuous turning, step by step, or both"
    )
    output_speed: Speed = parameter(
        "1 r/min", mark="P", unit="rad/s", display="r/min", why="quasi-static", gt=0
    )
    rated_speeds: tuple[Ratio, ...] = parameter((), mark="P", why="further input speeds, fractions of n_N")
    revolutions: int = parameter(2, mark="P", why="whole output revolutions in one run", ge=1)
    repeats: int = parameter(3, mark="P", why="runs per load and direction", ge=1)
    loads: tuple[Ratio, ...] = parameter((0.0, 0.5, 1.0), mark="P", why="output torque, fractions of T_N")
    load_rate: RatioRate = parameter(
        "5 %/s", mark="P", unit="1/s", display="%/s", why="of T_N; the load ramps, it never steps", gt=0
    )
    acceleration: Acceleration = parameter("50 rad/s²", mark="P", unit="rad/s²", why="of the input", gt=0)
    settle: Duration = parameter("2 s", mark="P", unit="s", why="after the speed is reached", ge=0)
    highest_order: int | None = parameter(
        None, mark="P", why="q_max; default the highest order in the data sheet"
    )
    static_positions: int | None = parameter(None, mark="P", why="default max(120, 20·q_max)")
    static_dwell: Duration = parameter(
        "0.5 s", mark="P", unit="s", why="at each position before it is read", ge=0
    )
    static_average: Duration = parameter(
        "0.2 s", mark="P", unit="s", why="over which a position is read", gt=0
    )
    static_speed: Speed = parameter(
        "60 r/min", mark="P", unit="rad/s", display="r/min", why="input, between positions", gt=0
    )
    samples_per_cycle: int = parameter(20, mark="K", why="of q_max", ge=4)
    sampling_rate: float = parameter(
        1000.0, mark="P", unit="Hz", why="least rate of the angle channels", gt=0
    )
    closure_limit: Ratio = parameter(
        0.1, mark="K", display="%", why="of TE_pp; beyond it: thermal drift or slip", gt=0
    )


class TransmissionError(Protocol):
    """RED-TE."""

    id = "RED-TE"
    title = Text("角度传动误差", "Angular transmission error")
    purpose = Text(
        "输出角与输入角除以速比之差",
        "deviation of the output angle from the input angle divided by the ratio",
    )
    standards = (
        Standard("GB/T 35089-2018", "8", "C"),
        Standard("GB/T 37165-2018", "6.10", "C"),
        Standard("GB/T 30819-2024", "6", "V"),
    )
    dut_kinds = ("reducer",)
    requires = Requires(
        actuators=("drive",),
        channels=("input_angle", "output_angle"),
        calibrated=("input_angle", "output_angle"),
    )
    Parameters = TransmissionErrorParameters

    # -------------------------------------------------------------------------------------------- stimulus

    def procedure(self, p: TransmissionErrorParameters, dut: Reducer) -> Procedure:
        for load in p.loads:
            if load:
                yield Set("load", Mode.TORQUE, load * dut.rated_torque, p.load_rate * dut.rated_torque)
            for direction in (1, -1):
                if p.mode in ("dynamic", "both"):
                    for speed in output_speeds(p, dut):
                        for repeat in range(p.repeats):
                            tag: Tag = {"method": "dynamic", "load": load, "speed": speed}
                            yield self._run(
                                p, dut, direction, speed, {**tag, "direction": direction, "repeat": repeat}
                            )
                        yield Set("drive", Mode.VELOCITY, 0.0, p.acceleration)
                if p.mode in ("static", "both"):
                    yield Rest(("drive",))
                    for repeat in range(p.repeats):
                        tag = {"method": "static", "load": load, "speed": 0.0}
                        yield from self._sweep(
                            p, dut, direction, {**tag, "direction": direction, "repeat": repeat}
                        )
                    yield Rest(("drive",))
            if load:
                yield Set("load", Mode.TORQUE, 0.0, p.load_rate * dut.rated_torque)
        yield Rest(("drive", "load") if any(p.loads) else ("drive",))

    def _run(
        self, p: TransmissionErrorParameters, dut: Reducer, direction: int, speed: float, tag: Tag
    ) -> Step:
        """Whole output revolutions at constant speed, no reversal inside."""
        turns = p.revolutions + _EXTRA_TURN
        limit_s = 2 * turns * 2 * math.pi / speed + 10
        return Together(
            (
                Set("drive", Mode.VELOCITY, direction * dut.sense * speed * dut.ratio, p.acceleration),
                Wait(Seconds(p.settle), p.settle + 10),
                Record((Wait(Turns("output_angle", turns), limit_s),), tag),
            )
        )

    def _sweep(
        self, p: TransmissionErrorParameters, dut: Reducer, direction: int, tag: Tag
    ) -> Iterator[Step]:
        """One output revolution in equal steps, always approached from the same side, and the first position
        again."""
        count = static_positions(p, dut)
        pitch = direction * dut.sense * 2 * math.pi * dut.ratio / count  # of the input
        start = -5 * pitch  # takes up the lost motion before the first position
        yield Set("drive", Mode.POSITION, start, p.static_speed)
        for position in range(count + 1):
            yield Together(
                (
                    Set("drive", Mode.POSITION, position * pitch, p.static_speed),
                    Wait(Seconds(p.static_dwell), p.static_dwell + 10),
                    Record(
                        (Wait(Seconds(p.static_average), p.static_average + 10),),
                        {**tag, "position": position},
                    ),
                )
            )

    def check(
        self,
        p: TransmissionErrorParameters,
        dut: Reducer,
        rates_hz: Mapping[str, float],
        ranges: Mapping[str, float],
    ) -> Objections:
        q_max = orders(p, dut)[-1]
        refusals = []
        if p.mode in ("dynamic", "both"):
            rate = min(rates_hz["input_angle"], rates_hz["output_angle"])
            for speed in output_speeds(p, dut):
                per_cycle = rate * 2 * math.pi / speed / q_max
                if per_cycle < p.samples_per_cycle:
                    fastest = rate * 60 / (p.samples_per_cycle * q_max)
                    refusals.append(
                        f"undersampled for order {q_max}: {per_cycle:.1f} samples a cycle at {rate:g} Hz, "
                        f"at least {p.samples_per_cycle} needed; turn the output at {fastest:.3g} r/min or slower"
                    )
        if p.mode in ("static", "both") and static_positions(p, dut) < p.samples_per_cycle * q_max:
            refusals.append(
                f"undersampled for order {q_max}: {static_positions(p, dut)} static positions, at least "
                f"{p.samples_per_cycle * q_max} needed; raise static_positions or lower highest_order"
            )
        return Objections(tuple(refusals))

    # ------------------------------------------------------------------------------------------ evaluation

    def evaluate(self, recording: Recording, p: TransmissionErrorParameters, order: Order) -> Evaluation:
        dut = order.dut
        input_angle, output_angle = channel(recording, "input_angle"), channel(recording, "output_angle")
        cells = [_Cell(key, runs) for key, runs in _curves(recording, p, dut).items()]
        if not cells:
            raise ProtocolError("the recording holds no segment of RED-TE")
        results: list[Result] = []
        findings, invalid = environment_findings(recording)
        for cell in cells:
            lines = _Budget(cell, input_angle, output_angle, recording.fixture, dut)
            results += cell_results(cell, lines, orders(p, dut))
            for run in cell.runs:
                finding, bad = _closure_finding(run, p.closure_limit, cell.conditions)
                findings += finding
                invalid = invalid or bad
        results += _directions_together(cells, input_angle, output_angle, recording.fixture, dut)
        return Evaluation(
            results,
            list(_plots(cells)),
            RunStatus.INVALID if invalid else RunStatus.VALID,
            findings,
            [*rate_deviation(input_angle, p.sampling_rate), *rate_deviation(output_angle, p.sampling_rate)],
        )


# ------------------------------------------------------------------------------------------------ stimulus


def orders(p: TransmissionErrorParameters, dut: Reducer) -> tuple[int, ...]:
    """Orders per output revolution of interest, rising; the last is q_max.

    From the data sheet; else 1, 2 and for a harmonic reducer the wave generator's 2i and 4i.
    """
    listed = dut.orders or (
        (1.0, 2.0, 2 * dut.ratio, 4 * dut.ratio) if dut.type == "harmonic" else (1.0, 2.0)
    )
    wanted = sorted({round(q) for q in listed if p.highest_order is None or round(q) <= p.highest_order})
    if p.highest_order is not None and p.highest_order not in wanted:
        wanted.append(p.highest_order)
    return tuple(wanted)


def output_speeds(p: TransmissionErrorParameters, dut: Reducer) -> tuple[float, ...]:
    """Output speeds of the dynamic runs, rad/s."""
    return (p.output_speed, *(fraction * dut.rated_speed / dut.ratio for fraction in p.rated_speeds))


def static_positions(p: TransmissionErrorParameters, dut: Reducer) -> int:
    """N_s of the static method: max(120, 20·q_max) unless given."""
    return p.static_positions or max(120, p.samples_per_cycle * orders(p, dut)[-1])


# ------------------------------------------------------------------------------------- segments to curves


@dataclass(frozen=True, slots=True)
class _Cell:
    """All runs of one method, load, speed and direction."""

    conditions: Mapping[str, str | float | int | bool]
    runs: Sequence[TransmissionErrorResult]

    def __init__(self, key: tuple[tuple[str, Any], ...], runs: Sequence[TransmissionErrorResult]) -> None:
        object.__setattr__(self, "conditions", {**dict(key), "direction": runs[0].direction})
        object.__setattr__(self, "runs", runs)

    def mean(self, values: Sequence[float]) -> float:
        return math.fsum(values) / len(values)

    @property
    def pp(self) -> float:
        return self.mean([run.pp_rad for run in self.runs])


def _curves(
    recording: Recording, p: TransmissionErrorParameters, dut: Reducer
) -> dict[tuple[tuple[str, Any], ...], list[TransmissionErrorResult]]:
    """Evaluated runs by (method, load, speed, direction). A recording without tags is one dynamic run."""
    found: dict[tuple[tuple[str, Any], ...], list[TransmissionErrorResult]] = {}
    sweeps: dict[tuple[tuple[str, Any], ...], list[Segment]] = {}
    for segment in recording.segments():
        if segment.tag.get("method", "dynamic") == "static":
            repeat = ("repeat", segment.tag["repeat"])
            sweeps.setdefault((*_key(segment.tag), repeat), []).append(segment)
        else:
            accumulator = _accumulator(p, dut)
            for theta1, theta2 in angles(segment):
                accumulator.update(theta1, theta2)
            found.setdefault(_key(segment.tag), []).append(accumulator.result())
    for key, segments in sweeps.items():
        found.setdefault(key[:-1], []).append(_static(segments, p, dut))
    return found


def _key(tag: Tag) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tag[name]) for name in ("method", "load", "speed", "direction") if name in tag)


def _accumulator(p: TransmissionErrorParameters, dut: Reducer, slack: float = 0.0) -> TransmissionErrorOfRun:
    per_cycle = p.samples_per_cycle * (1 - slack)
    return TransmissionErrorOfRun(dut.ratio, dut.sense, orders(p, dut), samples_per_cycle=per_cycle)


def _static(
    segments: Sequence[Segment], p: TransmissionErrorParameters, dut: Reducer
) -> TransmissionErrorResult:
    """One sweep: the mean of each position is one point of the curve."""
    points = np.array([_mean_angles(segment) for segment in segments])
    steps = np.diff(points, axis=0)
    steps -= 2 * math.pi * np.round(steps / (2 * math.pi))
    # between positions the input turns by more than half a turn: its whole turns follow from the output
    steps[:, 0] += 2 * math.pi * np.round((dut.sense * dut.ratio * steps[:, 1] - steps[:, 0]) / (2 * math.pi))
    theta = points[0] + np.concatenate((np.zeros((1, 2)), np.cumsum(steps, axis=0)))
    # N_s positions are N_s samples a revolution but for the transmission error itself
    accumulator = _accumulator(p, dut, slack=1e-3)
    accumulator.update(theta[:, 0], theta[:, 1])
    return accumulator.result()


def _mean_angles(segment: Segment) -> tuple[float, float]:
    theta1, theta2 = (np.concatenate(parts) for parts in zip(*angles(segment), strict=True))
    return float(theta1.mean()), float(theta2.mean())


def _closure_finding(
    run: TransmissionErrorResult, limit: float, conditions: Mapping[str, Any]
) -> tuple[list[Text], bool]:
    where_zh, where = _where(conditions)
    if run.closure_rad is None or run.closure_noise_rad is None:
        degrees = math.degrees(run.range_rad)
        return [
            Text(
                f"{where_zh}：仅评定 {degrees:.1f}° 输出行程，不足一转",
                f"{where}: evaluated over {degrees:.1f}° of the output, less than one revolution",
            )
        ], False
    # what the noise of the angles can explain is no drift
    if abs(run.closure_rad) - 2 * run.closure_noise_rad <= limit * run.pp_rad:
        return [], False
    share = f"{abs(run.closure_rad) / run.pp_rad:.0%}"
    return [
        Text(
            f"{where_zh}：闭合差为 TE_pp 的 {share}（允许 {limit:.0%}）：检查速比与转向、打滑、热漂移",
            f"{where}: the curve does not close, by {share} of TE_pp (at most {limit:.0%}): "
            "check ratio and sense, slip, thermal drift",
        )
    ], True


def _where(conditions: Mapping[str, Any]) -> tuple[str, str]:
    direction = _DIRECTIONS[int(conditions["direction"])]
    load = conditions.get("load")
    if load is None:
        return direction.zh, direction.en
    return f"{direction.zh}，负载 {load:.0%} T_N", f"{direction.en}, load {load:.0%} T_N"


# ------------------------------------------------------------------------------------------------- budget


class _Budget:
    """u²(e) = u²(EN2) + u²(EN1)/i² + (ω₂·u(Δt))² + u²(mounting), and what reading a characteristic adds."""

    def __init__(
        self,
        cell: _Cell,
        input_angle: ChannelRecord,
        output_angle: ChannelRecord,
        fixture: FixtureRecord,
        dut: Reducer,
    ) -> None:
        self.cell, self._input, self._output = cell, input_angle, output_angle
        self._fixture, self._ratio = fixture, dut.ratio
        self._omega = float(cell.conditions.get("speed", 0.0))

    def of_angle(self, c: float) -> list[Contribution]:
        """Lines of one value of e, each with sensitivity `c`."""
        return [
            *reading(self._output, c),
            *reading(self._input, c / self._ratio),
            Contribution("sync skew ω₂·u(Δt)", "B", self._fixture.sync_skew_U / 2, c * self._omega),
            Contribution("mounting of EN2", "B", self._fixture.mounting_U / 2, c),
        ]

    def of_span(self) -> list[Contribution]:
        """Lines of max e − min e: two readings at two angles, so √2 each; noise, its bias, drift, data
        reduction."""
        runs, pp = self.cell.runs, self.cell.pp
        noise = self.cell.mean([run.pp_noise_rad for run in runs]) / math.sqrt(len(runs))
        closures = [abs(run.closure_rad) for run in runs if run.closure_rad is not None]
        return [
            *self.of_angle(math.sqrt(2)),
            *self.repeatability([run.pp_rad for run in runs]),
            *(_between_revolutions(runs[0]) if len(runs) == 1 else []),
            Contribution("noise of the angles in max − min", "A", noise),
            # among many peaks of nearly the same height the largest is where the encoder's error helps
            type_b("widening of max − min by the error of EN2", self._output.u()),
            type_b("bias of max − min by noise", abs(self.cell.mean([run.pp_bias_rad for run in runs]))),
            type_b("drift within a revolution (closure)", self.cell.mean(closures) / 2 if closures else 0.0),
            type_b("data reduction (band limit 1.25·q_max, angle grid)", 1e-3 * pp),
        ]

    def of_rms(self) -> list[Contribution]:
        """An error that resembles e changes its rms by at most 1/√2 of its own size."""
        rms = [run.rms_rad for run in self.cell.runs]
        noise = self.cell.mean([run.noise_rad / math.sqrt(max(run.samples, 1)) for run in self.cell.runs])
        return [
            *self.of_angle(1 / math.sqrt(2)),
            *self.repeatability(rms),
            Contribution("noise of the angles", "A", noise / math.sqrt(len(rms))),
            type_b("data reduction (band limit 1.25·q_max)", 1e-3 * self.cell.mean(rms)),
        ]

    def of_order(self, q: int, amplitudes: Sequence[float], noise: float) -> list[Contribution]:
        """An error of the encoders at order q adds to A_q as it is; eccentric mounting makes order 1 only."""
        lines = self.of_angle(1.0)
        if q != 1:
            lines = [line for line in lines if line.source != "mounting of EN2"]
        return [
            *lines,
            *self.repeatability(amplitudes),
            Contribution("noise of the angles", "A", noise / math.sqrt(len(amplitudes))),
        ]

    @staticmethod
    def repeatability(values: Sequence[float]) -> list[Contribution]:
        return type_a_mean("repeatability between runs", values)


def _between_revolutions(run: TransmissionErrorResult) -> list[Contribution]:
    """Repeatability when there is a single run: from one revolution to the next."""
    single = run.pp_per_revolution_rad
    return type_a_mean("repeatability between revolutions", single[np.isfinite(single)].tolist())


def cell_results(cell: _Cell, budget: _Budget, wanted: Sequence[int]) -> list[Result]:
    """TE_pp (offered for judgement), TE_pp of the worst single revolution, TE_rms, A_q, and the ten largest
    orders."""
    runs, conditions, n = cell.runs, cell.conditions, len(cell.runs)
    span = budget.of_span()
    results = [
        offered(
            make_result("TE_pp", cell.pp, "rad", span, n=n, conditions=conditions, display_unit="arcsec"),
            LimitType.MAX,
        ),
        make_result(
            "TE_pp_worst",
            max(run.pp_worst_rad for run in runs),
            "rad",
            span,
            n=1,
            conditions=conditions,
            display_unit="arcsec",
        ),
        make_result(
            "TE_rms",
            cell.mean([run.rms_rad for run in runs]),
            "rad",
            budget.of_rms(),
            n=n,
            conditions=conditions,
            display_unit="arcsec",
        ),
    ]
    if runs[0].closure_rad is None:  # orders belong to whole revolutions
        return results
    largest = [line.order for line in runs[0].top if line.amplitude_rad > 3 * line.u_rad]
    lines = [{line.order: line for line in (*run.orders, *run.top)} for run in runs]
    for q in (*wanted, *(q for q in largest if q not in wanted)):
        found = [table[q] for table in lines if q in table]
        amplitudes = [line.amplitude_rad for line in found]
        u_noise = cell.mean([line.u_rad for line in found])
        rank = {"rank": largest.index(q) + 1} if q in largest else {}
        results.append(
            make_result(
                f"A_{q}",
                cell.mean(amplitudes),
                "rad",
                budget.of_order(q, amplitudes, u_noise),
                n=len(found),
                conditions={**conditions, **rank},
                display_unit="arcsec",
            )
        )
    return results


def _directions_together(
    cells: Sequence[_Cell],
    input_angle: ChannelRecord,
    output_angle: ChannelRecord,
    fixture: FixtureRecord,
    dut: Reducer,
) -> Iterator[Result]:
    """TE over both directions, each with its own mean removed, and the reversal offset (contains the lost
    motion)."""
    pairs: dict[tuple[Any, ...], dict[int, _Cell]] = {}
    for cell in cells:
        key = tuple((name, value) for name, value in cell.conditions.items() if name != "direction")
        pairs.setdefault(key, {})[cell.runs[0].direction] = cell
    for key, pair in pairs.items():
        if set(pair) != {1, -1}:
            continue
        together = both_directions({direction: cell.runs[0] for direction, cell in pair.items()})
        budget = _Budget(pair[1], input_angle, output_angle, fixture, dut)
        yield make_result(
            "TE_bidirectional",
            together.pp_bidirectional_rad,
            "rad",
            budget.of_span(),
            n=1,
            conditions=dict(key),
            display_unit="arcsec",
        )
        # both means are taken over the same angles: what the encoders do there cancels, the skew changes sign
        offset = math.remainder(together.reversal_offset_rad, 2 * math.pi)
        skew = Contribution("sync skew 2·ω₂·u(Δt)", "B", fixture.sync_skew_U / 2, 2 * budget._omega)
        drift = max(abs(run.closure_rad or 0.0) for cell in pair.values() for run in cell.runs)
        noise = math.hypot(
            *(cell.runs[0].noise_rad / math.sqrt(cell.runs[0].samples) for cell in pair.values())
        )
        lines = [
            skew,
            type_b("drift between the directions", drift),
            Contribution("noise of the angles", "A", noise),
        ]
        yield make_result(
            "reversal_offset", offset, "rad", lines, n=1, conditions=dict(key), display_unit="arcsec"
        )


# -------------------------------------------------------------------------------------------------- plots


def _plots(cells: Sequence[_Cell]) -> Iterator[Curve]:
    for cell in cells:
        run = cell.runs[0]
        where_zh, where = _where(cell.conditions)
        name = "_".join(str(value) for value in cell.conditions.values())
        yield Curve(
            f"te_{name}",
            Text(f"传动误差（{where_zh}）", f"Transmission error ({where})"),
            Text("输出角 θ₂", "output angle θ₂"),
            Text("传动误差 e", "transmission error e"),
            run.theta_rad,
            {"e": run.curve_rad},
            "rad",
            "rad",
            "°",
            "arcsec",
        )
        if run.spectrum_rad.size:
            q = np.arange(1, run.spectrum_rad.size, dtype=np.float64)
            yield Curve(
                f"te_orders_{name}",
                Text(f"传动误差阶次谱（{where_zh}）", f"Orders of the transmission error ({where})"),
                Text("阶次 q（每输出转）", "order q per output revolution"),
                Text("幅值 A_q", "amplitude A_q"),
                q,
                {"A_q": run.spectrum_rad[1:]},
                "1",
                "rad",
                "",
                "arcsec",
                "stem",
            )
