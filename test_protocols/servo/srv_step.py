"""SRV-STEP 阶跃响应 — step response of a servo drive, in speed and in position.

The drive turns at a base speed, and its speed set-point is stepped by Δn. Before that its position is stepped by Δθ from
standstill. How speed or angle follows is

    t_d   delay to 50 %              t_r   rise from 10 to 90 %
    t_90  from the step to 90 %      t_100 first reach of y_∞ (both are called rise time somewhere)
    M_p   (y_max − y_∞)/(y_∞ − y_0)  t_p   time of the first peak
    t_s   last time |y − y_∞| leaves a band of 5 % or 2 % of the step
    e_∞   set-point less final speed; asked-for step less the angle it came to
    t_set positioning settling time: from the end of the command profile until θ stays within ±ε of θ_∞

y_0 is the mean before the step, y_∞ the mean of the last fifth. At least ten repeats in both directions: of the speed they are
laid over each other by the sample before it moves, and averaged; of the position, which has less noise, each is evaluated,
and the results are averaged. A band narrower than five standard deviations of what noise is left is not judged.

The step is small, so that no torque saturates, and starts from a slow turn, so that friction does not change its sign. A bus
brings set-points once a cycle: the step is one in truth when Δn at the bench's steepest slope takes no longer than a
cycle, which is why the default is not 10 % of n_N. Final speeds come from the calibrated angle encoder.

A drive that reaches its torque limit shows another response, that of its limit: where the bench records the drive's torque
(`drive_torque`, whose range is the limit) each result says small or large signal, and a large one is a finding.

A position is stepped like the stairs, always on in the same direction, so that friction holds the shaft from the same side
before each step; the first stair of each direction only brings it there and is not recorded. The drive is told a trapezoid
with the acceleration of the bench: only Δθ ≤ a·T²/4 within a bus cycle T is a step in truth, and as small a one friction
swallows. So the times are counted from the first set-point that moves, the profile's duration stands with them, and t_set
counts from its last set-point. When the drive was told is seen in its torque, at once; the angle would show it only when
friction lets go. Without `drive_torque` sampled together with the angle there are no results of the position. Where the
shaft comes to rest beside its target is in e_∞, not in t_set. `position_step` = 0 leaves the position out.

A step to n_N needs a bench whose slope allows it: `edge` and `step` are free, and the preflight says what a bench can do.

GB/T 16439-2024; protocol specification SRV-STEP.
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
from verification_platform.engine.steps import Record, Rest, Seconds, Set, Together, Wait
from verification_platform.metrology.result import Result
from verification_platform.records.recording import Recording
from verification_platform.tables import Acceleration, Angle, Duration, Speed

from ..common import channel, environment_findings, rate_deviation
from ._plot import POSITION, SPEED, step_curve
from ._position import (
    ACCELERATIONS,
    NO_TORQUE,
    PositionResponse,
    Profile,
    find_positions,
    missing_for_positions,
    position_results,
    unsettled_findings,
)
from ._signal import TORQUE, signal_findings
from ._step import find_responses, results_of

#: Before the step, s: y_0 and the noise are taken from it.
_BEFORE_S = 0.2


class StepResponseParameters(ProtocolParameters):
    """Marks: C/K confirmed or common practice, V to be verified in the standard, P platform default."""

    base_speed: Speed = parameter(
        "100 r/min",
        mark="P",
        unit="rad/s",
        display="r/min",
        why=Text("使摩擦方向保持不变", "friction keeps its sign"),
        gt=0,
    )
    step: Speed = parameter(
        "9.5 r/min",
        mark="P",
        unit="rad/s",
        display="r/min",
        why=Text("Δn；小信号，一个总线周期", "Δn; small-signal, one bus cycle"),
        gt=0,
    )
    edge: Acceleration = parameter(
        "500 rad/s²", mark="P", unit="rad/s²", why=Text("阶跃的斜率", "slope of the step"), gt=0
    )
    acceleration: Acceleration = parameter(
        "50 rad/s²", mark="P", unit="rad/s²", why=Text("加速到基准转速", "to the base speed"), gt=0
    )
    settle: Duration = parameter(
        "0.5 s", mark="P", unit="s", why=Text("每次阶跃之前", "before each step"), ge=0
    )
    hold: Duration = parameter(
        "0.3 s",
        mark="P",
        unit="s",
        why=Text("阶跃之后；y_∞ 取其最后五分之一", "after the step; y_∞ is its last fifth"),
        gt=0,
    )
    repeats: int = parameter(10, mark="K", why=Text("每个方向的阶跃次数", "steps in each direction"), ge=2)
    position_step: Angle = parameter(
        "5 °",
        mark="P",
        unit="rad",
        display="°",
        why=Text("输入端 Δθ，不受转矩限制；0：不做", "Δθ at the input, no torque limit; 0: none"),
        ge=0,
    )
    position_speed: Speed = parameter(
        "300 r/min",
        mark="P",
        unit="rad/s",
        display="r/min",
        why=Text("位置阶跃时的上限", "most in a position step"),
        gt=0,
    )
    positioning_band: Angle = parameter(
        "0.01 °",
        mark="P",
        unit="rad",
        display="°",
        why=Text("调整时间的允差 ε；由客户确定", "ε of the settling time; the customer's to say"),
        gt=0,
    )
    sampling_rate: float = parameter(
        10_000.0, mark="P", unit="Hz", why=Text("转速采样率下限", "least rate of the speed"), gt=0
    )


def _recorded(p: StepResponseParameters, before: Set, step: Set, tag: Mapping[str, str | int]) -> Together:
    """At rest in the state before; then the step, recorded from shortly before it."""
    settled = Wait(Seconds(p.settle), p.settle + 10)
    quiet, held = Wait(Seconds(_BEFORE_S), _BEFORE_S + 10), Wait(Seconds(p.hold), p.hold + 10)
    return Together((before, settled, Record((quiet, step, held), tag)))


class StepResponse(Protocol):
    """SRV-STEP."""

    id = "SRV-STEP"
    version = "1.1"
    title = Text("阶跃响应", "Step response")
    purpose = Text(
        "转速与位置给定阶跃时的跟随特性", "how speed and position follow a step of their set-point"
    )
    standards = (
        Standard("GB/T 16439-2024", "speed step", "V"),
        Standard("GB/T 16439-2024", "positioning settling time", "V"),
    )
    dut_kinds = ("reducer",)  # the drive with what it turns; data sheets of bare servos are not read yet
    requires = Requires(
        actuators=("drive",), channels=("input_speed", "input_angle"), calibrated=("input_angle",)
    )
    Parameters = StepResponseParameters

    # -------------------------------------------------------------------------------------------- stimulus

    def procedure(self, p: StepResponseParameters, dut: Reducer) -> Procedure:
        if p.position_step > 0:
            yield from self._stairs(p)
        for direction in (1, -1):
            base, after = direction * p.base_speed, direction * (p.base_speed + p.step)
            yield Set("drive", Mode.VELOCITY, base, p.acceleration)
            for repeat in range(p.repeats):
                before, step = (Set("drive", Mode.VELOCITY, target, p.edge) for target in (base, after))
                yield _recorded(p, before, step, {"kind": "speed", "direction": direction, "repeat": repeat})
            yield Set("drive", Mode.VELOCITY, 0.0, p.acceleration)
        yield Rest(("drive",))

    def _stairs(self, p: StepResponseParameters) -> Procedure:
        stair = 0
        for direction in (1, -1):
            stair += direction
            yield Set("drive", Mode.POSITION, stair * p.position_step, p.position_speed)
            for repeat in range(p.repeats):
                here, there = stair * p.position_step, (stair + direction) * p.position_step
                stair += direction
                before, step = (
                    Set("drive", Mode.POSITION, target, p.position_speed) for target in (here, there)
                )
                yield _recorded(
                    p, before, step, {"kind": "position", "direction": direction, "repeat": repeat}
                )
        yield Rest(("drive",))

    def check(
        self,
        p: StepResponseParameters,
        dut: Reducer,
        rates_hz: Mapping[str, float],
        ranges: Mapping[str, float],
    ) -> Objections:
        remarks = () if TORQUE in rates_hz or not p.position_step else (NO_TORQUE,)
        edge_s, cycle_s = p.step / p.edge, 1 / rates_hz["input_speed"]
        if edge_s <= cycle_s * (1 + 1e-6):
            return Objections((), remarks)
        largest = p.edge * cycle_s * 30 / math.pi
        return Objections(
            (
                f"the step would be a ramp of {edge_s * 1e3:.3g} ms; at {p.edge:g} rad/s² and a bus cycle of "
                f"{cycle_s * 1e3:g} ms at most {largest:.3g} r/min can be stepped",
            ),
            remarks,
        )

    # ------------------------------------------------------------------------------------------ evaluation

    def evaluate(self, recording: Recording, p: StepResponseParameters, order: Order) -> Evaluation:
        speed, angle = channel(recording, "input_speed"), channel(recording, "input_angle")
        responses = list(find_responses(recording))
        if not responses:
            raise ProtocolError("the recording holds no step of SRV-STEP")
        findings, _ = environment_findings(recording)  # a remark only: times do not depend on the room
        results: list[Result] = []
        for response in responses:
            results += results_of(response, speed, angle, p.base_speed, p.step)
        shares = [response.torque_share for response in responses]
        curves = [step_curve(SPEED, r.direction, r.t, r.y) for r in responses]
        if p.position_step > 0:
            missing = missing_for_positions(recording)
            positions = [] if missing else list(self._positions(recording, p))
            for position in positions:
                results += position_results(position, angle)
            findings += [*missing, *unsettled_findings(positions)]
            shares += [position.torque_share for position in positions]
            curves += [step_curve(POSITION, r.direction, r.t, r.y) for r in positions]
        findings += signal_findings(shares)
        return Evaluation(
            results, curves, findings=findings, deviations=rate_deviation(speed, p.sampling_rate)
        )

    @staticmethod
    def _positions(recording: Recording, p: StepResponseParameters) -> Iterator[PositionResponse]:
        cycle_s = 1 / channel(recording, "input_angle").rate_hz
        acceleration = float(recording.attributes[ACCELERATIONS]["drive"])
        profile = Profile.of(p.position_step, p.position_speed, acceleration, cycle_s)
        return find_positions(recording, profile, p.positioning_band)
