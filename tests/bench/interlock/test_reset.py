"""What stays until somebody resets it, what holds up a reset, and that neither a reset nor a restart starts anything."""

from __future__ import annotations

import math
import subprocess

import pytest

from verification_platform.bench.description import TripLimit
from verification_platform.bench.interlock import (
    InterlockError,
    InterlockState,
    NodeState,
    Trip,
)
from verification_platform.bench.liveness import this_machine

from .rig import SILENCE_S, Bench


def test_the_first_cause_stays_until_reset_and_reset_starts_nothing(armed: Bench) -> None:
    armed.torque = 9.0
    armed.run(0.01)
    armed.interlock.emergency_stop(armed.now_s, "the operator")
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.cause == "limit"
    with pytest.raises(InterlockError, match="input_torque"):
        armed.interlock.arm(armed.now_s)
    armed.torque = 1.0
    armed.run(0.02)
    armed.interlock.reset(armed.now_s)
    armed.run(0.2)
    assert armed.interlock.state is InterlockState.DISARMED
    assert armed.interlock.permission == 0


@pytest.mark.parametrize("when", ["disarmed", "armed"])
def test_a_pressed_stop_trips_whatever_the_state_and_stays(bench: Bench, when: str) -> None:
    bench.run(0.1)
    if when == "armed":
        bench.arm()
    bench.contact = 0.0
    bench.run(0.01)
    assert bench.cause() == "estop"
    assert bench.interlock.permission == 0
    assert "stop is still pressed, or its wire broken" in bench.refused()
    bench.contact = 1.0
    bench.run(0.05)
    assert bench.interlock.state is InterlockState.TRIPPED  # letting go of the button starts nothing
    bench.interlock.reset(bench.now_s)
    bench.run(0.05)
    assert (bench.interlock.state, bench.interlock.permission) == (InterlockState.DISARMED, 0)


def test_a_stop_that_is_no_longer_heard_trips(armed: Bench) -> None:
    armed.silent.add("rs485")
    armed.run(SILENCE_S + 0.03)
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.reason.startswith("emergency stop: stop has not been heard")
    assert armed.refused().startswith("reset refused: emergency stop: stop has not been heard for ")
    armed.silent.clear()
    armed.run(0.02)
    armed.interlock.reset(armed.now_s)
    assert armed.interlock.state is InterlockState.DISARMED


def test_a_stop_during_the_self_test_counts(bench: Bench) -> None:
    bench.run(0.1)
    bench.interlock.arm(bench.now_s)
    bench.contact = 0.0
    bench.run(0.2)
    assert bench.cause() == "estop"
    assert "emergency stop" in bench.interlock.refusal


@pytest.mark.parametrize(("state", "cause"), [(NodeState.ERROR, "error"), (NodeState.LOST, "lost")])
def test_an_error_of_one_device_takes_the_torque_of_all_until_it_is_mended(
    armed: Bench, state: NodeState, cause: str
) -> None:
    armed.states["device_can0"] = state
    armed.run(0.01)
    assert armed.cause() == cause
    assert armed.interlock.permission == 0
    assert armed.refused() == "reset refused: device_can0: its reason"
    armed.states.clear()
    armed.run(0.01)
    armed.interlock.reset(armed.now_s)
    assert armed.interlock.state is InterlockState.DISARMED


def test_a_dead_process_must_be_started_again_before_a_reset(
    armed: Bench, process: subprocess.Popen[bytes]
) -> None:
    armed.interlock.introduce("recorder_node", process.pid, this_machine())
    process.kill()
    process.wait()
    armed.run(0.01)
    assert armed.cause() == "death"
    assert armed.refused() == "reset refused: recorder_node is not heard; start it first"


def test_a_key_trips_and_nothing_starts_before_it_is_back(armed: Bench) -> None:
    line = "the cell is locked out by Li Wei"
    armed.interlock.lock_out(line, armed.now_s)
    assert (armed.cause(), armed.interlock.permission) == ("lockout", 0)
    assert armed.refused() == f"reset refused: {line}"
    armed.interlock.lock_out("", armed.now_s)
    assert armed.interlock.state is InterlockState.TRIPPED  # the key back is no start
    armed.interlock.reset(armed.now_s)
    armed.interlock.lock_out(line, armed.now_s)
    armed.run(0.1)
    assert armed.interlock.state is InterlockState.DISARMED  # a bench at rest does not trip
    with pytest.raises(InterlockError, match="Li Wei"):
        armed.interlock.arm(armed.now_s)


def restarted(bench: Bench) -> Bench:
    """A new interlock that was given what the old one had latched."""
    latched = bench.interlock.latched
    assert latched is not None
    new = Bench()
    new.interlock.restore(latched)
    return new


def test_a_restart_is_no_reset(armed: Bench) -> None:
    armed.interlock.emergency_stop(armed.now_s, "the operator")
    new = restarted(armed)
    assert (new.interlock.state, new.interlock.permission) == (InterlockState.TRIPPED, 0)
    new.run(1.0)
    with pytest.raises(InterlockError, match="has tripped"):
        new.interlock.arm(new.now_s)
    new.interlock.disarm()
    assert new.interlock.state is InterlockState.TRIPPED
    new.interlock.reset(new.now_s)
    assert (new.interlock.state, new.interlock.latched) == (InterlockState.DISARMED, None)
    new.interlock.arm(new.now_s)


def test_after_a_restart_the_cause_still_holds_up_a_reset(armed: Bench) -> None:
    armed.torque = 6.0
    armed.run(0.05)
    new = restarted(armed)
    assert "no longer measured" in new.refused()
    new.torque = 6.0
    new.run(0.05)
    assert "input_torque is at 6" in new.refused()
    new.torque = 1.0
    new.run(0.05)
    new.interlock.reset(new.now_s)


@pytest.mark.parametrize("cause", ["death", "lost", "stream", "limit", "record"])
def test_a_cause_that_is_no_longer_part_of_the_bench_can_be_reset(cause: str) -> None:
    new = Bench()
    new.interlock.restore(Trip(cause, "gone", "its reason", math.nan))
    new.run(0.2)
    new.interlock.reset(new.now_s)
    assert new.interlock.state is InterlockState.DISARMED


def test_neither_the_self_test_nor_a_limit_that_lets_go_is_latched() -> None:
    bench = Bench(TripLimit(channel="input_torque", low=-5.0, high=5.0, latched=False))
    bench.run(0.3)
    bench.interlock.arm(bench.now_s)
    seen = []
    while bench.interlock.arming:
        bench.run(0.01)
        seen.append((bench.interlock.state, bench.interlock.latched))
    assert InterlockState.TRIPPED in [state for state, _ in seen]
    assert {latched for _, latched in seen} == {None}
    bench.torque = 6.0
    bench.run(0.05)
    assert (bench.interlock.state, bench.interlock.latched) == (InterlockState.TRIPPED, None)
    bench.interlock.emergency_stop(bench.now_s, "the operator")  # now there is more to it
    assert bench.interlock.latched is not None
