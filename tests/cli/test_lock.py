"""`pilotbench bench lock`, `unlock`, `keys`, and what a held key refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verification_platform.bench.description import load_bench
from verification_platform.bench.interlock import Trip
from verification_platform.bench.latch import TripLatch
from verification_platform.bench.state import FOLDER

from .conftest import BENCH, DUT, Command


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "state"))


def test_while_a_key_is_held_nothing_starts(command: Command, tmp_path: Path) -> None:
    said = command("bench", "lock", BENCH, "--who", "Li Wei", "--why", "changing the coupling")
    assert said.code == 0
    pin = re.search(r"\b\d{6}\b", said.out)
    assert pin is not None
    run = command("run", "RED-TE", "--bench", BENCH, "--dut", DUT, "--out", tmp_path / "run")
    assert run.code == 4
    assert run.err.startswith("pilotbench: the cell is locked out by Li Wei")
    assert "changing the coupling" in run.err
    assert len(run.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
    held = command("bench", "keys", BENCH)
    assert (held.code, "Li Wei" in held.out) == (4, True)
    wrong = command("bench", "unlock", BENCH, "--who", "Li Wei", "--pin", "not it")
    assert wrong.code == 2
    assert "wrong PIN" in wrong.err
    back = command("bench", "unlock", BENCH, "--who", "Li Wei", "--pin", pin[0])
    assert (back.code, "every key is back" in back.out) == (0, True)
    assert command("bench", "keys", BENCH).code == 0


def test_the_second_key_still_holds_when_the_first_is_back(command: Command) -> None:
    pins = {}
    for who in ("Li Wei", "Zhang San"):
        said = command("bench", "lock", BENCH, "--who", who)
        pins[who] = said.out.splitlines()[0].rsplit(" ", 1)[1]
    assert "keys are also held by Li Wei" in said.out
    back = command("bench", "unlock", BENCH, "--who", "Li Wei", "--pin", pins["Li Wei"])
    assert "locked out by Zhang San" in back.out
    assert command("bench", "keys", BENCH).code == 4


def test_a_latched_trip_is_reset_by_a_person_while_no_interlock_runs(
    command: Command, tmp_path: Path
) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(BENCH.read_text("utf-8").replace('kind = "emulated"', 'kind = "hardware"'), "utf-8")
    latch = TripLatch.of(load_bench(bench), bench)
    assert latch.path.is_relative_to(tmp_path / "state")
    latch.keep(Trip("estop", "the operator", "emergency stop by the operator", 1.0), 1_795_852_800.0)
    latch.claim()
    refused = command("bench", "reset", bench)
    assert refused.code == 3
    assert "another process has this bench" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    latch.release()
    done = command("bench", "reset", bench)
    assert done.code == 0
    assert "was: emergency stop by the operator (since 2026-11-28T08:00:00Z)" in done.out
    assert latch.read() is None
    assert "there was no trip" in command("bench", "reset", bench).out
