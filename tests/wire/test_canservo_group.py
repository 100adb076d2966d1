"""ODrive, CyberGear, RobStride and MIT joint modules on one bus, a moteus on its own, over a real socket, against emulated devices."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import can
import pytest

from drivers.bus.can_hub import Fault, FaultKind
from drivers.bus.frame import Frame
from drivers.canservo import mit
from drivers.canservo.family import CANSERVO, make_servo
from drivers.canservo.group import CanServoGroup
from drivers.canservo.model import Watchdog, WatchdogBy, load_model
from drivers.canservo.odrive_axis import OdriveAxis
from drivers.device import (
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
from drivers.emulators.canservo_cybergear import CybergearPlan
from drivers.emulators.canservo_moteus import MoteusPlan
from drivers.emulators.canservo_odrive import OdrivePlan
from drivers.emulators.canservo_plan import canservo_plan
from drivers.emulators.host import EmulatorHost
from drivers.family import BusPlan, Column, DevicePlan

PERIOD_S = 0.01
#: Generous, because the test's own thread shares two busy cores with everything else.
WATCHDOG_S = 0.25

OD6 = DevicePlan("OD6", 4, "odrive_s1")
OD5 = DevicePlan("OD5", 5, "odrive_v36")
CG = DevicePlan("CG", 0x7F, "cybergear")
RS = DevicePlan("RS", 3, "robstride_03")
AK = DevicePlan("AK", 9, "ak80_9")
MT = DevicePlan("MT", 5, "moteus_r4")
MT2 = DevicePlan("MT2", 33, "moteus_r4")
#: Of classic CAN: may share a bus.
ALL = (OD6, OD5, CG, RS, AK)
EACH = pytest.mark.parametrize("device", [*ALL, MT], ids=lambda d: d.model)


class Rotors:
    """One frictionless rotor a device; its drive is perfect."""

    def __init__(self) -> None:
        self.t = 0.0
        self.angle: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.commands: dict[str, Command | None] = {}

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        for name, command in self.commands.items():
            if command is not None and command.mode is Mode.POSITION:
                self.angle[name], self.speed[name] = command.value, 0.0
            elif command is not None and command.mode is Mode.VELOCITY:
                self.speed[name] = command.value
                self.angle[name] = self.angle.get(name, 0.0) + command.value * dt
            else:
                self.speed[name] = 0.0

    def command(self, device: str, command: Command | None) -> None:
        self.commands[device] = command

    def read(self, device: str, signal: str) -> float:
        command = self.commands.get(device)
        torque = command.value if command is not None and command.mode is Mode.TORQUE else 0.0
        return {
            "position": self.angle.get(device, 0.0),
            "velocity": self.speed.get(device, 0.0),
            "torque": torque,
        }[signal]


@dataclass
class Bench:
    """Served devices, and when their torque was switched."""

    path: Path
    plant: Rotors = field(default_factory=Rotors)
    power: list[tuple[str, bool, str, float]] = field(default_factory=list)
    switched: threading.Condition = field(default_factory=threading.Condition)
    host: Any = None
    uri: str = ""
    thread: Any = None
    groups: list[CanServoGroup] = field(default_factory=list)

    def serve(self, *plans: Any) -> None:
        self.host = EmulatorHost(self.plant, self._on_power)
        self.uri = self.host.can("can0", self.path / "can0.sock", 1_000_000, plans)
        self.thread = threading.Thread(target=self.host.run)
        self.thread.start()

    def serve_devices(self, *devices: DevicePlan, watchdog_s: float = WATCHDOG_S) -> None:
        self.serve(*(canservo_plan(d, watchdog_s) for d in devices))

    def _on_power(self, device: str, on: bool, reason: str, now_s: float) -> None:
        with self.switched:
            self.power.append((device, on, reason, now_s))
            self.switched.notify_all()

    def wait_power(self, device: str, on: bool, timeout_s: float = 5.0) -> tuple[str, bool, str, float]:
        def last() -> tuple[str, bool, str, float] | None:
            mine = [e for e in self.power if e[0] == device]
            return mine[-1] if mine and mine[-1][1] is on else None

        with self.switched:
            assert self.switched.wait_for(lambda: last() is not None, timeout_s), f"{device} did not switch"
            event = last()
            assert event is not None
            return event

    def node(self, name: str) -> Any:
        return self.host.racks["can0"].nodes[name]

    @property
    def hub(self) -> Any:
        return self.host.racks["can0"].hub

    def on_loop(self, action: Callable[[], object]) -> None:
        done = threading.Event()

        def run(_now: float) -> None:
            action()
            done.set()

        self.host.loop.post(run)
        assert done.wait(5)

    def group(self, *devices: DevicePlan, watchdog_s: float = WATCHDOG_S) -> CanServoGroup:
        columns = [
            Column(f"{d.name}_{s.name}", d.name, s.name)
            for d in devices
            for s in CANSERVO.describe(d.model).signals
        ]
        made = CANSERVO.group(BusPlan("can0", self.uri, 1_000_000, PERIOD_S, watchdog_s, devices, columns))
        self.groups.append(made)
        return made

    def close(self) -> None:
        for group in self.groups:
            group.close()
        if self.thread is not None:
            self.host.stop()
            self.thread.join(5)
            assert not self.thread.is_alive()
            self.host.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def cycles(group: CanServoGroup, count: int, commands: Mapping[str, Command] | None = None) -> list[Row]:
    rows = []
    for _ in range(count):
        begin = time.monotonic()
        rows.append(group.cycle(commands or {}))
        time.sleep(max(0.0, begin + PERIOD_S - time.monotonic()))
    return rows


def enabled(group: CanServoGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    for _ in range(150):
        cycles(group, 1)
        if group.state(device) is DeviceState.ENABLED:
            return
    raise AssertionError(f"{device} stands at {group.state(device)}")


def fault_of(group: CanServoGroup, within: int = 200) -> DeviceFault:
    for _ in range(within):
        try:
            cycles(group, 1)
        except DeviceFault as fault:
            return fault
    raise AssertionError("no fault")


def value(group: CanServoGroup, row: Row, channel: str) -> tuple[float, int]:
    at = group.channels.index(channel)
    return row.values[at], row.quality[at]


def good(group: CanServoGroup, channel: str, commands: Mapping[str, Command] | None = None) -> float:
    """The next GOOD reading."""
    for _ in range(100):
        found, quality = value(group, cycles(group, 1, commands)[-1], channel)
        if quality == Quality.GOOD:
            return found
    raise AssertionError(f"{channel} never became good: {group.counters()}")


# ── opening ──


def test_one_of_each_on_one_bus_is_identified_and_torque_stays_off(bench: Bench) -> None:
    bench.serve_devices(*ALL)
    group = bench.group(*ALL)
    found = {i.device: i for i in group.open()}
    assert found["OD6"].firmware == "0.6.10"
    assert found["OD6"].serial == f"{26_000_004:012X}"
    assert found["OD5"].firmware == "0.5"
    assert found["CG"].serial == f"{26_000_000 + 0x7F:016X}"
    assert found["RS"].firmware == "0.3.1.41"
    for channel in group.channels:
        good(group, channel)
    assert all(group.state(d.name) is DeviceState.OFF for d in ALL)
    assert not any(on for _, on, _, _ in bench.power)
    assert 0.0 < group.load() < 0.6


@EACH
@pytest.mark.parametrize(("mode", "target"), [(Mode.VELOCITY, 3.0), (Mode.TORQUE, -0.75)])
def test_speed_and_torque_reach_the_shaft_in_SI(
    bench: Bench, device: DevicePlan, mode: Mode, target: float
) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, mode)
    command = {device.name: Command(mode, target)}
    cycles(group, 3, command)
    digit = load_model(device.model).digits[mode.value]
    assert good(group, f"{device.name}_{mode.value}", command) == pytest.approx(target, abs=2 * digit)
    last = bench.plant.commands[device.name]
    assert last is not None
    assert last.mode is mode
    assert last.value == pytest.approx(target, abs=2 * digit)
    group.disable(device.name)
    cycles(group, 30)
    assert group.state(device.name) is DeviceState.OFF
    bench.wait_power(device.name, False)


@EACH
def test_position_mode_starts_without_a_bump_and_follows(bench: Bench, device: DevicePlan) -> None:
    bench.plant.angle[device.name] = start = 4.25
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    good(group, f"{device.name}_position")
    enabled(group, device.name, Mode.POSITION)
    digit = load_model(device.model).digits["position"]
    assert bench.plant.angle[device.name] == pytest.approx(start, abs=2 * digit)
    here = group.measured(device.name, Mode.POSITION)
    for step in range(1, 6):
        cycles(group, 1, {device.name: Command(Mode.POSITION, here + 0.1 * step)})
    there = {device.name: Command(Mode.POSITION, here + 0.5)}
    cycles(group, 4, there)
    assert good(group, f"{device.name}_position", there) == pytest.approx(here + 0.5, abs=2 * digit)


@EACH
def test_set_points_outside_the_limits_are_refused_not_clamped(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    group = bench.group(replace(device, limits={Mode.VELOCITY: 5.0, Mode.TORQUE: 0.5}))
    group.open()
    with pytest.raises(CommandRefused, match="is not on bus"):
        group.enable("nobody", Mode.VELOCITY)
    enabled(group, device.name, Mode.VELOCITY)
    for command in (
        Command(Mode.VELOCITY, 5.01),
        Command(Mode.VELOCITY, math.nan),
        Command(Mode.TORQUE, 0.1),
    ):
        with pytest.raises(CommandRefused, match=device.name):
            group.cycle({device.name: command})
    last = bench.plant.commands[device.name]
    assert last is None or abs(last.value) < 0.05
    assert group.limits(device.name, Mode.TORQUE)[1] == 0.5


def test_a_multi_turn_position_of_a_cybergear_is_beyond_four_pi(bench: Bench) -> None:
    bench.plant.angle["CG"] = 100.0
    bench.serve_devices(CG)
    group = bench.group(CG)
    group.open()
    assert good(group, "CG_position") == pytest.approx(100.0, abs=1e-4)


def test_a_position_that_a_module_cannot_count_is_refused(bench: Bench) -> None:
    bench.plant.angle["AK"] = 12.4
    bench.serve_devices(AK)
    group = bench.group(AK)
    group.open()
    good(group, "AK_position")
    enabled(group, "AK", Mode.POSITION)
    with pytest.raises(CommandRefused, match="cannot count"):
        group.cycle({"AK": Command(Mode.POSITION, 12.6)})


def test_a_reading_at_the_end_of_its_range_is_bad(bench: Bench) -> None:
    bench.plant.angle["AK"] = 20.0
    bench.serve_devices(AK)
    group = bench.group(AK)
    group.open()
    for row in cycles(group, 5):
        assert value(group, row, "AK_position")[1] != Quality.GOOD


# ── identity ──


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


def test_overlapping_identifiers_and_a_full_bus_are_refused_when_planned() -> None:
    bench = Bench(Path())
    with pytest.raises(ValueError, match="both use CAN identifier"):
        bench.group(DevicePlan("A", 1, "odrive_s1"), DevicePlan("B", 0x22, "ak80_9"))
    with pytest.raises(ValueError, match="to which MIT modules reply"):
        bench.group(DevicePlan("A", 0, "odrive_s1"), DevicePlan("B", 0x22, "ak80_9"))
    with pytest.raises(ValueError, match="load the bus"):
        bench.group(*(DevicePlan(f"M{n}", n, "cybergear") for n in range(1, 16)))
    with pytest.raises(ValueError, match="outside"):
        bench.group(DevicePlan("A", 63, "odrive_s1"))


# ── watchdog ──


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


# ── faults ──


@pytest.mark.parametrize(
    ("device", "code", "text"),
    [
        (OD6, 0x2000, "motor too hot"),
        (OD5, 0x100, "encoder failed"),
        (CG, 0x10, "HALL encoder fault"),
        (RS, 0x10, "stalled or overloaded"),
        (AK, 2, "over-current"),
        (MT, 34, "over-voltage"),
    ],
    ids=lambda v: getattr(v, "model", ""),
)
def test_a_fault_is_told_once_with_cause_and_code(
    bench: Bench, device: DevicePlan, code: int, text: str
) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, Mode.VELOCITY)
    node = bench.node(device.name)
    reason = ("test",) if device in (OD6, OD5) else ()
    bench.on_loop(lambda: node.fail(code, *reason, time.monotonic()))
    fault = fault_of(group)
    assert fault.device == device.name
    if device not in (CG, RS):  # whose report (type 21) has bits of its own and may come first
        assert text in str(fault)
        assert fault.code == code
    assert group.state(device.name) is DeviceState.FAULT
    cycles(group, 5)
    with pytest.raises(CommandRefused, match="has a fault"):
        group.enable(device.name, Mode.VELOCITY)


@EACH
def test_a_dead_device_is_lost_and_costs_the_others_nothing(bench: Bench, device: DevicePlan) -> None:
    other = MT2 if device is MT else CG if device is not CG else RS
    bench.serve_devices(device, other)
    group = bench.group(device, other)
    group.open()
    cycles(group, 5)
    bench.on_loop(lambda: setattr(bench.node(device.name), "mute", True))
    fault = fault_of(group)
    assert (fault.device, group.state(device.name)) == (device.name, DeviceState.LOST)
    assert bench.hub.overruns == 0
    rows = cycles(group, 20)
    assert sum(value(group, row, f"{other.name}_position")[1] == Quality.GOOD for row in rows) >= 18
    assert all(value(group, row, f"{device.name}_position")[1] != Quality.GOOD for row in rows)
    began = time.monotonic()
    group.cycle({})
    assert time.monotonic() - began < 0.75 * PERIOD_S, "nobody waits for the lost one"


@EACH
def test_a_cut_cable_loses_everything_and_a_dead_hub_says_so(bench: Bench, device: DevicePlan) -> None:
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    cycles(group, 3)
    bench.on_loop(bench.host.servers["can0"].close)
    with pytest.raises(TransportLost):
        cycles(group, 5)
    group.safe_stop()
    group.close()


@EACH
@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.ERROR])
def test_disturbed_frames_never_give_a_wrong_good_value(
    bench: Bench, device: DevicePlan, kind: FaultKind
) -> None:
    """The shaft turns at 1 rad a cycle's reading: a value of another cycle would be recognised by its age."""
    bench.serve_devices(device)
    group = bench.group(device)
    group.open()
    enabled(group, device.name, Mode.VELOCITY)
    command = {device.name: Command(Mode.VELOCITY, 2.0)}
    cycles(group, 5, command)
    channel = f"{device.name}_position"
    for skip in range(0, 12, 3):
        bench.on_loop(
            lambda skip=skip: bench.hub.faults.append(Fault(kind, skip=skip, delay_s=0.013))  # type: ignore[misc]
        )
        goods = 0
        for _ in range(12):
            before = bench.plant.angle[device.name]
            row = cycles(group, 1, command if group.state(device.name) is DeviceState.ENABLED else None)[-1]
            found, quality = value(group, row, channel)
            if quality == Quality.GOOD:
                goods += 1
                # not older than this cycle's beginning, or than the age that its telemetry is allowed
                allowed = 2.0 * (2.6 * getattr(load_model(device.model), "cyclic_s", 0.0) + 0.002)
                assert before - allowed - 0.001 <= found <= bench.plant.angle[device.name] + 0.05
        assert goods >= 3
    assert group.state(device.name) is DeviceState.ENABLED


def test_many_random_faults_give_no_wrong_value_and_no_strange_exception(bench: Bench) -> None:
    """200 of them, on all dialects at once: lost, late, doubled, destroyed and cut frames, and frames of nobody."""
    bench.serve_devices(*ALL)
    group = bench.group(*ALL)
    group.open()
    for channel in group.channels:
        good(group, channel)
    draw = random.Random(4)
    truth = {"position": 0.0, "velocity": 0.0, "torque": 0.0}
    answers = [4 << 5 | 0x09, 5 << 5 | 0x09, 5 << 5 | 0x14, 4 << 5 | 0x1C, 0]
    rogue = can.Bus(interface="pilotbench", channel=bench.uri.removeprefix("unix:"))
    goods = 0
    kinds = (FaultKind.DROP, FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.ERROR)
    for _ in range(200):
        if draw.random() < 0.5:
            fault = Fault(draw.choice(kinds), skip=draw.randrange(20), delay_s=draw.uniform(0.0, 0.03))
            bench.on_loop(lambda fault=fault: bench.hub.faults.append(fault))  # type: ignore[misc]
        elif draw.random() < 0.5:  # cut
            data = bytes(draw.randrange(1, 6))
            rogue.send(can.Message(arbitration_id=draw.choice(answers), data=data, is_extended_id=False))
            cut = 2 << 24 | draw.choice((CG.address, RS.address)) << 8 | 0xFD
            rogue.send(can.Message(arbitration_id=cut, data=data, is_extended_id=True))
        else:
            stray = draw.randrange(0x500, 0x7FF)
            rogue.send(can.Message(arbitration_id=stray, data=draw.randbytes(8), is_extended_id=False))
        try:
            row = cycles(group, 1)[-1]
        except DeviceFault:
            continue  # so many losses in a row are told as one
        for channel, found, quality in zip(group.channels, row.values, row.quality, strict=True):
            signal = channel.split("_")[1]
            if quality == Quality.GOOD and signal in truth:
                goods += 1
                assert found == pytest.approx(truth[signal], abs=0.02), channel
    rogue.shutdown()
    assert goods > 500
    assert not any(on for _, on, _, _ in bench.power), "no command came out of nowhere"
    counted = group.counters()
    assert counted["can0"]["foreign"] > 0
    assert sum(c.get("missed", 0) + c.get("late", 0) for c in counted.values()) > 20


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
