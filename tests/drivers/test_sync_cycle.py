"""One SYNC and the answers to it, on a wire of which every frame is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from drivers.bus.frame import Frame
from drivers.canopen.codec import SDO_CLIENT_BASE, SYNC, TPDO_BASE
from drivers.canopen.model import load_model
from drivers.canopen.node import CanopenNode
from drivers.canopen.sync_cycle import SyncCycle
from drivers.device import TransportTimeout

#: As many as there are objects to ask for: each must be asked for another one each time all the same.
NODES = 8


class Script:
    """A wire on which `then` happens, one after the other, whenever the master waits; after that, nothing."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.then: list[Callable[[], None]] = []
        self.time_s = 0.0

    def send_all(self, frames: Sequence[Frame]) -> None:
        self.sent += frames

    def receive(self, deadline_s: float) -> None:
        self.time_s += 0.001
        if not self.then:
            raise TransportTimeout("can0", "nothing")
        self.then.pop(0)()

    def beat_if_due(self, now_s: float) -> None:
        """Nobody listens."""

    def awake_s(self) -> float:
        return self.time_s

    def barriers(self) -> dict[int, bytes]:
        """By node, the object that it was asked for; forgotten then."""
        base = SDO_CLIENT_BASE
        found = {f.can_id - base: f.data[1:4] for f in self.sent if base < f.can_id <= base + NODES}
        self.sent.clear()
        return found


@pytest.fixture
def wire() -> Script:
    return Script()


@pytest.fixture
def nodes() -> list[CanopenNode]:
    nodes = [CanopenNode(f"EN{n}", n, load_model("cia406_encoder_27bit")) for n in range(1, NODES + 1)]
    for node in nodes:
        node.begin(0.0)
    return nodes


@pytest.fixture
def cycle(nodes: list[CanopenNode], wire: Script) -> SyncCycle:
    return SyncCycle(nodes, wire, collect_s=0.0015, slice_s=0.01, patience_s=0.03, lost_s=0.1)


def timeout() -> None:
    raise TransportTimeout("can0", "not in time")


def answers(cycle: SyncCycle, nodes: Sequence[CanopenNode]) -> list[Callable[[], None]]:
    """The process data of every node, arriving in turn."""
    return [
        lambda node=node, n=n, names=names: cycle.take(  # type: ignore[misc]
            [Frame(TPDO_BASE[n] + node.node, bytes(node.model.layout(names).size))]
        )
        for node in nodes
        for n, names in enumerate(node.model.tpdos)
    ]


def test_answers_in_time_need_no_barrier(cycle: SyncCycle, wire: Script, nodes: list[CanopenNode]) -> None:
    wire.then = answers(cycle, nodes)
    cycle.run(lambda: [Frame(0x201, bytes(2))])
    assert wire.sent == [Frame(0x201, bytes(2)), SYNC]
    assert all(node.good for node in nodes)


def test_process_data_that_comes_before_its_barrier_is_good(
    cycle: SyncCycle, wire: Script, nodes: list[CanopenNode]
) -> None:
    wire.then = [timeout, *answers(cycle, nodes)]
    cycle.run(list)
    assert len(wire.barriers()) == NODES
    assert all(node.good for node in nodes)


def test_the_answer_to_the_barrier_of_the_cycle_before_says_nothing_of_this_one(
    cycle: SyncCycle, wire: Script, nodes: list[CanopenNode]
) -> None:
    wire.then = [timeout, *answers(cycle, nodes)]
    cycle.run(list)
    before = wire.barriers()

    def stale() -> None:
        for node in nodes:
            cycle.pass_barrier(node, b"\x43" + before[node.node] + bytes(4))

    wire.then = [timeout, stale, *answers(cycle, nodes)]
    cycle.run(list)
    after = wire.barriers()
    assert all(after[n] != before[n] for n in after)
    assert all(node.good for node in nodes)


def test_a_barrier_that_comes_first_means_that_the_process_data_is_lost(
    cycle: SyncCycle, wire: Script, nodes: list[CanopenNode]
) -> None:
    def barrier() -> None:
        node = nodes[0]
        asked = next(f.data for f in wire.sent if f.can_id == SDO_CLIENT_BASE + node.node)
        cycle.pass_barrier(node, b"\x43" + asked[1:4] + bytes(4))

    wire.then = [timeout, barrier, *answers(cycle, nodes)]
    cycle.run(list)
    assert not nodes[0].good
    assert nodes[0].counters["missed"] == 1
    assert nodes[0].counters["late"] == len(nodes[0].model.tpdos)
    assert all(node.good for node in nodes[1:])


def test_no_sync_and_no_set_point_is_sent_while_a_barrier_is_open(
    cycle: SyncCycle, wire: Script, nodes: list[CanopenNode]
) -> None:
    cycle.run(list)
    wire.sent.clear()
    cycle.run(lambda: pytest.fail("set-points are asked for only when they are sent"))
    assert SYNC not in wire.sent


def test_process_data_that_comes_twice_asks_everybody_before_the_next_sync(
    cycle: SyncCycle, wire: Script, nodes: list[CanopenNode]
) -> None:
    wire.then = [*answers(cycle, nodes[:1]), *answers(cycle, nodes)]
    cycle.run(list)
    wire.sent.clear()
    cycle.run(list)
    assert [f.can_id for f in wire.sent[:NODES]] == [SDO_CLIENT_BASE + node.node for node in nodes]
