"""Modbus drives and brakes: torque only behind a watchdog, every set-point checked and written once, every fault told."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.device import (
    Command,
    CommandRefused,
    DeviceFault,
    DeviceState,
    Mode,
    Quality,
    TransportLost,
    WatchdogRefused,
)
from drivers.emulators.host import EmulatorHost
from drivers.emulators.modbus_actuator import EmulatedActuator, emulated_unit
from drivers.family import BusPlan, Column, DevicePlan
from drivers.modbus.family import MODBUS
from drivers.modbus.group import ModbusGroup
from drivers.modbus.model import load_model

UNITS = {
    "AX1": (1, "modbus_servo_750w"),
    "AX2": (2, "modbus_servo_3kw"),
    "BR1": (3, "modbus_brake_powder_50nm"),
    "BR2": (4, "modbus_brake_hysteresis_5nm"),
    "TQ1": (5, "modbus_torque_5nm"),
}
ACTUATORS = ("AX1", "AX2", "BR1", "BR2")
PERIOD_S = 0.05
#: Generous, because the test's own thread shares two busy cores with everything else.
WATCHDOG_S = 0.4


class Shafts:
    """Velocity and torque are at once what is commanded; positions follow."""

    def __init__(self) -> None:
        self.t = 0.0
        self.angle = dict.fromkeys(UNITS, 0.0)
        self.speed = dict.fromkeys(UNITS, 0.0)
        self.torque = dict.fromkeys(UNITS, 0.0)
        self.commands: dict[str, Command | None] = dict.fromkeys(UNITS)
        self.history: list[tuple[str, Command | None]] = []

    def advance(self, t_s: float) -> None:
        dt, self.t = t_s - self.t, t_s
        for name in UNITS:
            self.angle[name] += self.speed[name] * dt

    def command(self, device: str, command: Command | None) -> None:
        self.history.append((device, command))
        self.commands[device] = command
        if command is None:
            self.speed[device] = self.torque[device] = 0.0
        elif command.mode is Mode.VELOCITY:
            self.speed[device] = command.value
        elif command.mode is Mode.TORQUE:
            self.torque[device] = command.value
        else:
            self.angle[device] = command.value

    def read(self, device: str, signal: str) -> float:
        if device == "TQ1":
            return 1.25
        return {
            "position": self.angle[device],
            "velocity": self.speed[device],
            "torque": self.torque[device],
            "temperature": 300.0,
        }[signal]


@dataclass
class Line:
    host: EmulatorHost
    plant: Shafts
    uri: str
    slaves: dict[str, Any]
    power: list[tuple[str, bool, str, float]]
    switched: threading.Condition = field(default_factory=threading.Condition)

    def on_loop(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def run(_now: float) -> None:
            action()
            done.set()

        self.host.loop.post(run)
        assert done.wait(5)

    def events(self, device: str) -> list[tuple[bool, str]]:
        return [(on, reason) for name, on, reason, _ in self.power if name == device]

    def wait_off(self, device: str, timeout_s: float = 5.0) -> tuple[str, float]:
        def last() -> tuple[str, bool, str, float] | None:
            return next((e for e in reversed(self.power) if e[0] == device), None)

        with self.switched:
            assert self.switched.wait_for(lambda: (e := last()) is not None and not e[1], timeout_s)
            event = last()
            assert event is not None
            return event[2], event[3]


@pytest.fixture
def line() -> Iterator[Line]:
    plant, power, switched = Shafts(), [], threading.Condition()

    def on_power(device: str, on: bool, reason: str, now_s: float) -> None:
        with switched:
            power.append((device, on, reason, now_s))
            switched.notify_all()

    host = EmulatorHost(plant, on_power)
    slaves = {
        name: emulated_unit(name, unit, load_model(model), plant, 300 + unit, on_power)
        for name, (unit, model) in UNITS.items()
    }
    uri = host.serial("rs485", 115_200, list(slaves.values()))
    thread = threading.Thread(target=host.run)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)  # devices and master share this interpreter
    yield Line(host, plant, uri, slaves, power, switched)
    sys.setswitchinterval(interval)
    host.stop()
    thread.join(5)
    assert not thread.is_alive()
    host.close()


def make_group(
    line: Line, names: tuple[str, ...], watchdog_s: float = WATCHDOG_S, **limits: float
) -> ModbusGroup:
    columns = [
        Column(f"{name} {signal}", name, signal)
        for name in names
        for signal in ("torque", "current")
        if signal in load_model(UNITS[name][1]).readings
    ]
    tightened = {Mode(mode): value for mode, value in limits.items()}
    devices = [DevicePlan(name, *UNITS[name], limits=tightened) for name in names]
    return MODBUS.group(BusPlan("rs485", line.uri, 115_200, PERIOD_S, watchdog_s, devices, columns))


@pytest.fixture
def group(line: Line) -> Iterator[ModbusGroup]:
    """Opened; closed after the test."""
    group = make_group(line, (*ACTUATORS, "TQ1"))
    group.open()
    yield group
    group.close()


def cycle_until(
    group: ModbusGroup, wanted: Callable[[], Any], commands: dict[str, Command] | None = None
) -> None:
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        group.cycle({d: c for d, c in (commands or {}).items() if group.state(d) is DeviceState.ENABLED})
        if wanted():
            return
    raise AssertionError("did not come about in 5 s")


def enable(group: ModbusGroup, device: str, mode: Mode) -> None:
    group.enable(device, mode)
    cycle_until(group, lambda: group.state(device) is DeviceState.ENABLED)


@pytest.mark.parametrize(
    ("device", "mode", "value"),
    [
        ("AX1", Mode.VELOCITY, -30.0),
        ("AX1", Mode.TORQUE, 2.4),
        ("AX1", Mode.POSITION, -0.2),
        ("AX2", Mode.VELOCITY, 100.0),
        ("AX2", Mode.TORQUE, -20.0),
    ],
)
def test_a_drive_is_enabled_told_and_disabled(
    line: Line, group: ModbusGroup, device: str, mode: Mode, value: float
) -> None:
    assert group.state(device) in (DeviceState.OFF, DeviceState.READY)
    enable(group, device, mode)
    command = Command(mode, value)
    cycle_until(
        group, lambda: group.measured(device, mode) == pytest.approx(value, abs=0.06), {device: command}
    )
    group.disable(device)
    cycle_until(
        group, lambda: group.state(device) is not DeviceState.ENABLED and not line.slaves[device].torque_on
    )
    assert [on for on, _ in line.events(device)] == [True, False]


def test_a_brake_loads_against_the_motion_and_moves_nothing(line: Line, group: ModbusGroup) -> None:
    enable(group, "BR1", Mode.TORQUE)
    command = {"BR1": Command(Mode.TORQUE, 30.0)}
    for speed, torque in ((5.0, -30.0), (-5.0, 30.0), (0.0, 0.0)):
        line.on_loop(lambda speed=speed: line.plant.speed.update(BR1=speed))
        cycle_until(group, lambda torque=torque: line.plant.torque["BR1"] == pytest.approx(torque), command)
    row = group.cycle(command)
    assert row.values[group.channels.index("BR1 current")] == pytest.approx(30.0 * 0.04)


def test_a_brake_takes_no_negative_torque_and_no_speed(group: ModbusGroup) -> None:
    for device in ("BR1", "BR2"):
        with pytest.raises(CommandRefused, match="has no velocity mode"):
            group.enable(device, Mode.VELOCITY)
        enable(group, device, Mode.TORQUE)
        with pytest.raises(CommandRefused, match="torque has no sign"):
            group.cycle({device: Command(Mode.TORQUE, -1.0)})
        assert group.limits(device, Mode.VELOCITY)[1] == 0.0
    assert group.measured("BR2", Mode.TORQUE) >= 0.0


@pytest.mark.parametrize(
    ("device", "command", "words"),
    [
        ("AX1", Command(Mode.VELOCITY, 315.0), "exceeds 314.159"),
        ("AX1", Command(Mode.VELOCITY, float("nan")), "exceeds"),
        ("AX1", Command(Mode.TORQUE, 1.0), "enabled for velocity"),
        ("AX2", Command(Mode.VELOCITY, -210.0), "exceeds 209.44"),
    ],
)
def test_a_refused_set_point_is_never_sent(
    line: Line, group: ModbusGroup, device: str, command: Command, words: str
) -> None:
    enable(group, device, Mode.VELOCITY)
    before = line.plant.commands[device]
    with pytest.raises(CommandRefused, match=words):
        group.cycle({device: command})
    assert line.plant.commands[device] == before


def test_all_set_points_are_checked_before_the_first_is_written(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.VELOCITY)
    enable(group, "AX2", Mode.VELOCITY)
    with pytest.raises(CommandRefused, match="AX2"):
        group.cycle({"AX1": Command(Mode.VELOCITY, 10.0), "AX2": Command(Mode.VELOCITY, 1e3)})
    assert line.plant.commands["AX1"] == Command(Mode.VELOCITY, 0.0)


def test_a_position_set_point_does_not_jump(group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.POSITION)
    with pytest.raises(CommandRefused, match="jumps by 100 rad"):
        group.cycle({"AX1": Command(Mode.POSITION, 100.0)})


def test_the_limits_of_the_bench_are_written_to_the_drive(line: Line) -> None:
    group = make_group(line, ("AX1",), velocity=100.0, torque=3.0)
    group.open()
    holding = line.slaves["AX1"]._holding
    assert int.from_bytes(holding[0x0210], "big") == 955  # r/min, rounded up
    assert int.from_bytes(holding[0x0211], "big") == 1250  # 1/1000 of rated torque
    assert group.limits("AX1", Mode.VELOCITY)[1] == 100.0
    assert group.limits("AX1", Mode.TORQUE)[1] == 3.0
    group.close()


# ── watchdog ──


@pytest.mark.parametrize("device", ACTUATORS)
def test_a_master_that_falls_silent_loses_the_torque(line: Line, device: str) -> None:
    group = make_group(line, (device,), watchdog_s=0.2)
    group.open()
    enable(group, device, Mode.TORQUE)
    last_s = time.monotonic()
    group.cycle({device: Command(Mode.TORQUE, 1.0)})
    group.hush()
    reason, at_s = line.wait_off(device)
    assert reason == "master no longer heard"
    assert 0.15 <= at_s - last_s <= 0.2 + PERIOD_S + 0.1


@pytest.mark.parametrize("device", ACTUATORS)
def test_torque_is_refused_where_the_watchdog_cannot_be_set(line: Line, device: str) -> None:
    line.slaves[device].refuse_watchdog = True
    group = make_group(line, (device,))
    with pytest.raises(WatchdogRefused, match=f"{device}: its watchdog cannot be set .*reads back 0000"):
        group.open()
    assert line.events(device) == []


@pytest.mark.parametrize(
    ("device", "timeout_s"), [("AX2", 0.004), ("AX2", 11.0), ("BR1", 0.009), ("AX1", 61.0)]
)
def test_a_watchdog_that_the_device_cannot_keep_is_refused(line: Line, device: str, timeout_s: float) -> None:
    with pytest.raises(WatchdogRefused, match="no watchdog of"):
        make_group(line, (device,), watchdog_s=timeout_s).open()


def test_the_watchdog_is_never_longer_than_asked_for(line: Line) -> None:
    group = make_group(line, ("AX2",), watchdog_s=0.128)
    group.open()
    assert int.from_bytes(line.slaves["AX2"]._holding[0x0041], "big") == 12  # of 10 ms
    group.close()
    assert int.from_bytes(line.slaves["AX2"]._holding[0x0041], "big") == 0, "disarmed at an orderly end"


def test_a_watchdog_without_the_right_reaction_would_do_nothing(line: Line) -> None:
    """Why the reaction is written and read back: the emulated device obeys it, like a real one."""
    group = make_group(line, ("AX1",), watchdog_s=0.1)
    group.open()
    enable(group, "AX1", Mode.TORQUE)
    line.on_loop(lambda: line.slaves["AX1"]._holding.update({0x0221: b"\0\1"}))
    group.hush()
    time.sleep(0.4)
    assert [on for on, _ in line.events("AX1")] == [True]


def test_torque_is_refused_before_the_group_is_open(line: Line) -> None:
    group = make_group(line, ("AX1",))
    with pytest.raises(WatchdogRefused, match="not armed"):
        group.enable("AX1", Mode.TORQUE)
    with pytest.raises(TransportLost, match="not open"):
        group.cycle({})


# ── faults ──


@pytest.mark.parametrize(
    ("device", "code", "text"),
    [("AX1", 0x0030, "motor overheated"), ("AX2", 21, "motor temperature"), ("BR1", 1, "coil open")],
)
def test_a_fault_is_told_once_in_words_and_latched(
    line: Line, group: ModbusGroup, device: str, code: int, text: str
) -> None:
    enable(group, device, Mode.TORQUE)
    line.on_loop(lambda: line.slaves[device].fail(code, line.host.loop.clock()))
    with pytest.raises(DeviceFault, match=f"{device}: reports a fault: {text}") as caught:
        cycle_until(group, lambda: False)
    assert caught.value.code == code
    group.cycle({})
    assert group.state(device) is DeviceState.FAULT
    with pytest.raises(CommandRefused, match=text):
        group.enable(device, Mode.TORQUE)
    group.close()
    group.open()  # resets what can be reset
    enable(group, device, Mode.TORQUE)


def test_a_fault_that_stays_is_refused_at_open(line: Line) -> None:
    slave = line.slaves["AX1"]

    class Stays:
        def __get__(self, *_: Any) -> int:
            return 0x0021

        def __set__(self, *_: Any) -> None:
            return

    line.on_loop(lambda: setattr(slave, "__class__", type("Faulty", (EmulatedActuator,), {"fault": Stays()})))
    with pytest.raises(DeviceFault, match="cannot be reset: DC bus under-voltage"):
        make_group(line, ("AX1",)).open()


def test_torque_that_goes_off_by_itself_is_a_fault(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX2", Mode.TORQUE)
    line.on_loop(lambda: line.slaves["AX2"].table.steps[0] and setattr(line.slaves["AX2"], "_word", 0))
    line.on_loop(lambda: setattr(line.slaves["AX2"], "_obey", lambda: None))
    with pytest.raises(DeviceFault, match="switched off by itself"):
        cycle_until(group, lambda: False)


def test_a_drive_that_never_gives_torque_is_a_fault(line: Line, group: ModbusGroup) -> None:
    line.on_loop(lambda: setattr(line.slaves["AX1"], "_obey", lambda: None))
    group.enable("AX1", Mode.TORQUE)
    with pytest.raises(DeviceFault, match=r"does not give torque \(status 0000h\)"):
        cycle_until(group, lambda: False)


def test_a_lost_drive_is_told_and_stays_refused_when_it_comes_back(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.VELOCITY)
    line.slaves["AX1"].mute = True
    with pytest.raises(DeviceFault, match="AX1: does not answer any more"):
        cycle_until(group, lambda: False, {"AX1": Command(Mode.VELOCITY, 5.0)})
    assert group.state("AX1") is DeviceState.LOST
    assert line.wait_off("AX1")[0] == "master no longer heard"
    line.slaves["AX1"].mute = False
    cycle_until(group, lambda: group.state("AX1") is DeviceState.FAULT)
    with pytest.raises((CommandRefused, WatchdogRefused)):
        group.enable("AX1", Mode.VELOCITY)
    assert [on for on, _ in line.events("AX1")] == [True, False]


@pytest.mark.parametrize("fault", ["garble", "truncate"])
@pytest.mark.parametrize("device", ACTUATORS)
def test_a_garbled_answer_is_stale_and_nothing_is_written_twice(
    line: Line, group: ModbusGroup, device: str, fault: str
) -> None:
    enable(group, device, Mode.TORQUE)
    column = next(n for n, channel in enumerate(group.channels) if channel.startswith(device))
    command = {device: Command(Mode.TORQUE, 1.0)}
    cycle_until(group, lambda: group.state(device) is DeviceState.ENABLED, command)
    received: list[bytes] = []
    slave = line.slaves[device]
    respond = slave.respond

    def listen(pdu: bytes) -> bytes:
        received.append(pdu)
        return respond(pdu)

    line.on_loop(lambda: setattr(slave, "respond", listen))
    setattr(slave, fault, 1)
    row = group.cycle(command)
    assert row.quality[column] is Quality.STALE
    assert len(received) == 1, "the write whose answer was lost is not repeated, and nothing follows it"
    assert group.counters()[device]["crc"] == 1


def test_safe_stop_takes_every_torque_off_and_is_idempotent(line: Line, group: ModbusGroup) -> None:
    for device in ACTUATORS:
        enable(group, device, Mode.TORQUE)
    begin = time.monotonic()
    group.safe_stop()
    assert time.monotonic() - begin < 1.0
    assert not any(line.slaves[device].torque_on for device in ACTUATORS)
    group.safe_stop()


def test_safe_stop_is_bounded_on_a_line_where_nobody_answers(line: Line, group: ModbusGroup) -> None:
    enable(group, "AX1", Mode.TORQUE)
    for slave in line.slaves.values():
        slave.mute = True
    begin = time.monotonic()
    group.safe_stop()
    assert time.monotonic() - begin < 2.0
    assert line.wait_off("AX1")[0] == "master no longer heard"


def test_a_pulled_adapter_is_a_lost_transport_and_the_watchdogs_act(line: Line, group: ModbusGroup) -> None:
    enable(group, "BR2", Mode.TORQUE)
    line.on_loop(line.host.lines["rs485"].close)
    with pytest.raises(TransportLost, match="rs485"):
        cycle_until(group, lambda: False)
    group.safe_stop()
    assert line.wait_off("BR2")[0] == "master no longer heard"


def test_an_unknown_device_and_a_sensor_take_no_commands(group: ModbusGroup) -> None:
    with pytest.raises(CommandRefused, match="is not on bus rs485"):
        group.cycle({"XX": Command(Mode.TORQUE, 1.0)})
    with pytest.raises(CommandRefused, match="takes no set-points"):
        group.cycle({"TQ1": Command(Mode.TORQUE, 1.0)})


def test_a_cycle_that_the_line_cannot_carry_is_refused() -> None:
    devices = [DevicePlan(f"AX{n}", n, "modbus_servo_3kw") for n in range(1, 4)]
    with pytest.raises(ValueError, match="of the line's time"):
        MODBUS.group(BusPlan("rs485", "serial:/x", 115_200, 0.01, 0.1, devices, []))


def test_a_scan_finds_drives_and_brakes(line: Line) -> None:
    from drivers.bus.byte_streams import open_stream
    from drivers.modbus.family import _ask
    from drivers.modbus.rtu import RtuMaster

    stream = open_stream("rs485", line.uri, 115_200)
    master = RtuMaster(stream)
    found = [f for unit in range(1, 7) if (f := _ask(master, unit)) is not None]
    stream.close()
    assert [(f.address, f.model) for f in found] == list(UNITS.values())


#: A master in a process of its own: enables one device, says so, and goes on until it is ended.
_MASTER = """
import sys, time
from drivers.device import Command, DeviceState, Mode
from drivers.family import BusPlan, DevicePlan
from drivers.modbus.family import MODBUS
uri, unit, model = sys.argv[1:]
group = MODBUS.group(BusPlan("rs485", uri, 115_200, 0.02, 0.2, [DevicePlan("X", int(unit), model)], []))
group.open()
group.enable("X", Mode.TORQUE)
told = False
while True:
    on = group.state("X") is DeviceState.ENABLED
    group.cycle({"X": Command(Mode.TORQUE, 1.0)} if on else {})
    if on and not told:
        told = True
        print("on", flush=True)
    time.sleep(0.01)
"""


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda s: s.name)
@pytest.mark.parametrize("device", ACTUATORS)
def test_a_master_that_is_killed_or_stopped_loses_the_torque_in_time(
    line: Line, device: str, number: signal.Signals
) -> None:
    unit, model = UNITS[device]
    fed: list[float] = []
    slave = line.slaves[device]
    heard = slave.heard

    def listen(now_s: float) -> None:
        fed.append(now_s)
        heard(now_s)

    line.on_loop(lambda: setattr(slave, "heard", listen))
    master = subprocess.Popen(
        [sys.executable, "-c", _MASTER, line.uri, str(unit), model], stdout=subprocess.PIPE, text=True
    )
    try:
        assert master.stdout is not None
        assert master.stdout.readline() == "on\n"
        master.send_signal(number)
        reason, at_s = line.wait_off(device)
    finally:
        master.kill()
        master.wait(5)
        master.stdout.close()  # type: ignore[union-attr]
    assert reason == "master no longer heard"
    assert at_s - fed[-1] <= 0.2 + 0.02, "its watchdog and 20 ms after it was last heard"
