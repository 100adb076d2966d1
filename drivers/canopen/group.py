"""All CANopen devices of one bus, latched by one SYNC: a row a cycle.

A cycle: drain what is left over → the master's heartbeat when due → one set-point frame a drive → SYNC →
collect the answers until all are there or the time is up. Everything on the wire comes from this one thread;
when it stops, the drives no longer hear the heartbeat and switch off.

What if an answer is missing? A TPDO carries no cycle number, so a late one must never be taken for that of
the next cycle. When the time is up the node is asked for its identity (an SDO, the *barrier*), and no
further SYNC is sent until the answer or the barrier is there: CAN and the adapters keep the order of one
node's frames. The process data first: it was late, and is good; the cycle took longer, the next ones are
skipped. The barrier first: the process data is lost, its values are STALE. Usually that costs one sample.
After `patience_s` the cycle returns STALE values anyway, and the following cycles wait for the barrier before
they send SYNC again; after `lost_s` the node is lost.

And if one comes twice? Then the SYNC may have been heard twice (a CAN receiver takes a frame that its sender, disturbed
in the last bit, repeats), and of other nodes the second answer may still be on its way. So every node is asked for a
barrier before the next SYNC.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame, wire_bits
from drivers.bus.transport import FrameBus
from drivers.canopen.codec import (
    EMCY_BASE,
    SDO_CLIENT_BASE,
    SDO_SERVER_BASE,
    SYNC,
    TPDO_BASE,
    NmtCommand,
    NmtState,
    heartbeat,
    nmt,
)
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.node import CanopenNode
from drivers.device import (
    Command,
    CommandRefused,
    DriverError,
    Identity,
    Mode,
    Quality,
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
#: Uploads in turn of objects that every node has, so that the answer to an earlier barrier is not taken for that of a
#: later one: 1018h:00…04, device type, error register, heartbeat time.
_BARRIERS = tuple(
    bytes((0x40, index & 0xFF, index >> 8, subindex)) + bytes(4)
    for index, subindex in (*((0x1018, n) for n in range(5)), (0x1000, 0), (0x1001, 0), (0x1017, 0))
)
_GOOD = Quality.GOOD

#: Upload of 603Fh, and how its answer begins.
_ASK_ERROR_CODE, _ERROR_CODE = bytes.fromhex("403F600000000000"), bytes.fromhex("4B3F6000")


@dataclass(slots=True)
class _Round:
    """What is under way in the present cycle."""

    collecting: bool = False
    waiting: int = 0
    # By node: objects and subindices of the barriers asked since the last SYNC; the answer to any will do.
    barriers: dict[int, set[bytes]] = field(default_factory=dict)
    asked_s: float = 0.0  # when, on the awake clock
    doubled: bool = False  # process data came twice: was the SYNC heard twice?
    given_up: set[int] = field(default_factory=set)  # nodes whose barrier came before their process data


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
        self._drives = tuple(node for node in nodes if isinstance(node, Cia402Drive))
        self._watchdog_s, self._heartbeat_s = watchdog_s, watchdog_s / 8.0
        self._patience_s, self._lost_s, self._collect_s = patience_s, lost_s, 0.75 * period_s
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: the cycle would load the bus to {load:.0%}, at most {LARGEST_LOAD:.0%} is sound"
            )
        self._tpdos = {
            TPDO_BASE[n] + node.node: (node, n) for node in nodes for n in range(len(node.model.tpdos))
        }
        self._emergencies = {EMCY_BASE + node.node: node for node in nodes}
        self._heartbeats = {node.heartbeat_id: node for node in nodes}
        self._answers = {SDO_SERVER_BASE + node.node: node for node in nodes}
        self._round = _Round()
        self._barrier_count = itertools.count()
        self._beat = heartbeat(MASTER, NmtState.OPERATIONAL)
        self._next_beat_s = 0.0
        self._latched_s = math.nan  # stamp of the last row
        self._last_s: dict[
            int, float
        ] = {}  # by column that is not fresh: stamp of the row in which it last was
        self._slice_s = max(5.0 * period_s, 0.01)
        self._clock = AwakeClock(self._slice_s, clock.now())

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
        self._latched_s = math.nan
        self._last_s.clear()
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
        self._beat_if_due(clock.now())
        if self._round.doubled:
            self._clear_doubt()
        row = self._resynchronise() if self._round.barriers else self._exchange(commands)
        self._check(self._clock.tick(clock.now()))
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
                self._drain()
                self._round.barriers.clear()
                self._exchange({})
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
            self._drain()
            self._beat_if_due(now)
            self._round.barriers.clear()
            self._exchange({})

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

    def _exchange(self, commands: Mapping[str, Command]) -> Row:
        bus, turn = self._opened(), self._round
        begin = clock.now()
        now = self._clock.tick(begin)
        # All set-points are checked before the first is sent.
        frames = [drive.rpdo(commands.get(drive.name), now) for drive in self._drives]
        frames.append(SYNC)
        turn.waiting = 0
        turn.given_up.clear()
        for node in self._members.values():
            count = len(node.fresh)
            node.fresh[:] = (False,) * count
            if node.answers_sync:
                turn.waiting += count
        self._send_all(frames)
        stamp = clock.sent_s(begin)
        turn.collecting = True
        deadline = stamp + self._collect_s
        recv, handle = bus.recv, self._handle
        try:
            while turn.waiting > 0:
                handle(recv(deadline))
        except TransportTimeout:
            self._wait_for_barriers()
        finally:
            turn.collecting = False
        self._count_misses()
        return self._aged(self._row(stamp))

    def _wait_for_barriers(self) -> None:
        """Ask the nodes whose process data is missing, and wait for one or the other."""
        bus, turn = self._opened(), self._round
        self._ask_barriers([n for n in self._members.values() if n.answers_sync and not all(n.fresh)])
        until = self._clock.tick(clock.now()) + self._patience_s
        while turn.waiting > 0:
            now = clock.now()
            if self._clock.tick(now) >= until:
                return
            self._beat_if_due(now)
            with contextlib.suppress(TransportTimeout):
                self._handle(bus.recv(now + self._slice_s))

    def _clear_doubt(self) -> None:
        """Let every second answer arrive; usually that takes a fraction of the cycle."""
        bus, turn = self._opened(), self._round
        turn.doubled = False
        self._ask_barriers([n for n in self._members.values() if n.answers_sync])
        deadline = clock.now() + 0.5 * self._collect_s
        with contextlib.suppress(TransportTimeout):
            while turn.barriers:
                self._handle(bus.recv(deadline))

    def _ask_barriers(self, nodes: Sequence[CanopenNode]) -> None:
        turn = self._round
        turn.asked_s = self._clock.tick(clock.now())
        for node in nodes:
            request = _BARRIERS[next(self._barrier_count) % len(_BARRIERS)]
            turn.barriers.setdefault(node.node, set()).add(request[1:4])
            self._send(Frame(SDO_CLIENT_BASE + node.node, request))

    def _resynchronise(self) -> Row:
        """A cycle without SYNC: wait for the barriers that are still open.

        One that is not answered in time was itself lost; it reads, so it may be asked again.
        """
        bus, turn = self._opened(), self._round
        stamp = clock.now()
        if self._clock.tick(stamp) - turn.asked_s >= self._patience_s:
            self._ask_barriers([n for n in self._members.values() if n.node in turn.barriers])
        for node in self._members.values():
            node.fresh[:] = [False] * len(node.fresh)
        with contextlib.suppress(TransportTimeout):
            while turn.barriers:
                self._handle(bus.recv(stamp + self._collect_s))
        self._count_misses()
        return self._aged(self._row(stamp))

    def _count_misses(self) -> None:
        turn, now = self._round, self._clock.tick(clock.now())
        for node in self._members.values():
            if all(node.fresh):
                node.missing_since_s = None
                turn.barriers.pop(node.node, None)
            elif node.answers_sync and (node.node in turn.barriers or node.node in turn.given_up):
                node.counters["missed"] += 1
                if node.missing_since_s is None:
                    node.missing_since_s = now
                if now - node.missing_since_s > self._lost_s:
                    node.lose(f"no process data for {now - node.missing_since_s:.3f} s")
                    turn.barriers.pop(node.node, None)

    def _row(self, stamp: float) -> Row:
        values = [node.values[signal] for node, signal in self._columns]
        if all(node.good for node in self._members.values()):
            return Row(stamp, values, [_GOOD] * len(values))
        quality = []
        for (node, signal), value in zip(self._columns, values, strict=True):
            if not node.is_fresh(signal):
                quality.append(Quality.BAD if math.isnan(value) else Quality.STALE)
            else:
                quality.append(Quality.BAD if node.bad else Quality.GOOD)
        return Row(stamp, values, quality)

    def _aged(self, row: Row) -> Row:
        """With the ages of what did not answer this SYNC: it answered that of the last row in which it was there."""
        before, self._latched_s = self._latched_s, row.stamp_s
        if not any(row.quality):
            self._last_s.clear()
            return row
        for column, (node, signal) in enumerate(self._columns):
            if node.is_fresh(signal):
                self._last_s.pop(column, None)
            else:
                self._last_s.setdefault(column, before)
        ages = [
            math.nan if math.isnan(value) else row.stamp_s - self._last_s.get(column, row.stamp_s)
            for column, value in enumerate(row.values)
        ]
        return replace(row, age_s=ages)

    def _check(self, now: float) -> None:
        """`now` on the awake clock."""
        first = None
        for node in self._members.values():
            node.check_heartbeat(now)
            if isinstance(node, Cia402Drive):
                node.check_power(now)
                if node.wants_cause:
                    node.wants_cause = False
                    self._send(Frame(SDO_CLIENT_BASE + node.node, _ASK_ERROR_CODE))
            first = first or node.take_fault()
        if first is not None:
            raise first

    # ── frames ──

    def _handle(self, frame: Frame) -> None:
        self._bits += _BITS[len(frame.data)]
        can_id = frame.can_id
        process_data = self._tpdos.get(can_id)
        if process_data is not None:
            node, number = process_data
            turn = self._round
            # It must be the answer to this cycle's SYNC and nothing else. Not of a node that is lost or not operational:
            # nobody waits for it, so nothing tells its cycles apart.
            if (
                turn.collecting
                and not node.fresh[number]
                and node.answers_sync
                and node.node not in turn.given_up
            ):
                node.accept(number, frame.data)
                if node.fresh[number]:
                    turn.waiting -= 1
            else:  # of an earlier cycle, or twice: nobody can tell, so nobody may use it
                node.counters["late"] += 1
                turn.doubled |= node.fresh[number]
            return
        beating = self._heartbeats.get(can_id)
        if beating is not None:
            beating.on_heartbeat(frame.data, self._clock.time_s)
        elif can_id in self._emergencies:
            self._emergencies[can_id].on_emergency(frame.data)
        elif can_id in self._answers:
            self._pass_barrier(self._answers[can_id], frame.data)
        else:
            self._foreign += 1

    def _pass_barrier(self, node: CanopenNode, response: bytes) -> None:
        """The node has answered the barrier: process data that is not here by now will not come."""
        turn = self._round
        if response[:4] == _ERROR_CODE and isinstance(node, Cia402Drive):
            node.on_error_code(int.from_bytes(response[4:6], "little"))
            return
        if response[1:4] not in turn.barriers.get(node.node, ()):
            return
        del turn.barriers[node.node]
        if turn.collecting and node.node not in turn.given_up:
            turn.given_up.add(node.node)
            turn.waiting -= node.fresh.count(False)

    def _beat_if_due(self, now: float) -> None:
        if now >= self._next_beat_s:
            self._send(self._beat)
            self._next_beat_s = now + self._heartbeat_s

    def _drain(self) -> None:
        bus = self._opened()
        while (frame := bus.poll()) is not None:
            self._handle(frame)

    def _drive(self, device: str) -> Cia402Drive:
        node = self._member(device)
        if not isinstance(node, Cia402Drive):
            self._no_setpoints(device)
        return node
