"""Any process may be killed at any instant: torque off within 200 ms, the run ended within 5 s, nothing left behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.emulators.control import ask
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.liveness import HANG_FACTOR
from verification_platform.bench.write import write_bench, write_dut
from verification_platform.engine.journal import read_journal
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus
from verification_platform.records.reader import open_recording
from verification_platform.records.recovery import close_seal, recover_recording
from verification_platform.ros import Graph

pytestmark = [pytest.mark.ros, pytest.mark.faults, pytest.mark.timeout(120)]

TORQUE_OFF_S = 0.2
WATCHDOG_GRACE_S = 0.02
END_S = 5.0
#: After a hang patience comes first, counted in the bench's time, which on a loaded machine is slow.
LONG_END_S = 60.0


@pytest.mark.usefixtures("traceless")
@pytest.mark.parametrize(
    "victim", ["device_can0", "device_rs485", "protocol_node", "recorder_node", "interlock_node"]
)
def test_a_killed_process_takes_the_torque_off(victim: str, accident: Callable[..., Any]) -> None:
    seen = accident(lambda graph: os.kill(graph.children[victim].pid, signal.SIGKILL))
    assert seen.reaction_s <= TORQUE_OFF_S
    assert seen.took_s <= END_S
    assert seen.outcome.status in (RunStatus.ABORTED_SAFETY, RunStatus.INVALID)
    assert not seen.outcome.finished
    assert seen.outcome.reason.startswith(f"{victim} was killed (SIGKILL)")
    assert "\n" not in seen.outcome.reason
    assert [pid for pid in seen.pids if Path(f"/proc/{pid}").exists()] == []
    # What was recorded until then can be used: the journal is whole, the samples are recovered.
    assert any(entry.event == "step_begin" for entry in read_journal(seen.run.journal))
    if victim == "recorder_node":
        recover_recording(seen.run.samples)
        close_seal(seen.run.samples)
    assert open_recording(seen.run.path).integrity().rows > 0


@pytest.mark.usefixtures("traceless")
@pytest.mark.parametrize(
    ("pulled", "named"),
    [
        ({"do": "unplug_lines"}, r"device_rs485: rs485: \S"),  # the pty is gone under the driver
        (
            {"do": "unplug_bus", "bus": "can0"},
            r"device_can0: (AX1|AX2|EN2): no ",
        ),  # the adapter is there, and hears nobody
    ],
)
def test_a_pulled_cable_takes_the_torque_off_and_spoils_the_run(
    pulled: dict[str, str], named: str, accident: Callable[..., Any], bench: BenchDescription
) -> None:
    seen = accident(lambda graph: ask(graph.control, **pulled))
    assert seen.reaction_s <= max(TORQUE_OFF_S, bench.interlock.watchdog + WATCHDOG_GRACE_S)
    assert seen.took_s <= END_S
    assert seen.outcome.status is RunStatus.INVALID
    assert re.match(named, seen.outcome.reason), seen.outcome.reason
    assert "\n" not in seen.outcome.reason


@pytest.mark.usefixtures("traceless")
@pytest.mark.parametrize("victim", ["protocol_node", "interlock_node", "recorder_node"])
def test_a_hanging_process_takes_the_torque_off(
    victim: str, accident: Callable[..., Any], bench: BenchDescription
) -> None:
    """A stopped process lives, so patience is longer (`bench.liveness`), but not endless."""
    seen = accident(lambda graph: os.kill(graph.children[victim].pid, signal.SIGSTOP))
    patience_s = HANG_FACTOR * bench.interlock.silence
    assert seen.reaction_s <= patience_s + TORQUE_OFF_S
    assert seen.took_s <= LONG_END_S
    assert not seen.outcome.finished
    lease = victim == "protocol_node" and "set-point lease" in seen.outcome.reason  # what it alone renews
    assert victim in seen.outcome.reason or lease


_OWNER = """
import sys
from pathlib import Path
from verification_platform.bench.description import load_bench
from verification_platform.bench.dut import load_dut
from verification_platform.ros import Graph
folder = Path(sys.argv[1])
with Graph(load_bench(folder / "bench.toml"), load_dut(folder / "dut.toml"), folder / "graph") as graph:
    print(*(child.pid for child in graph.children.values()), flush=True)
    def show(progress):
        if abs(progress.live.get("input_speed", 0.0)) > 50.0:
            print("moving", flush=True)
    graph.run(folder / "run", on_progress=show)
"""


@pytest.mark.usefixtures("traceless")
def test_killing_whoever_started_the_graph_leaves_no_process(
    bench: BenchDescription, order: Order, moving_run: RunFolder, tmp_path: Path
) -> None:
    """The command line itself is killed while the input turns."""
    write_bench(bench, tmp_path / "bench.toml")
    write_dut(order, tmp_path / "dut.toml")
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            pids = [int(pid) for pid in owner.stdout.readline().split()]
            assert len(pids) >= 6
            descriptors = [os.pidfd_open(pid) for pid in pids]
            assert owner.stdout.readline() == "moving\n"
        finally:
            owner.kill()
    deadline_s = time.monotonic() + END_S
    for descriptor in descriptors:
        gone, _, _ = select.select([descriptor], [], [], max(deadline_s - time.monotonic(), 0.0))
        os.close(descriptor)
        assert gone, f"a process outlived its owner by {END_S} s"


def test_a_process_that_does_not_listen_is_ended_all_the_same(
    bench: BenchDescription, order: Order, tmp_path: Path
) -> None:
    with Graph(bench, order, tmp_path / "graph") as graph:
        pids = [child.pid for child in graph.children.values()]
        os.kill(graph.children["device_can0"].pid, signal.SIGSTOP)
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s <= END_S
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
