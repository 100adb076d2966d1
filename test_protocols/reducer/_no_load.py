"""RED-NL, from segments to results: mean torques, levels, the friction law, uncertainty budget, rows and
plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from verification_platform.analysis.angle import AverageResult
from verification_platform.analysis.friction import FrictionLaw, NoLoadTorque, fit_friction, no_load_torque
from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Curve, Text
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records.recording import Recording, Segment
from verification_platform.records.spread import map_segments

from ..common import Floats, angles, offered

# ------------------------------------------------------------------------------------- segments to levels


@dataclass(frozen=True, slots=True)
class _Mean:
    """Mean torque of one run in one direction, speed, how much both drifted while averaging (torque in N·m, speed
    relative), housing temperature."""

    average: AverageResult
    speed: float
    drift: float
    speed_drift: float
    housing: float


@dataclass(frozen=True, slots=True)
class Level:
    """One speed in both directions, rad/s; torque less the bench's own drag, N·m at the input."""

    band: int
    nominal: float
    forward: _Mean
    backward: _Mean
    torque: float
    offset: float
    noise: float
    taken_off: float = 0.0  # by the law, from the speed that was turned to the nominal one

    def taken_back(self, law: FrictionLaw) -> Level:
        """The same level at its nominal speed."""
        excess = float(law.torque(self.speed)) - float(law.torque(self.nominal))
        return replace(self, torque=self.torque - excess, taken_off=excess)

    @property
    def measured(self) -> float:
        """Torque at the speed that was turned."""
        return self.torque + self.taken_off

    @property
    def speed(self) -> float:
        return 0.5 * (self.forward.speed + self.backward.speed)

    @property
    def housing(self) -> float:
        return 0.5 * (self.forward.housing + self.backward.housing)

    @property
    def speed_drift(self) -> float:
        return max(self.forward.speed_drift, self.backward.speed_drift)

    @property
    def drift(self) -> float:
        return 0.5 * math.hypot(self.forward.drift, self.backward.drift)


def find_levels(recording: Recording, dut: Reducer) -> Iterator[Level]:
    """Levels that were run both ways, by band and speed."""
    found: dict[tuple[int, float], dict[int, _Mean]] = {}
    runs = map_segments(recording, partial(_mean, dut=dut))
    for segment, run in zip(recording.segments(), runs, strict=True):
        speed = float(segment.tag.get("speed", round(run.speed, 1)))
        pair = found.setdefault((int(segment.tag.get("band", 0)), speed), {})
        pair[run.average.direction] = run
    fixture = recording.fixture
    for (band, speed), pair in sorted(found.items()):
        if set(pair) == {1, -1}:
            forward, backward = pair[1], pair[-1]
            point = no_load_torque(forward.average, backward.average)
            drag = fixture.drag_coulomb + fixture.drag_viscous * 0.5 * (forward.speed + backward.speed)
            yield Level(band, speed, forward, backward, point.torque - drag, point.offset, point.u)


def _mean(segment: Segment, dut: Reducer) -> _Mean:
    """Mean torque over whole output revolutions: torque at its own stamps, the input angle interpolated to
    them."""
    torque = segment.read("input_torque")
    stamps = segment.read("input_angle", "output_angle").stamps_s
    theta_1 = np.concatenate([theta1 for theta1, _ in angles(segment)])
    use = (torque.stamps_s >= stamps[0]) & (torque.stamps_s <= stamps[-1])
    at, values = torque.stamps_s[use], torque.values[use, 0]
    theta = np.interp(at, stamps, theta_1)
    per_turn = 2 * math.pi * dut.ratio * at.size / max(abs(float(theta[-1] - theta[0])), 1e-9)
    accumulator = NoLoadTorque(dut.ratio, max(min(math.ceil(2.5 * dut.ratio), int(0.4 * per_turn)), 8))
    accumulator.update(theta, values)
    half = values.size // 2
    drift = float(values[half:].mean() - values[:half].mean())
    noise = float(values.std(ddof=1)) * 2 / math.sqrt(values.size)
    return _Mean(
        accumulator.result(),
        abs(float(theta[-1] - theta[0])) / float(at[-1] - at[0]),
        max(abs(drift) - 2 * noise, 0.0),
        _speed_drift(stamps, theta_1),
        _housing(segment),
    )


def _speed_drift(stamps: Floats, theta: Floats) -> float:
    """Relative difference of the speeds of the second and the first half: a shaft that still accelerates shows the torque of
    its inertia, not of friction."""
    half = stamps.size // 2
    first = (theta[half] - theta[0]) / (stamps[half] - stamps[0])
    second = (theta[-1] - theta[half]) / (stamps[-1] - stamps[half])
    return abs(float(second - first)) / max(abs(float(first + second)) / 2, 1e-12)


def speed_findings(levels: Sequence[Level], limit: float) -> list[Text]:
    """Levels at which the shaft had not reached its speed."""
    return [
        Text(
            f"{level.nominal * 30 / math.pi:.0f} r/min：平均期间转速变化 {level.speed_drift:.2%}（应 ≤ {limit:.1%}），"
            "惯性转矩混入摩擦转矩",
            f"{level.nominal * 30 / math.pi:.0f} r/min: the speed changed by {level.speed_drift:.2%} while averaging (at most "
            f"{limit:.1%}), so the torque of the inertia is mixed into the friction",
        )
        for level in levels
        if level.speed_drift > limit
    ]


def _housing(segment: Segment) -> float:
    return float(segment.read("housing_temperature").values.mean())


def friction_law(levels: Sequence[Level], kind: str) -> FrictionLaw | None:
    """The friction law through the levels, where there are enough of them."""
    if len(levels) < (4 if kind == "stribeck" else 2):
        return None
    speeds, torques = np.array([x.speed for x in levels]), np.array([x.measured for x in levels])
    return fit_friction(speeds, torques, stribeck=kind == "stribeck")


def range_findings(levels: Sequence[Level], torque: ChannelRecord, limit: float) -> list[Text]:
    if torque.range is None:
        return []
    largest = max(abs(level.torque) for level in levels) / torque.range
    if largest >= limit:
        return []
    return [
        Text(
            f"空载转矩最多为 TQ1 量程的 {largest:.1%}（应 ≥ {limit:.0%}）：不确定度按证书绝对项计",
            f"the no-load torque uses at most {largest:.1%} of the range of TQ1 (should be ≥ {limit:.0%}): "
            "the absolute part of its certificate dominates U",
        )
    ]


# ------------------------------------------------------------------------------------------------- budget


class Budget:
    """What is not known of a no-load torque. The two directions are two readings, each with half the
    weight."""

    def __init__(self, torque: ChannelRecord, fixture: FixtureRecord) -> None:
        self._torque, self._fixture = torque, fixture

    def of_level(self, level: Level) -> list[Contribution]:
        return [*self.systematic(level.torque, 1 / math.sqrt(2), 1.0), *self.observed(level)]

    def systematic(self, value: float, absolute: float, drag: float) -> list[Contribution]:
        """Certificate of TQ1 (absolute part with sensitivity `absolute`, relative part whole) and drag of the
        bench."""
        record = self._torque
        name = f"{record.name}: certificate {record.certificate or '(none)'}"
        return [
            Contribution(f"{name}, absolute part", "B", record.U / record.k, absolute),
            Contribution(f"{name}, relative part", "B", record.U_relative / record.k, value),
            type_b(f"{record.name}: resolution", record.resolution / 2, c=absolute),
            Contribution("bench drag", "B", self._fixture.drag_U / 2, drag),
        ]

    @staticmethod
    def observed(level: Level) -> list[Contribution]:
        return [
            Contribution("noise and ripple of the mean", "A", level.noise),
            type_b("taken back to the nominal speed (slope of the law)", 0.2 * abs(level.taken_off)),
            type_b("drift while averaging (temperature, lubricant)", level.drift / 2),
            type_b("data reduction (whole revolutions)", 5e-4 * abs(level.torque)),
        ]


def level_results(level: Level, budget: Budget, dut: Reducer) -> Iterator[Result]:
    """T_NL at the input and at the output, peak-to-peak over a revolution, offset of the transducer."""
    conditions = {"band": level.band, "speed": level.nominal, "housing_temperature": level.housing}
    lines = budget.of_level(level)
    n = level.forward.average.periods + level.backward.average.periods
    at_input = make_result("T_NL", level.torque, "N·m", lines, n=n, conditions=conditions)
    yield offered(at_input, LimitType.MAX) if is_rated(level, dut) else at_input
    at_output = [replace(line, c=line.c * dut.ratio) for line in lines]
    yield make_result("T_NL_output", level.torque * dut.ratio, "N·m", at_output, n=n, conditions=conditions)
    offset = [line for line in lines if line.source != "bench drag" and "relative" not in line.source]
    yield make_result("TQ1_offset", level.offset, "N·m", offset, n=n, conditions=conditions)
    for run in (level.forward, level.backward):
        average = run.average
        spread = [
            Contribution("noise in max − min", "A", average.noise * math.sqrt(2 / max(average.periods, 1))),
            *(line for line in budget.systematic(average.pp, math.sqrt(2), 0.0) if line.c),
        ]
        which = {**conditions, "direction": average.direction}
        yield make_result("T_NL_pp", average.pp, "N·m", spread, n=average.periods, conditions=which)


def rated_from_law(levels: Sequence[Level], law: FrictionLaw, budget: Budget, dut: Reducer) -> Result:
    """T_NL at n_N from the law, offered for judgement, where n_N is none of the levels."""
    nearest = min(levels, key=lambda level: abs(level.speed - dut.rated_speed))
    lines = budget.of_level(nearest)
    if len(levels) > 2:
        lines.append(Contribution("residuals of the law", "A", law.residual, 1.0, len(levels) - 2))
    conditions: dict[str, str | float | int | bool] = {
        "band": nearest.band,
        "speed": dut.rated_speed,
        "housing_temperature": nearest.housing,
        "how": "from the friction law",
    }
    value = float(law.torque(dut.rated_speed))
    return offered(
        make_result("T_NL", value, "N·m", lines, n=len(levels), conditions=conditions), LimitType.MAX
    )


def is_rated(level: Level, dut: Reducer) -> bool:
    return abs(level.nominal - dut.rated_speed) <= 1e-3 * dut.rated_speed


def law_results(levels: Sequence[Level], law: FrictionLaw, budget: Budget) -> Iterator[Result]:
    """T_C and T_v: each is a weighted sum of the levels, with the weights of the least-squares line."""
    omega = np.array([level.speed for level in levels])
    weights: Floats = np.linalg.pinv(np.column_stack([np.ones_like(omega), omega]))
    band = {"band": levels[0].band}
    for name, unit, row, value, u_fit, display in (
        ("T_C", "N·m", weights[0], law.T_C, law.u_coulomb, ""),
        ("T_v", "N·m·s/rad", weights[1], law.T_v, law.u_viscous, "N·m/(r/min)"),
    ):
        # what all levels share acts with Σ weights, what each has alone with the root of Σ weights²
        shared, alone = abs(float(row.sum())), float(np.linalg.norm(row))
        noise = math.sqrt(sum((w * level.noise) ** 2 for w, level in zip(row, levels, strict=True)))
        lines = [
            *budget.systematic(value, max(shared, alone) / math.sqrt(2), shared),
            Contribution("noise and ripple of the means", "A", noise),
        ]
        if len(levels) > 2:
            lines.append(Contribution("residuals of the law", "A", u_fit, 1.0, len(levels) - 2))
        yield make_result(name, value, unit, lines, n=len(levels), conditions=band, display_unit=display)


def plot(levels: Sequence[Level], law: FrictionLaw | None, band: int) -> Curve:
    speed = np.array([level.speed for level in levels])
    ys = {"T_NL": np.array([level.measured for level in levels])}
    if law is not None:
        ys["T_C + T_v·ω"] = law.torque(speed)
    return Curve(
        f"no_load_{band}",
        Text("空载运行转矩", "No-load running torque"),
        Text("输入转速 n", "input speed n"),
        Text("空载转矩 T_NL", "no-load torque T_NL"),
        speed,
        ys,
        "rad/s",
        "N·m",
        "r/min",
        "N·m",
    )
