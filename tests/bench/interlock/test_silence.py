"""Silence is a trip, death is one at once, and nobody is blamed for what the interlock did not listen to."""

from __future__ import annotations

import subprocess

import pytest

from verification_platform.bench.interlock import (
    InterlockState,
)
from verification_platform.bench.liveness import HANG_FACTOR, Peer, this_machine
from verification_platform.bench.silence import Silence

from .rig import NODES, SILENCE_S, Bench


@pytest.mark.parametrize("node", NODES)
def test_silence_of_anyone_trips(armed: Bench, node: str) -> None:
    armed.silent.add(node)
    armed.run(SILENCE_S - 0.01)
    assert armed.interlock.state is InterlockState.ARMED
    armed.run(0.03)
    assert armed.interlock.state is InterlockState.TRIPPED
    assert armed.interlock.permission == 0
    assert armed.interlock.trip is not None
    assert (armed.interlock.trip.cause, armed.interlock.trip.subject) == ("silence", node)


def test_a_dead_process_trips_at_once_and_a_living_one_is_given_time(
    armed: Bench, process: subprocess.Popen[bytes]
) -> None:
    armed.interlock.introduce("recorder_node", process.pid, this_machine())
    armed.silent.add("recorder_node")
    armed.run(2.0 * SILENCE_S)
    assert armed.interlock.state is InterlockState.ARMED
    process.kill()
    process.wait()
    armed.run(0.01)
    assert armed.interlock.trip is not None
    assert (armed.interlock.trip.cause, armed.interlock.trip.reason) == ("death", "recorder_node has died")


def test_the_patience_with_a_living_process_ends(armed: Bench, process: subprocess.Popen[bytes]) -> None:
    armed.interlock.introduce("recorder_node", process.pid, this_machine())
    armed.silent.add("recorder_node")
    armed.run(HANG_FACTOR * SILENCE_S + 0.03)
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.cause == "silence"


def test_a_bus_that_delivers_nothing_trips(armed: Bench) -> None:
    armed.silent.add("can0")
    armed.run(0.5)
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.cause == "stream"


def test_its_own_absence_is_nobody_elses_silence(armed: Bench) -> None:
    armed.now_s += 3.0  # the machine stood still
    armed.interlock.tick(armed.now_s)
    assert armed.interlock.state is InterlockState.ARMED
    armed.run(0.5)
    assert armed.interlock.state is InterlockState.ARMED


def test_a_process_elsewhere_is_judged_by_its_silence_alone() -> None:
    peer = Peer()
    peer.introduce(1, "another machine")
    assert peer.alive() is None
    assert peer.limit_s(SILENCE_S) == SILENCE_S


def test_silence_counts_while_somebody_listens() -> None:
    silence = Silence(0.02, 0.0)
    ages = [silence.age_s(0.01 * n) for n in range(1, 11)]
    assert ages[-1] == pytest.approx(0.1)
    silence.heard()
    assert silence.age_s(0.11) == 0.0
