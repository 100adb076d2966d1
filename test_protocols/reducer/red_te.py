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
from collections.abc import Iterator, Mapping
from typing import Literal

from drivers.device import Mode
from verification_platform.bench.dut import Order, Reducer
from verification_platform.engine.protocol import (
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
from verification_platform.metrology.result import Result, RunStatus
from verification_platform.records.marks import Tag
from verification_platform.records.recording import Recording
from verification_platform.tables import Acceleration, Duration, Ratio, RatioRate, Speed

from ..common import channel, environment_findings, rate_deviation
from ._transmission_error import Budget, cell_results, closure_finding, directions_together, find_cells, plots

#: Recorded beyond the whole revolutions, so that the last one is complete, r.
_EXTRA_TURN = 0.01


class TransmissionErrorParameters(ProtocolParameters):
    """Marks: C/K confirmed or common practice, V to be verified in the standard, P platform default."""

    mode: Literal["dynamic", "static", "both"] = parameter(
        "dynamic", mark="P", why=Text("连续旋转、逐点静态或两者", "continuous turning, step by step, or both")
    )
    output_speed: Speed = parameter(
        "1 r/min", mark="P", unit="rad/s", display="r/min", why=Text("准静态", "quasi-static"), gt=0
    )
    rated_speeds: tuple[Ratio, ...] = parameter(
        (), mark="P", why=Text("其他输入转速，以 n_N 的比例计", "further input speeds, fractions of n_N")
    )
    revolutions: int = parameter(
        2, mark="P", why=Text("一次试验中的输出整转数", "whole output revolutions in one run"), ge=1
    )
    repeats: int = parameter(
        3, mark="P", why=Text("每种负载和方向的次数", "runs per load and direction"), ge=1
    )
    loads: tuple[Ratio, ...] = parameter(
        (0.0, 0.5, 1.0), mark="P", why=Text("输出转矩，以 T_N 的比例计", "output torque, fractions of T_N")
    )
    load_rate: RatioRate = parameter(
        "5 %/s",
        mark="P",
        unit="1/s",
        display="%/s",
        why=Text("占 T_N；负载按斜坡加载，不阶跃", "of T_N; the load ramps, it never steps"),
        gt=0,
    )
    acceleration: Acceleration = parameter(
        "50 rad/s²", mark="P", unit="rad/s²", why=Text("输入端", "of the input"), gt=0
    )
    settle: Duration = parameter(
        "2 s", mark="P", unit="s", why=Text("达到转速后", "after the speed is reached"), ge=0
    )
    highest_order: int | None = parameter(
        None,
        mark="P",
        why=Text("q_max；缺省取样品资料中的最高阶次", "q_max; default the highest order in the data sheet"),
    )
    static_positions: int | None = parameter(
        None, mark="P", why=Text("缺省 max(120, 20·q_max)", "default max(120, 20·q_max)")
    )
    static_dwell: Duration = parameter(
        "0.5 s", mark="P", unit="s", why=Text("每个位置读数之前", "at each position before it is read"), ge=0
    )
    static_average: Duration = parameter(
        "0.2 s", mark="P", unit="s", why=Text("每个位置的读数时长", "over which a position is read"), gt=0
    )
    static_speed: Speed = parameter(
        "60 r/min",
        mark="P",
        unit="rad/s",
        display="r/min",
        why=Text("输入端，位置之间", "input, between positions"),
        gt=0,
    )
    samples_per_cycle: int = parameter(20, mark="K", why=Text("对 q_max", "of q_max"), ge=4)
    sampling_rate: float = parameter(
        1000.0, mark="P", unit="Hz", why=Text("角度通道采样率下限", "least rate of the angle channels"), gt=0
    )
    closure_limit: Ratio = parameter(
        0.1,
        mark="K",
        display="%",
        why=Text("占 TE_pp；超出则有热漂移或打滑", "of TE_pp; beyond it: thermal drift or slip"),
        gt=0,
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
        cells = find_cells(recording, dut, orders(p, dut), p.samples_per_cycle)
        if not cells:
            raise ProtocolError("the recording holds no segment of RED-TE")
        results: list[Result] = []
        findings, invalid = environment_findings(recording)
        for cell in cells:
            lines = Budget(cell, input_angle, output_angle, recording.fixture, dut)
            results += cell_results(cell, lines, orders(p, dut))
            for run in cell.runs:
                finding, bad = closure_finding(run, p.closure_limit, cell.conditions)
                findings += finding
                invalid = invalid or bad
        results += directions_together(cells, input_angle, output_angle, recording.fixture, dut)
        return Evaluation(
            results,
            list(plots(cells)),
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
