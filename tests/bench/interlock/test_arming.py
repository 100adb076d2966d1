"""Nothing is armed before it has been shown that the torque can be taken away."""

from __future__ import annotations

import math

import pytest

from verification_platform.bench.interlock import (
    InterlockError,
    InterlockState,
    NodeState,
)

from .rig import NODES, SILENCE_S, Bench


def test_arming_proves_that_torque_can_be_taken_away(armed: Bench) -> None:
    assert armed.interlock.permission > 1  # the one on trial was another
    assert 0.0 < armed.interlock.self_test_latency_s <= SILENCE_S
    armed.run(5.0)
    assert armed.interlock.state is InterlockState.ARMED


def test_arming_needs_everyone(bench: Bench) -> None:
    bench.silent.add("recorder_node")
    bench.run(0.5)
    with pytest.raises(InterlockError, match="recorder_node is not heard"):
        bench.interlock.arm(bench.now_s)


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


def test_nothing_trips_while_disarmed(bench: Bench) -> None:
    bench.silent.update(NODES)
    bench.torque = 99.0
    bench.run(2.0)
    assert bench.interlock.state is InterlockState.DISARMED
    assert math.isnan(bench.interlock.self_test_latency_s)
