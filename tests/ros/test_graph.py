"""The whole graph on emulated wires: it starts, runs protocols, and ends without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.engine.progress import Progress
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus
from verification_platform.records.reader import open_recording
from verification_platform.records.seal import verify_seal
from verification_platform.ros import Graph

pytestmark = [pytest.mark.ros, pytest.mark.timeout(1200), pytest.mark.usefixtures("processors")]

_RELAY = """
import sys
import rclpy
from rclpy.node import Node
from pilotbench_interfaces.msg import SampleBlock
from pilotbench_nodes.qos import SAMPLES
rclpy.init()
node, count = Node("relay"), 0
publisher = node.create_publisher(SampleBlock, "samples/rs485", SAMPLES)
def forward(data):
    global count
    count += 1
    if count != int(sys.argv[1]):
        publisher.publish(data)
node.create_subscription(SampleBlock, "lossy/rs485", forward, SAMPLES, raw=True)
rclpy.spin(node)
"""


@pytest.fixture
def shared_memory() -> Iterator[None]:
    """Nothing new in /dev/shm after the test."""
    before = _dds_files()
    yield
    assert _dds_files() <= before


def _dds_files() -> set[str]:
    return {
        name
        for name in os.listdir("/dev/shm")
        if "fastrtps" in name or "fastdds" in name or "fast_data" in name
    }


@pytest.mark.usefixtures("shared_memory")
def test_two_runs_in_one_graph_are_complete_and_leave_nothing_behind(
    bench: BenchDescription, order: Order, tmp_path: Path, new_run: Callable[[Path], RunFolder]
) -> None:
    folders = [new_run(tmp_path / name) for name in ("first", "second")]
    prompts: list[str] = []
    progress: list[Progress] = []

    def confirm(key: str, zh: str, en: str) -> bool:
        prompts.append(key)
        return True

    with Graph(bench, order, tmp_path / "graph") as graph:
        pids = [child.pid for child in graph.children.values()]
        for folder in folders:
            outcome = graph.run(folder.path, on_progress=progress.append, confirm=confirm)
            assert (outcome.status, outcome.reason, outcome.finished) == (RunStatus.VALID, "", True)
            assert outcome.segments == 2  # one speed, both directions
    assert prompts == ["uncouple_output"] * 2
    assert progress[-1].live.keys() >= {"input_speed", "output_angle", "input_torque"}
    assert max(p.fraction for p in progress) > 0.9
    for folder in folders:
        integrity = open_recording(folder.path).integrity()
        assert integrity.complete, integrity
        assert integrity.rows > 2_000
        assert verify_seal(folder.path).ok
        evidence = json.loads((folder.path / "bench.json").read_text(encoding="utf-8"))
        assert 0.0 <= evidence["interlock_self_test_latency_s"] <= bench.interlock.silence
        assert evidence["lost_blocks"] == 0
        assert set(evidence["buses"]) == set(bench.bus)
        for bus, told in evidence["buses"].items():
            # Of this run alone, not since the bench was started.
            assert 0 < told["cycles"] <= told["elapsed_s"] / bench.bus[bus].cycle + 2
            assert told["cycles"] == sum(told["lateness_counts"])
            assert 0.0 <= told["lateness_p50_s"] <= told["lateness_p99_s"] <= told["lateness_max_s"]
            assert 0.0 < told["bus_load"] < 1.0
            assert set(told["counters"]) >= {d for d, record in bench.device.items() if record.bus == bus}
            assert told["realtime"] or "real-time scheduling" in told["warning"]
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_a_lost_block_makes_the_run_invalid(
    bench: BenchDescription, order: Order, tmp_path: Path, new_run: Callable[[Path], RunFolder]
) -> None:
    folder = new_run(tmp_path / "run")
    remappings = {"device_rs485": {"samples/rs485": "lossy/rs485"}}
    with Graph(bench, order, tmp_path / "graph", remappings=remappings) as graph:
        relay = subprocess.Popen([sys.executable, "-c", _RELAY, "150"], env=graph.environment)
        try:
            outcome = graph.run(folder.path)
        finally:
            relay.kill()
            relay.wait()
    assert outcome.status is RunStatus.INVALID
    assert "rs485" in outcome.reason
    assert "samples were lost" in outcome.reason
    assert not open_recording(folder.path).integrity().complete


def test_an_emergency_stop_latches_until_it_is_reset(
    bench: BenchDescription, order: Order, tmp_path: Path, new_run: Callable[[Path], RunFolder]
) -> None:
    stop = """
import rclpy
from rclpy.node import Node
from std_srvs.srv import Trigger
rclpy.init()
node = Node("operator")
client = node.create_client(Trigger, "estop")
assert client.wait_for_service(10.0)
future = client.call_async(Trigger.Request())
rclpy.spin_until_future_complete(node, future, timeout_sec=10.0)
assert future.result().success
"""
    with Graph(bench, order, tmp_path / "graph") as graph:
        pressed: list[subprocess.Popen[bytes]] = []

        def press(progress: Progress) -> None:
            if abs(progress.live.get("input_speed", 0.0)) > 50.0 and not pressed:
                pressed.append(subprocess.Popen([sys.executable, "-c", stop], env=graph.environment))

        outcome = graph.run(new_run(tmp_path / "stopped").path, on_progress=press)
        assert pressed, outcome
        assert pressed[0].wait(20) == 0
        assert (outcome.status, outcome.reason) == (
            RunStatus.ABORTED_SAFETY,
            "emergency stop by the operator",
        )
        refused = graph.run(new_run(tmp_path / "refused").path)
        assert refused.status is RunStatus.ABORTED_SAFETY
        assert "emergency stop by the operator" in refused.reason
        assert "reset" in refused.reason
        graph.reset()
        assert graph.run(new_run(tmp_path / "again").path).status is RunStatus.VALID


def test_a_refused_prompt_ends_the_run_before_anything_moves(
    bench: BenchDescription, order: Order, tmp_path: Path, new_run: Callable[[Path], RunFolder]
) -> None:
    folder = new_run(tmp_path / "run")
    with Graph(bench, order, tmp_path / "graph") as graph:
        outcome = graph.run(folder.path, confirm=lambda key, zh, en: False)
    assert outcome.status is RunStatus.INVALID
    assert "refused" in outcome.reason
    events = (tmp_path / "graph" / "emulator_events.jsonl").read_text(encoding="utf-8").splitlines()
    for drive in ("AX1", "AX2"):  # the self-test alone: on with nothing to do, and off
        assert [e["torque"] for e in map(json.loads, events) if e["device"] == drive] == ["on", "off"]
