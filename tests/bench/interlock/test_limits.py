"""What is beyond a limit trips; what is back from it, and for how long, may be reset."""

from __future__ import annotations

import pytest

from drivers.device import Quality
from verification_platform.bench.description import TripLimit
from verification_platform.bench.interlock import (
    InterlockError,
    InterlockState,
)

from .rig import Bench


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
