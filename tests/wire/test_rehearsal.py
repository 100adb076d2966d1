"""The rehearsal of a trip: drives on with nothing to do, off by the way of a trip, and nothing is latched."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from drivers.canopen.group import CanopenGroup
from drivers.device import Block, DeviceState, Mode, Setpoint
from drivers.runner import BusRunner, RunnerState

AT_REST = {"AX1": Setpoint(Mode.TORQUE, 0.0, 1.0), "AX2": Setpoint(Mode.VELOCITY, 0.0, 1.0)}
LEASE_S = 10.0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


class Watched:
    """A runner, the permission its guard asks for, and everything it told of."""

    def __init__(self, group: CanopenGroup, **options: Any) -> None:
        self.reason: str | None = None
        self.news = threading.Condition()
        self.blocks: list[Block] = []
        self.runner = BusRunner(
            group,
            self.blocks.append,
            block_rows=50,
            lease_s=LEASE_S,
            guard=lambda: self.reason,
            on_change=self._changed,
            **options,
        )

    def _changed(self) -> None:
        with self.news:
            self.news.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Only what the runner tells of by itself wakes this up."""
        with self.news:
            assert self.news.wait_for(condition, 10.0), (self.runner.state, self.runner.failure)


@pytest.fixture
def watched(can_group: CanopenGroup) -> Iterator[Watched]:
    found = Watched(can_group)
    found.runner.start()
    yield found
    found.runner.stop()


def test_a_rehearsal_ends_as_a_trip_does_and_the_bench_is_ready_again(bench: Any, watched: Watched) -> None:
    runner = watched.runner
    assert not runner.torque
    runner.rehearse(AT_REST, 100.0)
    watched.wait(lambda: runner.rehearsed)
    assert [runner.device_state(device) for device in AT_REST] == [DeviceState.ENABLED] * 2
    assert runner.torque
    assert bench.plant.speed == {"AX1": 0.0, "AX2": 0.0}
    watched.reason = "the interlock takes its permission back"
    watched.wait(lambda: not runner.rehearsed)
    # What it tells is what the drives say: they are off by now, not only told so.
    assert not runner.torque
    assert {name: on for name, on, _, _ in bench.power} == {"AX1": False, "AX2": False}
    assert (runner.state, runner.failure) == (RunnerState.RUNNING, None)
    watched.reason = None
    runner.command("AX1", Setpoint(Mode.VELOCITY, 1.0, 10.0), 100.0)
    bench.wait_power("AX1", on=True)


def test_a_drive_that_cannot_be_switched_on_fails_the_rehearsal(watched: Watched) -> None:
    drive = watched.runner.group._members["AX2"]  # type: ignore[attr-defined]
    drive.armed = False
    watched.runner.rehearse(AT_REST, 100.0)
    watched.wait(lambda: watched.runner.state is RunnerState.TRIPPED)
    assert watched.runner.failure == "AX2: its watchdog is not armed — reopen the bench"
    assert not watched.runner.lost
    assert not watched.runner.torque


def test_what_is_commanded_after_a_rehearsal_trips_and_latches(bench: Any, watched: Watched) -> None:
    runner = watched.runner
    runner.rehearse(AT_REST, 100.0)
    watched.wait(lambda: runner.rehearsed)
    runner.command("AX1", Setpoint(Mode.TORQUE, 0.1, 10.0), 100.0)
    watched.reason = "limit"
    watched.wait(lambda: runner.state is RunnerState.TRIPPED)
    assert runner.failure == "limit"


def test_a_lost_device_is_told_from_a_fault(bench: Any, watched: Watched) -> None:
    bench.on_loop(lambda: bench.host.racks["can0"].unplug("EN2"))
    watched.wait(lambda: watched.runner.failure is not None)
    assert watched.runner.lost
    assert "EN2" in str(watched.runner.failure)


def test_a_fault_is_no_loss(bench: Any, watched: Watched) -> None:
    rack = bench.host.racks["can0"]
    bench.on_loop(
        lambda: (rack.nodes["AX1"].fail(0x2310, rack._loop.clock()), rack.settle(rack._loop.clock()))
    )
    watched.wait(lambda: watched.runner.failure is not None)
    assert not watched.runner.lost


def test_an_urgent_row_is_not_kept_until_its_block_is_full(can_group: CanopenGroup) -> None:
    urgent = iter([False] * 5 + [True])
    watched = Watched(can_group, urgent=lambda _: next(urgent, False))
    watched.runner.start()
    watched.runner.trip("done")  # the blocks come all the same
    watched.runner.stop()
    lengths = [len(block) for block in watched.blocks]
    firsts = [block.first_row for block in watched.blocks]
    assert firsts == [0, *np.cumsum(lengths)[:-1].tolist()]  # without a gap
    assert lengths[0] <= 6
