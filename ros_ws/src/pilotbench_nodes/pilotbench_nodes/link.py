"""The protocol node's connection to the rest of the graph: what arrives, and calls that end in time."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from pilotbench_interfaces.msg import InterlockState, SampleBlock, SegmentMark
from pilotbench_interfaces.srv import Arm, Command, StartRecording, StopRecording
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_srvs.srv import Trigger

from drivers import clock
from drivers.device import Block
from verification_platform.bench.interlock import InterlockState as State
from verification_platform.bench.liveness import Peer
from verification_platform.bench.silence import Silence
from verification_platform.bench.trip import BenchTrip
from verification_platform.records.cdr import decode_block
from verification_platform.ros.graph import RECORDER, device_buses, device_node_name

from .bench_node import BenchNode
from .qos import INTERLOCK_TOPIC, MARKS, MARKS_TOPIC, SAMPLES, heartbeat, samples_topic

#: Causes of a trip after which the run is INVALID rather than ABORTED_SAFETY.
_SPOILS = ("lost", "stream")


class Link:
    """Owned by the protocol node; used by the thread of one run at a time.

    `lease` counts the polls of the engine. It travels with the node's heartbeat, and the device nodes let go of the torque
    when it stops counting: a process that lives while its engine hangs holds nothing.
    """

    def __init__(self, node: BenchNode) -> None:
        self._node = node
        self.lease = 0
        self.collecting = False
        self.statistics: dict[str, Any] = {}
        self._blocks: deque[Block] = deque()
        self._news = threading.Condition()
        self._interlock = InterlockState(state=int(State.DISARMED))
        self._process = Peer()
        self._silence = Silence(2.0 * node.period_s, clock.now())
        bench, group = node.bench, MutuallyExclusiveCallbackGroup()
        self._buses = device_buses(bench)
        for bus in self._buses:
            if bench.channels_on(bus):
                node.create_subscription(
                    SampleBlock, samples_topic(bus), self._block, SAMPLES, raw=True, callback_group=group
                )
        node.create_subscription(
            InterlockState,
            INTERLOCK_TOPIC,
            self._interlock_heard,
            heartbeat(node.silence_s),
            callback_group=group,
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10, callback_group=group)
        self._marks = node.create_publisher(SegmentMark, MARKS_TOPIC, MARKS)
        client = partial(node.create_client, callback_group=group)
        self.arm = client(Arm, "interlock/arm")
        self.disarm = client(Trigger, "interlock/disarm")
        self.start_recording = client(StartRecording, "recorder/start")
        self.stop_recording = client(StopRecording, "recorder/stop")
        self.command = {bus: client(Command, f"{device_node_name(bus)}/command") for bus in self._buses}

    # ------------------------------------------------------------------ what arrives

    def _block(self, data: bytes) -> None:
        if self.collecting:
            with self._news:
                self._blocks.append(decode_block(data))
                self._news.notify()

    def _interlock_heard(self, message: InterlockState) -> None:
        with self._news:
            changed = message.state != self._interlock.state
            self._interlock = message
            self._process.introduce(message.pid, message.machine)
            self._silence.heard()
            if changed:
                self._news.notify()

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statistics[status.name] = {pair.key: _number(pair.value) for pair in status.values}

    def take(self, timeout_s: float) -> list[Block]:
        """Renew the lease, wait for blocks or a trip, return what arrived. Raises BenchTrip unless the bench is armed."""
        self.renew()
        with self._news:
            if not self._blocks and self._interlock.state == State.ARMED:
                self._news.wait(timeout_s)
            blocks = list(self._blocks)
            self._blocks.clear()
        self.check()
        return blocks

    def renew(self) -> None:
        """The engine is there: the lease goes on, and an emulated bench's time."""
        self.lease += 1
        self._node.renew_hold()

    def clear(self) -> None:
        with self._news:
            self._blocks.clear()

    def check(self) -> None:
        """Raises BenchTrip unless the interlock is heard and says that the bench is armed."""
        message, age_s = self._interlock, self._silence.age_s(clock.now())
        if message.state == State.TRIPPED:
            raise self.trip(message.reason)
        if self._process.alive() is False:
            raise BenchTrip("interlock_node has died")
        if age_s > self._process.limit_s(self._node.silence_s):
            raise BenchTrip(f"interlock_node has not been heard for {age_s * 1e3:.0f} ms")
        if message.state != State.ARMED:
            raise BenchTrip("the interlock was disarmed during the run")

    def trip(self, otherwise: str) -> BenchTrip:
        """The trip in force; `otherwise` is what is known of it when the interlock has not spoken yet.

        A wire or a device that is gone, and samples that were lost on the way to the disk, spoil the run; what anybody asked
        of the bench was no danger.
        """
        message = self._interlock
        if message.state != State.TRIPPED:
            return BenchTrip(otherwise)
        spoilt = message.cause in _SPOILS or (message.cause, message.subject) == ("error", RECORDER)
        return BenchTrip(message.reason, safety=not spoilt)

    @property
    def interlock(self) -> InterlockState:
        """What the interlock said last."""
        return self._interlock

    @property
    def tripped_by(self) -> str:
        """Node or channel that caused the trip in force; empty when there is none."""
        return self._interlock.subject if self._interlock.state == State.TRIPPED else ""

    @property
    def trip_reason(self) -> str:
        return self._interlock.reason if self._interlock.state == State.TRIPPED else ""

    # ------------------------------------------------------------------ what goes out

    def mark(self, message: SegmentMark) -> None:
        self._marks.publish(message)

    def call(
        self, client: Any, request: Any, timeout_s: float, *, while_waiting: Callable[[], None] | None = None
    ) -> Any:
        """Call a service; renews the lease while it waits. Raises BenchTrip when nobody answers in time."""
        if not client.wait_for_service(timeout_sec=0.0 if client.service_is_ready() else timeout_s):
            raise BenchTrip(f"{client.srv_name} is not there; is its node running?")
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        deadline_s = clock.now() + timeout_s
        while not answered.wait(0.01):
            self.renew()
            if while_waiting is not None:
                while_waiting()
            if clock.now() > deadline_s:
                client.remove_pending_request(future)
                raise BenchTrip(f"{client.srv_name} did not answer within {timeout_s:g} s")
        self.renew()
        return future.result()


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
