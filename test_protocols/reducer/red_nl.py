"""RED-NL 空载运行转矩 — no-load running torque of a reducer.

The input turns at constant speed n, the output is free. What the input takes to turn is friction:

    T_NL(n) = [T̄_1,CW − T̄_1,CCW]/2 − T_bench(n)        offset of TQ1 = [T̄_1,CW + T̄_1,CCW]/2

Half the difference of both directions removes the zero error of the transducer, half the sum is that error.
T_bench is the drag of the bench, measured with the reducer removed. Means are taken over whole output
revolutions, after the torque has become steady (|dT_1/dt| < 2 %/min) or the longest dwell has passed. Through
the levels goes the law

    T_NL = T_C + T_v·ω          (on request with a Stribeck term)

Reported at the input, and times i at the output; judged is T_NL at the rated speed n_N.

A shaft that turns commensurably with the sampling shows the sensor the same few angles again and again, and
ripple of the input (cogging, eccentricity) would enter the mean. So the shaft turns 1 % faster than the
level: over one output revolution of i = 100 the sampling then slips through the whole input revolution. The
law takes the mean back to the level.

GB/T 35089-2018 cl. 7; GB/T 37165-2018 6.2; protocol specification RED-NL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from verification_platform.engine.steps import (
    Above,
    Condition,
    Prompt,
    Record,
    Rest,
    Seconds,
    Set,
    Steady,
    Together,
    Turns,
    Wait,
)
from verification_platform.metrology.result import Result, RunStatus
from verification_platform.records.recording import Recording
from verification_platform.tables import Acceleration, Duration, Kelvin, Ratio, Speed

from ..common import channel, environment_findings, rate_deviation
from ._no_load import (
    Budget,
    find_levels,
    friction_law,
    is_rated,
    law_results,
    level_results,
    plot,
    range_findings,
    rated_from_law,
    speed_findings,
)

#: Recorded beyond the whole revolutions, so that the last one is complete, r.
_EXTRA_TURN = 0.15
_LEVELS = (100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500)
_UNCOUPLE = Prompt(
    "uncouple_output",
    "请将输出端与负载轴脱开，完成后确认",
    "uncouple the output from the load machine, then confirm",
)


class NoLoadTorqueParameters(ProtocolParameters):
    """Marks: C/K confirmed or common practice, V to be verified in the standard, P platform default."""

    speeds: tuple[Speed, ...] = parameter(
        tuple(f"{n} r/min" for n in _LEVELS),
        mark="P",
        unit="rad/s",
        display="r/min",
        why=Text("输入转速各级", "input speed levels"),
    )
    speed_offset: Ratio = parameter(
        "1 %",
        mark="P",
        display="%",
        why=Text("采样不得与旋转可公度", "sampling must not be commensurate with the rotation"),
        ge=0,
        le=0.05,
    )
    acceleration: Acceleration = parameter(
        "50 rad/s²", mark="P", unit="rad/s²", why=Text("输入端", "of the input"), gt=0
    )
    dwell: Duration = parameter(
        "60 s", mark="P", unit="s", why=Text("每级最短时间", "least time at a level"), gt=0
    )
    dwell_limit: Duration = parameter(
        "600 s", mark="P", unit="s", why=Text("每级最长时间", "longest time at a level"), gt=0
    )
    steady_rate: Ratio = parameter(
        "2 %", mark="P", display="%", why=Text("T_1 每分钟变化", "of T_1 per minute"), gt=0
    )
    revolutions: int = parameter(
        1, mark="P", why=Text("参与平均的输出整转数", "whole output revolutions averaged"), ge=1
    )
    housing_temperatures: tuple[Kelvin, ...] = parameter(
        (),
        mark="P",
        unit="K",
        display="°C",
        why=Text("温度档，如 20、30、40 °C；空：按现状", "bands, e.g. 20, 30, 40 °C; empty: as it is"),
    )
    warm_up_limit: Duration = parameter(
        "4 h", mark="P", unit="s", why=Text("在 n_N 下达到温度档", "to reach a band at n_N"), gt=0
    )
    law: Literal["linear", "stribeck"] = parameter("linear", mark="P", why=Text("摩擦模型", "friction law"))
    uncouple_output: bool = parameter(
        True, mark="C", why=Text("由操作员脱开负载机", "technician uncouples the load machine")
    )
    range_limit: Ratio = parameter(
        "20 %",
        mark="P",
        display="%",
        why=Text("占 TQ1 量程，最低使用率", "of the range of TQ1, least use of it"),
        gt=0,
    )
    speed_drift_limit: Ratio = parameter(
        "0.5 %",
        mark="P",
        display="%",
        why=Text("平均期间转速的最大变化", "largest change of speed while averaging"),
        gt=0,
    )
    sampling_rate: float = parameter(
        1000.0,
        mark="P",
        unit="Hz",
        why=Text("转矩与输入角采样率下限", "least rate of torque and input angle"),
        gt=0,
    )


class NoLoadTorque(Protocol):
    """RED-NL."""

    id = "RED-NL"
    title = Text("空载运行转矩", "No-load running torque")
    purpose = Text("输出端空载时输入端所需转矩", "torque the input takes to turn with the output free")
    standards = (Standard("GB/T 35089-2018", "7", "C"), Standard("GB/T 37165-2018", "6.2", "C"))
    dut_kinds = ("reducer",)
    requires = Requires(
        actuators=("drive",),
        channels=("input_angle", "output_angle", "input_torque", "housing_temperature"),
        calibrated=("input_torque",),
    )
    Parameters = NoLoadTorqueParameters

    # -------------------------------------------------------------------------------------------- stimulus

    def procedure(self, p: NoLoadTorqueParameters, dut: Reducer) -> Procedure:
        if p.uncouple_output:
            yield _UNCOUPLE
        for band, temperature in enumerate(p.housing_temperatures or (None,)):
            if temperature is not None:
                yield Set("drive", Mode.VELOCITY, dut.rated_speed, p.acceleration)
                yield Wait(Above("housing_temperature", temperature), p.warm_up_limit)
            for direction in (1, -1):
                for level, speed in enumerate(p.speeds):
                    turns = p.revolutions + _EXTRA_TURN
                    limit_s = 2 * turns * 2 * math.pi * dut.ratio / speed + 10
                    tag = {"band": band, "level": level, "speed": speed, "direction": direction}
                    yield Together(
                        (
                            Set(
                                "drive",
                                Mode.VELOCITY,
                                direction * speed * (1 + p.speed_offset),
                                p.acceleration,
                            ),
                            Wait(_settled(p), p.dwell_limit + 10),
                            Record((Wait(Turns("output_angle", turns), limit_s),), tag),
                        )
                    )
                yield Set("drive", Mode.VELOCITY, 0.0, p.acceleration)
        yield Rest(("drive",))

    def check(
        self,
        p: NoLoadTorqueParameters,
        dut: Reducer,
        rates_hz: Mapping[str, float],
        ranges: Mapping[str, float],
    ) -> Objections:
        refusals = []
        if len(set(p.speeds)) < (4 if p.law == "stribeck" else 2):
            refusals.append(
                f"{len(set(p.speeds))} speed levels cannot determine the {p.law} friction law; add levels"
            )
        if any(speed <= 0 for speed in p.speeds):
            refusals.append("speeds are magnitudes above 0; both directions are run anyway")
        for speed in p.speeds:
            per_turn = rates_hz["input_torque"] * 2 * math.pi * dut.ratio / speed
            if per_turn < 100:
                refusals.append(
                    f"{per_turn:.0f} torque samples per output revolution at {speed * 30 / math.pi:.0f} r/min, "
                    f"at least 100 needed; sample faster"
                )
        return Objections(tuple(refusals))

    # ------------------------------------------------------------------------------------------ evaluation

    def evaluate(self, recording: Recording, p: NoLoadTorqueParameters, order: Order) -> Evaluation:
        dut, torque = order.dut, channel(recording, "input_torque")
        levels = list(find_levels(recording, dut))
        if not levels:
            raise ProtocolError("the recording holds no speed level of RED-NL in both directions")
        findings, invalid = environment_findings(recording)
        findings += range_findings(levels, torque, p.range_limit)
        unsteady = speed_findings(levels, p.speed_drift_limit)
        findings += unsteady
        results: list[Result] = []
        curves = []
        for band in sorted({level.band for level in levels}):
            here = [level for level in levels if level.band == band]
            budget = Budget(torque, recording.fixture)
            law = friction_law(here, p.law)
            if law is not None:
                here = [level.taken_back(law) for level in here]
            results += [row for level in here for row in level_results(level, budget, dut)]
            if law is not None:
                if not any(is_rated(level, dut) for level in here):
                    results.append(rated_from_law(here, law, budget, dut))
                results += law_results(here, law, budget)
            curves.append(plot(here, law, band))
        return Evaluation(
            results,
            curves,
            RunStatus.INVALID if invalid or unsteady else RunStatus.VALID,
            findings,
            [
                *rate_deviation(torque, p.sampling_rate),
                *rate_deviation(channel(recording, "input_angle"), p.sampling_rate),
            ],
        )


def _settled(p: NoLoadTorqueParameters) -> Condition:
    """Steady over two halves of the least dwell, or the longest dwell has passed."""
    if p.dwell_limit <= p.dwell:
        return Seconds(p.dwell)
    return Steady("input_torque", p.dwell / 2, p.steady_rate / 60, relative=True) | Seconds(p.dwell_limit)
