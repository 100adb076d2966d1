"""The emulated bench as an ordinary process: byte-exact devices on an AF_UNIX CAN bus and a pty, one plant
behind them.

::

    python -m verification_platform.bench.emulated --bench benches/emulated.toml \\
        --dut duts/harmonic-25-100.toml --seed 1 --run-dir /tmp/run

prints one JSON line when it is ready, ``{"ready": true, "bus": {"can0": "unix:…", "rs485": "serial:/dev/pts/3"},
"clock": "/tmp/run/clock", "control": "/tmp/run/control", "realtime": true}``, and serves until SIGTERM, SIGINT or the
death of its parent; what can be broken on request, `drivers.emulators.control` tells. When another process turns its
bodies and dies, it says ``{"event": "lost", "reason": …}`` and ends with exit code 3. Every switching of torque is
written, with its stamp of the bench's clock, to ``emulator_events.jsonl`` in the run folder: the witness for the
drives' own watchdogs and for the way of a trip.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from drivers import clock
from drivers.bus.hub_server import LONGEST_PATH
from drivers.emulators.contacts import Contacts
from drivers.emulators.control import Control
from drivers.emulators.families import EMULATED as EMULATED_FAMILIES
from drivers.emulators.host import EmulatorHost
from drivers.emulators.plant import Plant
from drivers.realtime import claim_realtime, die_with_parent, processors_awake, quiet_interpreter

from .bodies import make_bodies
from .description import BenchDescription, BenchError, load_bench
from .devices import EMULATED, bus_plan, family
from .dut import load_dut
from .latch import FILE as TRIP
from .latch import TripLatch

#: Above the bus owner's: a real drive has a processor of its own and never waits for its master's.
PRIORITY = 45
EVENTS = "emulator_events.jsonl"
CLOCK = "clock"
CONTROL = "control"
_GONE = "the bench's bodies are gone"


class PowerLog:
    """Writes one JSON line for every switching of torque.

    ``t`` is on the bench's clock, ``utc_s`` on the wall's; ``frozen_s`` is for how long of the last second the machine did not let this process
    run (a virtual machine out of its share), time through which the emulated device did not live either.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._freezes: list[tuple[float, float]] = []
        self._powered: set[str] = set()

    def __call__(self, device: str, on: bool, reason: str, now_s: float) -> None:
        self._freezes = [(at, length) for at, length in self._freezes if at > now_s - 1.0]
        frozen = sum(length for _, length in self._freezes)
        (self._powered.add if on else self._powered.discard)(device)
        torque = "on" if on else "off"
        event = {
            "t": now_s,
            "utc_s": time.time(),
            "device": device,
            "torque": torque,
            "reason": reason,
            "frozen_s": round(frozen, 6),
        }
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def all_off(self, reason: str, now_s: float) -> None:
        """The machine itself has ended, and with it every torque."""
        for device in sorted(self._powered):
            self(device, False, reason, now_s)

    def on_frozen(self, now_s: float, frozen_s: float) -> None:
        self._freezes.append((now_s, frozen_s))


def build_host(
    bench: BenchDescription,
    plant: Plant,
    folder: Path,
    on_power: Callable[[str, bool, str, float], None] = lambda *_: None,
    *,
    paced: bool = False,
) -> tuple[EmulatorHost, dict[str, str]]:
    """Emulated devices for every bus whose uri is ``emulated``; returns the host and the URIs that replace
    it.

    Sockets are made in `folder`. Raises BenchError for an unknown model.
    """
    host = EmulatorHost(plant, on_power)
    uris: dict[str, str] = {}
    for bus, record in bench.bus.items():
        if record.uri != EMULATED:
            continue
        uris[bus] = EMULATED_FAMILIES[family(bench, bus).name](host, bus_plan(bench, bus), folder, paced)
    return host, uris


def serve(bench_file: Path, dut_file: Path, seed: int, run_dir: Path, *, paced: bool = False) -> None:
    """Build the bench and serve it until told to stop. Raises BenchError."""
    from .plant import BodiesLost, plant_behind_wires

    bench, order = load_bench(bench_file), load_dut(dut_file)
    run_dir.mkdir(parents=True, exist_ok=True)
    sockets = run_dir.resolve()
    own_folder = None
    if len(str(sockets / "").encode()) + 1 + max(map(len, bench.bus)) + len(".sock") > LONGEST_PATH:
        own_folder = sockets = Path(tempfile.mkdtemp(prefix="pilotbench-"))  # UNIX socket paths are short
    try:
        TripLatch(run_dir / TRIP).clear()  # a new machine: what was true of the last one is not of this one
        with contextlib.ExitStack() as stack:
            events = stack.enter_context((run_dir / EVENTS).open("a", encoding="utf-8"))
            log = PowerLog(events)
            page = None
            if bench.bench.patience > 0:
                stack.enter_context(processors_awake())
                page = sockets / CLOCK
                clock.create(page, bench.bench.patience)
            bodies = make_bodies(bench, run_dir / "bodies", PRIORITY - 1)
            if bodies is not None:
                stack.callback(bodies.close)
            contacts = Contacts(plant_behind_wires(bench, order, seed, bodies))
            host, uris = build_host(bench, contacts, sockets, log, paced=paced)
            host.on_frozen = log.on_frozen
            control = Control(sockets / CONTROL, host, contacts)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: host.stop())
            try:
                quiet_interpreter(min(record.cycle for record in bench.bus.values()))
                warning = claim_realtime(PRIORITY)
                _tell(
                    ready=True,
                    bus=uris,
                    clock=page and str(page),
                    control=str(sockets / CONTROL),
                    realtime=warning is None,
                )
                host.run()
            except BodiesLost as error:
                log.all_off(str(error), clock.now())  # no shaft, no torque
                _tell(event="lost", reason=f"{_GONE}: {error}")  # before the wires go dead
                raise
            finally:
                control.close()
                host.close()
    finally:
        if own_folder is not None:
            shutil.rmtree(own_folder, ignore_errors=True)


def _tell(**event: object) -> None:
    """One line to whoever has started this process, if that is still there."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after an orderly end, 2 for a bench or DUT description that cannot be used, 3 when the engine that
    turns its bodies has died.
    """
    from .plant import BodiesLost

    parser = argparse.ArgumentParser(
        prog="python -m verification_platform.bench.emulated", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--dut", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument(
        "--paced", action="store_true", help="frames also take their time on the emulated CAN bus"
    )
    options = parser.parse_args(arguments)
    die_with_parent()
    try:
        serve(options.bench, options.dut, options.seed, options.run_dir, paced=options.paced)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BodiesLost as error:
        sys.stderr.write(f"{_GONE}: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
