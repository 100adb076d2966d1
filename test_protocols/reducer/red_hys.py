"""RED-HYS 滞回曲线 — hysteresis under torque: lost motion, backlash, torsional stiffness, loss.

The input is locked, the output is loaded slowly to +T_N, −T_N and back. What the output gives way by is

    φ = (θ₂ − θ₂,0) − s·θ₁/i − C_f·T₂        C_f: compliance of the fixture, calibrated with a rigid dummy

It follows one branch while the torque rises (φ_↑) and another while it falls (φ_↓); with the midline φ_m =
(φ_↑ + φ_↓)/2 and the width w = φ_↓ − φ_↑ the characteristics are (a report prints which definition was used):

    LM_mid(p)    φ_m(+pT_N) − φ_m(−pT_N)       midpoints of the hysteresis width at ±3 %
    LM_outer(p)  φ_↓(+pT_N) − φ_↑(−pT_N)       total free angle at ±p, hysteresis included
    LM_HD        LM_mid at p = 4 % on a loop run only to ±4 % T_N (practice for harmonic reducers)
    BL_0         w(0), backlash
    K_1, K_2, K_3  1/slope of φ_m on [0, T_1], [T_1, T_2], [T_2, T_N]; both signs averaged, and each alone
    K_ba         0.5·T_N / (φ_m(T_N) − φ_m(0.5·T_N)), both signs averaged
    φ_max, φ_min   φ_m(±T_N) from φ_m(0);  W = ∮T dφ, loss per loop

The gear's condition depends on where it stands: several output positions are loaded, and the largest lost
motion and backlash and the smallest stiffness are judged.

GB/T 35089-2018 cl. 8; GB/T 40731-2021 cl. 8; GB/T 37165-2018 6.8, 6.9; protocol specification RED-HYS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

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
from verification_platform.engine.steps import Prompt, Record, Rest, Seconds, Set, Step, Together, Wait
from verification_platform.metrology.result import RunStatus
from verification_platform.records.recording import Recording
from verification_platform.tables import Duration, Ratio, RatioRate, Speed

from ..common import channel, environment_findings, rate_deviation
from ._hysteresis import find_loops
from ._hysteresis_results import Budget, bench_results, judged, plots, position_results

_OPEN_COUPLING = Prompt(
    "open_coupling",
    "请断开输出端联轴器（扭矩零点），完成后确认",
    "open the coupling at the output (torque zero), then confirm",
)
_CLOSE_COUPLING = Prompt(
    "close_coupling", "请接合输出端联轴器，完成后确认", "close the coupling at the output, then confirm"
)


class HysteresisParameters(ProtocolParameters):
    """Marks: C/K confirmed or common practice, V to be verified in the standard, P platform default."""

    rate: RatioRate = parameter(
        "0.5 %/s",
        mark="P",
        unit="1/s",
        display="%/s",
        why=Text("占 T_N；空程与之有关", "of T_N; lost motion depends on it"),
        gt=0,
    )
    small_rate: RatioRate = parameter(
        "0.5 %/s",
        mark="P",
        unit="1/s",
        display="%/s",
        why=Text("占 T_N，小回线", "of T_N, on the small loop"),
        gt=0,
    )
    second_rate: RatioRate | None = parameter(
        None,
        mark="P",
        unit="1/s",
        display="%/s",
        why=Text("另加一个回线，观察速率影响", "one more loop to see the rate effect"),
    )
    preload_cycles: int = parameter(3, mark="P", why=Text("舍弃", "discarded"), ge=1)
    loops: int = parameter(3, mark="P", why=Text("每个位置上参与评定", "evaluated, at each position"), ge=1)
    positions: int = parameter(
        4,
        mark="V",
        why=Text("沿输出一转（GB/T 40731 8.4）", "over one output revolution (GB/T 40731 8.4)"),
        ge=1,
        le=8,
    )
    p: Ratio = parameter(
        "3 %",
        mark="C",
        display="%",
        why=Text("占 T_N，空程读数处", "of T_N, where lost motion is read"),
        gt=0,
        lt=1,
    )
    small_loop: Ratio = parameter(
        "4 %",
        mark="C",
        display="%",
        why=Text("占 T_N，LM_HD 的小回线；0 表示不做", "of T_N, loop of LM_HD; 0 leaves it out"),
        ge=0,
        lt=1,
    )
    position_speed: Speed = parameter(
        "300 r/min",
        mark="P",
        unit="rad/s",
        display="r/min",
        why=Text("输入端，位置之间", "input, between positions"),
        gt=0,
    )
    settle: Duration = parameter(
        "2 s", mark="P", unit="s", why=Text("到达位置后", "after moving to a position"), ge=0
    )
    zero_time: Duration = parameter(
        "2 s", mark="P", unit="s", why=Text("试验前后的转矩零点", "torque zero before and after"), gt=0
    )
    open_coupling_for_zero: bool = parameter(
        True,
        mark="K",
        why=Text("由操作员脱开联轴器以取转矩零点", "technician opens the coupling for the torque zero"),
    )
    points_per_quarter: int = parameter(
        200, mark="P", why=Text("转矩采样点数下限", "least number of torque samples"), ge=20
    )
    sampling_rate: float = parameter(
        100.0, mark="P", unit="Hz", why=Text("所有通道采样率下限", "least rate of all channels"), gt=0
    )
    closure_limit: Ratio = parameter(
        "5 %",
        mark="P",
        display="%",
        why=Text("占 LM_mid；超出则有蠕变或打滑", "of LM_mid; beyond it: creep or slip"),
        gt=0,
    )
    range_limit: Ratio = parameter(
        "20 %",
        mark="P",
        display="%",
        why=Text("占转矩量程，最低使用率", "of the torque range, least use of it"),
        gt=0,
    )


class Hysteresis(Protocol):
    """RED-HYS."""

    id = "RED-HYS"
    title = Text(
        "滞回曲线：空程、背隙与扭转刚度", "Hysteresis: lost motion, backlash and torsional stiffness"
    )
    purpose = Text("输入锁定时输出端的扭转特性", "how the output twists under torque with the input locked")
    standards = (
        Standard("GB/T 35089-2018", "8", "C"),
        Standard("GB/T 40731-2021", "8", "C"),
        Standard("GB/T 37165-2018", "6.8, 6.9", "C"),
    )
    dut_kinds = ("reducer",)
    requires = Requires(
        actuators=("drive", "load"),
        channels=("input_angle", "output_angle", "output_torque"),
        holds_position=("drive",),
        calibrated=("input_angle", "output_angle", "output_torque"),
    )
    Parameters = HysteresisParameters

    # -------------------------------------------------------------------------------------------- stimulus

    def procedure(self, p: HysteresisParameters, dut: Reducer) -> Procedure:
        yield from self._zero(p, "before")
        if p.open_coupling_for_zero:
            yield _CLOSE_COUPLING
        for position in range(p.positions):
            yield Together(tuple(self._position(p, dut, position)))
        yield Set("load", Mode.TORQUE, 0.0, p.rate * dut.rated_torque)
        yield Rest(("load", "drive"))
        yield from self._zero(p, "after")

    def _zero(self, p: HysteresisParameters, when: str) -> Iterator[Step]:
        if p.open_coupling_for_zero:
            yield _OPEN_COUPLING
        yield Record((Wait(Seconds(p.zero_time), p.zero_time + 10),), {"kind": "zero", "when": when})

    def _position(self, p: HysteresisParameters, dut: Reducer, position: int) -> Iterator[Step]:
        """Move unloaded, lock, preload, then record closed loops +T_N → −T_N → +T_N."""
        T_N, rate = dut.rated_torque, p.rate * dut.rated_torque
        yield Set("load", Mode.TORQUE, 0.0, rate)
        input_turns = position / p.positions * dut.ratio * dut.sense
        yield Set("drive", Mode.POSITION, 2 * math.pi * input_turns, p.position_speed)  # locks: BRK1
        yield Wait(Seconds(p.settle), p.settle + 10)
        for _ in range(p.preload_cycles):
            yield Set("load", Mode.TORQUE, T_N, rate)
            yield Set("load", Mode.TORQUE, -T_N, rate)
        yield Set("load", Mode.TORQUE, T_N, rate)
        for loop in range(p.loops):
            yield _loop(T_N, rate, {"kind": "loop", "position": position, "loop": loop, "rate": rate})
        if p.second_rate is not None:
            rate_2 = p.second_rate * T_N
            yield _loop(T_N, rate_2, {"kind": "rate", "position": position, "loop": 0, "rate": rate_2})
        if p.small_loop:
            yield Set("load", Mode.TORQUE, 0.0, rate)
            small, rate = p.small_loop * T_N, p.small_rate * T_N
            for target in (small, -small, small):  # the larger loop is forgotten
                yield Set("load", Mode.TORQUE, target, rate)
            yield _loop(small, rate, {"kind": "small", "position": position, "loop": 0, "rate": rate})
        yield Set("load", Mode.TORQUE, 0.0, p.rate * T_N)

    def check(
        self,
        p: HysteresisParameters,
        dut: Reducer,
        rates_hz: Mapping[str, float],
        ranges: Mapping[str, float],
    ) -> Objections:
        refusals = []
        quarters = [("rate", 1 / p.rate)]
        if p.small_loop:
            quarters.append(("small_rate", p.small_loop / p.small_rate))
        if p.second_rate is not None:
            quarters.append(("second_rate", 1 / p.second_rate))
        for name, seconds in quarters:
            points = rates_hz["output_torque"] * seconds
            if points < p.points_per_quarter * (1 - 1e-9):
                refusals.append(
                    f"{name}: {points:.0f} torque samples per quarter of the loop, at least {p.points_per_quarter} "
                    f"needed; load slower"
                )
        if p.small_loop and p.small_loop <= p.p:
            refusals.append(f"small_loop {p.small_loop:.3g} must be larger than p = {p.p:.3g}")
        remarks = _range_remark(dut, ranges.get("output_torque"), p.range_limit)
        return Objections(tuple(refusals), tuple(remarks))

    # ------------------------------------------------------------------------------------------ evaluation

    def evaluate(self, recording: Recording, p: HysteresisParameters, order: Order) -> Evaluation:
        dut = order.dut
        rates = [rate_deviation(channel(recording, name), p.sampling_rate) for name in self.requires.channels]
        torque = channel(recording, "output_torque")
        found = find_loops(recording, dut, p.p, p.small_loop, p.closure_limit)
        if not found.positions:
            raise ProtocolError("the recording holds no loop of RED-HYS")
        findings, invalid = environment_findings(recording)
        budget = Budget(recording, dut, found.delay, found.zero)
        tables = [position_results(position, budget, p.p) for position in found.positions]
        return Evaluation(
            [*judged(tables, _LARGEST, _SMALLEST), *bench_results(found, budget)],
            list(plots(found.positions, dut)),
            RunStatus.INVALID if invalid or found.invalid else RunStatus.VALID,
            [*findings, *_range_remark(dut, torque.range, p.range_limit), *found.findings],
            [line for lines in rates for line in lines],
        )


def _range_remark(dut: Reducer, full: float | None, limit: float) -> list[Text]:
    """TQ2 should be chosen so that T_N uses a good part of its range."""
    if full is None or dut.rated_torque >= limit * full:
        return []
    used = dut.rated_torque / full
    return [
        Text(
            f"额定转矩仅为 TQ2 量程的 {used:.0%}（应 ≥ {limit:.0%}）",
            f"T_N uses {used:.0%} of the range of TQ2 (should be ≥ {limit:.0%})",
        )
    ]


def _loop(amplitude: float, rate: float, tag: Mapping[str, str | float | int]) -> Step:
    """One closed loop from +T to +T."""
    return Record(
        (Set("load", Mode.TORQUE, -amplitude, rate), Set("load", Mode.TORQUE, amplitude, rate)), tag
    )


_LARGEST = ("LM_mid", "LM_HD", "LM_outer", "BL_0")
_SMALLEST = ("K_1", "K_2", "K_3", "K_ba")
