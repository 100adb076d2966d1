"""Torque only behind a watchdog that is known to work, in each dialect its own way."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from drivers.bus.frame import Frame
from drivers.canservo import mit
from drivers.canservo.group import CanServoGroup
from drivers.canservo.model import Watchdog, WatchdogBy, load_model
from drivers.canservo.odrive_axis import OdriveAxis
from drivers.device import (
    Command,
    DeviceFault,
    DeviceState,
    Mode,
    WatchdogRefused,
)
from drivers.family import DevicePlan

from .conftest import AK, CG, EACH, OD5, OD6, PERIOD_S, RS, WATCHDOG_S, Bench
from .cycles import cycles, enabled, good


@EACH
def test_silence_of_the_host_takes_the_torque_off(bench: Bench, device: DevicePlan) -> None:
    """SIGKILL and SIGSTOP of the host look the same on the wire: nobody says anything any more."""
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, Mode.VELOCITY)
    cycles(group, 5, {device.name: Command(Mode.VELOCITY, 2.0)})
    begin = time.monotonic()
    group.hush()
    event = bench.wait_power(device.name, False)
    limit = load_model(device.model).watchdog.timeout_s
    limit = WATCHDOG_S if math.isnan(limit) else limit
    late = event[3] - begin - limit
    took = f"torque off {1e3 * (event[3] - begin):.1f} ms after the last word"
    print(f"{device.model}: {took}, watchdog {1e3 * limit:.0f} ms")  # noqa: T201
    assert event[2] in ("watchdog", "CAN timeout")
    assert -PERIOD_S - 0.02 < late < 0.02
    assert bench.plant.commands[device.name] is None


@pytest.mark.parametrize("device", [CG, RS], ids=lambda d: d.model)
def test_a_can_timeout_that_is_not_taken_over_refuses_torque(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    node = bench.node(device.name)
    node.forgetful.add(node.model.watchdog.index)
    with pytest.raises(WatchdogRefused, match="CAN timeout cannot be set"):
        bench.group(device).open()


def test_firmware_0_5_without_a_watchdog_refuses_torque(bench: Bench) -> None:
    bench.serve_devices(OD5, watchdog_s=0.0)
    with pytest.raises(WatchdogRefused, match=r"did not expire.*enable_watchdog = True"):
        bench.group(OD5).open()


def test_a_watchdog_shorter_than_two_heartbeats_does_not_stand_in_its_own_way(bench: Bench) -> None:
    """It expires while the heartbeat is waited for, torque off: no fault of the axis."""
    bench.serve_devices(OD5, watchdog_s=0.12)
    group = bench.group(OD5, watchdog_s=0.12)
    group.open()
    time.sleep(0.3)  # nor does a pause before the first cycle
    cycles(group, 15)
    assert group.state("OD5") is DeviceState.OFF
    enabled(group, "OD5", Mode.VELOCITY)


def test_firmware_0_5_with_too_long_a_watchdog_refuses_torque(bench: Bench) -> None:
    bench.serve_devices(OD5, watchdog_s=2.0)
    with pytest.raises(WatchdogRefused, match="did not expire"):
        bench.group(OD5).open()


def test_the_word_of_an_operator_is_recorded_with_the_identity(bench: Bench) -> None:
    bench.serve_devices(OD5)
    model = replace(
        load_model("odrive_v36"),
        watchdog=Watchdog(WatchdogBy.OPERATOR, record="set by hand, verified 2026-11-27 by Li"),
    )
    group = CanServoGroup(
        "can0", [OdriveAxis("OD5", 5, model)], [], uri=bench.uri, bitrate=1_000_000, period_s=PERIOD_S
    )
    bench.groups.append(group)
    assert group.open()[0].firmware == "0.5; watchdog set by hand, verified 2026-11-27 by Li"
    enabled(group, "OD5", Mode.VELOCITY)


def test_a_module_without_a_watchdog_is_read_but_never_given_torque(bench: Bench) -> None:
    device = DevicePlan("MC", 2, "mini_cheetah")
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    good(group, "MC_position")
    with pytest.raises(WatchdogRefused, match="watchdog"):
        group.enable("MC", Mode.TORQUE)


def test_a_fixed_watchdog_that_is_slower_than_the_bench_wants_is_refused(bench: Bench) -> None:
    bench.serve_devices(AK)
    with pytest.raises(WatchdogRefused, match=r"0\.1 s, the bench wants 0\.05 s"):
        bench.group(AK, watchdog_s=0.05).open()


def test_after_a_long_silence_a_module_gets_no_set_point(bench: Bench) -> None:
    """It cannot tell that its CAN timeout has come, and some products go on with the next set-point; this one does."""
    bench.serve_devices(AK)
    group = bench.group(AK)
    group.open()
    enabled(group, "AK", Mode.VELOCITY)
    node, heard = bench.node("AK"), []
    bench.on_loop(lambda: setattr(node, "expired", lambda _now_s: None))
    hear = node.on_frame

    def on_frame(frame: Frame, now_s: float) -> None:
        heard.append(frame.data)
        hear(frame, now_s)

    bench.on_loop(lambda: setattr(node, "on_frame", on_frame))
    time.sleep(1.5 * load_model("ak80_9").watchdog.timeout_s)  # as one that is stopped
    with pytest.raises(DeviceFault, match=r"AK: was not spoken to for 1\d\d ms, so its CAN timeout"):
        group.cycle({"AK": Command(Mode.VELOCITY, 2.0)})
    assert heard == [mit.EXIT]
    assert not node.torque_on
    assert group.state("AK") is DeviceState.FAULT


@EACH
def test_an_orderly_end_leaves_no_fault_behind(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, Mode.VELOCITY)
    group.close()
    assert bench.wait_power(device.name, False)[2] not in ("watchdog", "CAN timeout")
    if device in (CG, RS, OD6):
        assert bench.node(device.name).watchdog_s == 0.0
    again = bench.group(device)
    again.open()
    enabled(again, device.name, Mode.VELOCITY)
