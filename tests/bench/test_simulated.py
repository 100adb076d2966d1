"""The simulated bench: rows as from the buses, set-points as by the drivers, trips as by the interlock."""

from __future__ import annotations

import time

import numpy as np
import pytest

from drivers.device import Block, CommandRefused, Mode, Quality, Setpoint
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.simulated import BLOCK_S, SimulatedBench, resolution
from verification_platform.bench.trip import BenchTrip
from verification_platform.engine import port
from verification_platform.metrology.units import RPM


def run(bench: SimulatedBench, seconds: float) -> list[Block]:
    """Let `seconds` of bench time pass."""
    end, blocks = bench.now_s() + seconds, []
    while bench.now_s() < end - 1e-9:
        blocks += bench.poll(end - bench.now_s())
    return blocks


def column(blocks: list[Block], channel: str) -> np.ndarray:
    return np.concatenate([block.column(channel) for block in blocks if channel in block.channels])


def as_port(bench: SimulatedBench) -> port.BenchPort:
    """The type checker reads this: the simulated bench is a BenchPort."""
    return bench


def test_trip_is_one_class_on_both_sides_of_the_seam() -> None:
    assert port.BenchTrip is BenchTrip


def test_rows_come_with_the_period_and_channels_of_each_bus(
    running: SimulatedBench, bench: BenchDescription
) -> None:
    blocks = run(running, 1.0)
    for bus, period in (("can0", 2e-3), ("rs485", 10e-3)):
        mine = [block for block in blocks if block.group == bus]
        stamps = np.concatenate([block.stamps_s for block in mine])
        assert mine[0].channels == tuple(bench.channels_on(bus))
        assert len(stamps) == round(1.0 / period)
        assert np.allclose(np.diff(stamps), period, atol=1e-12)
        assert [block.sequence for block in mine] == list(range(len(mine)))
        assert [block.first_row for block in mine] == list(np.cumsum([0, *map(len, mine)])[:-1])
        assert all((block.quality == Quality.GOOD).all() for block in mine)
        assert all(block.values.dtype == np.float64 and block.values.flags.c_contiguous for block in mine)


def test_poll_lets_no_more_time_pass_than_asked(running: SimulatedBench) -> None:
    assert running.poll(0.03) == []
    assert running.now_s() == pytest.approx(0.03)
    blocks = running.poll(10.0)
    assert running.now_s() == pytest.approx(BLOCK_S)  # returns as soon as blocks have arrived
    assert {block.group for block in blocks} == {"can0", "rs485"}


def test_values_are_quantised_as_by_a_device(running: SimulatedBench, bench: BenchDescription) -> None:
    blocks = run(running, 0.5)
    for channel in bench.channel:
        digits = column(blocks, channel) / resolution(bench, channel)
        assert np.allclose(digits, np.round(digits), atol=1e-4), channel
    assert resolution(bench, "output_angle") == pytest.approx(2 * np.pi / 2**27)


def test_velocity_ramps_at_the_commanded_rate(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.VELOCITY, 20.0, 40.0))
    speed = column(run(running, 1.0), "input_speed")
    stamps = np.arange(1, 501) * 2e-3
    expected = np.minimum(20.0, 40.0 * stamps)
    assert np.abs(speed - expected).max() < 1.0
    assert speed[-100:].mean() == pytest.approx(20.0, rel=1e-3)


def test_new_set_point_starts_where_the_old_one_stands(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.VELOCITY, 20.0, 20.0))
    run(running, 0.5)
    running.command("drive", Setpoint(Mode.VELOCITY, 0.0, 20.0))
    speed = column(run(running, 0.4), "input_speed")
    assert speed.max() < 11.0
    assert speed[-1] == pytest.approx(2.0, abs=0.6)


def test_change_of_mode_starts_at_the_shaft(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.VELOCITY, 30.0, 100.0))
    run(running, 1.0)
    running.command("drive", Setpoint(Mode.VELOCITY, 0.0, 100.0))
    run(running, 1.0)
    here = running.position("drive")
    assert here > 10.0
    running.command("drive", Setpoint(Mode.POSITION, here, 1.0))
    angle = column(run(running, 0.5), "input_angle")
    assert np.abs(angle - here).max() < 1e-3


def test_position_is_commanded_while_held_and_measured_at_rest(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.POSITION, 1.0, 2.0))
    run(running, 2.0)
    assert running.position("drive") == 1.0
    running.rest("drive")
    run(running, 0.1)
    assert running.position("drive") == pytest.approx(1.0, abs=0.01)
    assert running.position("drive") != 1.0


def test_loads_the_locked_reducer(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.POSITION, 0.0, 1.0))
    running.command("load", Setpoint(Mode.TORQUE, 100.0, 50.0))
    blocks = run(running, 3.0)
    assert column(blocks, "output_torque")[-1] == pytest.approx(100.0, rel=0.01)
    assert column(blocks, "load_torque_command")[-1] == pytest.approx(100.0, abs=0.5)
    assert column(blocks, "output_angle")[-1] == pytest.approx(running.plant.truth.phi_m(100.0), rel=0.05)


def test_refuses_beyond_the_envelope_and_does_nothing(running: SimulatedBench) -> None:
    with pytest.raises(CommandRefused):
        running.command("load", Setpoint(Mode.TORQUE, 145.0, 10.0))
    blocks = run(running, 0.3)
    assert np.abs(column(blocks, "output_torque")).max() < 1.0


@pytest.mark.faults
def test_overload_trips_takes_the_torque_off_and_latches(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.POSITION, 0.0, 1.0))
    running.command("load", Setpoint(Mode.TORQUE, 140.0, 60.0))
    run(running, 3.0)
    # Something beyond the envelope pushes: the drive behind the load is told 158 N·m without asking.
    running._trajectories.pop("load")
    from drivers.device import Command

    running.plant.command("AX2", Command(Mode.TORQUE, 148.5))
    tripped_at = running.now_s()
    with pytest.raises(BenchTrip, match="output_torque") as caught:
        run(running, 1.0)
    assert caught.value.safety
    assert running.now_s() - tripped_at < 0.1
    before = running.now_s()
    for call in (
        lambda: running.poll(0.1),
        lambda: running.command("load", Setpoint(Mode.TORQUE, 0.0, 1.0)),
        running.start,
    ):
        with pytest.raises(BenchTrip, match="output_torque"):
            call()
    assert running.now_s() == before
    running.plant.advance(before + 1.0)
    assert abs(running.plant.output_torque) < 15.0  # what friction at the input holds back


@pytest.mark.faults
def test_rows_up_to_the_trip_are_delivered(bench: BenchDescription, order: Order) -> None:
    tight = bench.interlock.model_copy(
        update={"limits": (bench.interlock.limits[2].model_copy(update={"high": 5.0, "low": -5.0}),)}
    )
    running = SimulatedBench(bench.model_copy(update={"interlock": tight}), order, seed=1)
    running.start()
    running.command("drive", Setpoint(Mode.VELOCITY, 20.0, 20.0))
    blocks = list(running.poll(1.0))
    while blocks[-1].stamps_s[-1] * 20.0 < 5.0:  # the ramp has not yet reached the limit
        blocks += running.poll(1.0)
    with pytest.raises(BenchTrip, match="input_speed"):
        running.poll(1.0)
    speed = column(blocks, "input_speed")
    assert speed[-1] > 5.0
    assert (speed[:-1] <= 5.0).all()
    assert len(speed) == round(running.now_s() / 2e-3)


def test_stop_is_idempotent_and_takes_the_torque_off(running: SimulatedBench) -> None:
    running.command("drive", Setpoint(Mode.VELOCITY, 20.0, 100.0))
    run(running, 0.5)
    running.stop()
    running.stop()
    running.plant.advance(running.now_s() + 2.0)
    assert running.plant.speeds[0] == pytest.approx(0.0, abs=1e-3)
    with pytest.raises(BenchTrip, match="not started") as caught:
        running.command("drive", Setpoint(Mode.VELOCITY, 1.0, 1.0))
    assert not caught.value.safety


def test_prompts_and_marks_reach_their_listeners(bench: BenchDescription, order: Order) -> None:
    marks: list[object] = []
    running = SimulatedBench(
        bench, order, seed=1, on_mark=marks.append, on_prompt=lambda key, zh, en: key != "uncouple"
    )
    running.mark("segment 1")
    running.prompt("couple", "连接负载", "couple the load")
    with pytest.raises(BenchTrip, match="uncouple") as caught:
        running.prompt("uncouple", "断开负载", "uncouple the load")
    assert marks == ["segment 1"]
    assert not caught.value.safety


def test_same_seed_gives_the_same_bits(bench: BenchDescription, order: Order) -> None:
    def values(seed: int) -> list[bytes]:
        running = SimulatedBench(bench, order, seed)
        running.start()
        running.command("drive", Setpoint(Mode.VELOCITY, 10.0, 100.0))
        return [block.values.tobytes() for block in run(running, 0.5)]

    assert values(3) == values(3)
    assert values(3) != values(4)


def test_polling_rhythm_changes_no_bit(bench: BenchDescription, order: Order) -> None:
    def values(timeout_s: float) -> bytes:
        running = SimulatedBench(bench, order, seed=3)
        running.start()
        running.command("drive", Setpoint(Mode.VELOCITY, 10.0, 100.0))
        blocks: list[Block] = []
        while running.now_s() < 0.5 - 1e-9:
            blocks += running.poll(timeout_s)
        return column(blocks, "output_angle").tobytes()

    assert values(0.1) == values(0.004)


def test_resumed_run_goes_on_in_time(bench: BenchDescription, order: Order) -> None:
    running = SimulatedBench(bench, order, seed=1, start_s=120.0)
    running.start()
    assert run(running, 0.1)[0].stamps_s[0] == pytest.approx(120.002)
    assert running.now_s() == pytest.approx(120.1)


def test_real_clock_paces_and_stamps_with_host_time(bench: BenchDescription, order: Order) -> None:
    running = SimulatedBench(bench, order, seed=1, clock="real")
    start = time.monotonic()
    running.start()
    blocks = run(running, 0.3)
    assert time.monotonic() - start >= 0.3
    stamps = np.concatenate([block.stamps_s for block in blocks if block.group == "can0"])
    assert start <= stamps[0] < start + 0.1
    assert stamps[-1] <= time.monotonic()


def test_virtual_time_is_fifteen_times_real_time(running: SimulatedBench) -> None:
    """Bench seconds per second of processor time with all sensors; best of five."""
    running.command("drive", Setpoint(Mode.VELOCITY, 300 * RPM, 100.0))
    running.command("load", Setpoint(Mode.TORQUE, 50.0, 60.0))
    run(running, 1.0)
    speeds = []
    for _ in range(5):
        start = time.process_time()
        run(running, 1.0)
        speeds.append(1.0 / (time.process_time() - start))
    assert max(speeds) > 15
