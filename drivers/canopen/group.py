"""All CANopen devices of one bus, latched by one SYNC: a row a cycle.

A cycle: drain what is left over → the master's heartbeat when due → one set-point frame a drive → SYNC →
collect the answers until all are there or the time is up. Everything on the wire comes from this one thread;
when it stops, the drives no longer hear the heartbeat and switch off.

What becomes of an answer that is missing, or comes twice, is in `sync_cycle`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame, wire_bits
from drivers.bus.transport import FrameBus
from drivers.canopen.codec import (
    EMCY_BASE,
    SDO_CLIENT_BASE,
    SDO_SERVER_BASE,
    NmtCommand,
    NmtState,
    heartbeat,
    nmt,
)
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.node import CanopenNode
from drivers.canopen.rows import Rows
from drivers.canopen.sync_cycle import SyncCycle
from drivers.device import (
    Command,
    CommandRefused,
    DriverError,
    Identity,
    Mode,
    Row,
    TransportTimeout,
)
from drivers.family import Column
from drivers.group import CanGroup
from drivers.realtime import AwakeClock
from drivers.timekeeper import Timekeeper

MASTER = 127
#: More than this leaves no room for SDO, EMCY and repetition of disturbed frames.
LARGEST_LOAD = 0.6
_BITS = tuple(wire_bits(n) for n in range(9))
#: Upload of 603Fh, and how its answer begins.
_ASK_ERROR_CODE, _ERROR_CODE = bytes.fromhex("403F600000000000"), bytes.fromhex("4B3F6000")


class CanopenGroup(CanGroup[CanopenNode]):
    """Implements `drivers.device.Group`. Raises ValueError when the bus could not carry the cycle."""

    def __init__(
        self,
        name: str,
        nodes: Sequence[CanopenNode],
        columns: Sequence[Column],
        *,
        uri: str,
        bitrate: int,
        period_s: float,
        watchdog_s: float = 0.1,
        patience_s: float = 0.03,
        lost_s: float = 0.1,
        open_bus: Callable[[str, str, int], FrameBus] = open_can,
    ) -> None:
        super().__init__(name, nodes, columns, uri=uri, bitrate=bitrate, period_s=period_s, open_bus=open_bus)
        self._nodes = tuple(nodes)
        self._drives = tuple(node for node in nodes if isinstance(node, Cia402Drive))
        self._watchdog_s, self._heartbeat_s = watchdog_s, watchdog_s / 8.0
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: the cycle would load the bus to {load:.0%}, at most {LARGEST_LOAD:.0%} is sound"
            )
        self._emergencies = {EMCY_BASE + node.node: node for node in nodes}
        self._heartbeats = {node.heartbeat_id: node for node in nodes}
        self._answers = {SDO_SERVER_BASE + node.node: node for node in nodes}
        self._beat = heartbeat(MASTER, NmtState.OPERATIONAL)
        self._next_beat_s = 0.0
        self._slice_s = max(5.0 * period_s, 0.01)
        self._clock = AwakeClock(self._slice_s, clock.now())
        self._rows = Rows(self._columns)
        self._sync = SyncCycle(
            nodes,
            self,
            collect_s=0.75 * period_s,
            slice_s=self._slice_s,
            patience_s=patience_s,
            lost_s=lost_s,
        )

    # ── Group ──

    def planned_load(self) -> float:
        """Share of the bus time that one cycle takes in the worst case (heartbeats included)."""
        bits = _BITS[0] + _BITS[1] * (1 + len(self._members)) * self._period_s / self._heartbeat_s
        for node in self._members.values():
            bits += sum(_BITS[node.model.layout(names).size] for names in node.model.tpdos)
        for drive in self._drives:
            bits += max(_BITS[drive.model.layout(names).size] for names in drive.model.rpdos.values())
        return bits / (self._period_s * self._bitrate)

    def open(self) -> list[Identity]:
        """Open, identify, configure, arm, start. Raises the DriverError of the first device that is not in
        order.
        """
        self._connect()
        try:
            return self._start()
        except BaseException:
            self.hush()
            raise

    def _start(self) -> list[Identity]:
        bus = self._opened()
        nodes = self._members.values()
        self._rows.restart()
        self._sync.restart()
        for node in nodes:
            node.attach(bus, self._handle)
        self._drain()
        # Nothing but reads before it is known who is there: it might be another bus.
        identities = [self._identify(node) for node in nodes]
        for node in nodes:
            self._send(nmt(NmtCommand.PRE_OPERATIONAL, node.node))
        self._drain()
        for node in nodes:
            node.prepare(self._period_s)
        for drive in self._drives:
            drive.arm_watchdog(self._watchdog_s, MASTER)
        for node in nodes:
            self._send(nmt(NmtCommand.START, node.node))
        self._send(self._beat)
        now = clock.now()
        self._next_beat_s = now + self._heartbeat_s
        self._clock = AwakeClock(self._slice_s, now)
        for node in nodes:
            node.begin(self._clock.time_s)
        return identities

    def _identify(self, node: CanopenNode) -> Identity:
        try:
            return node.identify()
        except (
            TransportTimeout
        ):  # perhaps stopped by an earlier end: then it answers NMT only (CiA 301, 7.3.2.2.4)
            self._send(nmt(NmtCommand.PRE_OPERATIONAL, node.node))
            return node.identify()

    def enable(self, device: str, mode: Mode) -> None:
        self._drive(device).enable(mode)

    def disable(self, device: str) -> None:
        self._drive(device).disable()

    def measured(self, device: str, mode: Mode) -> float:
        return self._drive(device).values[mode.value]

    def homes(self, device: str) -> bool:
        node = self._member(device)
        return isinstance(node, Cia402Drive) and node.model.homing is not None

    def home(self, device: str, allowed: Callable[[Row], str | None] = lambda _: None) -> None:
        """Home a drive and take its torque off again. Never in a run: the position begins anew.

        Blocks, in the owner's thread, for at most the time of the model table. `allowed` is asked after every cycle, the first
        of which gives no torque yet; a reason ends it. Whatever goes wrong, it is not tried again. Raises CommandRefused,
        DeviceFault, TransportTimeout.
        """
        drive = self._drive(device)
        drive.begin_homing()
        longest_s = drive.model.homing.longest_s if drive.model.homing is not None else 0.0
        time = Timekeeper(self._name, self._period_s)
        until = clock.now() + longest_s
        try:
            while not drive.homed:
                if time.await_cycle() > until:
                    raise TransportTimeout(device, f"homing was not done after {longest_s:g} s")
                reason = allowed(self.cycle({}))
                if reason is not None:
                    raise CommandRefused(device, f"homing is not allowed: {reason}")
        finally:
            self.safe_stop()
            drive.end_homing()

    def halt(self, device: str, on: bool) -> None:
        """Stop a drive in a profile mode on its own ramp, torque staying on; or let it go on."""
        self._drive(device).halt(on)

    def limits(self, device: str, mode: Mode) -> tuple[float, float]:
        largest = self._drive(device).limits[mode]
        return -largest, largest

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """One cycle. Raises DeviceFault once for each new fault, CommandRefused, TransportLost, BusOff."""
        self._drain()
        self.beat_if_due(clock.now())
        row = self._rows.row(self._sync.run(lambda: self._set_points(commands)))
        self._check(self.awake_s())
        return row

    def safe_stop(self) -> None:
        """Quick stop where the model has one, for as long as it allows; then disable voltage with SYNC until every
        drive has confirmed, at most ten cycles; then NMT stop as the last word.
        """
        stopping = [drive for drive in self._drives if drive.begin_quick_stop()] if self._bus else []
        for drive in self._drives:
            drive.disable()
        if self._bus is None:
            return
        with contextlib.suppress(DriverError):
            self._quick_stop(stopping)
        for drive in stopping:
            drive.end_quick_stop()
        with contextlib.suppress(DriverError):
            for _ in range(10):
                self._insist()
                if not any(drive.torque_may_flow for drive in self._drives if not drive.lost):
                    return
            for drive in self._drives:
                if drive.torque_may_flow:
                    self._send(nmt(NmtCommand.STOP, drive.node))

    def _quick_stop(self, drives: Sequence[Cia402Drive]) -> None:
        """Until all stand still by their own feedback, or the time of their tables is up."""
        time = Timekeeper(self._name, self._period_s)
        longest_s = max((d.model.quick_stop.longest_s for d in drives if d.model.quick_stop), default=0.0)
        until = clock.now() + longest_s
        while (
            not all(drive.at_rest or drive.lost for drive in drives) and (now := time.await_cycle()) < until
        ):
            self.beat_if_due(now)
            self._insist()

    def close(self) -> None:
        """Torque off, watchdogs disarmed, nodes pre-operational, bus closed. Never raises."""
        if self._bus is None:
            return
        self.safe_stop()
        for node in self._members.values():
            node.end()
        with contextlib.suppress(DriverError):
            for drive in self._drives:
                if not drive.lost:
                    drive.disarm_watchdog()
            for node in self._members.values():
                self._send(nmt(NmtCommand.PRE_OPERATIONAL, node.node))
        self.hush()

    # ── the cycle ──

    def _insist(self) -> None:
        """A cycle without set-points, whatever is open; the row counts for the ages of the next ones."""
        self._drain()
        self._rows.row(self._sync.insist(lambda: self._set_points({})))

    def _set_points(self, commands: Mapping[str, Command]) -> list[Frame]:
        """All are checked before the first is sent."""
        now, command = self.awake_s(), commands.get
        return [drive.rpdo(command(drive.name), now) for drive in self._drives]

    def _check(self, now: float) -> None:
        """`now` on the awake clock."""
        for node in self._nodes:
            node.check(now)
        for drive in self._drives:
            if drive.wants_cause:
                drive.wants_cause = False
                self._send(Frame(SDO_CLIENT_BASE + drive.node, _ASK_ERROR_CODE))
        faults = [node.unread for node in self._nodes if node.unread is not None]
        if faults:
            for node in self._nodes:
                node.take_fault()
            raise faults[0]

    # ── frames ──

    def send_all(self, frames: Sequence[Frame]) -> None:
        """See `sync_cycle.Wire`, as the next three."""
        self._send_all(frames)

    def receive(self, deadline_s: float) -> None:
        self._handle_all(self._opened().recv_all(deadline_s))

    def beat_if_due(self, now_s: float) -> None:
        if now_s >= self._next_beat_s:
            self._send(self._beat)
            self._next_beat_s = now_s + self._heartbeat_s

    def awake_s(self) -> float:
        return self._clock.tick(clock.now())

    def _handle(self, frame: Frame) -> None:
        self._handle_all((frame,))

    def _handle_all(self, frames: Sequence[Frame]) -> None:
        self._bits += sum([_BITS[len(frame[1])] for frame in frames])
        for frame in self._sync.take(frames):
            self._sort(frame)

    def _sort(self, frame: Frame) -> None:
        """What is no process data."""
        can_id = frame.can_id
        beating = self._heartbeats.get(can_id)
        if beating is not None:
            beating.on_heartbeat(frame.data, self._clock.time_s)
        elif can_id in self._emergencies:
            self._emergencies[can_id].on_emergency(frame.data)
        elif can_id in self._answers:
            self._on_sdo(self._answers[can_id], frame.data)
        else:
            self._foreign += 1

    def _on_sdo(self, node: CanopenNode, response: bytes) -> None:
        """Of what is asked in a cycle; who waits for an answer at start gets it himself."""
        if response[:4] == _ERROR_CODE and isinstance(node, Cia402Drive):
            node.on_error_code(int.from_bytes(response[4:6], "little"))
        else:
            self._sync.pass_barrier(node, response)

    def _drain(self) -> None:
        bus = self._opened()
        while (frame := bus.poll()) is not None:
            self._handle(frame)

    def _drive(self, device: str) -> Cia402Drive:
        node = self._member(device)
        if not isinstance(node, Cia402Drive):
            self._no_setpoints(device)
        return node
