"""What a CANopen node says of its state by its heartbeat."""

from __future__ import annotations

import pytest

from drivers.canopen.codec import NmtState
from drivers.canopen.model import load_model
from drivers.canopen.node import CanopenNode


@pytest.fixture
def node() -> CanopenNode:
    node = CanopenNode("EN2", 3, load_model("cia406_encoder_27bit"))
    node.begin(0.0)
    return node


def beat(node: CanopenNode, *states: NmtState) -> str | None:
    """The fault after these heartbeats."""
    for n, state in enumerate(states):
        node.on_heartbeat(bytes((state,)), 0.1 * n)
    fault = node.take_fault()
    return None if fault is None else fault.what


def test_a_heartbeat_that_was_on_its_way_when_the_node_was_started_is_no_fault(node: CanopenNode) -> None:
    assert beat(node, NmtState.PRE_OPERATIONAL, NmtState.OPERATIONAL, NmtState.OPERATIONAL) is None
    assert node.answers_sync


def test_a_node_that_does_not_start_is_a_fault(node: CanopenNode) -> None:
    assert "left the state operational" in str(beat(node, NmtState.PRE_OPERATIONAL, NmtState.PRE_OPERATIONAL))
    assert not node.answers_sync


@pytest.mark.parametrize("state", [NmtState.PRE_OPERATIONAL, NmtState.STOPPED])
def test_a_node_that_leaves_operational_is_a_fault(node: CanopenNode, state: NmtState) -> None:
    assert "left the state operational" in str(beat(node, NmtState.OPERATIONAL, state))


def test_a_node_that_boots_is_a_fault_at_once(node: CanopenNode) -> None:
    assert "restarted" in str(beat(node, NmtState.BOOT_UP))
