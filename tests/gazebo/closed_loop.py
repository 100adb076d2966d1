"""A speed controller on the bodies node, in a process that has ROS; says what it saw as one JSON line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

import rclpy
from pilotbench_nodes.executor import make_executor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

COUNT = int(sys.argv[1])
#: The answer to a command comes sooner.
POLL_S = 1e-3


class Controller(Node):
    """Answers every state with the next effort, until it has seen COUNT of them."""

    def __init__(self) -> None:
        super().__init__("controller")
        self.states: list[tuple[float, ...]] = []
        self.clocks: list[float] = []
        self.done, self.running = threading.Event(), False
        self.efforts = self.create_publisher(Float64MultiArray, "effort_command", 10)
        self.create_subscription(JointState, "joint_states", self._heard, qos_profile_sensor_data)
        self.clients_by_name = {
            "pause": self.create_client(SetBool, "pause"),
            "step": self.create_client(Trigger, "step"),
            "reset": self.create_client(Trigger, "reset"),
        }

    def _heard(self, message: JointState) -> None:
        if not self.running:
            return
        self.states.append((_seconds(message.header.stamp), *message.position, *message.velocity))
        if len(self.states) < COUNT:
            self.send(message.velocity[0])
        else:
            self.done.set()

    def send(self, speed: float) -> None:
        self.efforts.publish(Float64MultiArray(data=[0.12 * (20.0 - speed), 0.5]))

    def call(self, name: str, request: Any) -> Any:
        client = self.clients_by_name[name]
        assert client.wait_for_service(timeout_sec=30.0), name
        future = client.call_async(request)
        while not future.done():
            time.sleep(0.005)
        return future.result()


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)


def _spin(executor: Any) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


def main() -> None:
    rclpy.init()
    node, executor = Controller(), make_executor(POLL_S)
    executor.add_node(node)
    while not (node.efforts.get_subscription_count() and node.count_publishers("joint_states")):
        time.sleep(0.02)
    node.clients_by_name["step"].wait_for_service(timeout_sec=30.0)
    threading.Thread(target=_spin, args=(executor,), daemon=True).start()
    node.call("reset", Trigger.Request())  # answered: both directions of the discovery are through
    time.sleep(0.3)
    node.running = True
    begun_s = time.perf_counter()
    node.send(0.0)
    assert node.done.wait(120.0), f"{len(node.states)} of {COUNT} states"
    rate = (len(node.states) - 1) / (time.perf_counter() - begun_s)
    node.call("pause", SetBool.Request(data=True))
    before = node.states[-1]
    node.send(0.0)  # remembered, not carried out
    time.sleep(0.3)
    paused = node.states[-1] == before
    node.create_subscription(Clock, "/clock", lambda m: node.clocks.append(_seconds(m.clock)), 10)
    time.sleep(0.5)  # until it is discovered
    node.call("step", Trigger.Request())
    deadline_s = time.monotonic() + 10.0
    while (node.states[-1] == before or not node.clocks) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    seen = {
        "rate": rate, "states": node.states[:COUNT], "clocks": node.clocks,
        "paused": paused, "stepped_s": node.states[-1][0] - before[0],
    }  # fmt: skip
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()
    os._exit(0)  # DDS threads are not waited for


if __name__ == "__main__":
    main()
