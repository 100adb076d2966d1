"""RED-HYS, from loops to results: the uncertainty budget of every characteristic, extremes over positions,
plots.

A torsion angle is the difference of two readings of EN2 (and of EN1, divided by the ratio); a stiffness
divides a torque difference by such an angle. Certificates are taken as if the two readings were independent,
hence √2; the part of a torque certificate that is relative to the reading acts on both alike and is taken
whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from verification_platform.analysis.hysteresis_result import Estimate, HysteresisResult, Stiffness
from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Curve, Text
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records.recording import Recording

from ..common import channel, offered, reading, type_a_mean
from ._hysteresis import Loops, Position, Zero, creep

_SQRT2 = math.sqrt(2)
#: What the choice of fits and grids may change, as a fraction of the result.
_REDUCTION = 1e-3


class Budget:
    """Budget lines that characteristics share. Angles in rad, torques in N·m."""

    def __init__(self, recording: Recording, dut: Reducer, delay: Estimate, zero: Zero) -> None:
        self._output = channel(recording, "output_angle")
        self._input = channel(recording, "input_angle")
        self.torque_record = channel(recording, "output_torque")
        self._fixture = recording.fixture
        self._delay, self.zero, self.dut = delay, zero, dut

    def torsion(self, c: float = 1.0) -> list[Contribution]:
        """A difference of two torsion angles."""
        return [
            *reading(self._output, c * _SQRT2),
            *reading(self._input, c * _SQRT2 / self.dut.ratio),
        ]

    def torque(self, span: float, c: float) -> list[Contribution]:
        """A difference of two torques that are `span` apart."""
        record = self.torque_record
        name = f"{record.name}: certificate {record.certificate or '(none)'}"
        return [
            Contribution(f"{name}, absolute part", "B", record.U / record.k, c * _SQRT2),
            Contribution(f"{name}, relative part", "B", record.U_relative / record.k, c * span),
            type_b(f"{record.name}: resolution", record.resolution / 2, c=c * _SQRT2),
        ]

    def zero_drift(self, c: float) -> Contribution:
        """The zero moved during the run; where both sides are alike a zero error cancels."""
        return type_b("torque zero, drift during the run", abs(self.zero.drift) / 2, c=c)

    def compliance(self, span: float) -> Contribution:
        """Correction C_f·T over a torque difference `span`."""
        return Contribution("fixture compliance C_f", "B", self._fixture.compliance_U / 2, span)

    def delay(self, rate: float, stiffness: float) -> Contribution:
        """The torque channel's delay opens or narrows the loop by 2·(dT/dt)·d/K."""
        return Contribution(
            "delay of the torque channel", "A", self._delay.u, 2 * rate / stiffness, self._delay.nu
        )

    @property
    def delay_estimate(self) -> Estimate:
        return self._delay


def position_results(position: Position, budget: Budget, p: float) -> list[Result]:
    """All characteristics at one position, mean over its loops."""
    loops, T_N, rate = position.loops, budget.dut.rated_torque, position.rate
    K_1 = _mean([_local_stiffness(loop, p * T_N) for loop in loops])
    at: dict[str, str | float | int | bool] = {"position": position.number, "rate": rate}
    lost = {**at, "p": p}
    slopes = [abs(1 / s.positive.value - 1 / s.negative.value) for loop in loops for s in loop.K[:1]]
    motion = [
        *budget.torsion(),
        *budget.torque(2 * p * T_N, 1 / K_1),
        budget.zero_drift(_mean(slopes) if slopes else 0.0),
        budget.compliance(2 * p * T_N),
    ]
    width = [*budget.torsion(), budget.delay(rate, K_1), _creep(loops)]
    results = [
        _angle("LM_mid", [loop.LM_mid for loop in loops], motion, lost),
        _angle("LM_outer", [loop.LM_outer for loop in loops], [*motion, *width[-2:]], lost),
        _angle("BL_0", [loop.BL_0 for loop in loops], width, at),
    ]
    if position.small is not None:
        results.append(_small_loop(position, position.small, budget))
    for number in range(min((len(loop.K) for loop in loops), default=0)):
        results += _stiffness(f"K_{number + 1}", [loop.K[number] for loop in loops], budget, at)
    if all(loop.K_ba is not None for loop in loops):
        results += _ends(loops, budget, at)
    results.append(_loss([loop.W for loop in loops], budget, rate, K_1, at))
    return results


def _small_loop(position: Position, small: HysteresisResult, budget: Budget) -> Result:
    reach = small.p * budget.dut.rated_torque
    stiffness = 2 * reach / small.LM_mid.value
    lines = [*budget.torsion(), *budget.torque(2 * reach, 1 / stiffness), budget.compliance(2 * reach)]
    conditions = {"position": position.number, "rate": position.small_rate, "p": round(small.p, 6)}
    return _angle("LM_HD", [small.LM_mid], lines, conditions)


def _stiffness(
    name: str, found: Sequence[Stiffness], budget: Budget, at: Mapping[str, str | float | int | bool]
) -> list[Result]:
    """Mean of both signs, and each sign alone. u(K) = K·u(Δφ)/Δφ ⊕ K·u(ΔT)/ΔT ⊕ K²·u(C_f)."""
    span = found[0].high - found[0].low
    conditions: dict[str, str | float | int | bool] = {**at, "from": found[0].low, "to": found[0].high}
    results = []
    for side, estimates in (
        ("", [s.mean for s in found]),
        ("+", [s.positive for s in found]),
        ("-", [s.negative for s in found]),
    ):
        K = _mean([estimate.value for estimate in estimates])
        alone = 1.0 if side else 1 / _SQRT2  # both signs are read at different places
        turn = K / span
        lines = [
            *budget.torsion(alone * K * turn),
            *(
                replace(line, c=line.c * (1.0 if "relative" in line.source else alone))
                for line in budget.torque(span, turn)
            ),
            Contribution("fixture compliance C_f", "B", budget.compliance(1.0).u, K * K),
            *_observed(estimates),
        ]
        which = {**conditions, "side": side} if side else conditions
        results.append(_result(name, K, "N·m/rad", lines, len(found), which))
    return results


def _ends(
    loops: Sequence[HysteresisResult], budget: Budget, at: Mapping[str, str | float | int | bool]
) -> Iterator[Result]:
    """K_ba over the outer half of the torque, and the twist at ±T_N."""
    T_N = budget.dut.rated_torque
    k_ba = [loop.K_ba for loop in loops if loop.K_ba is not None]
    K = _mean([estimate.value for estimate in k_ba])
    half = 0.5 * T_N
    lines = [
        *budget.torsion(K * K / half / _SQRT2),
        *budget.torque(half, K / half),
        Contribution("fixture compliance C_f", "B", budget.compliance(1.0).u, K * K),
        *_observed(k_ba),
        type_b("data reduction (midline at the end of the loop)", _REDUCTION * K),
    ]
    yield _result("K_ba", K, "N·m/rad", lines, len(loops), {**at, "from": half, "to": T_N})
    last = _mean([loop.K[-1].mean.value for loop in loops])
    for name, ends in (("phi_max", [x.phi_max for x in loops]), ("phi_min", [x.phi_min for x in loops])):
        twist = [estimate for estimate in ends if estimate is not None]
        own = [
            *budget.torsion(),
            *budget.torque(T_N, 1 / last),
            budget.compliance(T_N),
            budget.zero_drift(1 / last),
        ]
        yield _angle(name, twist, own, at)


def _loss(
    found: Sequence[Estimate],
    budget: Budget,
    rate: float,
    K: float,
    at: Mapping[str, str | float | int | bool],
) -> Result:
    """W = ∫ w dT over 2·T_N: an error of the width acts over the whole loop."""
    T_N, W = budget.dut.rated_torque, _mean([estimate.value for estimate in found])
    opening = budget.delay(rate, K)
    lines = [
        *budget.torsion(2 * T_N),
        *(line for line in budget.torque(W, 1.0) if "relative" in line.source),
        replace(opening, c=opening.c * 2 * T_N),
        *_observed(found),
    ]
    return _result("W", W, "J", lines, len(found), at)


def bench_results(found: Loops, budget: Budget) -> Iterator[Result]:
    """What the run says of the bench and of the rate of loading; for information."""
    delay = budget.delay_estimate
    if delay.u > 0:
        own = [Contribution("opening of the loops at their ends", "A", delay.u, 1.0, delay.nu)]
        yield _result("torque_delay", delay.value, "s", own, len(found.positions), {}, "ms")
    if found.zero.measured:
        own = reading(budget.torque_record, _SQRT2)
        yield _result("torque_zero_drift", found.zero.drift, "N·m", own, 2, {})
    for position in found.positions:
        other = position.other_rate
        if other is None:
            continue
        at = {"position": position.number, "rate": position.rate}
        K = _local_stiffness(other, other.p * budget.dut.rated_torque)
        for name in ("LM_mid", "BL_0"):
            mine = [getattr(loop, name) for loop in position.loops]
            slower: Estimate = getattr(other, name)
            change = slower.value - _mean([estimate.value for estimate in mine])
            own = [
                Contribution("noise, second rate", "A", slower.u, 1.0, slower.nu),
                *_observed(mine),
                budget.delay(position.rate, K),
            ]
            yield _result(f"rate_effect_{name}", change, "rad", own, 1, at, "arcmin")


def judged(
    tables: Sequence[Sequence[Result]], largest: Sequence[str], smallest: Sequence[str]
) -> list[Result]:
    """Offer for judgement: the largest lost motion and backlash, the smallest stiffness over the
    positions."""
    limit = {**dict.fromkeys(largest, LimitType.MAX), **dict.fromkeys(smallest, LimitType.MIN)}
    if len(tables) == 1:  # one position is its own extreme
        return [
            offered(row, limit[row.quantity])
            if row.quantity in limit and "side" not in row.conditions
            else row
            for row in tables[0]
        ]
    extremes = []
    rows = [row for table in tables for row in table]
    for quantity, kind in limit.items():
        same = [row for row in rows if row.quantity == quantity and "side" not in row.conditions]
        if same:
            pick = max if kind is LimitType.MAX else min
            chosen = pick(same, key=lambda row: row.value)
            statistic = {"statistic": f"{pick.__name__} of {len(same)} positions"}
            extremes.append(offered(replace(chosen, conditions={**chosen.conditions, **statistic}), kind))
    return [*extremes, *rows]


# ----------------------------------------------------------------------------------------------- helpers


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _local_stiffness(loop: HysteresisResult, torque: float) -> float:
    """Slope of the midline between ±torque, N·m/rad."""
    return 2 * torque / loop.LM_mid.value


def _creep(loops: Sequence[HysteresisResult]) -> Contribution:
    """Half of what a loop fails to close by, where the noise does not explain it."""
    gaps = [max(abs(c.value) - 2 * c.u, 0.0) for c in map(creep, loops)]
    return type_b("creep within a loop (closure)", _mean(gaps) / 2)


def _observed(estimates: Sequence[Estimate]) -> list[Contribution]:
    """Noise of the mean and repeatability between loops: type A."""
    n, values = len(estimates), [estimate.value for estimate in estimates]
    noise = math.sqrt(math.fsum(estimate.u**2 for estimate in estimates)) / n
    nu = max(math.fsum(estimate.nu for estimate in estimates), 1.0)
    return [
        Contribution("noise of angle and torque", "A", noise, 1.0, nu),
        *type_a_mean("repeatability between loops", values),
        type_b("data reduction (grids, fits)", _REDUCTION * abs(_mean(values))),
    ]


def _angle(
    quantity: str,
    found: Sequence[Estimate],
    lines: Sequence[Contribution],
    conditions: Mapping[str, str | float | int | bool],
) -> Result:
    value = _mean([estimate.value for estimate in found])
    return _result(quantity, value, "rad", [*lines, *_observed(found)], len(found), conditions, "arcmin")


def _result(
    quantity: str,
    value: float,
    unit: str,
    lines: Sequence[Contribution],
    n: int,
    conditions: Mapping[str, str | float | int | bool],
    display: str = "",
) -> Result:
    return make_result(quantity, value, unit, list(lines), n=n, conditions=conditions, display_unit=display)


# ------------------------------------------------------------------------------------------------- plots


def plots(positions: Sequence[Position], dut: Reducer) -> Iterator[Curve]:
    """The loop with its midline and the stiffness lines, one plot a position."""
    for position in positions:
        result = position.loops[0]
        loop = result.loop
        middle = float(np.interp(0.0, loop.torque, loop.midline))
        ys = {
            "φ_↑": loop.rising - middle,
            "φ_↓": loop.falling - middle,
            "φ_m": loop.midline - middle,
        }
        if result.K:
            ys["K_1, K_2, K_3"] = _slopes(result.K, loop.torque)
        yield Curve(
            f"hysteresis_{position.number}",
            Text(f"滞回曲线（位置 {position.number}）", f"Hysteresis loop (position {position.number})"),
            Text("输出转矩 T₂", "output torque T₂"),
            Text("扭转角 φ", "torsion angle φ"),
            loop.torque,
            ys,
            "N·m",
            "rad",
            "N·m",
            "arcmin",
            "loop",
        )


def _slopes(K: Sequence[Stiffness], torque: NDArray[np.float64]) -> NDArray[np.float64]:
    """The line of the three stiffnesses, through zero."""
    size = np.abs(torque)
    angle = np.zeros_like(size)
    for part in K:
        angle += np.clip(size - part.low, 0.0, part.high - part.low) / part.mean.value
    return np.copysign(angle, torque)
