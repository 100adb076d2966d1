"""A contact at a drive's own input (60FDh): read with the process data of every cycle, and only where a channel asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.canopen.codec import TPDO_BASE
from drivers.canopen.family import CANOPEN
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model
from drivers.device import Command, Quality, Row
from drivers.emulators.contacts import Contacts
from drivers.emulators.host import CanSeatPlan, EmulatorHost
from drivers.family import BusPlan, Column, DevicePlan

from .served import Served, serving

MODEL = "cia402_servo_ax1"


class Still:
    """Implements `Plant`: nothing moves."""

    def advance(self, t_s: float) -> None: ...
    def command(self, device: str, command: Command | None) -> None: ...
    def read(self, device: str, signal: str) -> float:
        return 0.0


@dataclass
class Drives(Served):
    """Two emulated drives, each with a contact."""

    contacts: Contacts
    uri: str

    def group(self, *columns: Column) -> CanopenGroup:
        devices = [DevicePlan("AX1", 1, MODEL), DevicePlan("AX2", 2, MODEL)]
        return CANOPEN.group(BusPlan("can0", self.uri, 1_000_000, 0.004, 0.2, devices, columns))

    def press(self, device: str, pressed: bool) -> None:
        self.on_loop(lambda: self.contacts.open(device, pressed))


@pytest.fixture
def drives(tmp_path: Path) -> Iterator[Drives]:
    contacts = Contacts(Still())
    host = EmulatorHost(contacts)
    plans = [CanSeatPlan(f"AX{n}", n, load_model(MODEL)) for n in (1, 2)]
    uri = host.can("can0", tmp_path / "can0.sock", 1_000_000, plans)
    with serving(host):
        yield Drives(host, contacts, uri)


def fresh(group: CanopenGroup) -> Row:
    """The next row in which everything was answered."""
    for _ in range(50):
        row = group.cycle({})
        if all(quality == Quality.GOOD for quality in row.quality):
            return row
    raise AssertionError("no whole row in 50 cycles")


def test_a_contact_is_read_in_every_cycle_beside_what_the_drive_measures(drives: Drives) -> None:
    group = drives.group(Column("estop", "AX1", "digital_input"), Column("angle", "AX2", "position"))
    group.open()
    try:
        assert fresh(group).values[0] == 1.0  # from the first row on: nobody must read a press that was none
        drives.press("AX1", True)
        assert fresh(group).values[0] == 0.0
        drives.press("AX1", False)
        drives.press("AX2", True)  # the other drive's
        assert fresh(group).values[0] == 1.0
    finally:
        group.close()


def test_a_contact_that_is_not_answered_is_stale_and_not_closed(drives: Drives) -> None:
    group = drives.group(Column("estop", "AX1", "digital_input"))
    group.open()
    try:
        fresh(group)
        drives.host.racks["can0"].nodes["AX1"].mute_tpdo = True
        rows = [group.cycle({}) for _ in range(3)]
        assert rows[-1].quality[0] == Quality.STALE
    finally:
        group.close()


def test_an_input_that_no_channel_reads_costs_no_bus_time(drives: Drives) -> None:
    angles = (Column("angle", "AX1", "position"), Column("other", "AX2", "position"))
    without, with_contact = drives.group(*angles), drives.group(*angles, Column("e", "AX1", "digital_input"))
    frame_bits = 0.004 * 1_000_000 * (with_contact.planned_load() - without.planned_load())
    assert 44 + 4 * 8 <= frame_bits <= 160  # one frame of four bytes, of one of the two drives
    without.open()
    try:
        for _ in range(5):
            fresh(without)
        objects = drives.host.racks["can0"].nodes["AX1"].objects
        assert objects.get(0x1802, 1) == 0x8000_0000 | TPDO_BASE[2] + 1  # does not exist
        assert without.counters()["can0"]["foreign"] == 0
    finally:
        without.close()


def test_only_signals_of_the_device_are_mapped() -> None:
    model = load_model(MODEL)
    assert model.reading(["position", "torque"]) is model
    assert model.reading(["digital_input"]).tpdos == (*model.tpdos, ("digital_inputs",))
