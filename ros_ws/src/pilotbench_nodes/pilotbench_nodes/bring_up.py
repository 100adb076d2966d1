"""Brings the nodes of a bench up: configure all, then activate all, in the order of `nodes_for`.

Started by the launch files, and used by the client of the supervisor; so both bring up the same graph the same way.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from pilotbench_interfaces.msg import Heartbeat
from rclpy.node import Node

from verification_platform.bench.description import load_bench
from verification_platform.ros.graph import nodes_for

from .qos import HEARTBEAT_TOPIC, LEASE_TOPIC, heartbeat

#: A device may take a while to answer after power-up.
_TRANSITION_S = {Transition.TRANSITION_CONFIGURE: 30.0}


class BringUpError(Exception):
    """A node did not come up; the message is one clear line."""


class BringUp:
    """Lifecycle transitions of the nodes of one bench, through the executor that spins `node`.

    Call from another thread than the one that spins.
    """

    def __init__(self, node: Node, names: Sequence[str], silence_s: float) -> None:
        self._names = tuple(names)
        self._clients = {
            name: node.create_client(ChangeState, f"{name}/change_state") for name in self._names
        }
        self._states = {name: node.create_client(GetState, f"{name}/get_state") for name in self._names}
        self._details: dict[str, str] = {}
        self._node, self._silence_s = node, silence_s

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Heartbeats tell why a node could not do what it was asked; at other times they are nobody's business here."""
        subscriptions = [
            self._node.create_subscription(Heartbeat, topic, self._heard, heartbeat(self._silence_s))
            for topic in (HEARTBEAT_TOPIC, LEASE_TOPIC)
        ]
        try:
            yield
        finally:
            for subscription in subscriptions:
                self._node.destroy_subscription(subscription)

    def _heard(self, message: Heartbeat) -> None:
        self._details[message.node] = message.detail

    def up(self, timeout_s: float = 20.0) -> None:
        """Every node active. Raises BringUpError with the reason of the first that is not."""
        deadline_s = time.monotonic() + timeout_s
        for name, client in self._clients.items():
            if not client.wait_for_service(timeout_sec=max(deadline_s - time.monotonic(), 0.1)):
                raise BringUpError(f"{name} did not appear within {timeout_s:g} s")
        with self._listening():
            for name in self._names:
                self._configure(name)
            for name in self._names:
                self._change(name, Transition.TRANSITION_ACTIVATE)

    def _configure(self, name: str) -> None:
        """A device that has just been switched on may need a second knock."""
        try:
            self._change(name, Transition.TRANSITION_CONFIGURE)
        except BringUpError:
            self._down(name)
            self._change(name, Transition.TRANSITION_CONFIGURE)

    def recover(self, name: str) -> None:
        """Configure one node anew, from whatever state an error has left it in. Raises BringUpError."""
        self._down(name)
        with self._listening():
            self._configure(name)
            self._change(name, Transition.TRANSITION_ACTIVATE)

    def down(self) -> None:
        """Torque off, everything closed, last comes who watches. Goes on whatever fails."""
        for name in reversed(self._names):
            with contextlib.suppress(BringUpError):
                self._down(name)

    def _down(self, name: str) -> None:
        """To unconfigured. A transition that does not apply must not be asked for: it would end the node."""
        state = wait_for(self._states[name].call_async(GetState.Request()), 1.0)
        if state is not None and state.current_state.id == State.PRIMARY_STATE_ACTIVE:
            self._change(name, Transition.TRANSITION_DEACTIVATE)
        if state is not None and state.current_state.id != State.PRIMARY_STATE_UNCONFIGURED:
            self._change(name, Transition.TRANSITION_CLEANUP)

    def _change(self, name: str, transition: int, timeout_s: float = 10.0) -> None:
        timeout_s = _TRANSITION_S.get(transition, timeout_s)
        answer: Any = wait_for(self._clients[name].call_async(_request(transition)), timeout_s)
        if answer is None:
            raise BringUpError(f"{name} did not answer within {timeout_s:g} s")
        if not answer.success:
            time.sleep(0.1)  # the reason comes with the heartbeat
            raise BringUpError(f"{name}: {self._details.get(name) or 'refused the transition; see its log'}")


def _request(transition: int) -> ChangeState.Request:
    return ChangeState.Request(transition=Transition(id=transition))


def wait_for(future: Any, timeout_s: float) -> Any:
    """Result of a future that another thread spins for; None when it does not come in time."""
    deadline_s = time.monotonic() + timeout_s
    while not future.done():
        if time.monotonic() > deadline_s:
            return None
        time.sleep(0.005)
    return future.result()


def main() -> None:
    """``bring_up BENCH``: for launch files."""
    import threading

    arguments = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    if len(arguments) != 1:
        sys.exit("usage: bring_up BENCH_FILE")
    path = Path(arguments[0])
    bench = load_bench(path)
    rclpy.init()
    node = Node("bring_up")
    bring_up = BringUp(node, [spec.name for spec in nodes_for(bench, path)], bench.interlock.silence)
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    try:
        bring_up.up()
    except BringUpError as error:
        sys.exit(f"pilotbench: {error}")
    node.get_logger().info(f"bench {bench.bench.id} is up; send a goal to the action run_protocol")
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
