"""The bus runner on emulated devices: ramps, lease, trip, loss, and what it hands on."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from drivers.canopen.group import CanopenGroup
from drivers.device import (
    Block,
    Command,
    CommandRefused,
    DeviceState,
    Identity,
    Mode,
    Quality,
    Row,
    Setpoint,
    TransportLost,
    TransportTimeout,
)
from drivers.runner import BusRunner, RunnerState

LEASE_S = 1.0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Sink:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.news = threading.Condition()

    def __call__(self, block: Block) -> None:
        with self.news:
            self.blocks.append(block)
            self.news.notify_all()

    def column(self, channel: str) -> Any:
        return np.concatenate([b.column(channel) for b in self.blocks])


def wait_for(condition: Callable[[], bool], runner: BusRunner, timeout_s: float = 5.0) -> None:
    """Renew the lease until `condition`."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not in time; {runner.state}, {runner.failure}"
        runner.renew_lease()
        time.sleep(0.005)


@pytest.fixture
def start(can_group: CanopenGroup) -> Iterator[Callable[..., tuple[BusRunner, Sink]]]:
    runners: list[BusRunner] = []

    def started(**options: Any) -> tuple[BusRunner, Sink]:
        sink = Sink()
        options = {"block_rows": 5, "lease_s": LEASE_S, **options}
        runner = BusRunner(can_group, sink, **options)
        runners.append(runner)
        runner.start()
        return runner, sink

    yield started
    for runner in runners:
        runner.stop()
        assert not runner._thread.is_alive()
        assert not runner._delivery.thread.is_alive()


def test_blocks_are_continuous_and_carry_the_channels(start: Any) -> None:
    runner, sink = start()
    with sink.news:
        assert sink.news.wait_for(lambda: len(sink.blocks) >= 10, 10)
    runner.stop()
    assert [b.sequence for b in sink.blocks] == list(range(len(sink.blocks)))
    rows = 0
    for block in sink.blocks:
        assert block.first_row == rows
        assert block.channels == ("input_angle", "input_speed", "output_angle", "load_torque_command")
        assert block.values.shape == (len(block), 4)
        assert block.quality.dtype == np.uint8
        rows += len(block)
    stamps = np.concatenate([b.stamps_s for b in sink.blocks])
    assert np.all(np.diff(stamps) > 0)
    assert runner.state is RunnerState.STOPPED
    statistics = runner.statistics()
    assert statistics.cycles >= rows
    assert statistics.period_s == 0.004
    assert set(statistics.counters) >= {"AX1", "AX2", "EN2"}


def test_a_velocity_ramp_keeps_its_slope(bench: Any, start: Any) -> None:
    runner, _ = start()
    sent: list[tuple[float, float]] = []
    original = bench.plant.command

    def record(device: str, command: Command | None) -> None:
        original(device, command)
        if device == "AX1" and command is not None:
            sent.append((bench.plant.t, command.value))

    bench.plant.command = record
    runner.command("AX1", Setpoint(Mode.VELOCITY, 10.0, 50.0), acceleration=500.0)
    wait_for(lambda: bool(sent) and sent[-1][1] >= 9.999, runner)
    steps = np.diff([v for _, v in sent])
    assert np.all(steps >= -1e-6)
    assert steps.max() <= 50.0 * 0.004 + 1e-6, "one period a cycle, also after a skipped one"
    duration = sent[-1][0] - next(t for t, v in sent if v > 0)
    assert duration >= 0.19


def test_a_new_set_point_starts_from_the_present_one(bench: Any, start: Any) -> None:
    runner, _ = start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 10.0, 100.0), 500.0)
    wait_for(lambda: runner.commanded("AX1") == Command(Mode.VELOCITY, 10.0), runner)
    values: list[float] = []
    original = bench.plant.command
    bench.plant.command = lambda d, c: (original(d, c), values.append(c.value) if d == "AX1" and c else None)
    runner.command("AX1", Setpoint(Mode.VELOCITY, 4.0, 100.0), 500.0)
    wait_for(lambda: bool(values) and abs(values[-1] - 4.0) < 1e-6, runner)
    assert max(values) <= 10.0 + 1e-6
    assert min(values) >= 4.0 - 1e-6, "it never passed through zero"


def test_position_moves_start_where_the_shaft_is(bench: Any, start: Any) -> None:
    bench.on_loop(lambda: bench.plant.angle.update(AX1=3.0))
    runner, sink = start()
    runner.command("AX1", Setpoint(Mode.POSITION, 3.5, 5.0), 100.0)
    wait_for(lambda: runner.commanded("AX1") == Command(Mode.POSITION, 3.5), runner)
    time.sleep(0.05)
    runner.stop()
    angle = sink.column("input_angle")
    assert angle.min() == pytest.approx(3.0, abs=1e-5)
    assert angle[-1] == pytest.approx(3.5, abs=1e-5)
    assert np.all(np.diff(angle) >= -1e-6)


def test_rest_takes_the_torque_off_one_device(bench: Any, start: Any) -> None:
    runner, _ = start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    runner.command("AX2", Setpoint(Mode.TORQUE, 5.0, 100.0), 500.0)
    bench.wait_power("AX1", True)
    bench.wait_power("AX2", True)
    runner.rest("AX1")
    wait_for(lambda: any(e[:2] == ("AX1", False) for e in bench.power), runner)
    assert not any(e[:2] == ("AX2", False) for e in bench.power)
    assert runner.commanded("AX1") is None


@pytest.mark.parametrize(
    ("device", "setpoint", "words"),
    [
        ("AX1", Setpoint(Mode.VELOCITY, 1e4, 1.0), "exceeds its limit"),
        ("AX1", Setpoint(Mode.VELOCITY, math.nan, 1.0), "is none"),
        ("AX1", Setpoint(Mode.VELOCITY, 1.0, 0.0), "is none"),
        ("AX1", Setpoint(Mode.POSITION, 1.0, 1e4), "speed 10000"),
        ("AX2", Setpoint(Mode.TORQUE, -200.0, 1.0), "exceeds its limit 180"),
        ("EN2", Setpoint(Mode.VELOCITY, 1.0, 1.0), "takes no set-points"),
        ("AX9", Setpoint(Mode.VELOCITY, 1.0, 1.0), "is not on bus"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_moves(
    bench: Any, start: Any, device: str, setpoint: Setpoint, words: str
) -> None:
    runner, _ = start()
    with pytest.raises(CommandRefused, match=words):
        runner.command(device, setpoint, 10.0)
    assert runner.state is RunnerState.RUNNING
    assert bench.power == []


@pytest.mark.faults
def test_a_lease_not_renewed_is_torque_off_and_then_silence(bench: Any, start: Any) -> None:
    runner, _ = start(lease_s=0.1)
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    bench.wait_power("AX1", True)
    off = bench.wait_power("AX1", False)
    assert off[2] == "controlword 0000h", "our own stop came before the drive's watchdog"
    runner._thread.join(5)
    assert runner.state is RunnerState.LOST
    assert "lease" in str(runner.failure)
    frames: list[Any] = []
    bench.on_loop(
        lambda: setattr(bench.host.racks["can0"].hub, "on_frame", lambda f, _: frames.append(f.can_id))
    )
    time.sleep(0.1)
    assert 0x77F not in frames
    assert 0x080 not in frames
    with pytest.raises(CommandRefused, match="does not run"):
        runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)


@pytest.mark.faults
def test_trip_is_torque_off_everywhere_latched_and_reading_goes_on(bench: Any, start: Any) -> None:
    runner, sink = start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    runner.command("AX2", Setpoint(Mode.TORQUE, 5.0, 100.0), 500.0)
    bench.wait_power("AX1", True)
    bench.wait_power("AX2", True)
    runner.trip("emergency stop pressed")
    runner.trip("something else")
    for device in ("AX1", "AX2"):
        bench.wait_power(device, False)
    wait_for(lambda: runner.state is RunnerState.TRIPPED, runner)
    assert runner.failure == "emergency stop pressed"
    with pytest.raises(CommandRefused, match="emergency stop pressed"):
        runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    count = len(sink.blocks)
    wait_for(lambda: len(sink.blocks) > count + 3, runner)


@pytest.mark.faults
def test_the_guard_is_asked_in_every_cycle(bench: Any, start: Any) -> None:
    reasons: list[str | None] = ["interlock is not armed"]
    runner, _ = start(guard=lambda: reasons[0])
    with pytest.raises(CommandRefused, match="interlock is not armed"):
        runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    assert runner.state is RunnerState.RUNNING, "not armed and not moving is no trip"
    reasons[0] = None
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    bench.wait_power("AX1", True)
    before = time.monotonic()
    reasons[0] = "interlock tripped: door open"
    assert bench.wait_power("AX1", False)[3] - before < 0.1 + bench.host.frozen_s
    wait_for(lambda: runner.state is RunnerState.TRIPPED, runner)
    assert runner.failure == "interlock tripped: door open"


@pytest.mark.faults
def test_a_device_fault_takes_the_torque_off_the_other_drive_too(bench: Any, start: Any) -> None:
    runner, _ = start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    runner.command("AX2", Setpoint(Mode.TORQUE, 5.0, 100.0), 500.0)
    bench.wait_power("AX1", True)
    bench.wait_power("AX2", True)
    rack = bench.host.racks["can0"]

    def burn() -> None:
        now = bench.host.loop.clock()
        rack.nodes["AX2"].fail(0x2310, now)
        rack.settle(now)

    bench.on_loop(burn)
    assert bench.wait_power("AX1", False)[2] == "controlword 0000h"
    wait_for(lambda: runner.state is RunnerState.TRIPPED, runner)
    assert "AX2: emergency: continuous over-current" in str(runner.failure)
    assert runner.device_state("AX2") is DeviceState.FAULT


@pytest.mark.faults
def test_a_lost_wire_ends_the_runner(bench: Any, start: Any) -> None:
    runner, _ = start()
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 500.0)
    bench.wait_power("AX1", True)
    bench.on_loop(bench.host.servers["can0"].close)
    assert bench.wait_power("AX1", False)[2] == "master heartbeat lost"
    runner._thread.join(5)
    assert runner.state is RunnerState.LOST
    assert "CAN adapter is gone" in str(runner.failure)


def test_what_is_not_in_order_at_start_is_raised_by_start(bench: Any, can_group: CanopenGroup) -> None:
    bench.on_loop(lambda: bench.host.racks["can0"].unplug("EN2"))
    runner = BusRunner(can_group, lambda _: None, block_rows=1, lease_s=1.0)
    with pytest.raises(TransportTimeout, match="EN2"):
        runner.start()
    assert runner.state is RunnerState.LOST
    runner.stop()


# ── against a group of which every move is known ──


class Scripted:
    """A group without devices whose cycles take as long as told."""

    name, channels, period_s = "toy", ("x",), 0.01

    def __init__(self, takes: dict[int, float] | None = None, breaks_at: int = -1) -> None:
        self.takes, self.breaks_at = takes or {}, breaks_at
        self.count = 0
        self.stopped = self.hushed = self.closed = 0

    def open(self) -> list[Identity]:
        return []

    def cycle(self, commands: Any) -> Row:
        stamp = time.monotonic()
        number, self.count = self.count, self.count + 1
        if number == self.breaks_at:
            raise RuntimeError("a mistake in our own code")
        time.sleep(self.takes.get(number, 0.0))
        return Row(stamp, (float(number),), (Quality.GOOD,))

    def state(self, device: str) -> DeviceState:
        return DeviceState.READY

    def safe_stop(self) -> None:
        self.stopped += 1

    def hush(self) -> None:
        self.hushed += 1

    def close(self) -> None:
        self.closed += 1

    def counters(self) -> dict[str, dict[str, int]]:
        return {}

    def load(self) -> float:
        return 0.0


def test_the_bus_thread_alone_stays_on_its_processor() -> None:
    everywhere = os.sched_getaffinity(0)
    processor = max(everywhere)
    where: list[set[int]] = []

    class Here(Scripted):
        def open(self) -> list[Identity]:
            where.append(os.sched_getaffinity(0))
            return []

    runner = BusRunner(Here(), Sink(), block_rows=1, lease_s=1.0, processor=processor)  # type: ignore[arg-type]
    runner.start()
    runner.stop()
    assert where == [{processor}]
    assert os.sched_getaffinity(0) == everywhere


def test_a_processor_that_is_not_there_is_refused_at_start() -> None:
    runner = BusRunner(Scripted(), Sink(), block_rows=1, lease_s=1.0, processor=1023)  # type: ignore[arg-type]
    with pytest.raises(CommandRefused, match="processor 1023"):
        runner.start()
    runner.stop()


def test_a_late_cycle_is_skipped_never_made_up_for() -> None:
    sink = Sink()
    runner = BusRunner(Scripted({5: 0.055}), sink, block_rows=1, lease_s=1.0)  # type: ignore[arg-type]
    runner.start()
    with sink.news:
        assert sink.news.wait_for(lambda: len(sink.blocks) >= 20, 10)
    runner.stop()
    stamps = np.concatenate([b.stamps_s for b in sink.blocks])
    gaps = np.diff(stamps)
    assert gaps[5] >= 0.055
    assert gaps.min() > 0.002, "no burst afterwards"
    assert runner.statistics().missed >= 5
    assert list(np.concatenate([b.values[:, 0] for b in sink.blocks])) == list(range(len(stamps)))


def test_a_mistake_of_our_own_ends_in_torque_off_and_silence() -> None:
    group = Scripted(breaks_at=3)
    sink = Sink()
    runner = BusRunner(group, sink, block_rows=10, lease_s=1.0)  # type: ignore[arg-type]
    runner.start()
    runner._thread.join(5)
    runner.stop()
    assert runner.state is RunnerState.LOST
    assert "a mistake in our own code" in str(runner.failure)
    assert group.stopped >= 1
    assert group.hushed == 1
    assert [len(b) for b in sink.blocks] == [3], "what was measured is delivered"


def test_a_sink_that_fails_is_a_trip() -> None:
    def broken(_block: Block) -> None:
        raise OSError("disk full")

    group = Scripted()
    runner = BusRunner(group, broken, block_rows=1, lease_s=1.0)  # type: ignore[arg-type]
    runner.start()
    wait_for(lambda: runner.state is RunnerState.TRIPPED, runner)
    runner.stop()
    assert "disk full" in str(runner.failure)
    assert group.stopped >= 1


def test_a_transport_that_is_lost_is_told_by_its_own_words() -> None:
    class Torn(Scripted):
        def cycle(self, commands: Any) -> Row:
            raise TransportLost("toy", "the cable is cut")

    runner = BusRunner(Torn(), lambda _: None, block_rows=1, lease_s=1.0)  # type: ignore[arg-type]
    runner.start()
    runner._thread.join(5)
    assert runner.state is RunnerState.LOST
    assert runner.failure == "toy: the cable is cut"
    runner.stop()
