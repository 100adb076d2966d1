"""All emulated devices of a bench in one process, around one plant, in real time.

`EmulatorHost` serves any number of CAN hubs and serial lines on one event loop. The plant is brought to the
present on every request; all nodes of a CAN bus latch it at the same instant when a SYNC arrives; the
devices' own watchdogs run on timers, so they fire although nobody sends anything any more.

What a family brings along: for CAN an `EmulatedCanNode` and a plan that builds it; for a serial line or TCP an
`EmulatedLine` with all of its devices (see `drivers.emulators.families`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from drivers import clock
from drivers.bus.can_hub import CanHub
from drivers.bus.event_loop import EventLoop
from drivers.bus.frame import Frame
from drivers.bus.hub_server import HubServer
from drivers.canopen.codec import SYNC_ID
from drivers.canopen.model import CanopenModel
from drivers.emulators.canopen_node import EmulatedNode
from drivers.emulators.encoder406 import EmulatedEncoder
from drivers.emulators.modbus_slave import EmulatedSlave, RtuLine
from drivers.emulators.plant import Plant
from drivers.emulators.servo402 import EmulatedServo, PowerEvent

#: With nobody asking, the plant is moved on so often.
IDLE_S = 0.02


class EmulatedCanNode(Protocol):
    """A device on an emulated CAN bus. Nothing in it blocks; times are of the bench's clock."""

    def start(self, now_s: float) -> None:
        """Power-up."""

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """Every frame on the bus but its own and, for CANopen, SYNC (080h)."""

    def next_due(self) -> float:
        """When `tick` wants to be called next: telemetry, heartbeat, watchdog; inf for never."""
        ...

    def tick(self, now_s: float) -> None: ...

    def excuse(self, frozen_s: float) -> None:
        """The emulator itself stood still for so long: a watchdog must not count it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an emulated device is given: the machine behind it, and who wants to know of its torque.

    `advance(now_s)` brings the plant to the present; whoever reads the plant outside SYNC calls it first.
    """

    plant: Plant
    advance: Callable[[float], None]
    on_power: PowerEvent
    loop: EventLoop


class CanNodePlan(Protocol):
    """An emulated node to be built; `name` is the plant's name for it."""

    @property
    def name(self) -> str: ...

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedCanNode: ...


class EmulatedLine(Protocol):
    """A serial line (or TCP port) with its devices. `uri` is what a bench description names."""

    @property
    def uri(self) -> str: ...

    def excuse(self, frozen_s: float) -> None:
        """See `EmulatedCanNode.excuse`."""

    def close(self) -> None:
        """Pull the adapter. Idempotent."""


@dataclass(frozen=True, slots=True)
class CanSeatPlan:
    """An emulated CANopen node to be built."""

    name: str
    node: int
    model: CanopenModel
    serial: int = 1

    def build(self, around: Surroundings, send: Callable[[Frame], None]) -> EmulatedNode:
        if self.model.profile == "cia402":
            return EmulatedServo(
                self.name, self.node, self.model, around.plant, send, self.serial, around.on_power
            )
        return EmulatedEncoder(self.name, self.node, self.model, around.plant, send, self.serial)


class CanRack:
    """The emulated nodes of one bus: a seat at the hub each, with SYNC shared out in three phases.

    The third, in which the drives compute, begins when the answers are on their way, or the next frame reaches a node.
    """

    def __init__(self, hub: CanHub, around: Surroundings) -> None:
        self.hub, self._around = hub, around
        self._advance, self._loop = around.advance, around.loop
        # The CANopen nodes: if there are any, 080h is SYNC; elsewhere it is a frame like any other.
        self._synchronous: list[tuple[EmulatedNode, _NodeSeat]] = []
        self.acting = False  # the third phase of the last SYNC is still to come
        self.nodes: dict[str, Any] = {}  # EmulatedCanNode, and what its family adds for tests
        self._seats: dict[str, _NodeSeat] = {}
        self._timer_s = float("inf")
        self._ear = _SyncSeat(self)
        hub.join(self._ear, SYNC_ID.__eq__)

    def add(self, plan: CanNodePlan) -> None:
        seat = _NodeSeat(self)

        transmit, now = self.hub.transmit, self._loop.clock

        def send(frame: Frame) -> None:
            transmit(seat, frame, now())

        seat.node = node = plan.build(self._around, send)
        if isinstance(node, EmulatedNode):
            self._synchronous.append((node, seat))
            node.on_rewired = self.hub.filters_changed
            hears = node.hears
            self.hub.join(seat, lambda can_id: can_id != SYNC_ID and hears(can_id))
        else:
            self.hub.join(seat)
        self.nodes[plan.name], self._seats[plan.name] = node, seat

    def start(self, now_s: float) -> None:
        for node in self.nodes.values():
            node.start(now_s)
        self.settle(now_s)

    def unplug(self, name: str) -> None:
        """Fault injection: the connector of one node is pulled."""
        self.hub.leave(self._seats[name])

    def on_sync(self, now_s: float) -> None:
        self.act()
        self._advance(now_s)
        for node, _ in self._synchronous:
            node.latch(now_s)
        transmit = self.hub.transmit_all
        for node, seat in self._synchronous:
            transmit(seat, node.answers(), now_s)
        self.acting = bool(self._synchronous)

    def act(self) -> None:
        """The third phase of the last SYNC, unless it is done."""
        if self.acting:
            self.acting = False
            for node, _ in self._synchronous:
                node.act()

    def on_timer(self, now_s: float) -> None:
        if now_s < self._timer_s:
            return  # an earlier appointment that has been replaced
        self._timer_s = float("inf")
        for node in self.nodes.values():
            if node.next_due() <= now_s:
                self._advance(now_s)
                node.tick(now_s)
        self.settle(now_s)

    def settle(self, now_s: float) -> None:
        """Move frames, then make sure that the loop comes back in time for the next heartbeat or watchdog."""
        self.hub.pump(now_s)
        if self.acting:
            self.act()
            self.hub.pump(now_s)  # an emergency
        due = min([node.next_due() for node in self.nodes.values()], default=float("inf"))
        hub_due = self.hub.next_due()
        if hub_due is not None:
            due = min(due, hub_due)
        if due < self._timer_s:
            self._timer_s = due
            self._loop.call_at(due, self.on_timer)


class _NodeSeat:
    """Hands frames to one node, those of the last SYNC being done with; a CANopen node's filter keeps out SYNC itself."""

    def __init__(self, rack: CanRack) -> None:
        self._rack = rack
        self.node: EmulatedCanNode | None = None  # until it is built

    def deliver(self, frame: Frame, now_s: float) -> None:
        if self._rack.acting:
            self._rack.act()
        if self.node is not None:
            self.node.on_frame(frame, now_s)


class _SyncSeat:
    def __init__(self, rack: CanRack) -> None:
        self._rack = rack

    def deliver(self, frame: Frame, now_s: float) -> None:
        if frame.can_id == SYNC_ID and not (frame.error or frame.extended):
            self._rack.on_sync(now_s)


class EmulatorHost:
    """Build with `can` and `serial`, then `run` in the process's main thread until `stop`."""

    def __init__(self, plant: Plant, on_power: PowerEvent = lambda *_: None) -> None:
        self.plant, self.loop = plant, EventLoop()
        self.around = Surroundings(plant, self.advance, on_power, self.loop)
        self._begin_s = self._reached_s = clock.now()
        self.frozen_s = (
            0.0  # time in which this process was not scheduled; its devices did not live through it
        )
        self.on_frozen: Callable[[float, float], None] | None = None
        self.racks: dict[str, CanRack] = {}
        self.lines: dict[str, EmulatedLine] = {}
        self.servers: dict[str, HubServer] = {}

    def can(
        self, bus: str, path: Path, bitrate: int, plans: Sequence[CanNodePlan], *, paced: bool = False
    ) -> str:
        """Add a CAN bus that listens at `path`; returns its URI."""
        hub = CanHub(bitrate, paced=paced)
        rack = CanRack(hub, self.around)
        for plan in plans:
            rack.add(plan)
        server = HubServer(path, hub, self.loop, rack.settle)
        self.racks[bus], self.servers[bus] = rack, server
        rack.start(self.loop.clock())
        return server.uri

    def line(self, bus: str, line: EmulatedLine) -> str:
        """Add a serial line with its devices; returns its URI."""
        self.lines[bus] = line
        return line.uri

    def serial(self, bus: str, baudrate: int, slaves: Sequence[EmulatedSlave]) -> str:
        """Add a line of Modbus slaves on a new pty; returns its URI."""
        return self.line(bus, RtuLine(self.loop, self.advance, slaves, baudrate))

    def advance(self, now_s: float) -> None:
        """Bring the plant to the instant that is being worked on; it never goes back."""
        self._reached_s = max(self._reached_s, now_s)
        self.plant.advance(self._reached_s - self._begin_s)

    def _frozen(self, frozen_s: float) -> None:
        self.frozen_s += frozen_s
        if self.on_frozen is not None:
            self.on_frozen(self.loop.clock(), frozen_s)
        for rack in self.racks.values():
            for node in rack.nodes.values():
                node.excuse(frozen_s)
        for line in self.lines.values():
            line.excuse(frozen_s)

    def run(self) -> None:
        self.loop.on_frozen = self._frozen
        self.loop.every(IDLE_S, self.advance)
        self.loop.run()

    def stop(self) -> None:
        """May be called from any thread or signal handler."""
        self.loop.stop()

    def unplug_lines(self) -> None:
        """Fault injection, from any thread or signal handler: the adapters of all serial lines are pulled."""

        def unplug(_now_s: float) -> None:
            for line in self.lines.values():
                line.close()

        self.loop.post(unplug)

    def close(self) -> None:
        """After `run` has returned: remove sockets and ptys."""
        for server in self.servers.values():
            server.close()
        for line in self.lines.values():
            line.close()
        self.loop.close()
