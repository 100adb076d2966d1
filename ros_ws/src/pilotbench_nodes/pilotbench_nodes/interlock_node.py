"""The interlock in a process of its own: it hears everyone, watches every limit, and alone gives permission for torque."""

from __future__ import annotations

import math
import os
import time

from pilotbench_interfaces.msg import Heartbeat, InterlockState, SampleBlock
from pilotbench_interfaces.srv import Arm, GiveBack, LockOut
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from std_srvs.srv import Trigger

from drivers import clock
from verification_platform.bench.description import TripLimit
from verification_platform.bench.interlock import Interlock, InterlockError, NodeState
from verification_platform.bench.interlock import InterlockState as State
from verification_platform.bench.latch import TripLatch
from verification_platform.bench.lockout import Lockout, LockoutError
from verification_platform.records.cdr import decode_block
from verification_platform.ros.graph import PROTOCOL, RECORDER, device_buses, device_node_name

from .bench_node import BenchNode, optional
from .process import run
from .qos import HEARTBEAT_TOPIC, INTERLOCK_TOPIC, LEASE_TOPIC, SAMPLES, heartbeat, samples_topic


class InterlockNode(BenchNode):
    """Topics in: heartbeats, lease, samples. Out: its state, every heartbeat period and at once when it changes."""

    def __init__(self) -> None:
        super().__init__("interlock_node", timer=False)  # its state is its heartbeat
        buses = device_buses(self.bench)
        channels = {channel: bus for bus in buses for channel in self.bench.channels_on(bus)}
        self._interlock = Interlock(
            [device_node_name(bus) for bus in buses],
            [RECORDER, PROTOCOL],
            channels,
            self.bench.interlock.limits,
            self.silence_s,
            estops=self.bench.interlock.estop,
            torque_off_s=self.bench.interlock.torque_off,
        )
        self._lockout, self._locked = Lockout.of(self.bench.bench.id), ""
        self._latch = TripLatch.of(self.bench, self.bench_path)
        self._trip_utc_s, self._trip_at_s = 0.0, 0.0
        self._restore()
        self._told = (self._interlock.state, 0)
        self._trip = self._kept = self._interlock.trip
        self._number = 0
        self._arming: Future | None = None
        self._publisher = self.create_publisher(InterlockState, INTERLOCK_TOPIC, heartbeat(self.silence_s))
        for topic in (HEARTBEAT_TOPIC, LEASE_TOPIC):
            self.create_subscription(Heartbeat, topic, self._heard, heartbeat(self.silence_s))
        for group in sorted(set(channels.values())):
            self.create_subscription(SampleBlock, samples_topic(group), self._block, SAMPLES, raw=True)
        # It waits for answers of the devices, which must be heard meanwhile.
        self.create_service(Arm, "interlock/arm", self._arm, callback_group=ReentrantCallbackGroup())
        self.create_service(Trigger, "interlock/disarm", self._disarm)
        self.create_service(Trigger, "interlock/reset", self._reset)
        self.create_service(Trigger, "estop", self._estop)
        self.create_service(LockOut, "interlock/lock_out", self._take_key)
        self.create_service(GiveBack, "interlock/give_back", self._give_back_key)
        self._odd = False
        self.create_timer(self.period_s / 2.0, self._tick)

    def _restore(self) -> None:
        """A restart is no reset."""
        kept = self._latch.read()
        if kept is None:
            return
        self._interlock.restore(kept.trip)
        self._trip_utc_s, self._trip_at_s = kept.utc_s, kept.trip.at_s
        self.get_logger().error(f"tripped before the restart: {kept.line()}")

    # ------------------------------------------------------------------ ears

    def _heard(self, message: Heartbeat) -> None:
        self._interlock.introduce(message.node, message.pid, message.machine)
        self._interlock.heard(
            message.node, clock.now(), NodeState(message.state), message.detail, message.permission
        )
        self._publish_changes()

    def _block(self, data: bytes) -> None:
        self._interlock.block(decode_block(data), clock.now())
        self._publish_changes()

    def _tick(self) -> None:
        self.renew_hold()
        self._look_for_keys()
        self._interlock.tick(clock.now())
        self._publish_changes()
        self._odd = not self._odd
        if self._odd:
            self._publish()

    def _look_for_keys(self) -> None:
        refusal = self._lockout.refusal()
        if refusal != self._locked:
            self._locked = refusal
            self.get_logger().warning(refusal or "every key of the cell is back")
        self._interlock.lock_out(refusal, clock.now())

    # ------------------------------------------------------------------ voice

    def _publish_changes(self) -> None:
        """A trip must not wait for the next heartbeat."""
        now, trip = (self._interlock.state, self._interlock.permission), self._interlock.trip
        if trip is not self._trip:
            self._trip, self._trip_utc_s, self._trip_at_s = trip, time.time(), clock.now()
        if now != self._told:
            if trip is not None and trip.cause != "self_test":
                self.get_logger().error(f"trip: {trip.reason}")
            self._publish()
        self._keep()
        if self._arming is not None and not self._interlock.arming and not self._arming.done():
            self._arming.set_result(None)

    def _keep(self) -> None:
        """After the news is out: the disk may take its time."""
        latched = self._interlock.latched
        if latched is self._kept:
            return
        self._kept = latched
        try:
            if latched is None:
                self._latch.clear()
            else:
                self._latch.keep(latched, self._trip_utc_s)
        except OSError as error:
            self.get_logger().error(
                f"{self._latch.path}: {error.strerror}; a restart would not know of this trip, or of its reset"
            )

    def _publish(self) -> None:
        lock, trip = self._interlock, self._interlock.trip
        self._told = (lock.state, lock.permission)
        self._number += 1
        message = InterlockState(
            sequence=self._number,
            pid=os.getpid(),
            machine=self.machine,
            state=int(lock.state),
            permission=lock.permission,
            on_trial=lock.on_trial,
            self_test_latency=lock.self_test_latency_s,
            lockout=self._locked,
        )
        if trip is not None:
            if not math.isnan(self._trip_utc_s):
                message.tripped.sec, message.tripped.nanosec = divmod(round(self._trip_utc_s * 1e9), 10**9)
            message.tripped_at = self._trip_at_s
            message.cause, message.subject, message.reason = trip.cause, trip.subject, trip.reason
        self._publisher.publish(message)

    # ------------------------------------------------------------------ services

    async def _arm(self, request: Arm.Request, response: Arm.Response) -> Arm.Response:
        limits = [
            TripLimit(channel=channel, low=optional(low), high=optional(high))
            for channel, low, high in zip(request.channels, request.low, request.high, strict=True)
        ]
        if self.node_state is not NodeState.ACTIVE:
            response.reason = "interlock_node is not active"
            return response
        self._look_for_keys()
        try:
            self._interlock.arm(clock.now(), limits)
        except InterlockError as error:
            # Right after the start the first heartbeats and samples may still be missing; a trip or a key stays.
            response.passing = self._interlock.state is State.DISARMED and not self._locked
            response.reason = str(error)
            return response
        self._publish_changes()
        self._arming = Future(executor=self.executor)
        await self._arming
        self._arming = None
        response.armed = self._interlock.state is State.ARMED
        response.reason = "" if response.armed else self._interlock.refusal
        response.self_test_latency = self._interlock.self_test_latency_s
        if response.armed:
            self.get_logger().info(
                f"armed; in the self-test every drive was off after {response.self_test_latency * 1e3:.1f} ms"
            )
        else:
            self.get_logger().error(f"not armed: {response.reason}")
        return response

    def _disarm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._interlock.disarm()
        self._publish_changes()
        response.success = True
        return response

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        trip = self._interlock.trip
        self._look_for_keys()
        try:
            self._interlock.reset(clock.now())
        except InterlockError as error:
            response.message = str(error)
            return response
        self._publish_changes()
        response.success, response.message = (
            True,
            f"was: {trip.reason}" if trip is not None else "there was no trip",
        )
        return response

    def _take_key(self, request: LockOut.Request, response: LockOut.Response) -> LockOut.Response:
        try:
            response.pin, response.taken = self._lockout.take(request.who, request.why), True
        except LockoutError as error:
            response.reason = str(error)
        self._look_for_keys()
        self._publish_changes()
        return response

    def _give_back_key(self, request: GiveBack.Request, response: GiveBack.Response) -> GiveBack.Response:
        try:
            self._lockout.give_back(request.who, request.pin)
            response.given_back = True
        except LockoutError as error:
            response.reason = str(error)
        self._look_for_keys()
        return response

    def _estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._interlock.emergency_stop(clock.now(), "the operator")
        self._publish_changes()
        response.success, response.message = True, "tripped; reset it when the cause is gone"
        return response

    # ------------------------------------------------------------------ lifecycle

    def configure(self) -> None:
        """Be the one interlock of this bench."""
        self._latch.claim()

    def deactivate(self) -> None:
        self._interlock.disarm()
        self._publish()

    def release(self) -> None:
        self._latch.release()


def main() -> None:
    run(InterlockNode, priority=20)


if __name__ == "__main__":
    main()
