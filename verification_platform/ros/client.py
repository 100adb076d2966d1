"""The supervisor's voice in the ROS graph, in a process of its own.

``python -m verification_platform.ros.client BENCH`` brings the nodes up and then runs protocols. It speaks JSON lines:
requests on standard input, events on standard output. So the command line itself needs no ROS in its environment, and a
hang or crash in here is a child process that the supervisor ends like any other.

Requests: ``{"do": "run", "folder": …}``, ``{"do": "confirm", "key": …, "accept": true}``, ``{"do": "cancel"}``,
``{"do": "reset"}``, ``{"do": "down"}``.

Events: ``{"event": "up"}``, ``{"event": "failed", "reason": …}``, ``{"event": "feedback", …}``,
``{"event": "result", "status": …, "reason": …, …}``, ``{"event": "reset"}``, ``{"event": "down"}``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from pilotbench_interfaces.action import RunProtocol
from pilotbench_interfaces.msg import InterlockState
from pilotbench_interfaces.srv import Confirm
from pilotbench_nodes.bring_up import BringUp, BringUpError, wait_for
from pilotbench_nodes.executor import make_executor
from pilotbench_nodes.qos import INTERLOCK_TOPIC, heartbeat
from rclpy.action import ActionClient
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger

from drivers.realtime import die_with_parent
from verification_platform.bench.description import BenchError, load_bench
from verification_platform.bench.interlock import InterlockState as State

from .graph import nodes_for

_ANSWER_S = 5.0
#: A reset is refused while the cause persists; what the devices say of it takes a moment.
_RESET_S = 2.0
#: After a trip, so long for the protocol node to end the run in order.
_LAST_WORDS_S = 2.0


class Client:
    """Carries out requests one after the other; a run goes on in the background and reports by events."""

    def __init__(self, node: Node, executor: Executor, bench_path: Path) -> None:
        bench = load_bench(bench_path)
        self._names = [spec.name for spec in nodes_for(bench, bench_path)]
        self._bring_up = BringUp(node, self._names, bench.interlock.silence)
        self._action = ActionClient(node, RunProtocol, "run_protocol")
        self._confirm = node.create_client(Confirm, "confirm")
        self._reset = node.create_client(Trigger, "interlock/reset")
        self._goal: Any = None
        self._executor = executor
        self._node, self._silence_s = node, bench.interlock.silence
        self._interlock: Any = None
        self._tripped_s = math.inf
        self._output = threading.Lock()

    def tell(self, event: str, **data: Any) -> None:
        with self._output:
            sys.stdout.write(json.dumps({"event": event, **data}, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def serve(self) -> None:
        """Bring up, then serve until told to go down or the supervisor is gone."""
        try:
            self._bring_up.up()
        except BringUpError as error:
            self.tell("failed", reason=str(error))
            return
        self.tell("up")
        for line in sys.stdin:
            request = json.loads(line)
            match request["do"]:
                case "run":
                    self._run(request["folder"])
                case "cancel":
                    if self._goal is not None:
                        self._executor.create_task(self._goal.cancel_goal_async)
                case "confirm":
                    self._confirm.call_async(Confirm.Request(key=request["key"], accept=request["accept"]))
                case "reset":
                    self._recover()
                case "down":
                    break
        self._bring_up.down()
        self.tell("down")

    def _run(self, folder: str) -> None:
        if not self._action.wait_for_server(timeout_sec=_ANSWER_S):
            self._refused("protocol_node offers no action; is it running?")
            return
        # From the thread that spins: rclpy notes a request only after it has sent it, and would not know the answer.
        sent = wait_for(self._executor.create_task(self._send, folder), _ANSWER_S)
        handle = None if sent is None else wait_for(sent, _ANSWER_S)
        if handle is None or not handle.accepted:
            self._refused("protocol_node did not accept the run; is another one on?")
            return
        self._goal, self._tripped_s = handle, math.inf
        self._executor.create_task(self._await_result, handle)
        self._interlock = self._interlock or self._node.create_subscription(
            InterlockState, INTERLOCK_TOPIC, self._interlock_heard, heartbeat(self._silence_s)
        )

    def _send(self, folder: str) -> Any:
        return self._action.send_goal_async(
            RunProtocol.Goal(run_folder=folder), feedback_callback=self._feedback
        )

    def _await_result(self, handle: Any) -> None:
        handle.get_result_async().add_done_callback(partial(self._done, handle))

    def _done(self, handle: Any, future: Any) -> None:
        if handle is self._goal:
            self._goal = None
            self._result(future.result().result)

    def _interlock_heard(self, message: InterlockState) -> None:
        """After a trip the protocol node ends the run. When it hangs itself, somebody else must say so."""
        now_s = time.monotonic()
        if message.state != State.TRIPPED or message.cause == "self_test":
            self._tripped_s = math.inf
            return
        self._tripped_s = min(self._tripped_s, now_s)
        if self._goal is not None and now_s - self._tripped_s > _LAST_WORDS_S:
            self._goal = None
            self._result(RunProtocol.Result(status="ABORTED_SAFETY", reason=message.reason, resumed_at=-1))

    def _refused(self, reason: str) -> None:
        self._result(RunProtocol.Result(status="INVALID", reason=reason, resumed_at=-1))

    def _result(self, result: RunProtocol.Result) -> None:
        self.tell(
            "result",
            status=result.status,
            reason=result.reason,
            finished=result.finished,
            segments=result.segments,
            duration_s=result.duration,
            resumed_at=result.resumed_at,
        )

    def _feedback(self, message: Any) -> None:
        feedback = message.feedback
        self.tell(
            "feedback",
            zh=feedback.phase_zh,
            en=feedback.phase_en,
            fraction=feedback.fraction,
            remaining_s=feedback.remaining,
            live=dict(zip(feedback.channels, feedback.values, strict=True)),
            prompt={"key": feedback.prompt_key, "zh": feedback.prompt_zh, "en": feedback.prompt_en}
            if feedback.prompt_key
            else None,
        )

    def _recover(self) -> None:
        """After a trip: the interlock reset, the device nodes opened anew. Nothing moves by this."""
        devices = [name for name in self._names if name.startswith("device_")]
        try:
            for name in devices:
                self._bring_up.recover(name)
            self._acknowledge()
        except BringUpError as error:
            self.tell("failed", reason=str(error))
            return
        self.tell("reset")

    def _acknowledge(self) -> None:
        """Reset the interlock; what the devices say of themselves by now may still be on its way. Raises BringUpError."""
        deadline_s = time.monotonic() + _RESET_S
        while True:
            answer = wait_for(self._reset.call_async(Trigger.Request()), _ANSWER_S)
            if answer is None:
                raise BringUpError("interlock_node did not answer")
            if answer.success:
                return
            if time.monotonic() > deadline_s:
                raise BringUpError(answer.message)
            time.sleep(0.1)


def main() -> None:
    """Entry point; ends when standard input does."""
    die_with_parent()
    rclpy.init()
    node = Node(f"client_{os.getpid()}")
    executor = make_executor()
    executor.add_node(node)
    try:
        client = Client(node, executor, Path(sys.argv[1]))
    except BenchError as error:
        sys.stdout.write(json.dumps({"event": "failed", "reason": str(error)}) + "\n")
        sys.exit(2)
    worker = threading.Thread(target=_serve, args=(client,), daemon=True)
    worker.start()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()
    sys.stdout.flush()
    os._exit(0)


def _serve(client: Client) -> None:
    try:
        client.serve()
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
