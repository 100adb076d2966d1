"""Eight CiA 402 drives in one SYNC/PDO cycle at 500 Hz, for as long as asked: `python -m benchmarks.drivers.cyclic --seconds 600`.

The emulated drives are a process of their own on the emulated bus; the runner is the one of the benches, with set-points for all
drives, a lease and blocks of rows. Reported: rows lost or STALE (none is allowed), cycles that came too late to be begun (at most
0.1 %), the time from SYNC to the complete row, and how late a cycle begins, beside `cyclictest` (Debian package rt-tests) at the
same interval, priority and processor just before and just after: what this machine gives a C program.

A cycle that is not done when the next one is due is a row all the same, its values good and its stamp right; "late" are the cycles that
were skipped because of it (`drivers.schedule`). Beside them stands what a strict reader counts: the skipped ones and every row that was
complete only after its own period had ended; and how many cycles began more than a quarter of the period late.

Bus thread and drives share one processor, the drives one step below: as each waits for the other, a second processor would not make
them quicker, only add its own absences to those of the first. Kept awake is this one alone.

Twenty-four frames of eight bytes every 2 ms are 1.5 times what a bus of 1 Mbit/s carries: the emulated bus is not slowed
down to its bit rate, because the software is what is measured here.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import table
from drivers import clock
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model
from drivers.device import Block, Command, Mode, Quality, Row, Setpoint
from drivers.emulators.host import CanSeatPlan, EmulatorHost
from drivers.family import Column
from drivers.realtime import child_environment, die_with_parent, keep_time, processors_awake
from drivers.runner import PRIORITY, BusRunner

NODES, PERIOD_S, BITRATE = 8, 0.002, 8_000_000
MODEL = "cia402_servo_ax1"
MOST_LATE = 0.001
SIGNALS = ("position", "velocity", "torque")
#: Kernels prefer the first ones for their own work.
PROCESSOR = max(os.sched_getaffinity(0))


class Wheels:
    """A plant without inertia: what is commanded is what turns."""

    def __init__(self) -> None:
        self._time_s = 0.0
        self._speed = {f"AX{n}": 0.0 for n in range(1, NODES + 1)}
        self._angle = dict.fromkeys(self._speed, 0.0)
        self._signals = {"position": self._angle, "velocity": self._speed}

    def advance(self, t_s: float) -> None:
        dt_s, self._time_s = t_s - self._time_s, t_s
        for name, speed in self._speed.items():
            self._angle[name] += speed * dt_s

    def command(self, device: str, command: Command | None) -> None:
        self._speed[device] = 0.0 if command is None else command.value

    def read(self, device: str, signal: str) -> float:
        return self._signals[signal][device] if signal in self._signals else 0.0


class TimedGroup(CanopenGroup):
    """Keeps when each cycle began, and how long it took."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.began_s: list[float] = []
        self.took_s: list[float] = []

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        begin = time.perf_counter()
        self.began_s.append(begin)
        try:
            return super().cycle(commands)
        finally:
            self.took_s.append(time.perf_counter() - begin)


def serve(path: Path) -> None:
    """The emulated drives, until the parent ends."""
    die_with_parent()
    host = EmulatorHost(Wheels())
    plans = [CanSeatPlan(f"AX{n}", n, load_model(MODEL), n) for n in range(1, NODES + 1)]
    host.can("can0", path, BITRATE, plans)
    keep_time(PRIORITY - 1, PERIOD_S, PROCESSOR)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    host.run()


@contextlib.contextmanager
def emulated() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "can0.sock"
        command = [sys.executable, "-m", "benchmarks.drivers.cyclic", "--serve", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment()) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield f"unix:{path}"
            finally:
                process.terminate()


def run(seconds: float) -> dict[str, Any]:
    """One run; counts and times (s)."""
    blocks: list[tuple[int, int, int]] = []  # first row, rows, rows with a value that is not GOOD
    done = threading.Event()

    def on_block(block: Block) -> None:
        blocks.append((block.first_row, len(block), int((block.quality != Quality.GOOD).any(axis=1).sum())))

    with emulated() as uri:
        names = [f"AX{n}" for n in range(1, NODES + 1)]
        group = TimedGroup(
            "can0",
            [Cia402Drive(name, n, load_model(MODEL)) for n, name in enumerate(names, start=1)],
            [Column(f"{name}_{signal}", name, signal) for name in names for signal in SIGNALS],
            uri=uri,
            bitrate=BITRATE,
            period_s=PERIOD_S,
            watchdog_s=1.0,  # the machine may be shared; how fast a watchdog acts is measured elsewhere
        )
        runner = BusRunner(group, on_block, block_rows=50, lease_s=1.0, processor=PROCESSOR)
        runner.start()
        try:
            for name in names:
                runner.command(name, Setpoint(Mode.VELOCITY, 10.0, 100.0), acceleration=100.0)
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and runner.failure is None:
                runner.renew_lease()
                done.wait(min(left, 0.1))
            statistics, failure = runner.statistics(), runner.failure
        finally:
            runner.stop()
    began, took = np.array(group.began_s), np.array(group.took_s)
    numbers, late = turns(began)
    skipped = np.diff(numbers) - 1
    gaps = sum(a[0] + a[1] != b[0] for a, b in itertools.pairwise(blocks))
    return {
        "statistics": statistics,
        "failure": failure,
        "rows": sum(rows for _, rows, _ in blocks),
        "cycles": len(took),
        "not_good": sum(
            bad for _, _, bad in blocks[1:]
        ),  # the first block begins before the drives are heard
        "gaps": gaps,
        "stretches": int((skipped > 0).sum()),
        "longest": int(skipped.max()),
        "overdue": int((late + took > PERIOD_S).sum()),
        "begun_late": int((late > 0.25 * PERIOD_S).sum()),
        "cycle_s": tuple(np.percentile(took, (50, 99, 100))),
    }


def turns(began_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which of the cycles that were due each one is, and how late it began, s.

    No cycle begins before it is due, nor after its period: they are due so that the first of those near the typical one are in time.
    """
    since_s = began_s - began_s[0]
    since_s -= np.median(since_s - PERIOD_S * np.round(since_s / PERIOD_S))
    offset_s = since_s - PERIOD_S * np.round(since_s / PERIOD_S)
    since_s -= offset_s[np.abs(offset_s) < 0.05 * PERIOD_S].min()
    numbers = np.floor(since_s / PERIOD_S + 1e-6)
    return numbers, since_s - PERIOD_S * numbers


@dataclass(frozen=True)
class Machine:
    """Lateness of a C program, s: its wake-ups sorted into whole microseconds."""

    late_s: NDArray[np.float64]
    counts: NDArray[np.int64]
    max_s: float

    def __add__(self, other: Machine) -> Machine:
        return Machine(self.late_s, self.counts + other.counts, max(self.max_s, other.max_s))

    def percentile(self, share: float) -> float:
        seen = np.cumsum(self.counts) / self.counts.sum()
        return float(self.late_s[np.searchsorted(seen, share)])

    def later_than(self, spare_s: float) -> float:
        """Share of the wake-ups."""
        return float(self.counts[self.late_s > spare_s].sum() / self.counts.sum())


def cyclictest(seconds: float) -> Machine | None:
    """On our processor at our period and priority; None where it is not installed or not permitted."""
    program = shutil.which("cyclictest")
    if program is None:
        return None
    interval, longest = round(PERIOD_S * 1e6), 100_000
    options = ["-q", "-m", f"-a{PROCESSOR}", "-t1", f"-p{PRIORITY}", f"-i{interval}", f"-h{longest}"]
    done = subprocess.run(
        [program, *options, f"-D{seconds:.0f}"], capture_output=True, text=True, check=False
    )
    table_rows = re.findall(r"^(\d+)((?:[ \t]+\d+)+)[ \t]*$", done.stdout, re.MULTILINE)
    counts = np.array([sum(map(int, found.split())) for _, found in table_rows], dtype=np.int64)
    worst = re.search(r"Max Latencies:\s*([\d ]+)", done.stdout)
    if done.returncode or worst is None or not counts.sum():
        return None
    late_s = 1e-6 * np.array([int(late) for late, _ in table_rows])
    return Machine(late_s, counts, 1e-6 * max(map(int, worst[1].split())))


def rows(seconds: float | None = None) -> list[dict[str, Any]]:
    """`seconds` of the run: 60, or what PILOTBENCH_CYCLIC_SECONDS says; the bar is 600."""
    seconds = seconds or float(os.environ.get("PILOTBENCH_CYCLIC_SECONDS", "60"))
    with processors_awake({PROCESSOR}):
        before = cyclictest(min(seconds, 20.0))
        found = run(seconds)
        after = cyclictest(min(seconds, 20.0)) if before else None
    reference = before + after if before and after else None
    statistics = found["statistics"]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    cycles, due = found["cycles"], max(found["cycles"] + statistics.missed, 1)
    late, strictly = statistics.missed / due, statistics.missed + found["overdue"]
    whole = (
        found["failure"] is None and found["rows"] == cycles and not found["gaps"] and not found["not_good"]
    )
    times = " / ".join(f"{1e6 * t:.0f}" for t in found["cycle_s"])
    woken = (statistics.lateness_p50_s, statistics.lateness_p99_s, statistics.lateness_max_s)
    name = f"CiA 402, {NODES} drives, SYNC/PDO at {1 / PERIOD_S:.0f} Hz"
    on = table.machine() + f"; SCHED_FIFO {'granted' if statistics.realtime else 'not permitted'}"
    result = [
        table.result(
            f"{name}: cycles in time",
            cycles,
            (1.0 - late) / PERIOD_S,
            {"the period": 1.0 / PERIOD_S},
            1.0 - MOST_LATE,
            agrees=whole,
            peak_mb=peak_mb,
            unit="cycles",
            agreement=f"{found['rows']} rows of {cycles} cycles, {found['not_good']} not GOOD, {found['gaps']} gaps"
            + (f"; {found['failure']}" if found["failure"] else ""),
            note=f"{seconds:g} s; {statistics.missed} late ({late:.3%}) in {found['stretches']} stretches, the longest of "
            f"{found['longest']}; with the rows complete after their own period {strictly} ({strictly / due:.3%}); "
            f"{found['begun_late']} begun more than T/4 late; SYNC to row p50/p99/max {times} µs",
            on=on,
        )
    ]
    if reference is not None:
        p50, p99 = reference.percentile(0.5), reference.percentile(0.99)
        ours, theirs = (
            " / ".join(f"{1e6 * t:.0f}" for t in values) for values in (woken, (p50, p99, reference.max_s))
        )
        spare_s = max(PERIOD_S - found["cycle_s"][0], 0.0)
        result.append(
            table.result(
                f"{name}: beginning a cycle, 1/p99",
                cycles,
                1.0 / max(woken[1], 1e-6),
                {"cyclictest": 1.0 / max(p99, 1e-6)},
                0.0,  # reported beside a C program, without a goal
                agrees=True,
                peak_mb=peak_mb,
                unit="1/s",
                agreement=f"p50/p99/max {ours} µs, cyclictest {theirs} µs",
                note=f"of cyclictest's wake-ups {reference.later_than(PERIOD_S):.3%} are later than the period, "
                f"{reference.later_than(spare_s):.3%} than the {1e3 * spare_s:.2f} ms that our median cycle leaves of it; "
                f"ours watches the clock for the last {1e6 * clock.WATCH_S:.0f} µs",
                on=on,
            )
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drivers.cyclic", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration (default 60; the bar is 600)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve)
        return
    table.print_heading(table.machine())
    for row in rows(arguments.seconds):
        table.print_row(row)


if __name__ == "__main__":
    main()
