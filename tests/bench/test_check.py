"""What the check of a bench finds, on emulated wires."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.families import FAMILIES
from verification_platform.bench.check import Finding, check_bus, check_calibrations
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.wires import connected

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "benches/emulated.toml"
DUT = ROOT / "duts/harmonic-25-100.toml"

pytestmark = pytest.mark.flaky(reruns=3, reruns_delay=5)  # meets emulated devices in real time


@pytest.fixture(scope="module")
def bench() -> Iterator[BenchDescription]:
    with connected(load_bench(BENCH), BENCH, DUT) as wired:
        yield wired


def changed(bench: BenchDescription, device: str, **fields: object) -> BenchDescription:
    devices = {**bench.device, device: bench.device[device].model_copy(update=fields)}
    return bench.model_copy(update={"device": devices})


def by_item(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.item: finding for finding in findings}


def test_a_bench_in_order(bench: BenchDescription) -> None:
    found = by_item(check_bus(bench, "can0")) | by_item(check_bus(bench, "rs485"))
    told = [
        f for f in found.values() if not f.ok and not f.item.startswith("bus ")
    ]  # cycles may be late here
    assert told == []
    assert "under its own watchdog (120 ms)" in found["device AX1"].seen
    assert "watchdog" not in found["device EN2"].seen
    assert found["channel housing_temperature"].value == pytest.approx(296.15, abs=2)
    assert found["channel housing_temperature"].unit == "K"
    assert "load 0 %" not in found["bus rs485"].seen


def test_a_wrong_address_is_told_with_who_does_answer(bench: BenchDescription) -> None:
    (finding,) = check_bus(changed(bench, "EN2", address=9), "can0")
    assert not finding.ok
    assert "EN2: node 9 does not answer" in finding.seen
    assert "3: cia406_encoder_27bit" in finding.seen


def test_another_serial_number_is_no_match(bench: BenchDescription) -> None:
    (finding,) = check_bus(changed(bench, "AX2", serial="4711"), "can0")
    assert "AX2: serial number is 26000002, the bench names 4711" in finding.seen
    assert finding.mend


def test_a_calibration_that_has_run_out_is_found(bench: BenchDescription) -> None:
    assert all(f.ok for f in check_calibrations(bench, dt.date(2026, 12, 1)))
    late = list(check_calibrations(bench, dt.date(2027, 6, 2)))
    assert late
    assert not any(f.ok for f in late)
    assert "recalibrate" in late[0].mend


@pytest.mark.parametrize(("bus", "family"), [("can0", "canopen"), ("rs485", "modbus")])
def test_a_scan_finds_every_device_and_its_table(bench: BenchDescription, bus: str, family: str) -> None:
    record = bench.bus[bus]
    found = FAMILIES[family].scan(bus, record.uri, record.bitrate)
    wanted = {d.address: d.model for d in bench.device.values() if d.bus == bus}
    assert {f.address: f.model for f in found} == wanted
