"""DBC sensors against emulated ones that cantools encodes, over the emulated bus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.bus.can_hub import Fault, FaultKind
from drivers.dbc.device import DbcSensor
from drivers.dbc.family import DBC
from drivers.dbc.group import DbcGroup
from drivers.dbc.model import load_model
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
from drivers.emulators.dbc_sensor import DbcSensorPlan
from drivers.emulators.host import EmulatorHost
from drivers.family import Column

from .served import Served, cycle_until, serving

FLANGE, WRENCH = "dbc_torque_flange_500nm", "dbc_force_torque_6axis"


class Still:
    """Constant readings."""

    def __init__(self) -> None:
        self.values = {
            ("TF1", "torque"): -123.4567,
            ("TF1", "velocity"): 104.71975511965977,
            ("TF1", "temperature"): 313.15,
            **{("FT1", f"force_{n}"): 10.0 * n for n in (1, 2, 3)},
            **{("FT1", f"torque_{n}"): -1.5 * n for n in (1, 2, 3)},
        }

    def advance(self, t_s: float) -> None:
        """Nothing moves."""

    def command(self, device: str, command: Command | None) -> None:
        """Nobody to command."""

    def read(self, device: str, signal: str) -> float:
        return self.values[device, signal]


@dataclass
class Sensors(Served):
    uri: str

    @property
    def nodes(self) -> Any:
        return self.host.racks["can1"].nodes

    def group(self, **options: Any) -> DbcGroup:
        serial, flange, address = (
            options.get("serial"),
            options.get("flange", FLANGE),
            options.get("address", 2),
        )
        sensors = [
            DbcSensor("TF1", address, load_model(flange), serial),
            DbcSensor("FT1", 1, load_model(WRENCH)),
        ]
        columns = [Column("torque", "TF1", "torque"), Column("speed", "TF1", "velocity")]
        columns += [Column("temperature", "TF1", "temperature")]
        columns += [Column(f"f{n}", "FT1", f"force_{n}") for n in (1, 2, 3)]
        columns += [Column(f"m{n}", "FT1", f"torque_{n}") for n in (1, 2, 3)]
        return DbcGroup("can1", sensors, columns, uri=self.uri, bitrate=500_000, period_s=0.01)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Sensors]:
    host = EmulatorHost(Still())
    plans = (
        DbcSensorPlan("TF1", 2, load_model(FLANGE), 4711),
        DbcSensorPlan("FT1", 1, load_model(WRENCH)),
    )
    uri = host.can("can1", tmp_path / "can1.sock", 500_000, plans)
    with serving(host):
        yield Sensors(host, uri)


def test_a_row_is_what_the_plant_was(served: Sensors) -> None:
    group = served.group()
    identities = group.open()
    assert [(i.device, i.model, i.serial, i.firmware) for i in identities] == [
        ("TF1", FLANGE, "4711", "1.23"),
        ("FT1", WRENCH, "not identifiable", "not identifiable"),
    ]
    row = cycle_until(group, lambda r: set(r.quality) == {Quality.GOOD})
    expected = [-123.4567, 104.71975511965977, 313.15, 10.0, 20.0, 30.0, -1.5, -3.0, -4.5]
    assert row.values == pytest.approx(expected, abs=1e-4)
    assert group.state("TF1") is DeviceState.READY
    assert 0 < group.load() < 1
    group.close()


def test_not_available_and_out_of_range_are_bad(served: Sensors) -> None:
    group = served.group()
    group.open()
    served.on_loop(lambda: served.nodes["TF1"].unavailable.add("torque"))
    row = cycle_until(group, lambda r: r.quality[0] is Quality.BAD)
    assert row.quality[2] is Quality.GOOD, "the others are not concerned"
    served.on_loop(lambda: served.host.plant.values.update({("FT1", "force_1"): 1e4}))
    cycle_until(group, lambda r: r.quality[3] is Quality.BAD)
    group.close()


def test_a_wrong_checksum_is_dropped_and_the_value_grows_old(served: Sensors) -> None:
    group = served.group()
    group.open()
    served.on_loop(lambda: setattr(served.nodes["TF1"], "wrong_crc", 10**6))
    served.on_loop(lambda: served.host.plant.values.update({("TF1", "torque"): 1.0}))
    row = cycle_until(group, lambda r: r.quality[0] is Quality.STALE)
    assert row.values[0] == pytest.approx(-123.4567, abs=1e-4)
    assert group.counters()["TF1"]["crc"] > 0
    served.on_loop(lambda: setattr(served.nodes["TF1"], "wrong_crc", 0))
    cycle_until(group, lambda r: r.quality[0] is Quality.GOOD)
    group.close()


def test_a_counter_that_stands_still_is_no_new_value(served: Sensors) -> None:
    group = served.group()
    group.open()
    served.on_loop(lambda: setattr(served.nodes["TF1"], "freeze", True))
    cycle_until(group, lambda r: r.quality[0] is Quality.STALE)
    assert group.counters()["TF1"]["repeated"] > 0
    group.close()


@pytest.mark.faults
def test_a_corrupted_frame_is_never_good(served: Sensors) -> None:
    """Every single bit error is found by the checksum."""
    group = served.group()
    group.open()
    hub = served.host.racks["can1"].hub
    served.on_loop(lambda: hub.faults.append(Fault(FaultKind.CORRUPT, 0x314, 0x7FF, count=50)))
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        row = group.cycle({})
        if row.quality[0] is Quality.GOOD:
            assert row.values[0] == pytest.approx(-123.4567, abs=1e-4)
        time.sleep(0.001)
    assert group.counters()["TF1"]["crc"] == 50
    group.close()


def test_a_silent_sensor_is_stale_then_lost_and_comes_back_by_its_identity(served: Sensors) -> None:
    group = served.group()
    group.open()
    for name in ("TF1", "FT1"):
        served.on_loop(lambda name=name: setattr(served.nodes[name], "mute", True))
    cycle_until(group, lambda r: r.quality[3] is Quality.STALE)
    cycle_until(group, lambda _: group.state("FT1") is DeviceState.LOST)
    cycle_until(group, lambda _: group.state("TF1") is DeviceState.LOST, timeout_s=10.0)
    for name in ("TF1", "FT1"):
        served.on_loop(lambda name=name: setattr(served.nodes[name], "mute", False))
    cycle_until(group, lambda r: r.quality[0] is Quality.GOOD)
    assert group.state("FT1") is DeviceState.LOST, "it cannot say who it is: only opening the bus again helps"
    group.close()


def test_another_device_that_comes_back_is_not_believed(served: Sensors) -> None:
    group = served.group()
    group.open()
    served.on_loop(lambda: setattr(served.nodes["TF1"], "serial", 9999))
    cycle_until(group, lambda _: group.state("TF1") is DeviceState.LOST)
    served.on_loop(lambda: setattr(served.nodes["TF1"], "serial", 4711))
    row = cycle_until(group, lambda r: r.quality[0] is not Quality.GOOD)
    assert row.quality[0] in (Quality.STALE, Quality.BAD)
    group.close()


def test_who_is_not_heard_or_not_described_is_refused_at_start(served: Sensors) -> None:
    with pytest.raises(TransportTimeout, match=r"TF1: message FlangeData \(318h\) was not heard"):
        served.group(address=3).open()
    with pytest.raises(IdentityMismatch, match="serial number is 4711, expected 1"):
        served.group(serial="1").open()
    group = served.group(serial="4711")
    group.open()
    group.close()


def test_a_sensor_takes_no_set_points_and_a_dead_hub_is_a_lost_transport(served: Sensors) -> None:
    group = served.group()
    group.open()
    with pytest.raises(CommandRefused, match="takes no set-points"):
        group.cycle({"TF1": Command(Mode.TORQUE, 1.0)})
    served.on_loop(served.host.servers["can1"].close)
    with pytest.raises(TransportLost, match="can1"):
        cycle_until(group, lambda _: False)
    group.close()


def test_scan_knows_them_by_what_they_send(served: Sensors) -> None:
    found = DBC.scan("can1", served.uri, 500_000)
    assert {(f.address, f.model) for f in found} == {(2, FLANGE), (1, WRENCH)}
