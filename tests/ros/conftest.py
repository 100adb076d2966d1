"""A bench, a short run, and Python with ROS in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from test_protocols import get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.cli.parameters import protocol_parameters
from verification_platform.engine.run_folder import RunFolder
from verification_platform.ros.environment import own_domain, ros_environment

#: One speed, as short as RED-NL can be made: some ten seconds of motion.
SHORT = {
    "speeds": ["3000 r/min"],
    "dwell": "1 s",
    "dwell_limit": "20 s",
    "steady_rate": "10000 %",
    "acceleration": "200 rad/s²",
}


#: Below this share of its processors a machine takes hours for what takes minutes.
_LEAST_SHARE = 0.25
_SPIN = """
import time
begun, used = time.perf_counter(), time.process_time()
while time.perf_counter() - begun < 2.0:
    pass
print((time.process_time() - used) / (time.perf_counter() - begun))
"""


@pytest.fixture(scope="session")
def processors() -> None:
    """Skips, loudly, where a hypervisor gives this machine hardly any of its processors."""
    spinning = [
        subprocess.Popen([sys.executable, "-c", _SPIN], stdout=subprocess.PIPE, text=True)
        for _ in os.sched_getaffinity(0)
    ]
    shares = [float(each.communicate()[0]) for each in spinning]
    if sum(shares) / len(shares) < _LEAST_SHARE:
        pytest.skip(
            f"NOT RUN: this machine was given {sum(shares) / len(shares):.0%} of its processors, less than {_LEAST_SHARE:.0%}"
        )


@pytest.fixture
def new_run(bench: BenchDescription, order: Order) -> Callable[..., RunFolder]:
    """Freeze a short run of RED-NL into a folder."""

    def freeze(path: Path, settings: Mapping[str, Any] = SHORT) -> RunFolder:
        protocol = get("RED-NL")
        return RunFolder.create(path, protocol, protocol_parameters(protocol, dict(settings)), order, bench)

    return freeze


@pytest.fixture
def in_ros() -> Callable[[str], str]:
    """Run Python code in a process that has ROS; its standard output. Fails the test when the code fails."""

    def run(code: str) -> str:
        with own_domain() as domain:
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=ros_environment(domain),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
