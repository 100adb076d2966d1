"""What becomes of a run through ROS when Gazebo is killed or stands still.

Apart from the runs that end well, which share a graph: two graphs at once are more than two processors can keep in time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.emulated import EVENTS
from verification_platform.engine.progress import Progress
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus
from verification_platform.ros import Graph

from .protocol_runs import ROS

pytestmark = [pytest.mark.gazebo, pytest.mark.ros, pytest.mark.faults, pytest.mark.timeout(600)]

#: A run that moves for ten seconds soon after it has begun: steps between rest and 1 rad/s.
MOVING = {"repeats": 20, "settle": "0.3 s", "hold": "0.2 s", "position_step": 0}
#: After the graph has been told of the death.
END_S = 5.0


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, r"was killed \(SIGKILL\)"), (signal.SIGSTOP, "has not answered for")],
    ids=["killed", "stalled"],
)
def test_a_gazebo_that_dies_or_stalls_ends_the_run(
    number: signal.Signals,
    said: str,
    bench: BenchDescription,
    order: Order,
    frozen: Callable[..., RunFolder],
    tmp_path: Path,
) -> None:
    """Torque off within a second, the run INVALID, one line that says why, and nobody left."""
    folder = frozen("run", "SRV-STEP", bench, where=ROS, **MOVING)
    graph_folder = tmp_path / "graph"
    broken: list[float] = []
    with Graph(bench, order, graph_folder, seed=1) as graph:
        pids = [child.pid for child in graph.children.values()]
        pids.append(int((graph_folder / "bodies" / "server.pid").read_text()))

        def watch(progress: Progress) -> None:
            if not broken and abs(progress.live.get("input_speed", 0.0)) > 0.5:
                os.kill(pids[-1], number)
                broken.append(time.time())

        outcome = graph.run(folder.path, on_progress=watch)
        ended_s = time.time()
    assert broken, outcome
    assert outcome.status is RunStatus.INVALID
    assert re.match(rf"the bench's bodies are gone: .*{said}", outcome.reason)
    assert "\n" not in outcome.reason
    assert ended_s - broken[0] < END_S
    events = [json.loads(line) for line in (graph_folder / EVENTS).read_text().splitlines()]
    last = {event["device"]: event for event in events}
    assert last
    assert all(event["torque"] == "off" for event in last.values())
    # Written when it happened: the file's last change is the torque's end.
    assert (graph_folder / EVENTS).stat().st_mtime - broken[0] < 1.5
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
