"""SRV-STEP, position: T-STEP through the protocol, and the plant's own response on several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.device import Command, Mode, Setpoint
from drivers.trajectory import Trajectory
from test_protocols import get
from test_protocols.servo._position import Profile
from verification_platform.analysis.step_response import settle, step_response
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.plant import make_plant
from verification_platform.engine.dry_run import Commanded, answered
from verification_platform.engine.evaluation import Evaluated, evaluate_run
from verification_platform.engine.local import run_local
from verification_platform.engine.run_folder import RunFolder
from verification_platform.engine.steps import Record, Set, Together
from verification_platform.metrology.result import RunStatus
from verification_platform.metrology.units import ARCSEC

from .second_order import T_STEP, second_order

STEP = math.radians(5)
SHORT: Mapping[str, Any] = {"repeats": 3, "settle": "0.3 s"}


def add_position_steps(recording: Any, noise: float = 0.0, torque: float | None = 1.0) -> Any:
    """Three steps a direction at 10 kHz, from anywhere on the encoder; `torque`: peak of the drive's, N·m, from the command on."""
    t = np.arange(-2000, 3000) / 1e4
    random = np.random.default_rng(4)
    recording.attributes = {"accelerations": {"drive": 1e9}}  # a step in truth
    for direction in (1, -1):
        for repeat in range(3):
            angle = 6.25 + direction * STEP * second_order(t) + noise * random.standard_normal(t.size)
            columns = {"input_angle": angle % (2 * math.pi)}
            if torque is not None:
                columns["drive_torque"] = direction * (0.08 + torque * np.where(t > 0, np.exp(-t / 5e-3), 0))
            stamps = t + 0.2 + 10.0 * (repeat + 20 * (direction < 0))
            recording.add({"kind": "position", "direction": direction, "repeat": repeat}, (stamps, columns))
    return recording


def add_speed_steps(recording: Any) -> Any:
    """As they were recorded before there were kinds."""
    t = np.arange(-2000, 3000) / 1e4
    for direction in (1, -1):
        speed = direction * (10 + second_order(t))
        angle = np.concatenate([[0.0], np.cumsum(speed[:-1]) / 1e4]) % (2 * math.pi)
        columns = {"input_speed": speed, "input_angle": angle, "drive_torque": np.full(t.size, 0.1)}
        recording.add({"direction": direction, "repeat": 0}, (t + 500 + 10 * direction, columns))
    return recording


@pytest.mark.parametrize("noise", [0.0, 1 * ARCSEC])
def test_T_STEP(recording: Any, evaluate: Any, noise: float) -> None:
    add_position_steps(add_speed_steps(recording), noise=noise)
    found = evaluate("SRV-STEP", recording, positioning_band=0.02 * STEP, position_speed=1e4)
    assert found.status is RunStatus.VALID
    for direction in (1, -1):
        for quantity, true in {**T_STEP, "t_se": T_STEP["t_s2"]}.items():
            name = "t_set" if quantity == "t_se" else f"{quantity}_pos"
            result = evaluate.result(name, direction=direction, position_step=STEP)
            assert abs(result.value - true) <= (result.U if quantity == "t_p" else 0.15e-3), quantity
            assert result.U < 1e-3
        assert evaluate.result("M_p_pos", direction=direction).value == pytest.approx(0.1630, abs=0.001)
        assert evaluate.result("e_inf_pos", direction=direction).value == pytest.approx(0, abs=ARCSEC)


@pytest.mark.parametrize(("torque", "signal"), [(4.5, "small"), (4.9, "large")])
def test_a_torque_at_its_limit_makes_it_the_large_signal(
    recording: Any, evaluate: Any, torque: float, signal: str
) -> None:
    """The drive's limit is 5 N·m."""
    found = evaluate("SRV-STEP", add_position_steps(add_speed_steps(recording), torque=torque))
    assert found.status is RunStatus.VALID
    assert {r.conditions["signal"] for r in found.results if "position_step" in r.conditions} == {signal}
    assert {r.conditions["signal"] for r in found.results if "base_speed" in r.conditions} == {"small"}
    assert any("of its limit" in text.en for text in found.findings) == (signal == "large")


def said(found: Evaluated) -> str:
    assert found.status is RunStatus.VALID
    assert "t_r" in {r.quantity for r in found.results}
    assert all(text.zh for text in found.findings)
    return "; ".join(text.en for text in found.findings)


def test_a_run_from_before_there_was_a_position_step_is_evaluated(recording: Any, evaluate: Any) -> None:
    """Its folder does not hold the parameter, so the default is taken; what it recorded has no kind."""
    found = evaluate("SRV-STEP", add_speed_steps(recording))
    assert "no position step was recorded" in said(found)
    assert not any("position_step" in r.conditions for r in found.results)
    assert "position" not in said(evaluate("SRV-STEP", recording, position_step=0))


def test_without_torque_the_command_is_not_known_and_there_are_no_results(
    recording: Any, evaluate: Any
) -> None:
    found = evaluate("SRV-STEP", add_position_steps(add_speed_steps(recording), torque=None))
    assert "when the position was commanded is not known" in said(found)
    assert not any("position_step" in r.conditions for r in found.results)


def test_the_preflight_says_that_torque_is_missing(order: Order) -> None:
    protocol = get("SRV-STEP")
    rates = {"input_speed": 500.0, "input_angle": 500.0}
    objections = protocol.check(protocol.Parameters(), order.dut, rates, {})
    assert objections.refusals == ()
    assert "no position step" in objections.remarks[0].en
    for without in ({"position_step": 0}, {}):
        more = {} if without else {"drive_torque": 500.0}
        assert not protocol.check(protocol.Parameters(**without), order.dut, {**rates, **more}, {}).remarks


def test_without_the_acceleration_the_profile_is_not_known(recording: Any, evaluate: Any) -> None:
    add_position_steps(add_speed_steps(recording)).attributes = {}
    assert "with what acceleration" in said(evaluate("SRV-STEP", recording))


def test_noise_that_hides_the_positioning_band_leaves_it_out(recording: Any, evaluate: Any) -> None:
    add_position_steps(add_speed_steps(recording), noise=10 * ARCSEC)
    found = evaluate("SRV-STEP", recording, positioning_band="0.01 °")
    assert "no settling time of positioning: the shaft did not come to stay within ±0.01°" in said(found)
    assert "t_set" not in {r.quantity for r in found.results}
    assert "t_s2_pos" in {r.quantity for r in found.results}


@pytest.mark.parametrize(
    ("step", "speed", "duration"),
    [(5e-4, 30.0, 0.0), (6e-4, 30.0, 2e-3), (STEP, 30.0, 26e-3), (math.pi, 10.0, 334e-3)],
)
def test_the_profile_lasts_from_its_first_set_point_that_moves_to_its_last(
    step: float, speed: float, duration: float
) -> None:
    """2·√(Δθ/a), or Δθ/ω + ω/a, in whole cycles of 2 ms."""
    profile = Profile.of(step, speed, 500.0, 2e-3)
    assert profile.duration == pytest.approx(duration, abs=1e-9)
    ramp = Trajectory(0.0, Setpoint(Mode.POSITION, step, speed), 0.0, 500.0)
    sent = np.array([ramp.value(2e-3 * k) for k in range(300)])
    assert 2e-3 * (int(np.argmax(sent == step)) - int(np.argmax(sent > 0))) == pytest.approx(duration)


def test_each_stair_is_reached_from_the_side_it_is_left_to(order: Order) -> None:
    protocol = get("SRV-STEP")
    steps = list(answered(protocol, protocol.Parameters(repeats=3), order.dut))
    moves, state = [], Commanded()
    for step in steps:
        state.apply(step)
        if isinstance(step, Together):
            record = next(part for part in step.body if isinstance(part, Record))
            if record.tag["kind"] == "position":
                (move,) = (part for part in record.body if isinstance(part, Set))
                moves.append(round(move.target / STEP))
    assert moves == [2, 3, 4, 2, 1, 0]  # 1 and 3 are the stairs that are not recorded
    assert protocol.Parameters(position_step=0).position_step == 0
    none = answered(protocol, protocol.Parameters(position_step=0), order.dut)
    assert not any(isinstance(step, Set) and step.mode is Mode.POSITION for step in none)


def truth(bench: BenchDescription, order: Order, seed: int, band: float) -> dict[tuple[str, int], float]:
    """From the plant's own angle, without sensor, bus or protocol, at every integration step; mean of the stairs."""
    plant, drive = make_plant(bench, order, seed), bench.actuator["drive"]
    cycle_s, t_s, stair = bench.bus["can0"].cycle, 0.0, 0
    found: dict[tuple[str, int], list[float]] = {}
    for direction in (1, -1):
        for number in range(4):
            before, edge_s, rows = plant.angles[0], t_s, []
            ramp = Trajectory(
                stair * STEP,
                Setpoint(Mode.POSITION, (stair + direction) * STEP, 10 * math.pi),
                0.0,
                drive.max_rate.velocity,
            )
            stair += direction
            for cycle in range(1, 417):  # the first set-point that moves is sent at edge_s
                plant.command(drive.device, Command(Mode.POSITION, ramp.value(cycle * cycle_s)))
                for _ in range(4):
                    rows.append((t_s - edge_s, direction * (plant.angles[0] - before)))
                    t_s += cycle_s / 4
                    plant.advance(t_s)
            if number:
                t, y = np.array(rows[: round(0.326 / cycle_s) * 4]).T
                m = step_response(t, y, 0.0, y_0=0.0, target=STEP)
                last_s = (math.ceil(ramp.duration_s / cycle_s) - 1) * cycle_s
                known = {
                    "t_d_pos": m.delay, "t_r_pos": m.rise, "M_p_pos": m.overshoot, "t_p_pos": m.peak_time, "t_90_pos": m.to_90,
                    "t_100_pos": m.reach, "t_s5_pos": m.settling[0.05], "t_s2_pos": m.settling[0.02], "e_inf_pos": m.steady_error,
                    "t_set": settle(t, y, m.y_inf, band, last_s).settling,
                }  # fmt: skip
                for quantity, value in known.items():
                    assert value is not None, quantity
                    found.setdefault((quantity, direction), []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def run(bench: BenchDescription, order: Order, path: Path, seed: int, **settings: Any) -> Path:
    protocol = get("SRV-STEP")
    folder = RunFolder.create(
        path,
        protocol,
        protocol.Parameters(**SHORT, **settings),
        order,
        bench,
        seed=seed,
        clock="virtual",
        transport="local",
    )
    assert run_local(folder, protocol).segments == 12
    return folder.path


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_it_recovers_the_plants_own_response(
    bench: BenchDescription, order: Order, tmp_path: Path, seed: int
) -> None:
    results = evaluate_run(run(bench, order, tmp_path / "run", seed), get).results
    found = {
        (r.quantity, int(r.conditions["direction"])): r for r in results if "position_step" in r.conditions
    }
    known = truth(bench, order, seed, band=math.radians(0.01))
    assert found.keys() == known.keys()
    for (quantity, direction), value in known.items():
        result = found[quantity, direction]
        assert abs(result.value - value) <= result.U, (quantity, direction)
        assert result.conditions["signal"] == "small"
    assert found["M_p_pos", 1].U < 0.005
    assert found["t_s2_pos", 1].U < 2.5e-3
    assert found["t_set", 1].U < 6e-3


def test_the_last_of_it_is_the_slowest_pole_of_the_loops(
    bench: BenchDescription, order: Order, tmp_path: Path
) -> None:
    """P position loop (60/s) around a PI speed loop (400 rad/s, 100/s): s³ + b·s² + (b·r + b·k)·s + b·r·k = 0.

    Once friction has let go, the shaft creeps home with the slowest root: from ±0.1° to ±0.01° it takes ln 10 of its time.
    """
    b, r, k = 400.0, 100.0, 60.0
    slowest = -max(np.roots([1, b, b * r + b * k, b * r * k]).real)
    times = []
    for band in ("0.1 °", "0.01 °"):
        path = run(bench, order, tmp_path / band.split()[0], 1, positioning_band=band)
        (result,) = (
            r
            for r in evaluate_run(path, get).results
            if r.quantity == "t_set" and r.conditions["direction"] == 1
        )
        times.append(result)
    took = times[1].value - times[0].value
    assert abs(took - math.log(10) / slowest) < 1e-3
