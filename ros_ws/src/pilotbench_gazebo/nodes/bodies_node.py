#!/usr/bin/env python3
"""The bench's rigid bodies as a ROS node: Gazebo, or the built-in integrator, behind ``effort_command``.

For controllers that are tried on the bench's bodies without its devices: each effort command turns the bodies by
``steps`` steps, and the answer is one ``joint_states`` and one ``/clock``. Nothing moves in between, so a closed loop over
ROS gives the same bits however slow its parts are. The devices of a bench do not go this way: the emulator speaks to Gazebo
itself (docs/how-to/run-in-gazebo.md).

Topics: ``effort_command`` (std_msgs/Float64MultiArray, N·m, one a joint) in; ``joint_states`` (sensor_msgs/JointState, rad,
rad/s, N·m) and ``/clock`` out. Services: ``pause`` (std_srvs/SetBool: while true, efforts are remembered but nothing
turns), ``step`` (std_srvs/Trigger: ``steps`` steps with the last efforts, paused or not), ``reset`` (std_srvs/Trigger).
Parameters: ``bench`` (description), ``folder`` (what the server writes), ``steps`` (steps a command, may be changed).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from array import array
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from pilotbench_nodes.executor import make_executor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from drivers.realtime import die_with_parent
from verification_platform.bench.bodies import make_bodies
from verification_platform.bench.description import BenchError, load_bench
from verification_platform.bench.plant import BodiesLost, RigidBodies, RotorAndFlange, plant_parameters

#: Whoever listens may choose; best effort costs fewer messages.
OUT = QoSProfile(depth=10)
#: Commands come one at a time: the next is sent when the state has been seen. There is nothing under way that could be lost, and the
#: acknowledgements of reliable messages take a third of the time of a loop.
IN = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
#: The next command of a closed loop comes sooner; between two loops the node sleeps.
POLL_S = 1e-3


class BodiesNode(Node):
    """One command, so many steps, one answer. Raises BenchError when the bodies cannot be had."""

    def __init__(self) -> None:
        super().__init__("bodies")
        bench = load_bench(Path(self.declare_parameter("bench", "").value))
        folder = self.declare_parameter("folder", "").value or tempfile.mkdtemp(prefix="pilotbench-")
        self.declare_parameter("steps", 1)
        self._steps = 1
        parameters = plant_parameters(bench)
        self.bodies: RigidBodies = make_bodies(bench, Path(folder)) or RotorAndFlange(
            parameters.rotor_inertia, parameters.flange_inertia, parameters.step
        )
        self._names = list(bench.bodies.joints)
        self._efforts = [0.0] * len(self._names)
        self._paused = False
        self._state = JointState(name=self._names)
        self._states = self.create_publisher(JointState, "joint_states", OUT)
        self._clock = self.create_publisher(Clock, "/clock", OUT)
        self.create_subscription(Float64MultiArray, "effort_command", self._commanded, IN)
        self.add_post_set_parameters_callback(self._parameters_set)
        self.create_service(SetBool, "pause", self._pause)
        self.create_service(Trigger, "step", self._step)
        self.create_service(Trigger, "reset", self._reset)

    def _commanded(self, message: Float64MultiArray) -> None:
        if len(message.data) != len(self._names):
            self.get_logger().error(
                f"{len(message.data)} efforts for {len(self._names)} joints ({', '.join(self._names)}); left out"
            )
            return
        self._efforts = list(message.data)
        if not self._paused:
            self._turn(self._steps)

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        self._paused, response.success = request.data, True
        response.message = "paused" if request.data else "turning"
        return response

    def _step(self, _request: Trigger.Request, response: Trigger.Response) -> Any:
        self._turn(self._steps)
        response.success, response.message = True, f"{self._steps} steps"
        return response

    def _reset(self, _request: Trigger.Request, response: Trigger.Response) -> Any:
        self.bodies.reset()
        self._efforts = [0.0] * len(self._names)
        self._turn(0)
        response.success = True
        return response

    def _parameters_set(self, _parameters: list[Any]) -> None:
        """Read when it changes, not with every command: reading takes longer than a step."""
        self._steps = max(int(self.get_parameter("steps").value), 0)

    def _turn(self, steps: int) -> None:
        time_s, angles, speeds = self.bodies.step(self._efforts, steps)
        time_ns = round(time_s * 1e9)
        stamp = Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9)
        self._clock.publish(Clock(clock=stamp))
        state = self._state
        state.header.stamp = stamp
        state.position, state.velocity = array("d", angles), array("d", speeds)
        state.effort = array("d", self._efforts)
        self._states.publish(state)


def main() -> None:
    """Entry point; exit code 2 for a bench that cannot be had, 3 when its bodies are gone."""
    die_with_parent()
    rclpy.init()
    try:
        node = BodiesNode()
    except BenchError as error:
        sys.exit(f"bodies_node: {error}")
    executor = make_executor(POLL_S)
    executor.add_node(node)
    code = 0
    try:
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            executor.spin()
    except BodiesLost as error:
        sys.stderr.write(f"bodies_node: the bench's bodies are gone: {error}\n")
        code = 3
    finally:
        node.bodies.close()
    rclpy.try_shutdown()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
