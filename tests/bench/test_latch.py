"""A latched trip outlives whoever keeps it, and leaves by a person's reset alone."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.interlock import Trip
from verification_platform.bench.latch import LatchError, TripLatch
from verification_platform.bench.state import FOLDER

TRIP = Trip("limit", "input_torque", "input_torque 6.1 is beyond its limit 5", 12.5)
UTC_S = 1_795_852_800.25


@pytest.fixture
def latch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TripLatch:
    monkeypatch.setenv(FOLDER, str(tmp_path / "state"))
    return TripLatch(tmp_path / "state" / "PB-E1" / "trip.json")


def test_what_is_kept_is_read_by_whoever_comes_next(latch: TripLatch) -> None:
    assert latch.read() is None
    latch.keep(TRIP, UTC_S)
    kept = TripLatch(latch.path).read()
    assert kept is not None
    assert (kept.trip.cause, kept.trip.subject, kept.trip.reason) == (TRIP.cause, TRIP.subject, TRIP.reason)
    assert kept.utc_s == UTC_S
    assert math.isnan(kept.trip.at_s)  # of another clock
    assert kept.line() == "input_torque 6.1 is beyond its limit 5 (since 2026-11-28T08:00:00Z)"
    latch.clear()
    assert latch.read() is None
    latch.clear()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cause": "limit"}', '{"cause": 1, "utc": "yesterday"}'])
def test_a_record_that_cannot_be_read_is_a_trip(latch: TripLatch, text: str) -> None:
    latch.keep(TRIP, UTC_S)
    latch.path.write_text(text, encoding="utf-8")
    kept = latch.read()
    assert kept is not None
    assert kept.trip.cause == "record"
    assert kept.line().startswith(f"the record of the last trip cannot be read ({latch.path}")


def test_a_machine_that_stays_is_known_by_its_id_and_an_emulated_one_by_its_folder(
    bench: BenchDescription, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "state"))
    hardware = bench.model_copy(update={"bench": bench.bench.model_copy(update={"kind": "hardware"})})
    file = tmp_path / "graph" / "bench.toml"
    assert TripLatch.of(hardware, file).path == tmp_path / "state" / bench.bench.id / "trip.json"
    assert TripLatch.of(bench, file).path == tmp_path / "graph" / "trip.json"


_KEEPER = """
import sys, time
from pathlib import Path
from verification_platform.bench.interlock import Trip
from verification_platform.bench.latch import TripLatch
latch = TripLatch(Path(sys.argv[1]))
latch.claim()
latch.keep(Trip("estop", "the operator", "emergency stop by the operator", 1.0), 2.0)
print("kept", flush=True)
time.sleep(60)
"""


def test_one_interlock_a_bench_and_a_killed_one_leaves_its_trip_and_its_place(latch: TripLatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _KEEPER, str(latch.path)], stdout=subprocess.PIPE, text=True
    ) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "kept\n"
            with pytest.raises(LatchError, match="another process has this bench"):
                latch.claim()
        finally:
            os.kill(keeper.pid, signal.SIGKILL)
    latch.claim()
    kept = latch.read()
    assert kept is not None
    assert kept.trip.reason == "emergency stop by the operator"
    latch.release()
    other = TripLatch(latch.path)
    other.claim()
    other.release()
