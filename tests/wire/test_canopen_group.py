"""The CANopen group against emulated devices, over a real socket."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from drivers.bus.can_hub import Fault, FaultKind
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model
from drivers.device import (
    BusOff,
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    DriverError,
    IdentityMismatch,
    Mode,
    Quality,
    Row,
    TransportLost,
    TransportTimeout,
    WatchdogRefused,
)
from drivers.family import Column

PERIOD_S = 0.004


def cycles(group: CanopenGroup, commands: dict[str, Command], count: int) -> list[Row]:
    rows = []
    for _ in range(count):
        rows.append(group.cycle(commands))
        time.sleep(PERIOD_S / 2)
    return rows


def enabled(group: CanopenGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    for _ in range(200):
        if group.state(device) is DeviceState.ENABLED:
            return
        cycles(group, {}, 1)
    raise AssertionError(f"{device} stands at {group.state(device)}")


def fault_of(group: CanopenGroup, within: int = 500) -> DeviceFault:
    """Cycle until a fault is raised."""
    for _ in range(within):
        try:
            cycles(group, {}, 1)
        except DeviceFault as fault:
            return fault
    raise AssertionError("no fault")


def test_open_identifies_everybody_and_leaves_torque_off(bench: Any, can_group: CanopenGroup) -> None:
    identities = can_group.open()
    assert [(i.device, i.model, i.serial) for i in identities] == [
        ("AX1", "PB-SD1-4-23", "101"),
        ("AX2", "PB-TM1-120-23", "102"),
        ("EN2", "PB-AE27", "103"),
    ]
    cycles(can_group, {}, 3)
    assert can_group.state("AX1") is DeviceState.OFF
    assert can_group.state("EN2") is DeviceState.READY
    assert bench.power == []


def test_a_row_is_what_the_plant_was(bench: Any, can_group: CanopenGroup) -> None:
    def place() -> None:
        bench.plant.angle["AX1"] = 12.5 * 2 * math.pi

    bench.on_loop(place)
    can_group.open()
    row = cycles(can_group, {}, 2)[-1]
    assert row.quality == [Quality.GOOD] * 4
    assert row.values[0] == pytest.approx(12.5 * 2 * math.pi, abs=2 * math.pi / 2**23)
    assert row.values[2] == pytest.approx(0.125 * 2 * math.pi, abs=2 * math.pi / 2**27)


def test_velocity_and_torque_reach_the_plant(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    enabled(can_group, "AX2", Mode.TORQUE)
    commands = {"AX1": Command(Mode.VELOCITY, 10.0), "AX2": Command(Mode.TORQUE, -24.0)}
    first, *_, last = cycles(can_group, commands, 30)
    assert last.values[1] == pytest.approx(10.0, abs=1e-6)
    assert last.values[3] == pytest.approx(-24.0)
    assert (last.values[0] - first.values[0]) > 0.1
    # Latched together: the geared encoder agrees with the motor's to the digits of both.
    assert last.values[2] == pytest.approx(last.values[0] / 100, abs=1e-7)


def test_position_mode_starts_where_the_shaft_is_and_follows(bench: Any, can_group: CanopenGroup) -> None:
    start = 1000.3 * 2 * math.pi  # beyond the 32-bit counter of 6064h

    def place() -> None:
        bench.plant.angle["AX1"] = start

    bench.on_loop(place)
    can_group.open()
    enabled(can_group, "AX1", Mode.POSITION)
    here = can_group.measured("AX1", Mode.POSITION)
    row = cycles(can_group, {"AX1": Command(Mode.POSITION, here)}, 5)[-1]
    assert row.values[0] == pytest.approx(here, abs=1e-6)
    assert bench.plant.angle["AX1"] == pytest.approx(start, abs=1e-5), "no bump at enabling"
    for step in range(20):
        row = cycles(can_group, {"AX1": Command(Mode.POSITION, here + 0.01 * step)}, 1)[-1]
    row = cycles(can_group, {"AX1": Command(Mode.POSITION, here + 0.19)}, 3)[-1]
    assert row.values[0] == pytest.approx(here + 0.19, abs=1e-5)


def test_mode_can_be_changed_while_enabled(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX2", Mode.VELOCITY)
    cycles(can_group, {"AX2": Command(Mode.VELOCITY, 1.0)}, 5)
    enabled(can_group, "AX2", Mode.TORQUE)
    row = cycles(can_group, {"AX2": Command(Mode.TORQUE, 12.0)}, 3)[-1]
    assert row.values[3] == pytest.approx(12.0)
    assert [e[1] for e in bench.power if e[0] == "AX2"] == [True], "torque stayed on throughout"


def test_disable_takes_the_torque_off_with_the_next_cycle(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    can_group.disable("AX1")
    cycles(can_group, {}, 2)
    assert bench.wait_power("AX1", False)[2] == "controlword 0000h"
    assert can_group.state("AX1") is DeviceState.OFF


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        (Mode.VELOCITY, 629.0),
        (Mode.VELOCITY, math.nan),
        (Mode.VELOCITY, -math.inf),
        (Mode.TORQUE, 1.0),
        (Mode.POSITION, 50.0),
    ],
    ids=["too fast", "not a number", "infinite", "other mode", "other mode too"],
)
def test_a_set_point_outside_the_limits_is_refused_not_clamped(
    bench: Any, can_group: CanopenGroup, mode: Mode, value: float
) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    with pytest.raises(CommandRefused, match="AX1"):
        can_group.cycle({"AX1": Command(mode, value)})
    assert bench.plant.commands["AX1"].value == 0.0


def test_a_position_that_jumps_is_refused(can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.POSITION)
    with pytest.raises(CommandRefused, match="jumps"):
        can_group.cycle({"AX1": Command(Mode.POSITION, 50.0)})


def test_an_encoder_takes_no_set_points(can_group: CanopenGroup) -> None:
    can_group.open()
    with pytest.raises(CommandRefused, match="takes no set-points"):
        can_group.enable("EN2", Mode.VELOCITY)
    with pytest.raises(CommandRefused, match="is not on bus can0"):
        can_group.enable("AX9", Mode.VELOCITY)


# ── missing, late and doubled answers ──


def sequence_of_positions(bench: Any) -> Callable[[], None]:
    """Let the plant's AX1 angle count the SYNCs, so that a value from another cycle is recognised."""
    rack = bench.host.racks["can0"]
    count = [0]
    latch = rack.on_sync

    def counted(now_s: float) -> None:
        count[0] += 1
        bench.plant.angle["AX1"] = float(count[0])
        latch(now_s)

    rack.on_sync = counted
    return lambda: None


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.ERROR])
def test_a_disturbed_answer_never_shifts_the_others(
    bench: Any, can_group: CanopenGroup, kind: FaultKind
) -> None:
    """Every GOOD position is that of its own SYNC, whatever happens to one TPDO2 of AX1."""
    can_group.open()
    bench.on_loop(lambda: sequence_of_positions(bench) and None)
    bench.on_loop(
        lambda: bench.host.racks["can0"].hub.faults.append(Fault(kind, 0x281, 0x7FF, skip=5, count=1))
    )
    rows = cycles(can_group, {}, 30)
    counts = [round(r.values[0]) for r in rows if r.quality[0] is Quality.GOOD]
    stale = [n for n, r in enumerate(rows) if r.quality[0] is not Quality.GOOD]
    expected = [n + 1 for n in range(30) if n not in stale]
    assert counts == expected
    assert len(stale) == (0 if kind is FaultKind.DUPLICATE else 1)
    assert all(rows[n].quality[0] is Quality.STALE for n in stale)
    if stale:
        assert round(rows[stale[0]].values[0]) == stale[0], "the last value known"
        assert rows[stale[0]].quality[2] is Quality.GOOD, "the others are not concerned"


@pytest.mark.parametrize("delay_s", [0.002, 0.01, 0.02, 0.045, 0.07])
def test_a_late_answer_is_its_own_cycle_or_nothing(
    bench: Any, can_group: CanopenGroup, delay_s: float
) -> None:
    can_group.open()
    bench.on_loop(lambda: sequence_of_positions(bench) and None)
    hub = bench.host.racks["can0"].hub
    # The whole node is late: process data, and the barrier behind it.
    bench.on_loop(lambda: hub.faults.append(Fault(FaultKind.DELAY, 0x281, 0x7FF, skip=5, delay_s=delay_s)))
    bench.on_loop(
        lambda: hub.faults.append(Fault(FaultKind.DELAY, 0x581, 0x7FF, delay_s=delay_s, count=1000))
    )
    syncs = 0
    for row in cycles(can_group, {}, 40):
        without_sync = all(q is Quality.STALE for q in row.quality)
        syncs += not without_sync
        if row.quality[0] is Quality.GOOD:
            assert abs(round(row.values[0]) - syncs) <= (1 if syncs > 5 else 0)
    good = [round(r.values[0]) for r in cycles(can_group, {}, 5) if r.quality[0] is Quality.GOOD]
    assert len(good) == 5
    assert good == list(range(good[0], good[0] + 5))


def test_a_node_that_no_longer_answers_is_lost(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    cycles(can_group, {}, 5)
    bench.on_loop(lambda: bench.host.racks["can0"].unplug("EN2"))
    fault = fault_of(can_group)
    assert fault.device == "EN2"
    assert can_group.state("EN2") is DeviceState.LOST
    row = cycles(can_group, {}, 3)[-1]
    assert row.quality == [Quality.GOOD, Quality.GOOD, Quality.STALE, Quality.GOOD]


def test_heartbeat_loss_is_a_fault_although_process_data_flows(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    bench.on_loop(
        lambda: bench.host.racks["can0"].hub.faults.append(Fault(FaultKind.DROP, 0x703, 0x7FF, count=1000))
    )
    fault = fault_of(can_group)
    assert (fault.device, fault.code) == ("EN2", 0x8130)
    assert "no heartbeat" in str(fault)


def test_a_restart_in_mid_run_is_a_fault(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    cycles(can_group, {}, 5)
    rack = bench.host.racks["can0"]

    def restart() -> None:
        now = bench.host.loop.clock()
        rack.nodes["EN2"].power_cycle(now)
        rack.settle(now)

    bench.on_loop(restart)
    assert "restarted in mid-run" in str(fault_of(can_group))


def test_an_emergency_is_a_fault_and_told_once(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    rack = bench.host.racks["can0"]

    def burn() -> None:
        now = bench.host.loop.clock()
        rack.nodes["AX1"].fail(0x4310, now)
        rack.settle(now)

    bench.on_loop(burn)
    fault = fault_of(can_group)
    assert fault.code == 0x4310
    assert "temperature" in str(fault)
    cycles(can_group, {}, 5)
    assert can_group.state("AX1") is DeviceState.FAULT
    with pytest.raises(CommandRefused):
        can_group.enable("AX1", Mode.VELOCITY)
    bench.wait_power("AX1", False)


def test_a_fault_is_reset_by_opening_again(bench: Any, can_group: CanopenGroup) -> None:
    rack = bench.host.racks["can0"]
    bench.on_loop(lambda: rack.nodes["AX1"].fail(0x2310, bench.host.loop.clock()))
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)


def test_an_alarm_of_the_encoder_makes_its_reading_bad(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    bench.on_loop(lambda: bench.host.racks["can0"].nodes["EN2"].alarm(1))
    row = cycles(can_group, {}, 2)[-1]
    assert row.quality == [Quality.GOOD, Quality.GOOD, Quality.BAD, Quality.GOOD]


def test_bus_off_is_an_error_of_its_own(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    bench.on_loop(lambda: bench.host.racks["can0"].hub.bus_off(0.0))
    with pytest.raises(BusOff, match="left the bus"):
        cycles(can_group, {}, 5)


def test_a_hub_that_dies_is_a_lost_transport(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    bench.on_loop(bench.host.servers["can0"].close)
    with pytest.raises(TransportLost, match="can0"):
        cycles(can_group, {}, 50)
    can_group.safe_stop()
    can_group.close()


# ── start-up ──


def drive_only(
    bench: Any, name: str = "AX1", node: int = 1, model: str = "cia402_servo_ax1", **options: Any
) -> CanopenGroup:
    return CanopenGroup(
        "can0",
        [Cia402Drive(name, node, load_model(model), **options)],
        [Column("input_angle", name, "position")],
        uri=bench.can_uri,
        bitrate=1_000_000,
        period_s=PERIOD_S,
    )


def test_a_dead_address_is_named(bench: Any) -> None:
    group = drive_only(bench, "AX7", 7)
    with pytest.raises(TransportTimeout, match="AX7: node 7 does not answer"):
        group.open()


def test_another_device_than_described_is_refused(bench: Any) -> None:
    with pytest.raises(IdentityMismatch, match="AX1: vendor/product"):
        drive_only(bench, model="cia402_servo_ax2").open()
    with pytest.raises(IdentityMismatch, match="serial number is 101"):
        drive_only(bench, serial="999").open()


def test_another_scale_than_described_is_refused(bench: Any) -> None:
    def gear() -> None:
        bench.host.racks["can0"].nodes["AX1"].objects.put(0x608F, 1, 1 << 20)

    bench.on_loop(gear)
    with pytest.raises(IdentityMismatch, match="encoder_increments is 1048576"):
        drive_only(bench).open()


def test_torque_is_refused_without_a_watchdog(bench: Any, can_group: CanopenGroup) -> None:
    """A drive whose 1016h does not keep what is written, and one that knows no abort option."""

    def forgetful() -> None:
        slot = bench.host.racks["can0"].nodes["AX1"].objects.slots[0x1016, 1]
        slot.written = lambda _v: setattr(slot, "number", 0)

    bench.on_loop(forgetful)
    with pytest.raises(WatchdogRefused, match="AX1"):
        can_group.open()


def test_torque_is_refused_before_the_watchdog_is_armed(bench: Any) -> None:
    drive = Cia402Drive("AX1", 1, load_model("cia402_servo_ax1"))
    with pytest.raises(WatchdogRefused, match="not armed"):
        drive.enable(Mode.VELOCITY)


def test_the_drive_refuses_an_abort_option_it_does_not_know(bench: Any, can_group: CanopenGroup) -> None:
    from drivers.emulators.object_dictionary import Refused

    def stubborn() -> None:
        def refuse(_value: int) -> None:
            raise Refused(0x06090030)

        bench.host.racks["can0"].nodes["AX2"].objects.slots[0x6007, 0].check = refuse

    bench.on_loop(stubborn)
    with pytest.raises(WatchdogRefused, match="AX2: its watchdog cannot be set"):
        can_group.open()


def test_the_tighter_limits_are_written_to_the_drive(bench: Any) -> None:
    group = drive_only(bench, limits={Mode.VELOCITY: 104.72, Mode.TORQUE: 2.0})
    group.open()
    objects = bench.host.racks["can0"].nodes["AX1"].objects
    assert objects.get(0x6080) == 1001  # r/min, rounded up
    assert objects.get(0x6072) == 500  # thousandths of the rated 4 N·m
    assert objects.get(0x60C2, 1) == 4
    group.close()


def test_a_bus_that_could_not_carry_the_cycle_is_refused() -> None:
    nodes = [Cia402Drive(f"AX{n}", n, load_model("cia402_servo_ax1")) for n in range(1, 9)]
    with pytest.raises(ValueError, match="would load the bus"):
        CanopenGroup("can0", nodes, [], uri="unix:/x", bitrate=1_000_000, period_s=0.002)


def test_an_open_bus_cannot_be_guessed() -> None:
    group = CanopenGroup(
        "can0",
        [Cia406Encoder("EN2", 3, load_model("cia406_encoder_27bit"))],
        [],
        uri="unix:/nowhere.sock",
        bitrate=1_000_000,
        period_s=PERIOD_S,
    )
    with pytest.raises(TransportLost, match="no CAN hub listens"):
        group.open()
    with pytest.raises(DriverError):
        group.cycle({})
    group.close()


# ── the drives' own watchdog ──


@pytest.mark.faults
def test_a_silent_master_means_torque_off_within_the_watchdog(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    enabled(can_group, "AX2", Mode.TORQUE)
    cycles(can_group, {"AX1": Command(Mode.VELOCITY, 5.0)}, 5)
    last_word, frozen = time.monotonic(), bench.host.frozen_s
    for device in ("AX1", "AX2"):
        _, _, reason, off = bench.wait_power(device, False)
        assert reason == "master heartbeat lost"
        assert off - last_word <= 0.2 + 0.02 + bench.host.frozen_s - frozen
    assert bench.plant.commands["AX1"] is None


@pytest.mark.faults
def test_a_closed_socket_means_torque_off_within_the_watchdog(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    last_word, frozen = time.monotonic(), bench.host.frozen_s
    can_group.hush()
    off = bench.wait_power("AX1", False)[3]
    assert off - last_word <= 0.2 + 0.02 + bench.host.frozen_s - frozen


def test_safe_stop_is_quick_verified_and_may_be_repeated(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    before = time.monotonic()
    can_group.safe_stop()
    can_group.safe_stop()
    assert time.monotonic() - before < 0.2
    bench.wait_power("AX1", False)
    cycles(can_group, {}, 3)
    assert can_group.state("AX1") is DeviceState.OFF


def test_an_orderly_end_is_no_fault(bench: Any, can_group: CanopenGroup) -> None:
    heard = []
    bench.on_loop(
        lambda: setattr(bench.host.racks["can0"].hub, "on_frame", lambda frame, _: heard.append(frame))
    )
    can_group.open()
    enabled(can_group, "AX1", Mode.VELOCITY)
    can_group.close()
    bench.wait_power("AX1", False)
    deadline = time.monotonic() + 0.25
    while time.monotonic() < deadline:
        bench.on_loop(lambda: None)
        time.sleep(0.01)
    assert not [f for f in heard if 0x081 <= f.can_id <= 0x0FF and f.data[:2] != b"\0\0"]


def test_counters_and_load_are_evidence(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    before = time.monotonic()
    cycles(can_group, {}, 50)
    assert time.monotonic() > before
    counters = can_group.counters()
    assert set(counters) == {"AX1", "AX2", "EN2", "can0"}
    assert counters["AX1"]["missed"] == 0
    assert counters["can0"]["rx"] > 250
    assert 0.0 < can_group.load() < can_group.planned_load() * 2


def test_a_lost_bus_can_be_opened_again(bench: Any, can_group: CanopenGroup) -> None:
    can_group.open()
    bench.on_loop(lambda: bench.host.racks["can0"].unplug("EN2"))
    fault_of(can_group)
    can_group.hush()
    rack = bench.host.racks["can0"]
    bench.on_loop(lambda: rack.hub.join(rack._seats["EN2"]))
    can_group.open()
    assert can_group.state("EN2") is DeviceState.READY
    row = cycles(can_group, {}, 3)[-1]
    assert row.quality == [Quality.GOOD] * 4
