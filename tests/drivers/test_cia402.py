"""The power-stage state machine, from the table of the profile and a recorded run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.canopen.cia402 import (
    State,
    automatic,
    controlword_towards,
    device_state,
    state_of,
    transition,
)
from drivers.device import DeviceState

MASKS = [
    (0x0000, State.NOT_READY),
    (0x0040, State.SWITCH_ON_DISABLED),
    (0x0021, State.READY_TO_SWITCH_ON),
    (0x0023, State.SWITCHED_ON),
    (0x0027, State.OPERATION_ENABLED),
    (0x0007, State.QUICK_STOP_ACTIVE),
    (0x000F, State.FAULT_REACTION_ACTIVE),
    (0x0008, State.FAULT),
    # as drives show them, with remote, voltage enabled, target reached and warning
    (0x1637, State.OPERATION_ENABLED),
    (0x0660, State.SWITCH_ON_DISABLED),
    (0x02B1, State.READY_TO_SWITCH_ON),
    (0x0218, State.FAULT),
]


@pytest.mark.parametrize(("statusword", "state"), MASKS)
def test_statusword_names_the_state(statusword: int, state: State) -> None:
    assert state_of(statusword) is state


@pytest.mark.parametrize("statusword", [0x0001, 0x0041, 0x0004, 0x0048])
def test_a_statusword_of_no_state_is_refused(statusword: int) -> None:
    with pytest.raises(ValueError, match="names no state"):
        state_of(statusword)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_bits_that_do_not_matter_do_not_matter(statusword: int, noise: int) -> None:
    try:
        state = state_of(statusword)
    except ValueError:
        return
    ignored = 0xFFFF & ~0x6F
    assert state_of(statusword ^ (noise & ignored)) is state


SOD, RTSO, SO = State.SWITCH_ON_DISABLED, State.READY_TO_SWITCH_ON, State.SWITCHED_ON
OE, QSA, FAULT = State.OPERATION_ENABLED, State.QUICK_STOP_ACTIVE, State.FAULT


@pytest.mark.parametrize(
    ("number", "before", "controlword", "after"),
    [
        (2, SOD, 0x06, RTSO),
        (3, RTSO, 0x07, SO),
        (4, SO, 0x0F, OE),
        (5, OE, 0x07, SO),
        (6, SO, 0x06, RTSO),
        (7, RTSO, 0x00, SOD),
        (8, OE, 0x06, RTSO),
        (9, OE, 0x00, SOD),
        (10, SO, 0x00, SOD),
        (11, OE, 0x02, QSA),
        (11, OE, 0x0B, QSA),
        (12, QSA, 0x00, SOD),
        (16, QSA, 0x0F, OE),
    ],
)
def test_transitions(number: int, before: State, controlword: int, after: State) -> None:
    assert transition(before, controlword) is after


@pytest.mark.parametrize("state", list(State))
def test_transitions_0_1_13_14_and_15_of_the_profile(state: State) -> None:
    """The automatic ones, and the way out of a fault: with the table above, all seventeen."""
    assert automatic(None) is State.NOT_READY, "0"
    assert automatic(State.NOT_READY) is SOD, "1"
    expected = state if state in (FAULT, State.FAULT_REACTION_ACTIVE) else State.FAULT_REACTION_ACTIVE
    assert automatic(state, fault=True) is expected, "13, from any state"
    assert automatic(State.FAULT_REACTION_ACTIVE) is FAULT, "14"
    assert transition(FAULT, 0x80, reset_edge=True) is SOD, "15"
    assert (automatic(state) is state) == (state not in (State.NOT_READY, State.FAULT_REACTION_ACTIVE))


def test_fault_is_left_by_a_rising_edge_only() -> None:
    assert transition(FAULT, 0x80) is FAULT
    assert transition(FAULT, 0x80, reset_edge=True) is SOD
    assert transition(FAULT, 0x0F) is FAULT


def test_recorded_run_of_a_slave_of_another_house() -> None:
    state = SOD
    seen = []
    for controlword in (0x06, 0x07, 0x0F, 0x0B, 0x0F, 0x07, 0x06, 0x00):
        state = transition(state, controlword)
        seen.append(state)
    assert seen == [RTSO, SO, OE, QSA, OE, SO, RTSO, SOD]


@pytest.mark.parametrize("start", [SOD, RTSO, SO, OE, QSA])
def test_every_state_walks_to_enabled_and_out_again(start: State) -> None:
    state = start
    for _ in range(4):
        state = transition(state, controlword_towards(state, enabled=True))
    assert state is OE
    assert transition(state, controlword_towards(state, enabled=False)) is SOD


@pytest.mark.parametrize("state", [State.FAULT, State.FAULT_REACTION_ACTIVE, State.NOT_READY])
def test_a_fault_is_never_reset_by_the_way(state: State) -> None:
    assert controlword_towards(state, enabled=True) == 0


def test_torque_flows_in_quick_stop_too() -> None:
    assert device_state(QSA) is DeviceState.ENABLED
    assert device_state(SO) is DeviceState.READY
    assert device_state(FAULT) is DeviceState.FAULT
