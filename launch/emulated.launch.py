"""Start an emulated bench and all its nodes: ``ros2 launch launch/emulated.launch.py``.

Devices are emulated byte for byte in one process; the nodes are those of `bench.launch.py` and know nothing of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessIO
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription
from verification_platform.bench.description import load_bench
from verification_platform.bench.devices import with_uris
from verification_platform.bench.write import write_bench

_ROOT = Path(__file__).resolve().parents[1]


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
                "dut",
                default_value=str(_ROOT / "duts" / "harmonic-25-100.toml"),
                description="Component under test behind the emulated wires.",
            ),
            DeclareLaunchArgument(
                "seed", default_value="1", description="Seed of the emulated sensors and their errors."
            ),
            DeclareLaunchArgument(
                "folder",
                default_value="",
                description="Folder for sockets and the emulator's events; empty for a new temporary one.",
            ),
            OpaqueFunction(function=_emulator),
        ]
    )


def _emulator(context: LaunchContext) -> list[object]:
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
        output="log",
        on_exit=[EmitEvent(event=Shutdown(reason="the emulator ended"))],
    )

    def said(event: object) -> list[object]:
        """The emulator's one line says where its wires are; then the nodes can start."""
        text = getattr(event, "text", b"").decode()
        if not text.startswith('{"ready"'):
            return []
        ready = json.loads(text.splitlines()[0])
        resolved = write_bench(
            with_uris(load_bench(Path(bench)), ready["bus"], ready["clock"]), run_dir / "bench.toml"
        )
        source = PythonLaunchDescriptionSource(str(_ROOT / "launch" / "bench.launch.py"))
        return [IncludeLaunchDescription(source, launch_arguments=[("bench", str(resolved))])]

    return [emulator, RegisterEventHandler(OnProcessIO(target_action=emulator, on_stdout=said))]
