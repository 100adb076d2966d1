"""The process around a node: priority, signals, and an end that always comes."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from drivers.device import DriverError
from drivers.realtime import claim_realtime, die_with_parent
from verification_platform.bench.description import BenchError

#: A process that was told to end ends within so long, whatever it hangs in.
_LONGEST_END_S = 3.0


def run(
    make_node: Callable[[], Node], *, priority: int, executor: Callable[[], Executor] = SingleThreadedExecutor
) -> None:
    """Entry point of every node: spin until SIGINT or SIGTERM, close the node, end."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # A heartbeat must not wait 5 ms for each turn of another thread.
    sys.setswitchinterval(0.0005)
    die_with_parent()
    warning = claim_realtime(priority)
    rclpy.init(signal_handler_options=SignalHandlerOptions.ALL)
    try:
        node = make_node()
    except (BenchError, DriverError) as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(2)
    if warning:
        node.get_logger().warning(warning)
    runner = executor()
    runner.add_node(node)
    try:
        runner.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        threading.Thread(target=_end_anyway, daemon=True, name="end").start()
        close = getattr(node, "close", None)
        if close is not None:
            close()
        runner.shutdown(timeout_sec=0.5)
        rclpy.try_shutdown()
    # DDS threads and thread pools are not waited for: everything that matters is closed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_anyway() -> None:
    time.sleep(_LONGEST_END_S)
    os._exit(1)
