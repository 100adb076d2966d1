"""Start all nodes of a bench and bring them up: ``ros2 launch launch/bench.launch.py bench:=/path/to/bench.toml``.

Which nodes, and with which parameters, is not written here: it follows from the bench description, by the same function
that the built-in supervisor of `pilotbench run` uses.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from verification_platform.bench.description import load_bench
from verification_platform.ros.environment import PROFILE, PROFILE_VARIABLES
from verification_platform.ros.graph import PACKAGE, nodes_for


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, and the nodes once the arguments are known."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bench", description="Bench description, bench.toml."),
            DeclareLaunchArgument(
                "loopback",
                default_value="true",
                description="Talk on this computer only and without shared memory (docs/decisions/0003).",
            ),
            *(
                SetEnvironmentVariable(
                    name, str(PROFILE), condition=IfCondition(LaunchConfiguration("loopback"))
                )
                for name in PROFILE_VARIABLES
            ),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[object]:
    """One action a node; when any of them ends, all end. `bring_up` does the lifecycle transitions and ends."""
    path = Path(LaunchConfiguration("bench").perform(context)).resolve()
    specs = nodes_for(load_bench(path), path)
    nodes = [
        Node(
            package=PACKAGE,
            executable=spec.executable,
            name=spec.name,
            parameters=[dict(spec.parameters)],
            output="both",
            on_exit=[EmitEvent(event=Shutdown(reason=f"{spec.name} ended"))],
        )
        for spec in specs
    ]
    bring_up = Node(package=PACKAGE, executable="bring_up", arguments=[str(path)], output="both")
    return [
        *nodes,
        bring_up,
        RegisterEventHandler(OnProcessExit(target_action=bring_up, on_exit=_brought_up)),
    ]


def _brought_up(event: object, context: LaunchContext) -> list[object]:
    """A bench that did not come up is not left half running."""
    failed = getattr(event, "returncode", 1) != 0
    return [EmitEvent(event=Shutdown(reason="the bench did not come up"))] if failed else []
