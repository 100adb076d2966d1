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
from verification_platform.bench.interlock import (
    Interlock,
    InterlockError,
    InterlockState,
    NodeState,
    Trip,
)
from verification_platform.bench.liveness import HANG_FACTOR, Peer, this_machine
from verification_platform.bench.silence import Silence

SILENCE_S = 0.1
NODES = ("device_can0", "device_rs485", "recorder_node", "protocol_node")
DEVICES = NODES[:2]
LIMIT = TripLimit(channel="input_torque", low=-5.0, high=5.0)


class Bench:
    """Peers that behave, on a clock of their own, until told otherwise."""

    def __init__(self, limit: TripLimit = LIMIT, torque_off_s: float = math.inf) -> None:
        channels = {"input_angle": "can0", "input_torque": "rs485", "stop": "rs485"}
        self.interlock = Interlock(
            DEVICES, NODES[2:], channels, [limit], SILENCE_S, estops=["stop"], torque_off_s=torque_off_s
        )
        self.now_s = 100.0
        self.silent: set[str] = set()
        self.deaf: set[str] = set()
        self.torque, self.contact = 1.0, 1.0
        self.states: dict[str, NodeState] = {}
        self.quality = Quality.GOOD
        self.sequence = 0

    def run(self, duration_s: float, step_s: float = 0.01) -> None:
        for _ in range(round(duration_s / step_s)):
            self.now_s += step_s
            for node in NODES:
                if node not in self.silent:
                    held = self.interlock.permission if node in DEVICES and node not in self.deaf else 0
                    state = self.states.get(node, NodeState.ACTIVE)
                    self.interlock.heard(node, self.now_s, state, "its reason", permission=held)
            for group, values in (
                ("can0", {"input_angle": 0.0}),
                ("rs485", {"input_torque": self.torque, "stop": self.contact}),
            ):
                if group not in self.silent:
                    self.interlock.block(self.block(group, values), self.now_s)
            self.interlock.tick(self.now_s)

    def block(self, group: str, values: dict[str, float]) -> Block:
        self.sequence += 1
        rows = np.array([list(values.values())] * 2)
        quality = np.full(rows.shape, Quality.GOOD, dtype=np.uint8)
        quality[:, 0] = self.quality
        stamps = np.array([self.now_s, self.now_s + 0.001])
        return Block(group, self.sequence, 2 * self.sequence, tuple(values), stamps, rows, quality)

    def refused(self) -> str:
        """Why a reset is refused."""
        with pytest.raises(InterlockError) as caught:
            self.interlock.reset(self.now_s)
        assert self.interlock.state is InterlockState.TRIPPED
        return str(caught.value)

    def cause(self) -> str:
        return self.interlock.trip.cause if self.interlock.trip is not None else ""

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
    bench.torque = 1.0
    bench.run(0.02)
    bench.interlock.reset(bench.now_s)
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
    armed.run(0.02)
    armed.interlock.reset(armed.now_s)
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


def test_a_trip_is_not_acknowledged_while_the_value_trembles_about_its_limit() -> None:
    """Trip and clear have thresholds and times of their own."""
    limit = TripLimit.model_validate(
        {"channel": "input_torque", "high": 5.0, "clear": {"high": 4.0, "settle": 0.2}, "reason": "see TQ1"}
    )
    bench = Bench(limit)
    bench.run(0.3)
    bench.arm()
    bench.torque = 5.5
    bench.run(0.01)
    assert bench.interlock.trip is not None
    assert bench.interlock.trip.reason == "input_torque 5.5 is beyond its limit 5: see TQ1"
    assert bench.refused() == "reset refused: input_torque is at 5.5, not back at 4 or below: see TQ1"
    bench.torque = 4.5
    bench.run(0.5)
    assert "not back at 4 or below" in bench.refused()
    bench.torque = 3.9
    bench.run(0.1)
    assert "0.2 s are asked" in bench.refused()
    bench.run(0.15)
    bench.interlock.reset(bench.now_s)
    assert bench.interlock.state is InterlockState.DISARMED


def test_nobody_acknowledges_a_limit_whose_channel_is_no_longer_measured(armed: Bench) -> None:
    armed.torque = 9.0
    armed.run(0.01)
    armed.torque, armed.quality = 1.0, Quality.STALE
    armed.run(1.0)
    assert "no longer measured" in armed.refused()


@pytest.mark.parametrize(("peak_s", "trips"), [(0.04, False), (0.08, True)])
def test_a_limit_with_a_settling_time_lets_peaks_pass(peak_s: float, trips: bool) -> None:
    bench = Bench(TripLimit(channel="input_torque", high=5.0, settle=0.05))
    bench.arm()
    for _ in range(3):  # peaks do not add up
        bench.torque = 6.0
        bench.run(peak_s)
        bench.torque = 1.0
        bench.run(0.02)
    assert (bench.interlock.state is InterlockState.TRIPPED) is trips


def test_a_run_that_asks_for_the_limits_of_the_bench_keeps_their_settling_time() -> None:
    bench = Bench(TripLimit(channel="input_torque", low=-5.0, high=5.0, settle=0.05))
    bench.arm(TripLimit(channel="input_torque", low=-5.0, high=5.0))
    bench.torque = 6.0
    bench.run(0.03)
    assert bench.interlock.state is InterlockState.ARMED


def test_a_limit_that_does_not_latch_lets_go_but_starts_nothing() -> None:
    bench = Bench(TripLimit(channel="input_torque", high=5.0, latched=False))
    bench.arm()
    bench.torque = 6.0
    bench.run(0.05)
    assert bench.interlock.state is InterlockState.TRIPPED
    bench.torque = 1.0
    bench.run(0.05)
    assert (bench.interlock.state, bench.interlock.permission) == (InterlockState.DISARMED, 0)
    bench.arm()
    bench.torque = 6.0
    bench.run(0.05)
    bench.interlock.emergency_stop(bench.now_s, "the operator")  # this one latches
    bench.torque = 1.0
    bench.run(0.5)
    assert bench.interlock.state is InterlockState.TRIPPED


def test_a_bench_beyond_a_limit_is_not_armed(bench: Bench) -> None:
    bench.torque = 6.0
    bench.run(0.1)
    with pytest.raises(InterlockError, match="input_torque is at 6"):
        bench.interlock.arm(bench.now_s)


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


def test_a_self_test_that_is_too_slow_three_times_is_refused() -> None:
    bench = Bench(torque_off_s=0.02)
    bench.run(0.1)
    bench.interlock.arm(bench.now_s)
    bench.run(0.5, step_s=0.03)
    assert bench.interlock.state is InterlockState.TRIPPED
    assert bench.interlock.refusal.endswith("until every drive was off, at most 20 ms are allowed")


def test_the_permission_of_the_self_test_is_marked_as_on_trial(bench: Bench) -> None:
    bench.run(0.1)
    bench.interlock.arm(bench.now_s)
    assert bench.interlock.on_trial
    bench.run(0.1)
    assert bench.interlock.state is InterlockState.ARMED
    assert not bench.interlock.on_trial


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
