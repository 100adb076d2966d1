"""The fault matrix for Modbus drives and brakes, and for a SCPI instrument on a serial line (see `fault_matrix`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.bus.faulty import Disturbance
from drivers.device import Mode, Setpoint
from drivers.family import Column, DevicePlan

from .fault_matrix import Case, Outcome, Truth, episode

pytestmark = [
    pytest.mark.faults,
    pytest.mark.flaky(reruns=0),  # virtual time: what fails once fails again
]


def _motion(telegram: bytes) -> object | None:
    """A control word that lets torque flow: of AX1 (function 17h), of BR1 (10h)."""
    if len(telegram) > 13 and telegram[1] == 0x17:
        return telegram[0] if telegram[11:13] == b"\0\3" else None
    if len(telegram) > 9 and telegram[1] == 0x10 and telegram[2:4] == b"\0\x10":
        return telegram[0] if telegram[7:9] == b"\0\1" else None
    return None


CASES: Mapping[str, Case] = {
    "modbus_actuators": Case(
        family="modbus",
        devices=(
            DevicePlan("AX1", 1, "modbus_servo_750w"),
            DevicePlan("BR1", 2, "modbus_brake_powder_50nm"),
            DevicePlan("TQ1", 3, "modbus_torque_5nm"),
        ),
        columns=(
            Column("input_angle", "AX1", "position"),
            Column("input_speed", "AX1", "velocity"),
            Column("brake_temperature", "BR1", "temperature"),
            Column("input_torque", "TQ1", "torque"),
        ),
        bitrate=115_200,
        period_s=0.02,
        truths={
            ("AX1", "position"): Truth(slope=40.0),
            ("AX1", "velocity"): Truth(slope=200.0, range=100.0),
            ("AX1", "torque"): Truth(slope=5.0, range=4.0),
            ("AX1", "temperature"): Truth(slope=1.0, range=50.0, start=300.0),
            ("BR1", "velocity"): Truth(slope=3.0, range=10.0),
            ("BR1", "temperature"): Truth(slope=5.0, range=50.0, start=300.0),
            ("TQ1", "torque"): Truth(slope=2.0, range=4.5),
        },
        moves={
            "AX1": Setpoint(Mode.VELOCITY, 10.0, 50.0),
            "BR1": Setpoint(Mode.TORQUE, 20.0, 100.0),
        },
        motion=_motion,
        rate=0.15,
    ),
    "scpi": Case(
        family="scpi",
        rate=0.3,
        devices=(DevicePlan("PM1", 1, "scpi_power_meter_serial"),),
        columns=tuple(Column(name, "PM1", name) for name in ("voltage", "current", "power")),
        bitrate=115_200,
        period_s=0.05,
        truths={
            ("PM1", "voltage"): Truth(slope=20.0, range=50.0),
            ("PM1", "current"): Truth(slope=-8.0, range=25.0),
            ("PM1", "power"): Truth(slope=200.0, range=1500.0),
        },
        age_s=dict.fromkeys(("voltage", "current", "power"), 0.4),
    ),
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def run(case: Case, folder: Path, faults: int, *, disturb_opening: bool = False) -> Outcome:
    """Episodes until so many faults have struck."""
    outcome = Outcome()
    for seed in range(1, 2000):
        with pytest.MonkeyPatch.context() as monkeypatch:
            episode(case, seed, folder, monkeypatch, outcome, disturb_opening=disturb_opening)
        if sum(outcome.faults.values()) >= faults:
            return outcome
    raise AssertionError(f"too few faults: {outcome}")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_thousand_faults(case: Case, tmp_path: Path) -> None:
    outcome = run(case, tmp_path, 1000)
    assert outcome.wrong == [], outcome
    assert outcome.repeated == [], outcome
    assert set(outcome.faults) == set(Disturbance), "every kind struck"
    assert 0.2 * outcome.samples < outcome.good < outcome.samples, outcome
    assert bool(outcome.motions) == bool(case.moves), outcome


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_faults_while_the_bus_is_being_opened(case: Case, tmp_path: Path) -> None:
    """It opens, and all is right, or it refuses with a `DriverError`; and nothing has moved."""
    outcome = run(replace(case, rate=0.05), tmp_path, 60, disturb_opening=True)
    assert outcome.wrong == [], outcome
    assert outcome.repeated == [], outcome
    assert outcome.opened > 0, outcome
