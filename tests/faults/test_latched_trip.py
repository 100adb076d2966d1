"""An interlock that is killed comes back tripped, with its reason, until a person resets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from verification_platform.bench.interlock import InterlockState
from verification_platform.bench.state import FOLDER
from verification_platform.ros.environment import own_domain, ros_environment
from verification_platform.ros.graph import PACKAGE

pytestmark = [pytest.mark.ros, pytest.mark.faults, pytest.mark.timeout(180)]

_BENCH = Path(__file__).resolve().parents[2] / "benches" / "emulated.toml"
#: Calls a service, if one is named, and tells the next state that is published.
_ASK = """
import json, sys, time, rclpy
from pilotbench_interfaces.msg import InterlockState
from pilotbench_nodes.qos import INTERLOCK_TOPIC, heartbeat
from std_srvs.srv import Trigger
rclpy.init()
node, heard, said = rclpy.create_node("asks"), [], None
def spin(done):
    deadline = time.monotonic() + 30
    while not done() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    assert done(), "no answer"
for service in sys.argv[1:]:
    client = node.create_client(Trigger, service)
    assert client.wait_for_service(30)
    future = client.call_async(Trigger.Request())
    spin(future.done)
    said = future.result()
node.create_subscription(InterlockState, INTERLOCK_TOPIC, heard.append, heartbeat(1.0))
spin(lambda: bool(heard))
m = heard[-1]
print(json.dumps({"state": m.state, "permission": m.permission, "cause": m.cause, "subject": m.subject, "reason": m.reason,
                  "utc": m.tripped.sec, "success": said and said.success, "message": said and said.message}))
"""


class Bench:
    """The interlock of a machine that stays, alone in a domain."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.environment = environment | {FOLDER: str(folder / "state")}
        self.file = folder / "bench.toml"
        text = _BENCH.read_text("utf-8")
        self.file.write_text(text.replace('kind = "emulated"', 'kind = "hardware"'), "utf-8")
        self.log = folder / "interlock.log"

    @contextmanager
    def interlock(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            sys.executable,
            "-m",
            f"{PACKAGE}.interlock_node",
            "--ros-args",
            "-p",
            f"bench:={self.file}",
        ]
        with (
            self.log.open("ab") as log,
            subprocess.Popen(command, env=self.environment, stderr=log, stdout=log) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def ask(self, *services: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", _ASK, *services],
            env=self.environment, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + self.log.read_text("utf-8")
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with own_domain() as domain:
        yield Bench(tmp_path, ros_environment(domain))


def test_a_killed_interlock_comes_back_tripped_until_a_person_resets_it(bench: Bench) -> None:
    with bench.interlock() as process:
        assert bench.ask()["state"] == InterlockState.DISARMED
        tripped = bench.ask("estop")
        assert (tripped["state"], tripped["cause"]) == (InterlockState.TRIPPED, "estop")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    with bench.interlock():
        again = bench.ask("interlock/disarm")  # no way round it
        for key in ("state", "permission", "cause", "subject", "reason", "utc"):
            assert again[key] == tripped[key]
        assert "tripped before the restart: emergency stop by the operator" in bench.log.read_text("utf-8")
        reset = bench.ask("interlock/reset")
        assert (reset["success"], reset["message"]) == (True, "was: emergency stop by the operator")
        assert reset["state"] == InterlockState.DISARMED
    with bench.interlock():
        assert bench.ask()["state"] == InterlockState.DISARMED
