"""Start the bench in Gazebo and all its nodes: ``ros2 launch launch/gazebo.launch.py``.

It is the emulated bench with a description in which Gazebo turns the shafts: same devices, same nodes, same topics. The
server runs headless; to look at it, start ``gz sim -g`` (Harmonic) with the GZ_PARTITION that stands in the log.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription
from verification_platform.bench.bodies import with_server
from verification_platform.bench.description import load_bench
from verification_platform.bench.write import write_bench
from verification_platform.ros.launching import declare

_ROOT = Path(__file__).resolve().parents[1]
#: Arguments that are handed on to `emulated.launch.py`.
PASSED_ON = (
    "dut",
    "seed",
    "namespace",
    "autostart",
    "respawn",
    "respawn_delay",
    "log_dir",
    "loopback",
    "clock",
)


def generate_launch_description() -> LaunchDescription:
    """Arguments with their defaults; the rest is `emulated.launch.py`."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bench",
                default_value=str(_ROOT / "benches" / "gazebo.toml"),
                description="Bench description with [bodies] engine = 'gazebo'.",
            ),
            DeclareLaunchArgument(
                "server",
                default_value="auto",
                choices=["auto", "harmonic", "gazebo11"],
                description="Which Gazebo; auto takes Harmonic where it is installed, else Gazebo 11.",
            ),
            DeclareLaunchArgument(
                "folder",
                default_value="",
                description="Folder for sockets, events and Gazebo's files; empty for a new temporary one.",
            ),
            *declare(*PASSED_ON, clock="true"),
            OpaqueFunction(function=_bench),
        ]
    )


def _bench(context: LaunchContext) -> list[Any]:
    """The description as given, but for the server that was asked for."""
    bench, server, folder = (
        LaunchConfiguration(name).perform(context) for name in ("bench", "server", "folder")
    )
    run_dir = Path(folder or tempfile.mkdtemp(prefix="pilotbench-"))
    run_dir.mkdir(parents=True, exist_ok=True)
    chosen = write_bench(with_server(load_bench(Path(bench)), server), run_dir / "gazebo_bench.toml")
    source = PythonLaunchDescriptionSource(str(_ROOT / "launch" / "emulated.launch.py"))
    arguments = [
        ("bench", str(chosen)),
        ("folder", str(run_dir)),
        *((name, LaunchConfiguration(name)) for name in PASSED_ON),
    ]
    return [IncludeLaunchDescription(source, launch_arguments=arguments)]
