"""The process around a node: priority, signals, and an end that always comes."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions

from drivers import clock
from drivers.device import DriverError
from drivers.realtime import claim_realtime, die_with_parent
from verification_platform.bench.description import BenchError

from .bench_node import BenchNode
from .executor import make_executor

#: A process that was told to end ends within so long, whatever it hangs in.
_LONGEST_END_S = 3.0


def run(make_node: Callable[[], BenchNode], *, priority: int) -> None:
    """Entry point of every node: spin until SIGINT or SIGTERM, put everything in order, end."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(0.0005)  # a heartbeat must not wait 5 ms for each turn of another thread
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    die_with_parent()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make_node()
    except (BenchError, DriverError) as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(2)
    gc.collect()
    gc.freeze()  # what has been loaded stays; looking through it again would hold up a bus for a tenth of a second
    # Only now: what it takes to start a node must not hold up a bus that runs already.
    warning = claim_realtime(priority) or _claim_for_threads(priority)
    if warning:
        node.get_logger().warning(warning)
    runner = make_executor()
    runner.add_node(node)
    threading.Thread(target=_await_end, args=(node, told), daemon=True, name="end").start()
    with contextlib.suppress(ExternalShutdownException), clock.seat():
        runner.spin()
    # DDS threads and thread pools are not waited for: everything that matters is closed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _claim_for_threads(priority: int) -> None:
    """The same priority for the threads that receive messages; those started later inherit it."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(priority))


def _await_end(node: BenchNode, told: threading.Event) -> None:
    """Put the node in order while it can still speak, then end the spinning."""
    told.wait()
    threading.Thread(target=_end_anyway, daemon=True, name="end-anyway").start()
    node.close()
    rclpy.try_shutdown()


def _end_anyway() -> None:
    time.sleep(_LONGEST_END_S)
    os._exit(1)
