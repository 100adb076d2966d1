"""RED-TE, from segments to results: runs to curves, the uncertainty budget, rows and plots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from verification_platform.analysis.transmission_error import TransmissionError
from verification_platform.analysis.transmission_error_result import TransmissionErrorResult, both_directions
from verification_platform.bench.dut import Reducer
from verification_platform.engine.protocol import Curve, Text
from verification_platform.metrology.budget import make_result, type_b
from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.result import Contribution, LimitType, Result
from verification_platform.records.marks import Tag
from verification_platform.records.recording import Recording, Segment
from verification_platform.records.spread import accumulate, map_segments

from ..common import TURN, Floats, angles, offered, reading, type_a_mean

_DIRECTIONS = {1: Text("正向", "forward"), -1: Text("反向", "reverse")}


# ------------------------------------------------------------------------------------- segments to curves


@dataclass(frozen=True, slots=True)
class Cell:
    """All runs of one method, load, speed and direction."""

    conditions: Mapping[str, str | float | int | bool]
    runs: Sequence[TransmissionErrorResult]

    def mean(self, values: Sequence[float]) -> float:
        return math.fsum(values) / len(values)

    @property
    def pp(self) -> float:
        return self.mean([run.pp_rad for run in self.runs])


def find_cells(
    recording: Recording, dut: Reducer, wanted: Sequence[int], samples_per_cycle: float
) -> list[Cell]:
    """Evaluate every run, by method, load, speed and direction. A recording without tags is one dynamic
    run."""
    found: dict[tuple[tuple[str, Any], ...], list[TransmissionErrorResult]] = {}
    still = [one for one in recording.segments() if one.tag.get("method", "dynamic") == "static"]
    turning = [one for one in recording.segments() if one.tag.get("method", "dynamic") != "static"]
    make = partial(_accumulator, dut, wanted, samples_per_cycle)
    runs = accumulate(recording, make, "input_angle", "output_angle", period=TURN, segments=turning)
    for segment, run in zip(turning, runs, strict=True):
        found.setdefault(_key(segment.tag), []).append(run)
    sweeps: dict[tuple[tuple[str, Any], ...], list[tuple[float, float]]] = {}
    for segment, point in zip(still, map_segments(recording, _mean_angles, still), strict=True):
        sweeps.setdefault((*_key(segment.tag), ("repeat", segment.tag["repeat"])), []).append(point)
    for key, points in sweeps.items():
        found.setdefault(key[:-1], []).append(_static(np.array(points), dut, wanted, samples_per_cycle))
    return [Cell({**dict(key), "direction": runs[0].direction}, runs) for key, runs in found.items()]


def _key(tag: Tag) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tag[name]) for name in ("method", "load", "speed", "direction") if name in tag)


def _accumulator(dut: Reducer, wanted: Sequence[int], samples_per_cycle: float) -> TransmissionError:
    return TransmissionError(dut.ratio, dut.sense, wanted, samples_per_cycle=samples_per_cycle)


def _static(
    points: Floats, dut: Reducer, wanted: Sequence[int], samples_per_cycle: float
) -> TransmissionErrorResult:
    """One sweep: the mean angles (θ₁, θ₂) of each position, shape (n, 2), are points of the curve."""
    steps = np.diff(points, axis=0)
    steps -= 2 * math.pi * np.round(steps / (2 * math.pi))
    # between positions the input turns by more than half a turn: its whole turns follow from the output
    steps[:, 0] += 2 * math.pi * np.round((dut.sense * dut.ratio * steps[:, 1] - steps[:, 0]) / (2 * math.pi))
    theta = points[0] + np.concatenate((np.zeros((1, 2)), np.cumsum(steps, axis=0)))
    # N_s positions are N_s samples a revolution but for the transmission error itself
    accumulator = _accumulator(dut, wanted, samples_per_cycle * (1 - 1e-3))
    accumulator.update(theta[:, 0], theta[:, 1])
    return accumulator.result()


def _mean_angles(segment: Segment) -> tuple[float, float]:
    theta1, theta2 = (np.concatenate(parts) for parts in zip(*angles(segment), strict=True))
    return float(theta1.mean()), float(theta2.mean())


def closure_finding(
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


class Budget:
    """u²(e) = u²(EN2) + u²(EN1)/i² + (ω₂·u(Δt))² + u²(mounting), and what reading a characteristic adds."""

    def __init__(
        self,
        cell: Cell,
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


def cell_results(cell: Cell, budget: Budget, wanted: Sequence[int]) -> list[Result]:
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


def directions_together(
    cells: Sequence[Cell],
    input_angle: ChannelRecord,
    output_angle: ChannelRecord,
    fixture: FixtureRecord,
    dut: Reducer,
) -> Iterator[Result]:
    """TE over both directions, each with its own mean removed, and the reversal offset (contains the lost
    motion)."""
    pairs: dict[tuple[Any, ...], dict[int, Cell]] = {}
    for cell in cells:
        key = tuple((name, value) for name, value in cell.conditions.items() if name != "direction")
        pairs.setdefault(key, {})[cell.runs[0].direction] = cell
    for key, pair in pairs.items():
        if set(pair) != {1, -1}:
            continue
        together = both_directions({direction: cell.runs[0] for direction, cell in pair.items()})
        budget = Budget(pair[1], input_angle, output_angle, fixture, dut)
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


def plots(cells: Sequence[Cell]) -> Iterator[Curve]:
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
