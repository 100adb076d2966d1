"""Runs protocols: an action server around the engine."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pilotbench_interfaces.action import RunProtocol
from pilotbench_interfaces.msg import Heartbeat
from pilotbench_interfaces.srv import Confirm
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from drivers import clock
from drivers.device import DriverError
from test_protocols import get
from verification_platform.bench.description import BenchError
from verification_platform.bench.envelope import SafetyEnvelope
from verification_platform.bench.interlock import NodeState
from verification_platform.bench.trip import BenchTrip
from verification_platform.engine.journal import Journal, JournalError
from verification_platform.engine.preflight import accelerations
from verification_platform.engine.progress import Progress
from verification_platform.engine.protocol import ProtocolError, Text
from verification_platform.engine.run import Outcome, RunEngine
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus
from verification_platform.records.errors import RecordingError

from .bench_node import BenchNode
from .link import Link
from .process import run
from .qos import LEASE_TOPIC
from .ros_bench import RosBench

#: What a run may end with before it has begun: the folder, the bench or the protocol are not as they should be.
_USER_ERRORS = (ProtocolError, BenchError, RecordingError, JournalError, DriverError, OSError, ValueError)


class _Question:
    """A prompt that waits for the technician."""

    def __init__(self, key: str, zh: str, en: str) -> None:
        self.key, self.zh, self.en = key, zh, en
        self.answer: bool | None = None


class ProtocolNode(BenchNode):
    """Action `run_protocol`, one goal at a time; service `confirm` answers its prompts."""

    def __init__(self) -> None:
        super().__init__("protocol_node", heartbeat_topic=LEASE_TOPIC)
        self._link = Link(self)
        self._engine: threading.Thread | None = None
        self._abort = threading.Event()
        self._question: _Question | None = None
        self._progress = Progress(Text("准备", "preparing"), 0.0, 0.0)
        self._server = ActionServer(
            self,
            RunProtocol,
            "run_protocol",
            execute_callback=self._execute,
            goal_callback=self._goal,
            cancel_callback=self._cancel,
            callback_group=ReentrantCallbackGroup(),
        )
        self.create_service(Confirm, "confirm", self._confirm)

    # ------------------------------------------------------------------ action

    def _goal(self, request: RunProtocol.Goal) -> GoalResponse:
        if self.node_state is not NodeState.ACTIVE or self._engine is not None:
            self.get_logger().warning("goal refused: not active, or a run is on")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        self._abort.set()
        return CancelResponse.ACCEPT

    async def _execute(self, goal: ServerGoalHandle) -> RunProtocol.Result:
        """The engine has a thread of its own; this one goes on with heartbeats and messages meanwhile."""
        self._abort.clear()
        ended = Future(executor=self.executor)
        thread = threading.Thread(
            target=lambda: ended.set_result(self._outcome(goal)), name="engine", daemon=True
        )
        self._engine = thread
        thread.start()
        outcome: Outcome = await ended
        thread.join()
        self._engine = None
        if goal.is_cancel_requested:
            goal.canceled()
        elif outcome.finished:
            goal.succeed()
        else:
            goal.abort()
        return RunProtocol.Result(
            status=outcome.status.value,
            reason=outcome.reason,
            finished=outcome.finished,
            segments=outcome.segments,
            duration=outcome.duration_s,
            resumed_at=-1 if outcome.resumed_at is None else outcome.resumed_at,
        )

    def _outcome(self, goal: ServerGoalHandle) -> Outcome:
        try:
            with clock.seat():
                return self._run(goal)
        except _USER_ERRORS as error:
            return Outcome(RunStatus.INVALID, str(error))
        except Exception as error:  # noqa: BLE001 - process boundary: the torque is off, the client must learn why
            self.get_logger().fatal(traceback.format_exc())
            return Outcome(RunStatus.INVALID, f"error of the software: {type(error).__name__}: {error}")

    def _run(self, goal: ServerGoalHandle) -> Outcome:
        folder = RunFolder.load(Path(goal.request.run_folder))
        protocol = get(folder.protocol_id)
        bench = RosBench(self._link, folder, partial(self._ask, goal), resume=folder.journal.exists())
        with Journal(folder.journal) as journal:
            engine = RunEngine(
                protocol,
                protocol.Parameters.model_validate(dict(folder.parameters)),
                folder.order,
                bench,
                journal,
                SafetyEnvelope.from_bench(folder.bench, folder.order),
                partial(self._tell, goal),
                self._abort,
                accelerations=accelerations(folder.bench),
            )
            self.get_logger().info(f"{folder.protocol_id} in {folder.path}")
            outcome = engine.execute()
        if outcome.status is RunStatus.VALID and bench.recording_problem:
            outcome = replace(outcome, status=RunStatus.INVALID, reason=bench.recording_problem)
        self.get_logger().info(f"{folder.protocol_id}: {outcome.status.value} {outcome.reason}")
        return outcome

    # ------------------------------------------------------------------ feedback and prompts

    def _tell(self, goal: ServerGoalHandle, progress: Progress) -> None:
        self._progress = progress
        self._feedback(goal, None)

    def _feedback(self, goal: ServerGoalHandle, question: _Question | None) -> None:
        progress = self._progress
        message = RunProtocol.Feedback(
            phase_zh=progress.phase.zh,
            phase_en=progress.phase.en,
            fraction=progress.fraction,
            remaining=progress.remaining_s,
            channels=list(progress.live),
            values=[float(value) for value in progress.live.values()],
        )
        if question is not None:
            message.prompt_key, message.prompt_zh, message.prompt_en = question.key, question.zh, question.en
        goal.publish_feedback(message)

    def _ask(self, goal: ServerGoalHandle, key: str, zh: str, en: str) -> Callable[[], bool | None]:
        question = self._question = _Question(key, zh, en)
        self._feedback(goal, question)

        def answered() -> bool | None:
            if self._abort.is_set():
                raise BenchTrip("aborted by the operator", safety=False)
            if question.answer is not None:
                self._question = None
            return question.answer

        return answered

    def _confirm(self, request: Confirm.Request, response: Confirm.Response) -> Confirm.Response:
        question = self._question
        if question is None or question.key != request.key:
            response.reason = f"nobody asks {request.key!r}"
            return response
        question.answer, response.taken = request.accept, True
        return response

    # ------------------------------------------------------------------ heartbeat and lifecycle

    def beat(self, message: Heartbeat) -> None:
        message.lease = self._link.lease

    def deactivate(self) -> None:
        """A run that is on is aborted; the engine takes the torque off."""
        self._abort.set()
        if self._engine is not None:
            self._engine.join(2.0)


def main() -> None:
    run(ProtocolNode, priority=10)


if __name__ == "__main__":
    main()
