"""Who is refused at the start, or when the bus is planned; and what a scan finds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drivers.bus.frame import Frame
from drivers.canservo.family import CANSERVO, make_servo
from drivers.device import (
    DeviceState,
    DriverError,
    IdentityMismatch,
    TransportTimeout,
)
from drivers.emulators.canservo_cybergear import CybergearPlan
from drivers.emulators.canservo_moteus import MoteusPlan
from drivers.emulators.canservo_odrive import OdrivePlan
from drivers.emulators.canservo_plan import canservo_plan
from drivers.family import DevicePlan

from .conftest import ALL, CG, EACH, MT, OD5, OD6, RS, WATCHDOG_S, Bench


@EACH
def test_a_wrong_address_is_refused_in_one_line(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    with pytest.raises(TransportTimeout, match=r"node 8|address 8") as caught:
        bench.group(replace(device, address=8)).open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("real", "described"), [("odrive_s1", "odrive_v36"), ("odrive_v36", "odrive_s1")])
def test_the_other_firmware_of_odrive_is_refused(bench: Bench, real: str, described: str) -> None:
    bench.serve_devices(DevicePlan("OD", 4, real))
    with pytest.raises(IdentityMismatch, match="answers as firmware"):
        bench.group(DevicePlan("OD", 4, described)).open()


def test_another_patch_of_firmware_0_6_is_refused_before_anything_is_written(bench: Bench) -> None:
    bench.serve_devices(OD6)
    bench.node("OD6").firmware = (0, 6, 9)
    sent: list[Frame] = []
    bench.hub.on_frame = lambda frame, _: sent.append(frame)
    with pytest.raises(IdentityMismatch, match=r"0\.6\.9"):
        bench.group(OD6).open()
    assert not [f for f in sent if f.can_id == 4 << 5 | 4 and not f.remote]


def test_endpoint_numbers_that_do_not_fit_are_noticed_before_anything_is_written(bench: Bench) -> None:
    bench.serve_devices(OD6)
    bench.node("OD6").endpoints[229] = b"\x01\x02\x03\x04"
    sent: list[Frame] = []
    bench.hub.on_frame = lambda frame, _: sent.append(frame)
    with pytest.raises(IdentityMismatch, match="endpoint numbers"):
        bench.group(OD6).open()
    assert not [f for f in sent if f.can_id == 4 << 5 | 4 and f.data[:1] == b"\x01"]


def test_another_torque_constant_is_refused(bench: Bench) -> None:
    bench.serve_devices(OD6)
    bench.node("OD6").endpoints[259] = bytes.fromhex("cdcccc3d")  # 0.1
    with pytest.raises(IdentityMismatch, match="torque constant"):
        bench.group(OD6).open()


@pytest.mark.parametrize("device", [OD6, OD5, CG, RS, MT], ids=lambda d: d.model)
def test_another_serial_number_is_refused(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    with pytest.raises(IdentityMismatch, match="the bench names 0BAD"):
        bench.group(replace(device, serial="0BAD")).open()


@EACH
def test_two_devices_with_one_id_are_refused(bench: Bench, device: DevicePlan) -> None:
    twin = replace(canservo_plan(device, WATCHDOG_S), name="TWIN")  # type: ignore[type-var]
    if isinstance(twin, OdrivePlan | CybergearPlan | MoteusPlan):
        twin = replace(twin, serial=77)
    bench.serve(canservo_plan(device, WATCHDOG_S), twin)
    with pytest.raises(IdentityMismatch, match=r"two (axes|motors|modules|controllers)"):
        bench.group(device).open()


def test_overlapping_identifiers_and_a_full_bus_are_refused_when_planned(bench: Bench) -> None:
    with pytest.raises(ValueError, match="both use CAN identifier"):
        bench.group(DevicePlan("A", 1, "odrive_s1"), DevicePlan("B", 0x22, "ak80_9"))
    with pytest.raises(ValueError, match="to which MIT modules reply"):
        bench.group(DevicePlan("A", 0, "odrive_s1"), DevicePlan("B", 0x22, "ak80_9"))
    with pytest.raises(ValueError, match="load the bus"):
        bench.group(*(DevicePlan(f"M{n}", n, "cybergear") for n in range(1, 16)))
    with pytest.raises(ValueError, match="outside"):
        bench.group(DevicePlan("A", 63, "odrive_s1"))


def test_scan_finds_one_of_each(bench: Bench) -> None:
    bench.serve_devices(*ALL)
    found = {(f.address, f.description.split(",")[0]): f for f in CANSERVO.scan("can0", bench.uri, 1_000_000)}
    assert set(found) == {
        (4, "ODrive axis"),
        (5, "ODrive axis"),
        (0x7F, "CyberGear or RobStride motor"),
        (3, "CyberGear or RobStride motor"),
        (9, "MIT joint module"),
    }
    assert found[5, "ODrive axis"].model == "odrive_v36"
    assert not any(on for _, on, _, _ in bench.power)


def test_without_a_bus_it_says_so() -> None:
    for device in (*ALL, MT):
        servo = make_servo(device)
        assert servo.state is DeviceState.LOST
        with pytest.raises(DriverError, match="not open"):
            servo.identify()
