"""How long until the torque is off: `python -m benchmarks.drivers.torque_off [--trips 200] [--accidents 3] [--only chain|masters]`.

On the emulated bench with both shafts under torque at 500 Hz, through the real interlock, DDS, the device process and the bytes on
its bus, to the drive's power stage. Trips: from the interlock's decision until the last drive is off, on the bench's clock and on the
wall's. Accidents: the device process is killed or stopped, or every plug of the bus is pulled; the drives' own watchdogs remain.

Then every model table that gives torque, of every family, in real time: one device, and the process that drives it killed or stopped
(see `benchmarks.drivers.deaths`). DBC sensors and SCPI instruments give none.

The peer of every row is the bar itself; rates are reciprocal latencies, so that a ratio of 1 just meets it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.drivers import deaths
from drivers.emulators.control import ask
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.ros import Graph, GraphError
from verification_platform.ros.pilot import PILOT, Pilot

ROOT = Path(__file__).resolve().parents[2]
TRIP_S, GRACE_S = 0.020, deaths.GRACE_S
TRIPS, ACCIDENTS = 200, 3
#: Of the bench's clock: the stamp of a trip and that of a drive are taken by two processes.
_STAMPS_S = 1e-3


def chain_rows(trips: int, accidents: int) -> Iterator[dict[str, Any]]:
    """Through the whole chain; one row a bar."""
    bench = load_bench(ROOT / "benches" / "emulated.toml")
    watchdog_s = bench.interlock.watchdog + GRACE_S
    with _flying(stay_down=True) as (_, pilot):
        bench_s, wall_s, test_s = _trips(pilot, trips)
    yield _row("interlock trip → torque off, p99, bench clock", bench_s, _p99(bench_s), TRIP_S, trips)
    yield _row("interlock trip → torque off, p99, wall clock", wall_s, _p99(wall_s), TRIP_S, trips)
    heard = "self-test: trip on trial → drives' statuswords heard, p99"
    yield _row(heard, test_s, _p99(test_s), TRIP_S, trips)
    for name, accident in (
        ("device process SIGKILL → torque off, max", _signal_to(signal.SIGKILL)),
        ("device process SIGSTOP → torque off, max", _signal_to(signal.SIGSTOP)),
        ("all plugs of the bus pulled → torque off, max", _pull),
    ):
        times_s = [_accident(accident) for _ in range(accidents)]
        yield _row(name, times_s, max(times_s), watchdog_s, accidents)


def master_rows(accidents: int) -> Iterator[dict[str, Any]]:
    """By model: the slowest of so many kills and as many stops."""
    for model in deaths.torque_models():
        with (
            tempfile.TemporaryDirectory(prefix="pilotbench-") as folder,
            deaths.Device(model, Path(folder)) as device,
        ):
            seen = [
                _death(device, number)
                for _ in range(accidents)
                for number in (signal.SIGKILL, signal.SIGSTOP)
            ]
        times_s = [death.took_s if death.reason in deaths.BY_ITSELF else math.inf for death in seen]
        name = f"{model}: its process killed or stopped → torque off, max"
        yield _row(name, times_s, max(times_s), device.watchdog_s + GRACE_S, len(seen))


def _death(device: deaths.Device, number: signal.Signals, attempts: int = 5) -> deaths.Death:
    """A master that could not even switch its device on (a machine without processors) is started again."""
    for left in reversed(range(attempts)):
        try:
            return device.death(number)
        except deaths.NoTorque as error:
            if not left:
                raise
            sys.stderr.write(f"again: {error}\n")
    raise AssertionError


def _p99(times_s: Sequence[float]) -> float:
    return sorted(times_s)[min(len(times_s) - 1, int(0.99 * len(times_s)))]


def _row(name: str, times_s: Sequence[float], judged_s: float, bar_s: float, n: int) -> dict[str, Any]:
    ratio = bar_s / judged_s
    return {
        "name": name,
        "n": n,
        "unit": "1/s, reciprocal of the latency",
        "ours": 1.0 / judged_s,
        "peer": f"bar, {bar_s * 1e3:.0f} ms",
        "peer_rate": 1.0 / bar_s,
        "ratio": round(ratio, 3),
        "goal": 1.0,
        "reached": ratio >= 1.0 and len(times_s) == n,
        "agrees": len(times_s) == n,
        "agreement": f"p50 {statistics.median(times_s) * 1e3:.2f} ms, judged {judged_s * 1e3:.2f} ms, max {max(times_s) * 1e3:.2f} ms",
        "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0, 2),
    }


@contextlib.contextmanager
def _flying(*, stay_down: bool = False) -> Any:
    """A running graph and its pilot, with torque on both shafts."""
    bench, order = (
        load_bench(ROOT / "benches" / "emulated.toml"),
        load_dut(ROOT / "duts" / "harmonic-25-100.toml"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="pilotbench-") as folder,
        Graph(bench, order, Path(folder), remappings=PILOT) as graph,
        Pilot(graph) as pilot,
    ):
        if not stay_down:
            pilot.fly()
        yield graph, pilot


def _trips(pilot: Pilot, count: int) -> tuple[list[float], list[float], list[float]]:
    """Trips by `/estop`. One that had another cause (a machine without processors) is said and done again."""
    bench_s: list[float] = []
    wall_s: list[float] = []
    test_s: list[float] = []
    disturbed = 0
    while len(bench_s) < count:
        try:
            armed = pilot.fly()
            pilot.ask(do="trigger", service="estop")
            trip = pilot.ask(do="await_trip")
            if trip["cause"] != "estop":
                raise GraphError(trip["reason"])
            off = pilot.torque_off(trip["tripped_at_s"] - _STAMPS_S)
            test_s.append(armed["latency_s"])
            bench_s.append(max(off["t"] - trip["tripped_at_s"], 1e-6))
            wall_s.append(max(off["utc_s"] - trip["tripped_utc_s"], 1e-6))
        except GraphError as error:
            disturbed += 1
            sys.stderr.write(f"trip {len(bench_s)} again: {error}\n")
            if disturbed > max(3, count // 10):
                raise
        pilot.recover()
    return bench_s, wall_s, test_s


def _accident(happen: Callable[[Graph], None]) -> float:
    with _flying() as (graph, pilot):
        since_s = pilot.clock.now()
        happen(graph)
        return float(pilot.torque_off(since_s)["t"]) - since_s


def _signal_to(number: signal.Signals) -> Callable[[Graph], None]:
    return lambda graph: os.kill(graph.children["device_can0"].pid, number)


def _pull(graph: Graph) -> None:
    assert graph.control is not None
    ask(graph.control, do="unplug_bus", bus="can0")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drivers.torque_off", description=__doc__)
    parser.add_argument("--trips", type=int, default=TRIPS)
    parser.add_argument("--accidents", type=int, default=ACCIDENTS)
    parser.add_argument("--only", choices=("chain", "masters"))
    options = parser.parse_args(arguments)
    begun_s = time.monotonic()
    chain = () if options.only == "masters" else chain_rows(options.trips, options.accidents)
    masters = () if options.only == "chain" else master_rows(options.accidents)
    measured = []
    for row in itertools.chain(chain, masters):
        measured.append(row)
        verdict = "reached" if row["reached"] else "NOT REACHED"
        sys.stdout.write(
            f"{row['name']:75} n {row['n']:4}  {row['peer']:12} ×{row['ratio']:<8} {verdict:12} {row['agreement']}\n"
        )
        sys.stdout.flush()
    if (options.trips, options.accidents, options.only) == (TRIPS, ACCIDENTS, None):
        table.write(measured, table.FOLDER / "torque_off.json")
    sys.stdout.write(f"{time.monotonic() - begun_s:.0f} s\n")
    return 0 if all(row["reached"] for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
