"""`pilotbench bench home`: a shaft that is moved on request, and everything that forbids it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.emulators.control import ask
from verification_platform.bench.description import load_bench
from verification_platform.bench.emulated import EVENTS
from verification_platform.bench.interlock import Trip
from verification_platform.bench.latch import TripLatch
from verification_platform.bench.lockout import Lockout
from verification_platform.bench.state import FOLDER

from .conftest import BENCH, DUT, Command, Said

#: The drive servo of the bench is one that homes by itself.
HOMING = ('model = "cia402_servo_ax1"', 'model = "cia402_profile_ax3"')
HARDWARE = ('kind = "emulated"', 'kind = "hardware"')
#: A second emergency stop, at a module on the other bus.
DOOR = (
    (
        "[channel.estop]",
        '[device.DI1]\nbus = "rs485"\naddress = 4\nmodel = "modbus_contact_1ch"\n'
        '[channel.door]\ndevice = "DI1"\nsignal = "digital_input"\n[channel.estop]',
    ),
    ('estop = ["estop"]', 'estop = ["estop", "door"]'),
)


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "state"))


def refused(said: Said, code: int) -> str:
    assert said.code == code, said.err
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.flaky(reruns=3, reruns_delay=5)  # meets emulated devices in real time
def test_a_drive_finds_its_zero(command: Command, bench_file: Callable[..., Path]) -> None:
    said = command("bench", "home", "AX1", "--bench", bench_file(HOMING), "--yes")
    assert said.code == 0, said.err
    found = re.search(r"AX1 is homed, at (\S+) rad; its torque is off", said.out)
    assert found is not None
    assert abs(float(found[1])) < 0.05  # the plant's shaft is free, and its drive off


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("AX1", "device AX1: its model cia402_servo_ax1 has no homing"),
        ("EN2", "device EN2: its model cia406_encoder_27bit has no homing"),
        ("TQ1", "device TQ1: its model modbus_torque_5nm has no homing"),
        ("AX9", "has no device 'AX9', only AX1, AX2"),
    ],
)
def test_what_cannot_home_is_one_clear_line(command: Command, device: str, words: str) -> None:
    assert words in refused(command("bench", "home", device, "--bench", BENCH, "--yes"), 2)


def test_nothing_moves_while_somebody_is_in_the_cell(
    command: Command, bench_file: Callable[..., Path]
) -> None:
    file = bench_file(HOMING)
    Lockout.of(load_bench(file).bench.id).take("Li Wei", "changing the coupling")
    assert "locked out by Li Wei" in refused(command("bench", "home", "AX1", "--bench", file, "--yes"), 4)


def test_nothing_moves_while_an_interlock_has_the_bench_or_after_its_trip(
    command: Command, bench_file: Callable[..., Path]
) -> None:
    file = bench_file(HOMING, HARDWARE)
    interlock = TripLatch.of(load_bench(file), file)
    interlock.claim()
    interlock.keep(Trip("limit", "input_torque", "input_torque 6 is beyond its limit 5", 1.0), 0.0)
    home = ("bench", "home", "AX1", "--bench", file, "--yes")
    assert "another process has this bench" in refused(command(*home), 4)
    interlock.release()
    assert "the interlock has tripped: input_torque 6 is beyond its limit 5" in refused(command(*home), 4)


@pytest.fixture
def served(bench_file: Callable[..., Path], tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A bench whose emulated devices run already, in real time; its description, and the socket of accidents."""
    real_time = ('patience = "3 s"', "")
    command = [sys.executable, "-m", "verification_platform.bench.emulated", "--dut", str(DUT)]
    command += [
        "--bench",
        str(bench_file(HOMING, real_time, *DOOR)),
        "--seed",
        "1",
        "--run-dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            file = tmp_path / "wired.toml"
            file.write_text((tmp_path / "bench.toml").read_text("utf-8"), "utf-8")
            for bus in ("can0", "rs485"):  # in the order of the file
                text = file.read_text("utf-8")
                file.write_text(text.replace('uri = "emulated"', f'uri = "{ready["bus"][bus]}"', 1), "utf-8")
            yield file, Path(ready["control"])
        finally:
            process.terminate()


def switched(folder: Path) -> list[str]:
    return [json.loads(line)["torque"] for line in (folder / EVENTS).read_text("utf-8").splitlines()]


@pytest.mark.flaky(reruns=3, reruns_delay=5)
@pytest.mark.parametrize(("device", "contact"), [("AX1", "estop"), ("DI1", "door")])
def test_a_pressed_emergency_stop_on_any_bus_ends_it_before_the_torque_is_on(
    device: str, contact: str, command: Command, served: tuple[Path, Path], tmp_path: Path
) -> None:
    file, control = served
    ask(control, do="press", device=device)
    said = refused(command("bench", "home", "AX1", "--bench", file, "--yes"), 4)
    assert f"homing is not allowed: emergency stop: {contact} is pressed, or its wire is broken" in said
    assert switched(tmp_path) == []
    ask(control, do="release", device=device)
    assert command("bench", "home", "AX1", "--bench", file, "--yes").code == 0
    assert switched(tmp_path) == ["on", "off"]


@pytest.mark.flaky(reruns=3, reruns_delay=5)
@pytest.mark.parametrize(
    ("accident", "said"),
    [
        ({"do": "press", "device": "AX1"}, "emergency stop: estop is pressed, or its wire is broken"),
        ({"do": "press", "device": "DI1"}, "emergency stop: door is pressed, or its wire is broken"),
        ({"do": "unplug_lines"}, "an emergency stop can no longer be heard: rs485: "),
    ],
    ids=["own bus", "other bus", "other bus gone"],
)
def test_an_emergency_stop_on_the_way_takes_the_torque_off(
    accident: dict[str, str], said: str, command: Command, served: tuple[Path, Path], tmp_path: Path
) -> None:
    file, control = served
    happened: list[float] = []

    def when_it_moves() -> None:
        until_s = time.monotonic() + 30.0
        while switched(tmp_path) != ["on"] and time.monotonic() < until_s:
            time.sleep(0.01)
        happened.append(time.monotonic())
        ask(control, **accident)

    hand = threading.Thread(target=when_it_moves)
    hand.start()
    told = refused(command("bench", "home", "AX1", "--bench", file, "--yes"), 4)
    hand.join()
    assert f"homing is not allowed: {said}" in told
    assert switched(tmp_path) == ["on", "off"]
    off_s = json.loads((tmp_path / EVENTS).read_text("utf-8").splitlines()[-1])["t"]
    assert off_s - happened[0] < 0.5  # the module is asked every 50 ms; undisturbed homing would take 4 s


def test_a_stop_that_cannot_be_heard_at_all_counts_as_pressed(
    command: Command, served: tuple[Path, Path], tmp_path: Path
) -> None:
    file, control = served
    ask(control, do="unplug_lines")
    said = refused(command("bench", "home", "AX1", "--bench", file, "--yes"), 4)
    assert "AX1: homing is not allowed: emergency stop: door cannot be heard: rs485: " in said
    assert switched(tmp_path) == []
