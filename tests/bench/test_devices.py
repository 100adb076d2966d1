"""From the bench description to drivers: names, limits, and what is said when it does not fit."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.canopen.group import CanopenGroup
from drivers.device import Mode
from drivers.modbus.group import ModbusGroup
from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.devices import check_devices, group_for, with_uris

FILE = Path(__file__).parents[2] / "benches" / "emulated.toml"
URIS = {"can0": "unix:/nowhere.sock", "rs485": "serial:/dev/nowhere"}


@pytest.fixture
def bench() -> BenchDescription:
    return with_uris(load_bench(FILE), URIS)


def changed(change: Callable[[dict[str, Any]], object]) -> BenchDescription:
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    change(tables)
    return with_uris(
        BenchDescription.model_validate(tables), {n: URIS[n] for n in tables["bus"] if n in URIS}
    )


def test_the_emulated_bench_becomes_two_groups(bench: BenchDescription) -> None:
    can, rs485 = group_for(bench, "can0"), group_for(bench, "rs485")
    assert isinstance(can, CanopenGroup)
    assert isinstance(rs485, ModbusGroup)
    assert can.channels == (
        "input_angle",
        "input_speed",
        "drive_torque",
        "output_angle",
        "load_torque_command",
        "estop",
    )
    assert rs485.channels == ("input_torque", "output_torque", "housing_temperature", "ambient_temperature")
    assert (can.period_s, rs485.period_s) == (0.002, 0.01)
    assert can.planned_load() < 0.6
    assert rs485.planned_load() < 0.8


def test_limits_of_the_actuators_are_those_of_the_drives(bench: BenchDescription) -> None:
    group = group_for(bench, "can0")
    assert group.limits("AX1", Mode.VELOCITY)[1] == pytest.approx(418.879, abs=1e-3)  # 4000 r/min
    assert group.limits("AX1", Mode.TORQUE)[1] == 5.0
    assert group.limits("AX2", Mode.TORQUE)[1] == 150.0


def test_every_bus_of_the_shipped_bench_is_in_order() -> None:
    check_devices(load_bench(FILE))


@pytest.mark.parametrize(
    ("bus", "change", "words"),
    [
        (
            "can0",
            lambda t: t["device"]["EN2"].update(model="abacus"),
            "device EN2: unknown model 'abacus'; known are",
        ),
        (
            "can0",
            lambda t: t["channel"]["input_speed"].update(device="EN2"),
            "has no signal 'velocity'",
        ),
        ("can0", lambda t: t["device"]["TQ1"].update(bus="can0", address=9), "families canopen, modbus"),
        ("can0", lambda t: t["bus"]["can0"].update(bitrate=250_000), "would load the bus"),
        ("can0", lambda t: t["actuator"]["load"].update(device="EN2"), "takes no set-points"),
        ("rs485", lambda t: t["actuator"]["load"].update(device="TQ2"), "takes no set-points"),
        ("rs485", lambda t: t["bus"]["rs485"].update(bitrate=19_200), "of the line's time"),
        ("can0", lambda t: t["device"]["EN2"].update(address=200), "outside 1…126"),
        ("can1", lambda t: None, "has no bus 'can1'"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(bus: str, change: Any, words: str) -> None:
    with pytest.raises(BenchError) as caught:
        group_for(changed(change), bus)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_emulated_uri_is_no_wire() -> None:
    with pytest.raises(BenchError, match="names no wire"):
        group_for(load_bench(FILE), "can0")


def test_uris_of_unknown_buses_are_refused(bench: BenchDescription) -> None:
    with pytest.raises(BenchError, match="no bus 'can7'"):
        with_uris(bench, {"can7": "unix:/x"})
