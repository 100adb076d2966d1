"""`pilotbench bench home`: a shaft that is moved on request, and everything that forbids it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
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
    command += ["--bench", str(bench_file(HOMING, real_time)), "--seed", "1", "--run-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            file = tmp_path / "wired.toml"
            file.write_text(bench_file(HOMING, real_time).read_text("utf-8"), "utf-8")
            for bus in ("can0", "rs485"):  # in the order of the file
                text = file.read_text("utf-8")
                file.write_text(text.replace('uri = "emulated"', f'uri = "{ready["bus"][bus]}"', 1), "utf-8")
            yield file, Path(ready["control"])
        finally:
            process.terminate()


@pytest.mark.flaky(reruns=3, reruns_delay=5)
def test_a_pressed_emergency_stop_ends_it_before_the_torque_is_on(
    command: Command, served: tuple[Path, Path], tmp_path: Path
) -> None:
    file, control = served
    ask(control, do="press", device="AX1")
    said = refused(command("bench", "home", "AX1", "--bench", file, "--yes"), 4)
    assert "homing is not allowed: emergency stop: estop is pressed" in said
    assert (tmp_path / EVENTS).read_text("utf-8") == ""
    ask(control, do="release", device="AX1")
    assert command("bench", "home", "AX1", "--bench", file, "--yes").code == 0
    switched = [json.loads(line)["torque"] for line in (tmp_path / EVENTS).read_text("utf-8").splitlines()]
    assert switched == ["on", "off"]
