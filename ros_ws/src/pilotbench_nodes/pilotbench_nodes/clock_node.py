"""Publishes the bench's time on ``/clock``, for tools that go by ``use_sim_time`` (RViz, PlotJuggler, rosbag2).

The nodes of the bench do not need it: they share the clock itself (`drivers.clock`), which costs a microsecond to read. Time
does not wait for this node; a tool sees the time in steps of `period`, and late on a loaded machine.

Parameters: ``bench`` (the resolved description, in which the clock's page stands), ``period`` (s).
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import rclpy
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage

from drivers import clock
from drivers.realtime import die_with_parent
from verification_platform.bench.description import BenchError, load_bench

_PERIOD_S = 0.01


class ClockNode(Node):
    """One publisher, one timer on the wall's clock."""

    def __init__(self) -> None:
        super().__init__("clock_node")
        path = self.declare_parameter("bench", "").value
        period_s = self.declare_parameter("period", _PERIOD_S).value
        clock.join(load_bench(Path(path)).bench.clock)
        self._publisher = self.create_publisher(ClockMessage, "/clock", 1)
        self.create_timer(period_s, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _tick(self) -> None:
        now_ns = round(clock.now() * 1e9)
        self._publisher.publish(ClockMessage(clock=Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)))


def main() -> None:
    """Entry point."""
    die_with_parent()
    rclpy.init()
    try:
        node = ClockNode()
    except (BenchError, OSError) as error:
        sys.exit(f"clock_node: {error}")
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
