"""The example bench of Modbus and SCPI devices, whole: description, emulated devices, drivers, runner."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from drivers.device import Block, Command, CommandRefused, Mode, Quality, Setpoint
from drivers.runner import BusRunner, RunnerState
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import check_devices, group_for, resolutions, with_uris
from verification_platform.bench.dut import load_dut
from verification_platform.bench.emulated import build_host
from verification_platform.bench.plant import plant_behind_wires

from .served import serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[BenchDescription]:
    """With the URIs of its emulated devices, in real time."""
    described = load_bench(ROOT / "benches" / "modbus-servo.toml")
    plant = plant_behind_wires(described, load_dut(ROOT / "duts" / "harmonic-25-100.toml"), 1)
    host, uris = build_host(described, plant, tmp_path)
    with serving(host):
        yield with_uris(described, uris)


def test_its_description_holds() -> None:
    described = load_bench(ROOT / "benches" / "modbus-servo.toml")
    check_devices(described)
    assert all(digit > 0 for digit in resolutions(described).values())


def test_it_turns_loads_and_measures(bench: BenchDescription) -> None:
    blocks: list[Block] = []
    with ExitStack() as stack:
        runners = {}
        for bus in bench.bus:
            runner = BusRunner(group_for(bench, bus), blocks.append, block_rows=5, lease_s=30.0)
            stack.callback(runner.stop)
            runner.start()
            runners[bus] = runner
        runners["rs485a"].command("AX1", Setpoint(Mode.VELOCITY, 20.0, 100.0), 500.0)
        runners["rs485b"].command("BR1", Setpoint(Mode.TORQUE, 20.0, 100.0), 500.0)
        with pytest.raises(CommandRefused, match="exceeds its limit 45"):
            runners["rs485b"].command("BR1", Setpoint(Mode.TORQUE, 50.0, 100.0), 500.0)
        with pytest.raises(CommandRefused, match="BR1: torque set-point -5: a brake's torque has no sign"):
            runners["rs485b"].command("BR1", Setpoint(Mode.TORQUE, -5.0, 100.0), 500.0)

        def reached() -> bool:
            turning = runners["rs485a"].measured("AX1", Mode.VELOCITY)
            return abs(turning - 20.0) < 0.1 and runners["rs485b"].commanded("BR1") == Command(
                Mode.TORQUE, 20.0
            )

        until = time.monotonic() + 30
        while not reached() and time.monotonic() < until:
            time.sleep(0.05)
        assert reached()
        time.sleep(0.5)
        for bus, runner in runners.items():
            assert runner.state is RunnerState.RUNNING, (bus, runner.failure)
    last = {}
    for block in blocks:
        for channel in block.channels:
            good = block.quality[:, block.channels.index(channel)] == Quality.GOOD
            if good.any():
                last[channel] = float(block.column(channel)[good][-1])
    assert last["brake_current"] == pytest.approx(20.0 * 0.04, abs=0.02)
    assert last["housing_temperature"] == pytest.approx(304.15, abs=0.5)
    assert last["drive_efficiency"] == pytest.approx(0.9, rel=0.01)
    assert set(last) == set(bench.channel)
