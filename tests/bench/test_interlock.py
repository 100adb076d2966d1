"""The interlock as a table of what must trip, what must not, and what stays."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from drivers.device import Block, Quality
from verification_platform.bench.description import TripLimit
from verification_platform.bench.interlock import Interlock, InterlockError, InterlockState, NodeState
from verification_platform.bench.liveness import HANG_FACTOR, Peer, this_machine
from verification_platform.bench.silence import Silence

SILENCE_S = 0.1
NODES = ("device_can0", "device_rs485", "recorder_node", "protocol_node")
DEVICES = NODES[:2]
LIMIT = TripLimit(channel="input_torque", low=-5.0, high=5.0)


class Bench:
    """Peers that behave, on a clock of their own, until told otherwise."""

    def __init__(self) -> None:
        channels = {"input_angle": "can0", "input_torque": "rs485"}
        self.interlock = Interlock(DEVICES, NODES[2:], channels, [LIMIT], SILENCE_S)
        self.now_s = 100.0
        self.silent: set[str] = set()
        self.deaf: set[str] = set()
        self.torque = 1.0
        self.quality = Quality.GOOD
        self.sequence = 0

    def run(self, duration_s: float, step_s: float = 0.01) -> None:
        for _ in range(round(duration_s / step_s)):
            self.now_s += step_s
            for node in NODES:
                if node not in self.silent:
                    held = self.interlock.permission if node in DEVICES and node not in self.deaf else 0
                    self.interlock.heard(node, self.now_s, NodeState.ACTIVE, permission=held)
            for group, channel, value in (
                ("can0", "input_angle", 0.0),
                ("rs485", "input_torque", self.torque),
            ):
                if group not in self.silent:
                    self.interlock.block(self.block(group, channel, value), self.now_s)
            self.interlock.tick(self.now_s)

    def block(self, group: str, channel: str, value: float) -> Block:
        self.sequence += 1
        quality = np.full((2, 1), self.quality, dtype=np.uint8)
        stamps = np.array([self.now_s, self.now_s + 0.001])
        return Block(
            group, self.sequence, 2 * self.sequence, (channel,), stamps, np.full((2, 1), value), quality
        )

    def arm(self, *limits: TripLimit) -> None:
        self.run(0.1)
        self.interlock.arm(self.now_s, limits)
        self.run(0.1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def armed(bench: Bench) -> Bench:
    bench.arm()
    assert bench.interlock.state is InterlockState.ARMED
    return bench


def test_arming_proves_that_torque_can_be_taken_away(armed: Bench) -> None:
    assert armed.interlock.permission > 1  # the one on trial was another
    assert 0.0 < armed.interlock.self_test_latency_s <= SILENCE_S
    armed.run(5.0)
    assert armed.interlock.state is InterlockState.ARMED


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


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


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


@pytest.mark.parametrize(("torque", "trips"), [(4.99, False), (5.01, True), (-5.01, True)])
def test_a_value_beyond_its_limit_trips(armed: Bench, torque: float, trips: bool) -> None:
    armed.torque = torque
    armed.run(0.01)
    assert (armed.interlock.state is InterlockState.TRIPPED) is trips


def test_a_run_may_tighten_a_limit_but_not_widen_it(bench: Bench) -> None:
    bench.arm(TripLimit(channel="input_torque", low=-50.0, high=2.0))
    bench.torque = 2.5
    bench.run(0.01)
    assert bench.interlock.trip is not None
    assert bench.interlock.trip.reason == "input_torque 2.5 is beyond its limit 2"
    bench.interlock.reset()
    bench.torque = 1.0
    bench.arm(TripLimit(channel="input_torque", low=-50.0, high=50.0))
    bench.torque = -6.0
    bench.run(0.01)
    assert bench.interlock.state is InterlockState.TRIPPED


def test_a_stale_value_is_no_evidence_and_its_absence_trips(armed: Bench) -> None:
    armed.torque, armed.quality = 99.0, Quality.STALE
    armed.run(0.5)
    assert armed.interlock.state is InterlockState.ARMED
    armed.run(1.0)
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.reason.startswith("input_torque: no valid sample")


def test_a_bus_that_delivers_nothing_trips(armed: Bench) -> None:
    armed.silent.add("can0")
    armed.run(0.5)
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.cause == "stream"


def test_the_first_cause_stays_until_reset_and_reset_starts_nothing(armed: Bench) -> None:
    armed.torque = 9.0
    armed.run(0.01)
    armed.interlock.emergency_stop(armed.now_s, "the operator")
    assert armed.interlock.trip is not None
    assert armed.interlock.trip.cause == "limit"
    with pytest.raises(InterlockError, match="input_torque"):
        armed.interlock.arm(armed.now_s)
    armed.torque = 1.0
    armed.interlock.reset()
    armed.run(0.2)
    assert armed.interlock.state is InterlockState.DISARMED
    assert armed.interlock.permission == 0


def test_a_device_that_does_not_let_go_fails_the_self_test(bench: Bench) -> None:
    bench.run(0.1)
    bench.interlock.arm(bench.now_s)
    bench.interlock.heard("device_can0", bench.now_s, NodeState.ACTIVE, permission=bench.interlock.permission)
    bench.interlock.heard(
        "device_rs485", bench.now_s, NodeState.ACTIVE, permission=bench.interlock.permission
    )
    stuck = bench.interlock._last_permission
    for _ in range(100):
        bench.now_s += 0.01
        for node in NODES:
            held = stuck if node == "device_can0" else 0
            bench.interlock.heard(node, bench.now_s, NodeState.ACTIVE, permission=held)
        bench.interlock.tick(bench.now_s)
    assert bench.interlock.state is InterlockState.TRIPPED
    assert bench.interlock.refusal.startswith("self-test: device_can0 did not let go")


def test_a_device_that_takes_no_permission_is_refused(bench: Bench) -> None:
    bench.deaf.add("device_can0")
    bench.run(0.1)
    bench.interlock.arm(bench.now_s)
    bench.run(1.0)
    assert "device_can0 did not take the permission" in bench.interlock.refusal
    assert bench.interlock.permission == 0


def test_arming_needs_everyone(bench: Bench) -> None:
    bench.silent.add("recorder_node")
    bench.run(0.5)
    with pytest.raises(InterlockError, match="recorder_node is not heard"):
        bench.interlock.arm(bench.now_s)


def test_its_own_absence_is_nobody_elses_silence(armed: Bench) -> None:
    armed.now_s += 3.0  # the machine stood still
    armed.interlock.tick(armed.now_s)
    assert armed.interlock.state is InterlockState.ARMED
    armed.run(0.5)
    assert armed.interlock.state is InterlockState.ARMED


def test_nothing_trips_while_disarmed(bench: Bench) -> None:
    bench.silent.update(NODES)
    bench.torque = 99.0
    bench.run(2.0)
    assert bench.interlock.state is InterlockState.DISARMED
    assert math.isnan(bench.interlock.self_test_latency_s)


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
