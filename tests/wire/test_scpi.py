"""SCPI instruments over TCP and a serial line: settings at start, one query a cycle, nothing late or garbled as a value."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from drivers.bus.byte_streams import open_stream
from drivers.bus.faulty import Disturbance, Disturber, FaultyStream
from drivers.device import (
    Command,
    CommandRefused,
    DeviceState,
    IdentityMismatch,
    Mode,
    Quality,
    TransportLost,
    TransportTimeout,
)
from drivers.emulators.host import EmulatorHost
from drivers.emulators.scpi_instrument import ScpiInstrument
from drivers.emulators.scpi_line import ScpiSerial, ScpiSocket
from drivers.family import BusPlan, Column, DevicePlan
from drivers.scpi.family import SCPI
from drivers.scpi.group import ScpiGroup
from drivers.scpi.model import load_model

from .served import Served, cycle_until, serving

GOOD, STALE, BAD = Quality.GOOD, Quality.STALE, Quality.BAD
ANALYSER, METER = "scpi_power_analyser_2e", "scpi_power_meter_serial"
BAUD = 115_200


class Steady:
    """What the instruments measure; tests change it."""

    def __init__(self) -> None:
        self.values = {
            "voltage": 48.25,
            "current": -2.5,
            "power": 120.5,
            "voltage_1": 48.25,
            "current_1": 2.5,
            "power_1": 120.5,
            "voltage_2": 24.0,
            "current_2": 4.5,
            "power_2": 96.4,
            "power_factor": 0.875,
            "frequency": 166.667,
        }

    def advance(self, t_s: float) -> None:
        """Nothing moves."""

    def command(self, device: str, command: Command | None) -> None:
        """Nothing moves."""

    def read(self, device: str, signal: str) -> float:
        return self.values[signal]


@dataclass
class Desk(Served):
    plant: Steady
    tcp: ScpiSocket
    serial: ScpiSerial
    groups: list[ScpiGroup] = field(default_factory=list)

    def line(self, model: str) -> Any:
        return self.tcp if model == ANALYSER else self.serial


@pytest.fixture
def desk() -> Iterator[Desk]:
    plant = Steady()
    host = EmulatorHost(plant)
    tcp = ScpiSocket(host.loop, host.advance, ScpiInstrument("PA1", load_model(ANALYSER), plant, 4711))
    serial = ScpiSerial(host.loop, host.advance, ScpiInstrument("PM1", load_model(METER), plant, 4712), BAUD)
    host.line("lan", tcp)
    host.line("com", serial)
    with serving(host):
        found = Desk(host, plant, tcp, serial)
        yield found
        for group in found.groups:
            group.close()


def make_group(desk: Desk, model: str, serial: str | None = None, **more: Any) -> ScpiGroup:
    columns = [Column(name, "PA1", name) for name in load_model(model).quantities]
    plan = BusPlan(
        "power", desk.line(model).uri, BAUD, 0.05, 0.1, [DevicePlan("PA1", 1, model, serial)], columns
    )
    group = SCPI.group(plan)
    for key, value in more.items():
        setattr(group, key, value)
    desk.groups.append(group)
    return group


@pytest.fixture(params=[ANALYSER, METER])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def group(desk: Desk, model: str) -> Iterator[ScpiGroup]:
    group = make_group(desk, model)
    group.open()
    yield group
    group.close()


def all_good(row: Any) -> bool:
    return all(q is GOOD for q in row.quality)


def test_open_identifies_the_instrument_and_writes_its_settings(desk: Desk, model: str) -> None:
    group = make_group(desk, model, serial="4711" if model == ANALYSER else "4712")
    (identity,) = group.open()
    table = load_model(model)
    assert (identity.device, identity.model, identity.firmware) == ("PA1", model, table.firmware)
    instrument = desk.line(model).desk.instrument
    assert instrument._settings == {s.header: s.value for s in table.settings}
    group.cycle({})
    written = len(instrument.messages)
    cycle_until(group, lambda _: len(instrument.messages) >= written + 3)
    query = group._device.query().partition(";")[2]
    assert {m.partition(";")[2] for m in instrument.messages[written:]} == {query}, "only the query is sent"
    group.close()


def test_values_in_si_of_one_update(desk: Desk, model: str, group: ScpiGroup) -> None:
    row = cycle_until(group, all_good)
    wanted = dict(desk.plant.values, efficiency=96.4 / 120.5)
    assert row.values == pytest.approx([wanted[name] for name in group.channels], rel=1e-5)
    assert group.state("PA1") is DeviceState.READY


def test_overload_and_not_a_number_are_bad_where_they_are_and_nowhere_else(
    desk: Desk, group: ScpiGroup
) -> None:
    instrument = desk.line(group._device.model.name).desk.instrument
    first = group.channels[0]
    cycle_until(group, all_good)
    instrument.overload = {first}
    row = cycle_until(group, lambda row: row.quality[0] is BAD)
    assert row.values[0] == math.inf
    assert row.quality[1:] == [GOOD] * (len(group.channels) - 1)
    instrument.overload = set()
    desk.plant.values[first] = math.nan
    cycle_until(group, lambda row: math.isnan(row.values[0]) and row.quality[0] is BAD)
    desk.plant.values[first] = 1.0
    cycle_until(group, all_good)


def test_the_condition_register_makes_every_reading_bad(desk: Desk) -> None:
    group = make_group(desk, ANALYSER)
    group.open()
    cycle_until(group, all_good)
    desk.tcp.desk.instrument.status = 0x0002
    cycle_until(group, lambda row: all(q is BAD for q in row.quality))
    desk.tcp.desk.instrument.status = 0x0100  # a bit that says nothing about the readings
    cycle_until(group, all_good)
    group.close()


def test_no_efficiency_without_power(desk: Desk) -> None:
    desk.plant.values["power_1"] = 0.0
    group = make_group(desk, ANALYSER)
    group.open()
    row = cycle_until(group, lambda row: row.quality[0] is GOOD)
    assert row.quality[group.channels.index("efficiency")] is BAD
    group.close()


def test_silence_is_stale_then_lost_and_comes_back(desk: Desk, model: str, group: ScpiGroup) -> None:
    cycle_until(group, all_good)
    desk.line(model).desk.mute = True
    row = cycle_until(group, lambda row: all(q is STALE for q in row.quality))
    assert row.values[0] == pytest.approx(48.25), "the last value known"
    cycle_until(group, lambda _: group.state("PA1") is DeviceState.LOST)
    desk.line(model).desk.mute = False
    cycle_until(group, all_good)
    assert group.state("PA1") is DeviceState.READY


def test_a_late_answer_is_not_taken_for_a_new_one(desk: Desk, model: str, group: ScpiGroup) -> None:
    cycle_until(group, all_good)
    line, first = desk.line(model), group.channels[0]

    def late() -> None:
        line.desk.extra_delay_s = 0.15

    def change() -> None:
        line.desk.extra_delay_s = 0.0
        desk.plant.values[first] = 7.5

    count = group.counters()["PA1"]
    desk.on_loop(late)
    cycle_until(group, lambda _: group.counters()["PA1"]["timeout"] > count["timeout"])
    asked_s = group._device.sampled_s
    desk.on_loop(change)
    row = cycle_until(group, lambda row: all_good(row) and group._device.sampled_s > asked_s)
    assert row.values[0] == pytest.approx(7.5)


@pytest.mark.parametrize(
    ("model", "fault"),  # no wrong bytes over TCP, which carries a checksum of its own
    [(ANALYSER, "cut"), (METER, "cut"), (METER, "garble")],
    indirect=["model"],
)
def test_a_disturbed_answer_is_no_value_and_the_next_one_is(
    desk: Desk, model: str, group: ScpiGroup, fault: str
) -> None:
    cycle_until(group, all_good)
    setattr(desk.line(model).desk, fault, 1)
    sampled = group._device.sampled_s
    cycle_until(group, lambda _: getattr(desk.line(model).desk, fault) == 0)
    counters = group.counters()["PA1"]
    assert counters["garbled"] == 1
    row = cycle_until(group, lambda row: group._device.sampled_s > sampled and all_good(row))
    assert row.values[0] == pytest.approx(48.25)


def test_another_instrument_is_refused(desk: Desk, model: str) -> None:
    with pytest.raises(IdentityMismatch, match=r"serial number is 471[12], expected 99"):
        make_group(desk, model, serial="99").open()
    other = METER if model == ANALYSER else ANALYSER
    plan = BusPlan("power", desk.line(model).uri, BAUD, 0.1, 0.1, [DevicePlan("PA1", 1, other)], [])
    with pytest.raises(IdentityMismatch, match="PA1: is a PILOTBENCH P"):
        SCPI.group(plan).open()


def test_an_exchanged_instrument_does_not_come_back_unnoticed(
    desk: Desk, model: str, group: ScpiGroup
) -> None:
    cycle_until(group, all_good)
    line = desk.line(model)
    line.desk.mute = True
    cycle_until(group, lambda _: group.state("PA1") is DeviceState.LOST)

    def exchange() -> None:
        line.desk.instrument.serial = 999
        line.desk.mute = False

    desk.on_loop(exchange)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert not all_good(group.cycle({}))
        time.sleep(0.01)


def test_a_setting_that_does_not_stick_is_refused_in_one_line(desk: Desk, model: str) -> None:
    desk.line(model).desk.instrument.refuse_settings = True
    with pytest.raises(CommandRefused, match="reads back") as caught:
        make_group(desk, model).open()
    assert "\n" not in str(caught.value)


def test_the_words_of_the_error_queue_are_told(desk: Desk) -> None:
    instrument = desk.tcp.desk.instrument
    complain = instrument._set

    def refuse(setting: Any, argument: str) -> None:
        complain(setting, argument)
        instrument._complain((-221, "Settings conflict"))

    desk.on_loop(lambda: setattr(instrument, "_set", refuse))
    with pytest.raises(CommandRefused, match=r"refuses a setting — Settings conflict \(-221\); Settings"):
        make_group(desk, ANALYSER).open()


def test_a_pulled_cable_is_a_lost_transport(desk: Desk, model: str, group: ScpiGroup) -> None:
    cycle_until(group, all_good)
    desk.on_loop(desk.line(model).close)
    with pytest.raises(TransportLost):
        cycle_until(group, lambda _: False)
    group.safe_stop()
    group.close()


def test_instruments_take_no_set_points(group: ScpiGroup) -> None:
    with pytest.raises(CommandRefused, match="takes no set-points"):
        group.enable("PA1", Mode.TORQUE)
    with pytest.raises(CommandRefused, match="takes no set-points"):
        group.cycle({"PA1": Command(Mode.TORQUE, 1.0)})
    with pytest.raises(CommandRefused, match="there is PA1"):
        group.state("XX")


def test_a_bus_carries_one_instrument() -> None:
    for devices in ([DevicePlan("A", 1, METER), DevicePlan("B", 2, METER)], [DevicePlan("A", 5, METER)], []):
        with pytest.raises(ValueError, match="one instrument, with address 1"):
            SCPI.group(BusPlan("power", "tcp:127.0.0.1:1", BAUD, 0.1, 0.1, devices, []))


def test_a_line_that_is_too_slow_is_refused() -> None:
    plan = BusPlan("power", "serial:/x", 2400, 0.1, 0.1, [DevicePlan("A", 1, ANALYSER)], [])
    with pytest.raises(ValueError, match="the query takes"):
        SCPI.group(plan)


def test_a_scan_finds_the_instrument(desk: Desk, model: str) -> None:
    (found,) = SCPI.scan("power", desk.line(model).uri, BAUD)
    assert (found.address, found.model) == (1, model)
    assert "PILOTBENCH" in found.description


def test_a_scan_of_a_silent_line_finds_nobody(desk: Desk) -> None:
    desk.serial.desk.mute = True
    assert list(SCPI.scan("power", desk.serial.uri, BAUD)) == []


@pytest.mark.faults
def test_a_thousand_disturbances_and_no_wrong_value_is_good(desk: Desk) -> None:
    """Flipped bits, cut, doubled, late, reordered, foreign and lost bursts on the serial line."""
    disturber = Disturber(20260711, 0.0, set(Disturbance) - {Disturbance.SILENCE})

    def open_faulty(name: str, uri: str, baudrate: int) -> Any:
        return FaultyStream(open_stream(name, uri, baudrate), disturber)

    group = make_group(desk, METER, _open_stream=open_faulty)
    group.open()
    device = group._device
    device.model = replace(device.model, timeout_s=0.01)
    assert group._link is not None
    group._link.latency_s = 0.005
    draw = random.Random(7)
    disturber.rate = 0.4
    good = 0
    until = time.monotonic() + 240
    while sum(disturber.counts.values()) < 1000 and time.monotonic() < until:
        value = round(draw.uniform(-20.0, 20.0) / 0.0005) * 0.0005
        desk.plant.values["voltage"] = value
        device.next_poll_s = -math.inf  # no back-off: every disturbance shall meet a query
        before = device.sampled_s
        row = group.cycle({})
        if device.sampled_s > before and row.quality[0] is GOOD:
            good += 1
            assert row.values[0] == pytest.approx(value, abs=1e-4)
    assert sum(disturber.counts.values()) >= 1000
    assert good > 20
    group.close()


def test_nobody_at_the_other_end_is_a_timeout(desk: Desk) -> None:
    desk.serial.desk.mute = True
    with pytest.raises(TransportTimeout, match="PA1: does not answer"):
        make_group(desk, METER).open()
