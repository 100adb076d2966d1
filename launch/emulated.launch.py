"""Start an emulated bench and all its nodes: ``ros2 launch launch/emulated.launch.py``.

Devices are emulated byte for byte in one process; the nodes are those of `bench.launch.py` and know nothing of it. On a
bench whose description says so, Gazebo turns the shafts (`gazebo.launch.py`); the emulator starts and ends its server.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from verification_platform.bench.description import load_bench
from verification_platform.bench.devices import with_uris
from verification_platform.bench.write import write_bench
from verification_platform.ros.graph import PACKAGE
from verification_platform.ros.launching import END_S, TERM_S, declare, end_all

_ROOT = Path(__file__).resolve().parents[1]
#: Arguments that are handed on to `bench.launch.py`.
PASSED_ON = ("namespace", "autostart", "respawn", "respawn_delay", "log_dir", "loopback")


def generate_launch_description() -> LaunchDescription:
    """Arguments with their defaults, and the processes once the arguments are known."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bench",
                default_value=str(_ROOT / "benches" / "emulated.toml"),
                description="Bench description in which at least one bus has the uri 'emulated'.",
            ),
            DeclareLaunchArgument(
                "folder",
                default_value="",
                description="Folder for sockets and the emulator's events; empty for a new temporary one.",
            ),
            *declare("dut", "seed", "clock", *PASSED_ON),
            OpaqueFunction(function=_emulator),
        ]
    )


def _emulator(context: LaunchContext) -> list[Any]:
    bench, dut, seed, folder = (
        LaunchConfiguration(name).perform(context) for name in ("bench", "dut", "seed", "folder")
    )
    run_dir = Path(folder or tempfile.mkdtemp(prefix="pilotbench-"))
    emulator = ExecuteProcess(
        cmd=[
            sys.executable,
            "-m",
            "verification_platform.bench.emulated",
            "--bench",
            bench,
            "--dut",
            dut,
            "--seed",
            seed,
            "--run-dir",
            str(run_dir),
        ],
        name="emulator",
        output={"stdout": "log", "stderr": {"screen", "log"}},
        on_exit=[end_all("the emulator ended")],
        sigterm_timeout=END_S,
        sigkill_timeout=TERM_S,
    )

    def said(event: object) -> list[Any]:
        """The emulator's one line says where its wires are; then the nodes can start."""
        text = getattr(event, "text", b"").decode()
        if not text.startswith('{"ready"'):
            return []
        ready = json.loads(text.splitlines()[0])
        resolved = write_bench(
            with_uris(load_bench(Path(bench)), ready["bus"], ready["clock"]), run_dir / "bench.toml"
        )
        source = PythonLaunchDescriptionSource(str(_ROOT / "launch" / "bench.launch.py"))
        arguments = [("bench", str(resolved)), *((name, LaunchConfiguration(name)) for name in PASSED_ON)]
        clock = Node(
            package=PACKAGE,
            executable="clock_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[{"bench": str(resolved)}],
            output="both",
            condition=IfCondition(LaunchConfiguration("clock")),
            sigterm_timeout=END_S,
            sigkill_timeout=TERM_S,
        )
        return [IncludeLaunchDescription(source, launch_arguments=arguments), clock]

    return [emulator, RegisterEventHandler(OnProcessIO(target_action=emulator, on_stdout=said))]
