"""All emulated devices of a bench in one process, around one plant, in real time.

`EmulatorHost` serves any number of CAN hubs and serial lines on one event loop. The plant is brought to the
present on every request; all nodes of a CAN bus latch it at the same instant when a SYNC arrives; the
devices' own watchdogs run on timers, so they fire although nobody sends anything any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class CanSeatPlan:
    """An emulated node to be built: `name` is the plant's name for it."""

    name: str
    node: int
    model: CanopenModel
    serial: int = 1


class CanRack:
    """The emulated nodes of one bus: a seat at the hub each, with SYNC shared out in two phases."""

    def __init__(self, hub: CanHub, advance: Callable[[float], None], loop: EventLoop) -> None:
        self.hub, self._advance, self._loop = hub, advance, loop
        self.nodes: dict[str, EmulatedNode] = {}
        self._seats: dict[str, _NodeSeat] = {}
        self._timer_s = float("inf")
        self._ear = _SyncSeat(self)
        hub.join(self._ear)

    def add(self, plan: CanSeatPlan, plant: Plant, on_power: PowerEvent) -> EmulatedNode:
        seat = _NodeSeat(self)

        def send(frame: Frame) -> None:
            self.hub.transmit(seat, frame, self._loop.clock())

        node: EmulatedNode
        if plan.model.profile == "cia402":
            node = EmulatedServo(plan.name, plan.node, plan.model, plant, send, plan.serial, on_power)
        else:
            node = EmulatedEncoder(plan.name, plan.node, plan.model, plant, send, plan.serial)
        seat.node = node
        self.hub.join(seat)
        self.nodes[plan.name], self._seats[plan.name] = node, seat
        return node

    def start(self, now_s: float) -> None:
        for node in self.nodes.values():
            node.start(now_s)
        self.settle(now_s)

    def unplug(self, name: str) -> None:
        """Fault injection: the connector of one node is pulled."""
        self.hub.leave(self._seats[name])

    def on_sync(self, now_s: float) -> None:
        self._advance(now_s)
        for node in self.nodes.values():
            node.latch(now_s)
        for node in self.nodes.values():
            node.answer(now_s)

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
        due = min((node.next_due() for node in self.nodes.values()), default=float("inf"))
        hub_due = self.hub.next_due()
        if hub_due is not None:
            due = min(due, hub_due)
        if due < self._timer_s:
            self._timer_s = due
            self._loop.call_at(due, self.on_timer)


class _NodeSeat:
    """Hands frames to one node; SYNC is dealt with for all of them together."""

    def __init__(self, rack: CanRack) -> None:
        self._rack = rack
        self.node: EmulatedNode | None = None

    def deliver(self, frame: Frame, now_s: float) -> None:
        if self.node is not None and frame.can_id != SYNC_ID:
            self.node.on_frame(frame, now_s)


class _SyncSeat:
    def __init__(self, rack: CanRack) -> None:
        self._rack = rack

    def deliver(self, frame: Frame, now_s: float) -> None:
        if frame.can_id == SYNC_ID and not frame.error:
            self._rack.on_sync(now_s)


class EmulatorHost:
    """Build with `can` and `serial`, then `run` in the process's main thread until `stop`."""

    def __init__(self, plant: Plant, on_power: PowerEvent = lambda *_: None) -> None:
        self.plant, self.loop = plant, EventLoop()
        self._on_power = on_power
        self._begin_s = clock.now()
        self.frozen_s = (
            0.0  # time in which this process was not scheduled; its devices did not live through it
        )
        self.on_frozen: Callable[[float, float], None] | None = None
        self.racks: dict[str, CanRack] = {}
        self.lines: dict[str, RtuLine] = {}
        self.servers: dict[str, HubServer] = {}

    def can(
        self, bus: str, path: Path, bitrate: int, plans: Sequence[CanSeatPlan], *, paced: bool = False
    ) -> str:
        """Add a CAN bus that listens at `path`; returns its URI."""
        hub = CanHub(bitrate, paced=paced)
        rack = CanRack(hub, self.advance, self.loop)
        for plan in plans:
            rack.add(plan, self.plant, self._on_power)
        server = HubServer(path, hub, self.loop, rack.settle)
        self.racks[bus], self.servers[bus] = rack, server
        rack.start(self.loop.clock())
        return server.uri

    def serial(self, bus: str, baudrate: int, slaves: Sequence[EmulatedSlave]) -> str:
        """Add a serial line on a new pty; returns its URI."""
        self.lines[bus] = RtuLine(self.loop, self.advance, slaves, baudrate)
        return self.lines[bus].uri

    def advance(self, now_s: float) -> None:
        """Bring the plant to the present."""
        self.plant.advance(now_s - self._begin_s)

    def _frozen(self, frozen_s: float) -> None:
        self.frozen_s += frozen_s
        if self.on_frozen is not None:
            self.on_frozen(self.loop.clock(), frozen_s)
        for rack in self.racks.values():
            for node in rack.nodes.values():
                node.excuse(frozen_s)

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
