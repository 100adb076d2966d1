"""What all nodes of the bench share: the bench description, the heartbeat, and errors that say their reason."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from pilotbench_interfaces.msg import Heartbeat
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from drivers import clock
from drivers.device import DriverError
from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.interlock import NodeState
from verification_platform.bench.latch import LatchError
from verification_platform.bench.liveness import this_machine

from .qos import HEARTBEAT_TOPIC, heartbeat

#: Errors that a technician can understand and mend; anything else is an error of the software and ends the process.
KNOWN_ERRORS = (BenchError, DriverError, LatchError, OSError)
#: An emulated bench's time waits for a node that is late by more than this.
_HOLD_HEARTBEATS = 3.0


class BenchNode(LifecycleNode):
    """A lifecycle node with a heartbeat.

    Subclasses implement `configure`, `activate`, `deactivate` and `release`, which raise one of `KNOWN_ERRORS` when they
    cannot; the reason is logged and travels with the heartbeat, so that whoever asked for the transition can tell it.
    `beat` adds what a node has to say.
    """

    def __init__(self, name: str, *, heartbeat_topic: str = HEARTBEAT_TOPIC, timer: bool = True) -> None:
        # Parameters are read once, at the start; their services would only be woken up with everything else.
        super().__init__(name, start_parameter_services=False)
        self.declare_parameter("bench", "")
        path = self.get_parameter("bench").get_parameter_value().string_value
        self.bench_path = Path(path)
        self.bench: BenchDescription = load_bench(self.bench_path)
        clock.join(self.bench.bench.clock)
        self.machine = this_machine()
        self.node_state, self.detail = NodeState.INACTIVE, ""
        #: In the lifecycle state "active", which `node_state` is not after an error.
        self.active = False
        self.silence_s, self.period_s = self.bench.interlock.silence, self.bench.interlock.heartbeat
        self._sequence = 0
        self._beaten_s = -math.inf
        self._heartbeats = self.create_publisher(Heartbeat, heartbeat_topic, heartbeat(self.silence_s))
        if timer:
            self.create_timer(self.period_s, self._heartbeat_due)

    # ------------------------------------------------------------------ what subclasses do

    def configure(self) -> None:
        """Open everything; nothing moves."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working; torque off."""

    def release(self) -> None:
        """Close everything. Never raises."""

    def beat(self, message: Heartbeat) -> None:
        """Add to the heartbeat what this node has to say."""

    # ------------------------------------------------------------------ heartbeat

    def _heartbeat_due(self) -> None:
        if clock.now() - self._beaten_s > 0.5 * self.period_s:  # unless the bench's time stands still
            self.send_heartbeat()

    def send_heartbeat(self) -> None:
        """Called every period; may be called in between when something has changed that must be known at once."""
        self.renew_hold()
        self._beaten_s = clock.now()
        self._sequence += 1
        message = Heartbeat(
            node=self.get_name(),
            pid=os.getpid(),
            machine=self.machine,
            sequence=self._sequence,
            state=int(self.node_state),
            detail=self.detail,
        )
        self.beat(message)
        self._heartbeats.publish(message)

    def renew_hold(self) -> None:
        """Time may go on for a few heartbeats without this node (see `drivers.clock`)."""
        clock.waiting(clock.now() + _HOLD_HEARTBEATS * self.period_s)

    def fail(self, reason: str) -> None:
        """Alive, but unable to work: everyone hears why."""
        self.node_state, self.detail = NodeState.ERROR, reason
        self.get_logger().error(reason)
        self.send_heartbeat()

    # ------------------------------------------------------------------ lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition(self.configure, NodeState.INACTIVE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._transition(self.activate, NodeState.ACTIVE)
        if result is not TransitionCallbackReturn.SUCCESS:
            return result
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        failed = self.detail if self.node_state is NodeState.ERROR else ""
        self._transition(self.deactivate, NodeState.INACTIVE)
        if failed:  # an error stays an error until the node has been configured anew
            self.node_state, self.detail = NodeState.ERROR, failed
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def _transition(self, step: Callable[[], None], state: NodeState) -> TransitionCallbackReturn:
        try:
            step()
        except KNOWN_ERRORS as error:
            self.fail(str(error))
            return TransitionCallbackReturn.FAILURE
        self.node_state, self.detail = state, ""
        self.send_heartbeat()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Before the process ends: torque off, everything closed. Never raises."""
        try:
            self.deactivate()
        except KNOWN_ERRORS as error:
            self.get_logger().error(str(error))
        self.release()


def finite(value: float | None, default: float) -> float:
    """A limit for a message, which knows infinity but not None."""
    return default if value is None else value


def optional(value: float) -> float | None:
    """A limit from a message."""
    return value if math.isfinite(value) else None
