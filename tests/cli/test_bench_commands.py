"""`pilotbench bench check`, `scan` and `monitor` as a technician types them."""

from __future__ import annotations

import json

import pytest

from .conftest import BENCH, Command

pytestmark = pytest.mark.flaky(reruns=3, reruns_delay=5)  # meets emulated devices in real time


def test_check_as_a_table_and_as_json(command: Command) -> None:
    said = command("bench", "check", BENCH, "--json")
    assert said.code in (0, 3)  # a busy machine may miss cycles
    findings = json.loads(said.out)
    assert {"calibration input_angle", "bus can0", "device AX1", "channel input_torque"} <= {
        f["item"] for f in findings
    }


def test_scan_of_a_described_bench(command: Command) -> None:
    said = command("bench", "scan", BENCH, "--bus", "can0", "--json")
    assert said.code == 0, said.err
    assert [row["model"] for row in json.loads(said.out)["can0"]] == [
        "cia402_servo_ax1",
        "cia402_servo_ax2",
        "cia406_encoder_27bit",
    ]


def test_monitor_shows_every_channel_with_its_validity(command: Command) -> None:
    said = command("bench", "monitor", BENCH, "--seconds", 1.5, "--json")
    assert said.code == 0, said.err
    last = json.loads(said.out.splitlines()[-1])["channels"]
    assert last["housing_temperature"]["unit"] == "K"
    assert {row["quality"] for row in last.values()} <= {"GOOD", "STALE"}
    assert all(row["age_s"] >= 0 for row in last.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a bench description, or a bus by --uri"),
        (("--uri", "socketcan:can9"), "--family '' is none"),
        (("--uri", "socketcan:can9", "--family", "canopen"), "cannot open socketcan:can9"),
        ((BENCH, "--bus", "can7"), "has no bus 'can7'"),
    ],
)
def test_a_scan_that_cannot_be_is_one_clear_line(
    command: Command, arguments: tuple[object, ...], words: str
) -> None:
    said = command("bench", "scan", *arguments)
    assert said.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
