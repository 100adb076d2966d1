"""One SYNC, everybody's answer to it, and no answer that is taken for that of another SYNC.

What if an answer is missing? A TPDO carries no cycle number, so a late one must never be taken for that of
the next cycle. When the time is up the node is asked for its identity (an SDO, the *barrier*), and no
further SYNC is sent until the answer or the barrier is there: CAN and the adapters keep the order of one
node's frames. The process data first: it was late, and is good; the cycle took longer, the next ones are
late or skipped. The barrier first: the process data is lost, its values are STALE. Usually that costs one sample.
After `patience_s` the cycle returns STALE values anyway, and the following cycles wait for the barrier before
they send SYNC again; after `lost_s` the node is lost.

And if one comes twice? Then the SYNC may have been heard twice (a CAN receiver takes a frame that its sender, disturbed
in the last bit, repeats), and of other nodes the second answer may still be on its way. So every node is asked for a
barrier before the next SYNC.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from drivers import clock
from drivers.bus.frame import Frame
from drivers.canopen.codec import SDO_CLIENT_BASE, SYNC, TPDO_BASE
from drivers.canopen.node import CanopenNode
from drivers.device import TransportTimeout

#: Uploads of objects that every node has, another one each time, so that the answer to an earlier barrier is not taken for
#: that of a later one: 1018h:00…04, device type, error register, heartbeat time.
_BARRIERS = tuple(
    bytes((0x40, index & 0xFF, index >> 8, subindex)) + bytes(4)
    for index, subindex in (*((0x1018, n) for n in range(5)), (0x1000, 0), (0x1001, 0), (0x1017, 0))
)


class Wire(Protocol):
    """What the cycle needs of the bus and its owner."""

    def send_all(self, frames: Sequence[Frame]) -> None: ...

    def receive(self, deadline_s: float) -> None:
        """Wait for frames and hand each to whom it concerns. Raises TransportTimeout."""

    def beat_if_due(self, now_s: float) -> None:
        """The master's heartbeat goes on, however long the wait."""

    def awake_s(self) -> float:
        """Time without the absences of this machine."""
        ...


class SyncCycle:
    """The exchange with `nodes` on `wire`, which hands on what concerns it: `take`, `pass_barrier`.

    Answers are collected for `collect_s` after SYNC; `slice_s` is the longest wait without a heartbeat.
    """

    def __init__(
        self,
        nodes: Iterable[CanopenNode],
        wire: Wire,
        *,
        collect_s: float,
        slice_s: float,
        patience_s: float,
        lost_s: float,
    ) -> None:
        self._nodes, self._wire = tuple(nodes), wire
        self._collect_s, self._slice_s = collect_s, slice_s
        self._patience_s, self._lost_s = patience_s, lost_s
        #: By identifier: whose process data it is, and which.
        self._answers = {
            node: {TPDO_BASE[n] + node.node: (node, n) for n in range(len(node.model.tpdos))}
            for node in self._nodes
        }
        self._tpdos = {can_id: data for answers in self._answers.values() for can_id, data in answers.items()}
        #: Those that are still to come; empty when nobody may answer.
        self._expected: dict[int, tuple[CanopenNode, int]] = {}
        # Objects and subindices of the barriers asked since the last SYNC; the answer to any will do.
        self._barriers: dict[CanopenNode, set[bytes]] = {}
        self._barrier_count = itertools.count()
        self._asked_s = 0.0  # when, on the awake clock
        self._given_up: set[CanopenNode] = set()  # their barrier came before their process data
        self._doubled = False  # process data came twice: was the SYNC heard twice?
        self._missing: dict[CanopenNode, float] = {}  # since when, on the awake clock

    def restart(self) -> None:
        """The bus has been opened: nothing is under way."""
        self._expected.clear()
        self._barriers.clear()
        self._missing.clear()
        self._doubled = False

    # ── the cycle ──

    def run(self, set_points: Callable[[], Sequence[Frame]]) -> float:
        """Send the set-points and SYNC and collect the answers; neither while a barrier is open. Returns the time of SYNC.

        `set_points` is asked when they will be sent; what it raises leaves the cycle before anything was.
        """
        if self._doubled:
            self._clear_doubt()
        return self._resynchronise() if self._barriers else self._exchange(set_points())

    def insist(self, set_points: Callable[[], Sequence[Frame]]) -> float:
        """As `run`, whatever is open: for a stop, to which every cycle counts and no value matters."""
        self._barriers.clear()
        return self._exchange(set_points())

    def _exchange(self, frames: Sequence[Frame]) -> float:
        begin = clock.now()
        self._given_up.clear()
        expected, receive = self._expected, self._wire.receive
        for node, answers in self._answers.items():
            node.expect_process_data()
            if node.answers_sync:
                expected.update(answers)
        self._wire.send_all((*frames, SYNC))
        stamp = clock.sent_s(begin)
        try:
            deadline = stamp + self._collect_s
            while expected:
                receive(deadline)
        except TransportTimeout:
            self._wait_for_barriers()
        finally:
            expected.clear()
        self._count_misses()
        return stamp

    def _wait_for_barriers(self) -> None:
        """Ask the nodes whose process data is missing, and wait for one or the other."""
        wire = self._wire
        self._ask_barriers({node: None for node, _ in self._expected.values() if node.answers_sync})
        until = wire.awake_s() + self._patience_s
        while self._expected and wire.awake_s() < until:
            now = clock.now()
            wire.beat_if_due(now)
            with contextlib.suppress(TransportTimeout):
                wire.receive(now + self._slice_s)

    def _clear_doubt(self) -> None:
        """Let every second answer arrive; usually that takes a fraction of the cycle."""
        self._doubled = False
        self._ask_barriers([node for node in self._nodes if node.answers_sync])
        self._wait_until(clock.now() + 0.5 * self._collect_s)

    def _resynchronise(self) -> float:
        """A cycle without SYNC: wait for the barriers that are still open.

        One that is not answered in time was itself lost; it reads, so it may be asked again.
        """
        stamp = clock.now()
        if self._wire.awake_s() - self._asked_s >= self._patience_s:
            self._ask_barriers(tuple(self._barriers))
        for node in self._nodes:
            node.expect_process_data()
        self._wait_until(stamp + self._collect_s)
        self._count_misses()
        return stamp

    def _wait_until(self, deadline_s: float) -> None:
        with contextlib.suppress(TransportTimeout):
            while self._barriers:
                self._wire.receive(deadline_s)

    def _ask_barriers(self, nodes: Collection[CanopenNode]) -> None:
        self._asked_s = self._wire.awake_s()
        request = _BARRIERS[next(self._barrier_count) % len(_BARRIERS)]
        for node in nodes:
            self._barriers.setdefault(node, set()).add(request[1:4])
        self._wire.send_all([Frame(SDO_CLIENT_BASE + node.node, request) for node in nodes])

    def _count_misses(self) -> None:
        if not (self._barriers or self._given_up or self._missing):
            return
        now = self._wire.awake_s()
        for node in self._nodes:
            if all(node.fresh):
                self._missing.pop(node, None)
                self._barriers.pop(node, None)
            elif node.answers_sync and (node in self._barriers or node in self._given_up):
                node.counters["missed"] += 1
                since = self._missing.setdefault(node, now)
                if now - since > self._lost_s:
                    node.lose(f"no process data for {now - since:.3f} s")
                    self._barriers.pop(node, None)

    # ── frames ──

    def take(self, frames: Iterable[Frame]) -> list[Frame]:
        """Returns those that are no process data.

        It must be the answer to this cycle's SYNC and nothing else. Not of a node that is lost or not operational:
        nobody waits for it, so nothing tells its cycles apart.
        """
        expected, others = self._expected, []
        for frame in frames:
            can_id = frame[0]
            answer = expected.pop(can_id, None)
            if answer is not None:
                node, number = answer
                if not node.accept(number, frame[1]):
                    expected[can_id] = answer
            elif can_id in self._tpdos:
                node, number = self._tpdos[
                    can_id
                ]  # of an earlier cycle, or twice: nobody can tell, so nobody may use it
                node.counters["late"] += 1
                self._doubled |= node.fresh[number]
            else:
                others.append(frame)
        return others

    def pass_barrier(self, node: CanopenNode, response: bytes) -> None:
        """The node has answered by SDO. If that was the barrier: process data that is not here by now will not come."""
        if response[1:4] not in self._barriers.get(node, ()):
            return
        del self._barriers[node]
        waited_for = self._answers[node].keys() & self._expected.keys()
        if waited_for:
            self._given_up.add(node)
            for can_id in waited_for:
                del self._expected[can_id]
