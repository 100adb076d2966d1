"""One bus: its devices, its cycle, its torque.

The bus belongs to the thread of a `BusRunner`; ROS callbacks only hand set-points to it and blocks away from it. Torque
flows only while all of this holds, and the bus thread itself asks in every cycle: the interlock is heard and permits it, the
protocol node is heard, and its engine goes on polling.

What this node says of its permission is what the drives say of themselves: 0 only once they are off, and the one on trial only
once they are on. The interlock's self-test so measures the way to the power stage, not the way to this process.
"""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray
from pilotbench_interfaces.msg import BenchState, Heartbeat, InterlockState, SampleBlock
from pilotbench_interfaces.srv import Command

from drivers import clock
from drivers.device import Block, CommandRefused, DriverError, Mode, Setpoint
from drivers.runner import BusRunner, RunnerState
from verification_platform.bench.alarm import Alarm
from verification_platform.bench.description import BenchError
from verification_platform.bench.devices import devices_on, family, group_for
from verification_platform.bench.interlock import InterlockState as State
from verification_platform.bench.interlock import NodeState
from verification_platform.bench.liveness import HANG_FACTOR, Peer
from verification_platform.records.cdr import encode_block

from .bench_node import BenchNode
from .device_messages import STATES, bench_state, statistics_of
from .listener import Listener
from .process import run
from .qos import INTERLOCK_TOPIC, LEASE_TOPIC, SAMPLES, STATE, heartbeat, samples_topic

#: Rows are gathered for so many heartbeats: the interlock sees a limit crossed at most that late.
_BLOCK_HEARTBEATS = 1
_MODES = {
    Command.Request.POSITION: Mode.POSITION,
    Command.Request.VELOCITY: Mode.VELOCITY,
    Command.Request.TORQUE: Mode.TORQUE,
}


class DeviceNode(BenchNode):
    """Parameter `bus` names the bus. Topics out: samples, state, diagnostics, heartbeat; service `command`."""

    def __init__(self) -> None:
        super().__init__("device_node")
        self.declare_parameter("bus", "")
        self._bus = self.get_parameter("bus").get_parameter_value().string_value
        if self._bus not in self.bench.bus:
            raise BenchError(f"parameter bus: {self._bus!r} is not a bus of bench {self.bench.bench.id}")
        self._roles = self.bench.actuators_on(self._bus)
        self._devices = tuple(devices_on(self.bench, self._bus))
        self._runner: BusRunner | None = None
        self._interlock = (State.DISARMED, 0, "")  # state, permission, reason: replaced as one
        self._on_trial = False  # the interlock tests itself
        self._rehearsed = 0  # the permission under which the rehearsal for that was begun
        self._held = 0  # the last permission under which torque could flow
        self._lease = -1
        self._bus_listener, self._ros_listener = (Listener(2.0 * self.period_s) for _ in range(2))
        self._listeners = (self._bus_listener, self._ros_listener)
        self._last_forbidden: str | None = None
        self._interlock_process, self._protocol_process = Peer(), Peer()
        self._told_permission = 0
        self._shown: tuple[object, ...] = ()
        # Stamps are of the bench's clock; one offset for the life of the node keeps the UTC of the blocks as even as they are.
        self._utc_offset_ns = time.time_ns() - round(clock.now() * 1e9)
        self._samples = self.create_publisher(SampleBlock, samples_topic(self._bus), SAMPLES)
        self._states = self.create_publisher(BenchState, f"{self.get_name()}/state", STATE)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(
            InterlockState, INTERLOCK_TOPIC, self._interlock_heard, heartbeat(self.silence_s)
        )
        self.create_subscription(Heartbeat, LEASE_TOPIC, self._protocol_heard, heartbeat(self.silence_s))
        self.create_service(Command, f"{self.get_name()}/command", self._command)
        # The bus thread wakes this one up: what others must know does not wait for the next heartbeat.
        self._changed = self.create_guard_condition(self.send_heartbeat)
        self.create_timer(0.1, self._show_state)
        self.create_timer(1.0, self._show_statistics)

    # ------------------------------------------------------------------ permission for torque

    def _interlock_heard(self, message: InterlockState) -> None:
        self._interlock_process.introduce(message.pid, message.machine)
        self._interlock = (State(message.state), message.permission, message.reason)
        for listener in self._listeners:
            listener.interlock.heard()
        self._on_trial = message.on_trial
        if self._interlock[0] is not State.ARMED:
            self._rehearsed = 0
        elif message.on_trial and message.permission != self._rehearsed:
            self._rehearse(message.permission)
        if self._permission() != self._told_permission:
            self.send_heartbeat()  # the interlock measures how fast this is

    def _protocol_heard(self, message: Heartbeat) -> None:
        self._protocol_process.introduce(message.pid, message.machine)
        for listener in self._listeners:
            listener.protocol.heard()
        if message.lease != self._lease:
            self._lease = message.lease
            if self._runner is not None:
                self._runner.renew_lease()

    def _forbidden(self, listener: Listener) -> str | None:
        """Why no torque may flow now, as far as the thread of `listener` knows. Reads only, never blocks."""
        state, _, reason = self._interlock
        if state is not State.ARMED:
            return reason or "the interlock is not armed"
        missing = listener.missing(self._interlock_process, self._protocol_process, self.silence_s)
        if missing is not None:
            return missing
        if self.node_state is not NodeState.ACTIVE:
            return f"{self.get_name()} is not active"
        return None

    def _guard(self) -> str | None:
        """Asked by the bus thread in every cycle with torque."""
        return self._forbidden(self._bus_listener) or self._last_forbidden

    def _permission(self) -> int:
        """The interlock's permission under which torque may flow here; 0 for none, and the drives are off."""
        runner = self._runner
        forbidden = self._forbidden(self._ros_listener)
        # The bus thread asks only while there is torque; this thread asks all the time.
        self._last_forbidden = forbidden if self._interlock[0] is State.ARMED else None
        if runner is None:
            return 0
        if runner.state is not RunnerState.RUNNING or runner.failure is not None or forbidden is not None:
            return self._held if runner.torque else 0
        permission = self._interlock[1]
        if self._on_trial and self._roles and not (permission == self._rehearsed and runner.rehearsed):
            return 0  # not before the drives are on
        self._held = permission
        return permission

    def _rehearse(self, permission: int) -> None:
        """The self-test: every drive of this bus on, with nothing to do; the bus thread takes the torque off again."""
        runner = self._runner
        if runner is None or not self._roles or self._forbidden(self._ros_listener) is not None:
            return  # and tried again with the interlock's next message
        self._rehearsed = permission
        setpoints = {
            role.device: _at_rest(self._modes[role.device], runner, role.device)
            for role in self._roles.values()
        }
        runner.rehearse(setpoints, min(role.max_rate.velocity for role in self._roles.values()))

    # ------------------------------------------------------------------ set-points

    def _command(self, request: Command.Request, response: Command.Response) -> Command.Response:
        role, runner = self._roles.get(request.role), self._runner
        if role is None:
            response.outcome, response.reason = (
                Command.Response.REFUSED,
                f"bus {self._bus} has no actuator {request.role!r}",
            )
            return response
        if runner is None:
            response.outcome, response.reason = (
                Command.Response.FAILED,
                f"{self.get_name()} is not configured",
            )
            return response
        try:
            if request.mode == Command.Request.OFF:
                runner.rest(role.device)
            elif request.mode in _MODES:
                self._go(runner, request, response)
            elif request.mode != Command.Request.QUERY:
                response.outcome, response.reason = Command.Response.REFUSED, f"mode {request.mode} is none"
        except CommandRefused as error:
            response.outcome, response.reason = Command.Response.REFUSED, error.what
            if runner.state is not RunnerState.RUNNING:
                response.outcome, response.reason = Command.Response.FAILED, runner.failure or error.what
        except DriverError as error:
            response.outcome, response.reason = Command.Response.FAILED, str(error)
        response.position, response.moving = self._position(runner, role.device), runner.moving(role.device)
        return response

    def _go(self, runner: BusRunner, request: Command.Request, response: Command.Response) -> None:
        forbidden = self._forbidden(self._ros_listener)
        if forbidden is None and self._on_trial:
            forbidden = "the interlock is testing itself"
        if forbidden is not None:
            response.outcome, response.reason = Command.Response.NOT_PERMITTED, forbidden
            return
        role = self._roles[request.role]
        setpoint = Setpoint(_MODES[request.mode], request.target, request.rate)
        runner.command(role.device, setpoint, role.max_rate.velocity)

    @staticmethod
    def _position(runner: BusRunner, device: str) -> float:
        commanded = runner.commanded(device)
        if commanded is not None and commanded.mode is Mode.POSITION:
            return commanded.value
        return runner.measured(device, Mode.POSITION)

    # ------------------------------------------------------------------ what goes out

    def _publish(self, block: Block) -> None:
        """Called from the runner's delivery thread."""
        stamp_ns = round(float(block.stamps_s[0]) * 1e9) + self._utc_offset_ns
        self._samples.publish(encode_block(block, stamp_ns))

    def send_heartbeat(self) -> None:
        """First the news, then what follows from it here."""
        super().send_heartbeat()
        if self.node_state in (NodeState.ERROR, NodeState.LOST) and self.active:
            self.trigger_deactivate()

    def beat(self, message: Heartbeat) -> None:
        self._watch()
        message.state, message.detail = int(self.node_state), self.detail
        message.permission = self._told_permission = self._permission()

    def _watch(self) -> None:
        """A runner that has tripped or lost its wire makes this node inactive, with the reason."""
        runner = self._runner
        if runner is None or runner.failure is None or self.node_state in (NodeState.ERROR, NodeState.LOST):
            return
        self.node_state = NodeState.LOST if runner.lost else NodeState.ERROR
        self.detail = runner.failure
        self.get_logger().error(runner.failure)

    def _show_state(self) -> None:
        runner = self._runner
        if runner is None:
            return
        states = [STATES[runner.device_state(device)] for device in self._devices]
        modes = []
        for role in self._roles.values():
            commanded = runner.commanded(role.device)
            modes.append("" if commanded is None else commanded.mode.value)
        shown = (self._permission(), *states, *modes, runner.failure)
        if shown == self._shown:
            return
        self._shown = shown
        message = bench_state(runner, self._devices, states, dict(zip(self._roles, modes, strict=True)))
        message.stamp = self.get_clock().now().to_msg()
        message.group, message.torque_permitted = self._bus, bool(shown[0])
        self._states.publish(message)

    def _show_statistics(self) -> None:
        runner = self._runner
        if runner is None:
            return
        message = DiagnosticArray(status=[statistics_of(runner, self._bus)])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    # ------------------------------------------------------------------ lifecycle

    def configure(self) -> None:
        """Open the bus, identify every device, arm their watchdogs; the samples begin to flow, torque is off."""
        group = group_for(self.bench, self._bus)
        of = family(self.bench, self._bus)
        self._modes = {
            role.device: of.describe(self.bench.device[role.device].model).modes
            for role in self._roles.values()
        }
        rows = max(1, round(_BLOCK_HEARTBEATS * self.period_s / group.period_s))
        self._runner = BusRunner(
            group,
            self._publish,
            block_rows=rows,
            lease_s=HANG_FACTOR * self.silence_s,
            guard=self._guard,
            on_change=self._changed.trigger,
            urgent=Alarm(self.bench.interlock, group.channels),
            processor=self.bench.bus[self._bus].processor,
        )
        self._runner.start()
        for identity in self._runner.identities:
            self.get_logger().info(
                f"{identity.device}: {identity.model}, serial {identity.serial}, firmware {identity.firmware}"
            )

    def activate(self) -> None:
        """Torque may flow from now on, when the interlock permits it."""
        if self._runner is not None and self._runner.failure is not None:
            raise DriverError(self._bus, self._runner.failure)

    def deactivate(self) -> None:
        """Torque off on every actuator of this bus."""
        runner = self._runner
        if runner is None or runner.state is not RunnerState.RUNNING or runner.failure is not None:
            return
        for role in self._roles.values():
            runner.rest(role.device)

    def release(self) -> None:
        """Torque off, watchdogs disarmed, bus closed."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop(timeout_s=2.0)


def _at_rest(modes: tuple[Mode, ...], runner: BusRunner, device: str) -> Setpoint:
    """A set-point under which nothing moves: no torque where the drive can be told so, else no speed, else where it is."""
    if Mode.TORQUE in modes:
        return Setpoint(Mode.TORQUE, 0.0, 1.0)
    if Mode.VELOCITY in modes:
        return Setpoint(Mode.VELOCITY, 0.0, 1.0)
    return Setpoint(Mode.POSITION, runner.measured(device, Mode.POSITION), 0.01)


def main() -> None:
    run(DeviceNode, priority=40)


if __name__ == "__main__":
    main()
