"""A bench with wires that exist, for who opens its buses in this process: the checks of the command line.

Runs go through the ROS graph, whose supervisor starts the emulated devices itself (`verification_platform.ros`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from drivers import clock
from drivers.realtime import child_environment

from .description import BenchDescription, BenchError
from .devices import EMULATED, with_uris

_END_S = 15.0


@contextlib.contextmanager
def connected(bench: BenchDescription, file: Path, dut: Path) -> Iterator[BenchDescription]:
    """`bench`, as read from `file`, with the address of every bus; emulated devices run, with the component of `dut` on
    them, while the context lasts. Raises BenchError when they do not start.
    """
    if all(record.uri != EMULATED for record in bench.bus.values()):
        yield bench
        return
    with tempfile.TemporaryDirectory(prefix="pilotbench-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "verification_platform.bench.emulated", "--bench", str(file), "--dut", str(dut),
             "--seed", str(bench.plant.get("seed", 0)), "--run-dir", folder],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment(),
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            if not line.startswith("{"):
                process.wait(_END_S)
                raise BenchError(
                    f"{file}: the emulated devices did not start: {process.stderr.read().strip()}"
                )
            ready = json.loads(line)
            bench = with_uris(bench, ready["bus"], ready["clock"])
            clock.join(bench.bench.clock)
            try:
                yield bench
            finally:
                clock.join(None)
        finally:
            process.terminate()
            process.wait(_END_S)
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                stream.close()
