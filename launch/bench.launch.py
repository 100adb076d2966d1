"""Start all nodes of a bench and bring them up: ``ros2 launch launch/bench.launch.py bench:=/path/to/bench.toml``.

Which nodes, and with which parameters, is not written here: it follows from the bench description, by the same function
that the built-in supervisor of `pilotbench run` uses. Bringing up goes by events: each node is configured when the one
before it is inactive, and when all are, each is activated when the one before it is active; who watches comes before who moves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lifecycle_msgs.msg
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, NotEqualsSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState

from launch import LaunchContext, LaunchDescription
from verification_platform.bench.description import load_bench
from verification_platform.ros.environment import PROFILE, PROFILE_VARIABLES
from verification_platform.ros.graph import PACKAGE, NodeSpec, nodes_for
from verification_platform.ros.launching import END_S, TERM_S, declare, end_all

#: A device that has just been switched on may need a second knock.
KNOCKS = 2
#: A node that was killed still looks present to DDS; a request goes to its successor once that has been discovered, too.
RESPAWNED_S = 3.0

CONFIGURE = lifecycle_msgs.msg.Transition.TRANSITION_CONFIGURE
ACTIVATE = lifecycle_msgs.msg.Transition.TRANSITION_ACTIVATE


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, and the nodes once the arguments are known."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bench", description="Bench description, bench.toml."),
            *declare("namespace", "autostart", "respawn", "respawn_delay", "log_dir", "loopback"),
            *(
                SetEnvironmentVariable(
                    name, str(PROFILE), condition=IfCondition(LaunchConfiguration("loopback"))
                )
                for name in PROFILE_VARIABLES
            ),
            SetEnvironmentVariable(
                "ROS_LOG_DIR",
                LaunchConfiguration("log_dir"),
                condition=IfCondition(NotEqualsSubstitution(LaunchConfiguration("log_dir"), "")),
            ),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[Any]:
    """One lifecycle node an entry of the list, and the events that bring them up."""
    path = Path(LaunchConfiguration("bench").perform(context)).resolve()
    respawn = LaunchConfiguration("respawn").perform(context) == "true"
    delay_s = float(LaunchConfiguration("respawn_delay").perform(context))
    nodes = [_node(spec, respawn, delay_s) for spec in nodes_for(load_bench(path), path)]
    bring_up = BringUp(nodes)
    autostart = LaunchConfiguration("autostart").perform(context) == "true"
    return [*(bring_up.handlers() if autostart else ()), *nodes]


def _node(spec: NodeSpec, respawn: bool, delay_s: float) -> LifecycleNode:
    return LifecycleNode(
        package=PACKAGE,
        executable=spec.executable,
        name=spec.name,
        namespace=LaunchConfiguration("namespace"),
        parameters=[dict(spec.parameters)],
        output="both",
        respawn=respawn,
        respawn_delay=delay_s,  # a number: launch takes no substitution here
        on_exit=None if respawn else [end_all(f"{spec.name} ended")],
        sigterm_timeout=END_S,
        sigkill_timeout=TERM_S,
    )


class BringUp:
    """All nodes from unconfigured to active, one after the other, once.

    A node that is started anew afterwards is configured only: its devices are open, watched and without torque. Nothing here
    activates it, for nobody has looked yet why it died; `ros2 lifecycle set NODE activate` does.
    """

    def __init__(self, nodes: list[LifecycleNode]) -> None:
        self._nodes = nodes
        self._starts, self._knocks = [0] * len(nodes), [0] * len(nodes)
        self._up = False

    def handlers(self) -> list[Any]:
        """One for each thing that may happen to each node."""
        found: list[Any] = []
        for k, node in enumerate(self._nodes):
            found.append(
                RegisterEventHandler(
                    OnProcessStart(target_action=node, on_start=self._then(self._started, k))
                )
            )
            for start, goal, reaction in (
                ("configuring", "inactive", self._configured),
                ("configuring", "unconfigured", self._not_configured),
                ("activating", "active", self._activated),
                ("activating", "inactive", self._not_activated),
            ):
                found.append(
                    RegisterEventHandler(
                        OnStateTransition(
                            target_lifecycle_node=node,
                            start_state=start,
                            goal_state=goal,
                            entities=[self._then(reaction, k)],
                        )
                    )
                )
        return found

    @staticmethod
    def _then(reaction: Any, k: int) -> OpaqueFunction:
        return OpaqueFunction(function=lambda _context: reaction(k))

    def _change(self, k: int, transition: int) -> list[Any]:
        matcher = matches_action(self._nodes[k])
        return [EmitEvent(event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition))]

    def _give_up(self, k: int, what: str) -> list[Any]:
        return [end_all(f"{self._nodes[k].node_name} could not be {what}; its log says why")]

    def _started(self, k: int) -> list[Any]:
        """The first node's start begins it all. A node that starts once more was respawned."""
        self._starts[k] += 1
        if self._starts[k] == 1:
            return self._change(k, CONFIGURE) if k == 0 else []
        if not self._up:
            return [end_all(f"{self._nodes[k].node_name} died while the bench was brought up")]
        self._knocks[k] = 0
        name = self._nodes[k].node_name
        said = f"{name} was started anew and is being configured; a person activates it (ros2 lifecycle set {name} activate)"
        return [LogInfo(msg=said), TimerAction(period=RESPAWNED_S, actions=self._change(k, CONFIGURE))]

    def _configured(self, k: int) -> list[Any]:
        if self._up:
            return []
        last = k + 1 == len(self._nodes)
        return self._change(0, ACTIVATE) if last else self._change(k + 1, CONFIGURE)

    def _not_configured(self, k: int) -> list[Any]:
        self._knocks[k] += 1
        if self._knocks[k] < KNOCKS:
            return self._change(k, CONFIGURE)
        if self._up:  # the others go on, and the interlock knows
            return [LogInfo(msg=f"{self._nodes[k].node_name} could not be configured; its log says why")]
        return self._give_up(k, "configured")

    def _activated(self, k: int) -> list[Any]:
        if self._up or k + 1 < len(self._nodes):
            return [] if self._up else self._change(k + 1, ACTIVATE)
        self._up = True
        return [LogInfo(msg="the bench is up; send a goal to the action run_protocol")]

    def _not_activated(self, k: int) -> list[Any]:
        return self._give_up(k, "activated")
