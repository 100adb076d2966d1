"""The bodies as a ROS node: a closed loop through DDS steps Gazebo once a command, and gives the same bits every time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verification_platform.bench.plant import RotorAndFlange
from verification_platform.ros.environment import own_domain, ros_environment

pytestmark = [pytest.mark.gazebo, pytest.mark.ros, pytest.mark.rate, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "ros_ws" / "src" / "pilotbench_gazebo" / "nodes" / "bodies_node.py"
COUNT = 1500
#: Refused on any machine; the bar of a quiet one with two cores is 1000.
LEAST_RATE = 100

Loop = Callable[[str], dict[str, Any]]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Start a node on a bench, run the controller against it once."""

    def run(bench: str) -> dict[str, Any]:
        folder = tmp_path / bench / str(len(list(tmp_path.glob("*"))))
        with own_domain() as domain:
            environment = ros_environment(domain)
            parameters = ["-p", f"bench:={ROOT / 'benches' / bench}.toml", "-p", f"folder:={folder}"]
            with subprocess.Popen(
                [sys.executable, str(NODE), "--ros-args", *parameters], env=environment, cwd=ROOT
            ) as node:
                try:
                    controller = [sys.executable, str(Path(__file__).with_name("closed_loop.py")), str(COUNT)]
                    said = subprocess.run(
                        controller, env=environment, capture_output=True, text=True, timeout=200, check=False
                    )
                finally:
                    node.send_signal(signal.SIGINT)
                    assert node.wait(10.0) == 0
            assert said.returncode == 0, said.stderr
        return dict(json.loads(said.stdout))

    return run


def expected() -> list[list[float]]:
    """The same loop without ROS and without Gazebo."""
    bodies, speed, states = RotorAndFlange(3e-4, 6e-3, 0.5e-3), 0.0, []
    for _ in range(COUNT):
        t_s, q, qd = bodies.step((0.12 * (20.0 - speed), 0.5))
        speed = qd[0]
        states.append([t_s, *q, *qd])
    return states


def test_a_closed_loop_through_ros(loop: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    seen, again = loop("gazebo"), loop("gazebo")
    best = max(seen["rate"], again["rate"])
    with capsys.disabled():
        load = os.getloadavg()[0]
        sys.stdout.write(f"\nclosed loop through rclpy: {best:.0f} steps/s (load average {load:.1f})\n")
    for state, true in zip(seen["states"], expected(), strict=True):
        assert state == pytest.approx(true, rel=1e-9, abs=1e-12)
    assert seen["clocks"] == [pytest.approx((COUNT + 1) * 0.5e-3)]
    assert seen["paused"]
    assert seen["stepped_s"] == pytest.approx(0.5e-3)
    assert best > LEAST_RATE
    assert again["states"] == seen["states"]  # to the last bit
