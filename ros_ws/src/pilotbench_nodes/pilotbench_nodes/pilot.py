"""Moves a bench by hand, through the whole safety chain: for tests and benchmarks of that chain, which need no protocol.

It takes the place of the protocol node (whose own lease is remapped, see `verification_platform.ros.pilot`): renews the lease,
arms, commands. Requests come as JSON lines on standard input, each is answered by one line on standard output.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from typing import Any

import rclpy
from pilotbench_interfaces.msg import BenchState, Heartbeat
from pilotbench_interfaces.srv import Arm, Command, GiveBack, LockOut
from rclpy.executors import ExternalShutdownException
from std_srvs.srv import Trigger

from drivers import clock
from drivers.realtime import die_with_parent
from verification_platform.bench.interlock import InterlockState, NodeState
from verification_platform.bench.trip import BenchTrip
from verification_platform.ros.graph import PROTOCOL, device_buses, device_node_name

from .bench_node import BenchNode
from .bring_up import BringUp, BringUpError
from .executor import make_executor
from .link import Link
from .qos import LEASE_TOPIC, STATE

_ANSWER_S, _ENABLE_S = 10.0, 5.0


class Pilot(BenchNode):
    """Speaks as the protocol node, with a lease that counts as long as this process runs."""

    def __init__(self) -> None:
        super().__init__("pilot", heartbeat_topic=LEASE_TOPIC)
        self.node_state = NodeState.ACTIVE
        self.link = Link(self)
        buses = device_buses(self.bench)
        self._bring_up = BringUp(self, [device_node_name(bus) for bus in buses], self.silence_s)
        self._triggers = {
            name: self.create_client(Trigger, name)
            for name in ("estop", "interlock/reset", "interlock/disarm")
        }
        self._lock_out = self.create_client(LockOut, "interlock/lock_out")
        self._give_back = self.create_client(GiveBack, "interlock/give_back")
        self._devices: dict[str, int] = {}
        for bus in buses:
            self.create_subscription(BenchState, f"{device_node_name(bus)}/state", self._state, STATE)

    def _state(self, message: BenchState) -> None:
        self._devices |= dict(zip(message.devices, message.states, strict=True))

    def beat(self, message: Heartbeat) -> None:
        self.link.lease += 1
        message.node, message.lease = PROTOCOL, self.link.lease

    # ------------------------------------------------------------------ requests, in a thread of their own

    def carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer to one request; ``error`` says why it could not be carried out."""
        do = getattr(self, f"do_{request.pop('do')}")
        try:
            return do(**request) or {}
        except (BenchTrip, BringUpError, TimeoutError) as error:
            return {"error": str(error)}

    def do_arm(self) -> dict[str, Any]:
        deadline_s = time.monotonic() + _ANSWER_S
        while True:
            answer = self.link.call(self.link.arm, Arm.Request(), _ANSWER_S)
            if answer.armed or not answer.passing or time.monotonic() > deadline_s:
                break
            time.sleep(0.02)
        return {"armed": answer.armed, "reason": answer.reason, "latency_s": answer.self_test_latency}

    def do_move(self, role: str, mode: str, target: float, rate: float) -> None:
        """Torque on; returns when the drive itself says that it is."""
        record = self.bench.actuator[role]
        bus = self.bench.device[record.device].bus
        request = Command.Request(
            role=role, mode=getattr(Command.Request, mode.upper()), target=target, rate=rate
        )
        answer = self.link.call(self.link.command[bus], request, _ANSWER_S)
        if answer.outcome != Command.Response.DONE:
            raise BenchTrip(answer.reason)
        self._await(lambda: self._devices.get(record.device) == BenchState.ENABLED, f"{record.device} on")

    def do_trigger(self, service: str) -> dict[str, Any]:
        answer = self.link.call(self._triggers[service], Trigger.Request(), _ANSWER_S)
        return {"success": answer.success, "message": answer.message}

    def do_lock_out(self, who: str) -> dict[str, Any]:
        answer = self.link.call(self._lock_out, LockOut.Request(who=who), _ANSWER_S)
        return {"taken": answer.taken, "pin": answer.pin, "reason": answer.reason}

    def do_give_back(self, who: str, pin: str) -> dict[str, Any]:
        answer = self.link.call(self._give_back, GiveBack.Request(who=who, pin=pin), _ANSWER_S)
        return {"given_back": answer.given_back, "reason": answer.reason}

    def do_state(self) -> dict[str, Any]:
        message = self.link.interlock
        return {
            "state": message.state,
            "permission": message.permission,
            "cause": message.cause,
            "subject": message.subject,
            "reason": message.reason,
            "tripped_at_s": message.tripped_at,
            "tripped_utc_s": message.tripped.sec + 1e-9 * message.tripped.nanosec,
            "lockout": message.lockout,
        }

    def do_await_trip(self) -> dict[str, Any]:
        self._await(lambda: bool(self.link.tripped_by), "a trip")
        return self.do_state()

    def do_await_disarmed(self) -> None:
        """A reset is answered before the state that it leads to has been heard."""
        self._await(lambda: self.link.interlock.state == InterlockState.DISARMED, "disarmed interlock")

    def do_recover(self) -> None:
        """After a trip: the device nodes that have an error opened anew. The interlock is not touched."""
        for bus in device_buses(self.bench):
            self._bring_up.recover(device_node_name(bus))

    def _await(self, condition: Any, what: str) -> None:
        deadline_s = time.monotonic() + _ENABLE_S
        while not condition():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no {what} within {_ENABLE_S:g} s")
            time.sleep(0.002)


def _serve(pilot: Pilot) -> None:
    for line in sys.stdin:
        answer = pilot.carry_out(json.loads(line))
        clean = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in answer.items()}
        sys.stdout.write(json.dumps(clean) + "\n")
        sys.stdout.flush()
    rclpy.try_shutdown()


def main() -> None:
    """Serves until standard input ends."""
    die_with_parent()
    rclpy.init()
    pilot = Pilot()
    executor = make_executor()
    executor.add_node(pilot)
    threading.Thread(target=_serve, args=(pilot,), daemon=True).start()
    with contextlib.suppress(ExternalShutdownException, KeyboardInterrupt), clock.seat():
        executor.spin()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
