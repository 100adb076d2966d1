"""SRV-STEP: T-STEP of the protocol specification through the protocol, and its own uncertainty on the bench's plant."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.device import Command, Mode
from test_protocols import get
from verification_platform.analysis.step_response import StepResult, step_response
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.plant import make_plant
from verification_platform.engine.evaluation import evaluate_run
from verification_platform.engine.local import run_local
from verification_platform.engine.preflight import preflight
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus

from .second_order import T_STEP, second_order

BASE, STEP = 100 * math.pi / 30, 9.5 * math.pi / 30


def add_steps(
    recording: Any,
    repeats: int = 10,
    rate_hz: float = 10_000.0,
    noise: float = 0.0,
    torque: float | None = 1.0,
) -> None:
    """Steps of both directions; the encoder turns as the speed says, modulo a turn. `torque`: peak of the drive's, N·m."""
    t = np.arange(-round(0.2 * rate_hz), round(0.3 * rate_hz)) / rate_hz
    random = np.random.default_rng(4)
    for direction in (1, -1):
        for repeat in range(repeats):
            speed = direction * (BASE + STEP * second_order(t))
            angle = np.concatenate([[0.0], np.cumsum(speed[:-1]) / rate_hz]) % (2 * math.pi)
            read = speed + noise * random.standard_normal(t.size)
            stamps = t + 0.2 + 10.0 * (repeat + 20 * (direction < 0))
            columns = {"input_speed": read, "input_angle": angle}
            if torque is not None:
                columns["drive_torque"] = direction * torque * np.exp(-np.abs(t) / 5e-3)
            recording.add({"direction": direction, "repeat": repeat}, (stamps, columns))


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_T_STEP(recording: Any, evaluate: Any, noise: float) -> None:
    add_steps(recording, noise=noise)
    found = evaluate("SRV-STEP", recording)
    assert found.status is RunStatus.VALID
    for direction in (1, -1):
        for quantity, true in T_STEP.items():
            result = evaluate.result(quantity, direction=direction)
            # With noise, where a slow start begins cannot be seen that well, and U says so.
            assert abs(result.value - true) <= (result.U if noise and quantity != "t_r" else 0.1e-3), quantity
            assert result.U < 1.2e-3
        assert evaluate.result("M_p", direction=direction).value == pytest.approx(0.1630, abs=0.001)
        assert evaluate.result("e_inf", direction=direction).value == pytest.approx(0.0, abs=1e-4)


#: Of a stamp and of a reading, as they come through ROS on a busy computer: most are 30 µs off, one in thirty much more.
STAMP_S, LATE_S, ANGLE_NOISE = 30e-6, 200e-6, 1 * math.pi / 648_000


def badly_stamped(recording: Any, seed: int, repeats: int = 4) -> Any:
    """Steady turning after a step, 2 ms apart, as `add_steps` but with instants that are not when they say."""
    random = np.random.default_rng([seed, 5])
    t = np.arange(-100, 150) * 2e-3
    recording.parts.clear()
    for direction in (1, -1):
        for repeat in range(repeats):
            late = random.random(t.size) < 1 / 30
            off = STAMP_S * random.standard_normal(t.size) + LATE_S * late * random.random(t.size)
            speed = direction * (BASE + STEP * second_order(t))
            angle = direction * random.uniform(0, 6) + np.concatenate([[0.0], np.cumsum(speed[:-1]) * 2e-3])
            angle += ANGLE_NOISE * random.standard_normal(t.size)
            stamps = t + off + 0.2 + 10.0 * (repeat + 20 * (direction < 0))
            columns = {"input_speed": speed, "input_angle": angle % (2 * math.pi)}
            recording.add({"kind": "speed", "direction": direction, "repeat": repeat}, (stamps, columns))
    return recording


@pytest.mark.parametrize("direction", [1, -1])
def test_U_of_the_final_speed_covers_stamps_that_are_off(
    recording: Any, evaluate: Any, direction: int
) -> None:
    """The instants are in U, and not by the chance of four repeats that happen to agree."""
    t = 2e-3 * np.arange(50)
    sigma = math.sqrt(STAMP_S**2 + LATE_S**2 / 90)
    u = BASE * sigma / math.sqrt(float(np.sum((t - t.mean()) ** 2)) * 4)
    covered = 0
    for seed in range(20):
        evaluate("SRV-STEP", badly_stamped(recording, seed), position_step=0)
        result = evaluate.result("e_inf", direction=direction)
        covered += abs(result.value) <= result.U
        assert 1.3 * u < result.U < 8 * u, seed
    assert covered >= 17


def test_noise_that_hides_a_band_leaves_it_out(recording: Any, evaluate: Any) -> None:
    add_steps(recording, repeats=2, noise=0.02)  # σ of the mean 1.4 % of the step, five of it 7 %
    found = evaluate("SRV-STEP", recording)
    assert {"t_s5", "t_s2"}.isdisjoint(r.quantity for r in found.results)
    assert any(r.quantity == "t_r" for r in found.results)


def test_a_segment_without_a_step_is_refused(recording: Any, evaluate: Any) -> None:
    t = np.arange(5000) / 1e4
    flat = {"input_speed": np.full(t.size, BASE), "input_angle": (BASE * t) % (2 * math.pi)}
    found = evaluate("SRV-STEP", recording.add({"direction": 1, "repeat": 0}, (t, flat)))
    assert found.status is RunStatus.INVALID


@pytest.mark.parametrize(("torque", "signal"), [(1.0, "small"), (4.7, "small"), (4.9, "large"), (None, None)])
def test_a_torque_at_its_limit_makes_it_the_large_signal(
    recording: Any, evaluate: Any, torque: float | None, signal: str | None
) -> None:
    """The drive's limit is 5 N·m. The numbers stand, of what they are said to be; not knowing is said, too."""
    add_steps(recording, repeats=2, torque=torque)
    found = evaluate("SRV-STEP", recording)
    assert found.status is RunStatus.VALID
    assert {r.conditions.get("signal") for r in found.results} == {signal}
    said = [text.en for text in found.findings if "torque" in text.en]
    assert [bool(text.zh) for text in found.findings]
    if signal == "small":
        assert said == []
    else:
        assert ("98 % of its limit" if signal else "not known") in said[0]


def test_a_ramp_is_not_called_a_step(bench: BenchDescription, order: Order) -> None:
    protocol = get("SRV-STEP")
    (refusal,) = preflight(protocol, protocol.Parameters(step="200 r/min"), order, bench).refusals
    assert "ramp of 41.9 ms" in refusal
    assert "at most 9.55 r/min" in refusal


def truth(bench: BenchDescription, order: Order, seed: int, direction: int) -> StepResult:
    """The plant's own speed, without sensor, bus or protocol, at every integration step."""
    plant = make_plant(bench, order, seed)
    drive, cycle_s, t_s = bench.actuator["drive"].device, bench.bus["can0"].cycle, 0.0
    times, speeds = [], []
    for cycle in range(1000 + 200):
        wanted = min(0.1 * cycle, BASE) if cycle < 1000 else BASE + STEP
        plant.command(drive, Command(Mode.VELOCITY, direction * wanted))
        for _ in range(4):
            if cycle > 980:
                times.append(t_s - 1000 * cycle_s)
                speeds.append(direction * plant.speeds[0])
            t_s += cycle_s / 4
            plant.advance(t_s)
    return step_response(np.array(times), np.array(speeds), 0.0, target=BASE + STEP)


def test_it_recovers_the_plants_own_response(bench: BenchDescription, order: Order, tmp_path: Path) -> None:
    protocol = get("SRV-STEP")
    folder = RunFolder.create(
        tmp_path / "run",
        protocol,
        protocol.Parameters(position_step=0),
        order,
        bench,
        seed=3,
        clock="virtual",
        transport="local",
    )
    assert run_local(folder, protocol).segments == 20
    results = evaluate_run(folder.path, get).results
    for direction in (1, -1):
        true = truth(bench, order, 3, direction)
        known = {
            "t_d": true.delay, "t_r": true.rise, "M_p": true.overshoot, "t_p": true.peak_time,
            "t_s5": true.settling[0.05], "t_s2": true.settling[0.02], "e_inf": true.steady_error, "t_90": true.to_90,
            "t_100": true.reach,
        }  # fmt: skip
        found = {r.quantity: r for r in results if r.conditions["direction"] == direction}
        assert found.keys() == known.keys()
        for quantity, value in known.items():
            assert value is not None
            assert abs(found[quantity].value - value) <= found[quantity].U, (quantity, direction)
            assert found[quantity].conditions["signal"] == "small"
        assert found["M_p"].U < 0.05
        assert found["t_s5"].U < 2e-3
