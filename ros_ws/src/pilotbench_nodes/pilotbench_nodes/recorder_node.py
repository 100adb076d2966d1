"""Everything that was measured, onto the disk: raw messages, byte for byte, sealed when the run ends."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from pilotbench_interfaces.msg import Heartbeat, SampleBlock, SegmentMark
from pilotbench_interfaces.srv import StartRecording, StopRecording
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from verification_platform.bench.interlock import NodeState
from verification_platform.engine.protocol import ProtocolError
from verification_platform.engine.recording import open_writer
from verification_platform.engine.run_folder import RunFolder
from verification_platform.records.errors import RecordingError
from verification_platform.records.schema import MARKS_TOPIC as RECORDED_MARKS
from verification_platform.records.schema import SAMPLES_PREFIX
from verification_platform.records.session import Reached, RecordingSession, SessionReport
from verification_platform.ros.graph import device_buses

from .bench_node import BenchNode
from .process import run
from .qos import MARKS, MARKS_TOPIC, SAMPLES, samples_topic

#: The disk may be so far behind before the run is stopped: more would be lost in a crash than a resume can mend.
_LONGEST_BACKLOG_S = 5.0


class RecorderNode(BenchNode):
    """Records one run at a time between `recorder/start` and `recorder/stop`."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self._session: RecordingSession | None = None
        self._stopping = False
        self._reached: dict[str, Reached] = {}
        groups = [bus for bus in device_buses(self.bench) if self.bench.channels_on(bus)]
        for group in groups:
            record = partial(self._put, SAMPLES_PREFIX + group)
            self.create_subscription(SampleBlock, samples_topic(group), record, SAMPLES, raw=True)
        self.create_subscription(
            SegmentMark, MARKS_TOPIC, partial(self._put, RECORDED_MARKS), MARKS, raw=True
        )
        self.create_service(StartRecording, "recorder/start", self._start)
        # It waits for what is still on its way, which must be taken meanwhile.
        self.create_service(
            StopRecording, "recorder/stop", self._stop, callback_group=ReentrantCallbackGroup()
        )

    def _put(self, topic: str, data: bytes) -> None:
        if self._session is not None and not self._stopping:
            self._session.put(topic, data)
        if topic != RECORDED_MARKS:
            group, reached = Reached.of(data)
            self._reached[group] = reached

    # ------------------------------------------------------------------ services

    def _start(
        self, request: StartRecording.Request, response: StartRecording.Response
    ) -> StartRecording.Response:
        if self.node_state is not NodeState.ACTIVE:
            response.reason = "recorder_node is not active"
        elif self._session is not None:
            response.reason = "recorder_node is recording already; stop that recording first"
        else:
            try:
                folder = RunFolder.load(Path(request.folder))
                self._session = RecordingSession(open_writer(folder, resume=request.resume), self._reached)
                response.started = True
                self.get_logger().info(f"recording into {folder.samples}")
            except (ProtocolError, RecordingError, OSError) as error:
                response.reason = str(error)
        return response

    async def _stop(
        self, request: StopRecording.Request, response: StopRecording.Response
    ) -> StopRecording.Response:
        session = self._session
        if session is None or self._stopping:
            response.reason = "recorder_node is not recording"
            return response
        last_rows = dict(zip(request.groups, request.last_rows, strict=True))
        done = Future(executor=self.executor)
        deadline = self.get_clock().now().nanoseconds + round(request.wait * 1e9)

        def look() -> None:  # what is still on its way is waited for, within limits
            late = self.get_clock().now().nanoseconds > deadline
            if not self._stopping and (late or session.reached(request.marks, last_rows)):
                self._stopping = True
                self.destroy_timer(timer)
                # Sealing waits for the disk, which this thread must not.
                threading.Thread(
                    target=lambda: done.set_result(session.finish(request.marks, last_rows)),
                    name="seal",
                    daemon=True,
                ).start()

        timer = self.create_timer(0.005, look)
        report: SessionReport = await done
        self._session, self._stopping = None, False
        response.complete, response.reason = not report.problem, report.problem
        response.blocks, response.lost_blocks, response.seal = report.blocks, report.lost_blocks, report.seal
        self.get_logger().info(
            f"sealed {report.blocks} blocks and {report.marks} marks: {report.seal} {report.problem}"
        )
        return response

    # ------------------------------------------------------------------ heartbeat and lifecycle

    def beat(self, message: Heartbeat) -> None:
        session = self._session
        if session is None:
            return
        message.backlog = session.backlog_s()
        problem = session.problem
        if message.backlog > _LONGEST_BACKLOG_S:
            problem = f"the disk is {message.backlog:.1f} s behind"
        if problem and self.node_state is NodeState.ACTIVE:
            message.state, message.detail = Heartbeat.ERROR, problem

    def release(self) -> None:
        """A recording that is still open is sealed with what it has; its run was never finished, and its journal says so."""
        session, self._session = self._session, None
        if session is not None:
            report = session.finish()
            self.get_logger().info(f"sealed {report.blocks} blocks of an unfinished run: {report.seal}")


def main() -> None:
    run(RecorderNode, priority=10)


if __name__ == "__main__":
    main()
