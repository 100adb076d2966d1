"""The power-stage state machine of a drive (CiA 402-2 / IEC 61800-7-201), pure.

`state_of(statusword)` names the state, `controlword_towards(state, enabled)` says what to send next so that
the drive walks to "operation enabled" or out of it. One step a cycle; nothing here waits.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from drivers.device import DeviceState, Mode


class State(Enum):
    NOT_READY = "not ready to switch on"
    SWITCH_ON_DISABLED = "switch on disabled"
    READY_TO_SWITCH_ON = "ready to switch on"
    SWITCHED_ON = "switched on"
    OPERATION_ENABLED = "operation enabled"
    QUICK_STOP_ACTIVE = "quick stop active"
    FAULT_REACTION_ACTIVE = "fault reaction active"
    FAULT = "fault"


#: (mask, value, state): statusword & mask == value.
STATE_MASKS = (
    (0x4F, 0x00, State.NOT_READY),
    (0x4F, 0x40, State.SWITCH_ON_DISABLED),
    (0x6F, 0x21, State.READY_TO_SWITCH_ON),
    (0x6F, 0x23, State.SWITCHED_ON),
    (0x6F, 0x27, State.OPERATION_ENABLED),
    (0x6F, 0x07, State.QUICK_STOP_ACTIVE),
    (0x4F, 0x0F, State.FAULT_REACTION_ACTIVE),
    (0x4F, 0x08, State.FAULT),
)


class Control(IntEnum):
    """Controlword commands."""

    DISABLE_VOLTAGE = 0x00
    QUICK_STOP = 0x02
    SHUTDOWN = 0x06
    SWITCH_ON = 0x07
    DISABLE_OPERATION = 0x07
    ENABLE_OPERATION = 0x0F
    FAULT_RESET = 0x80
    HALT = 0x100


class CyclicMode(IntEnum):
    """Modes of operation (6060h) of synchronous set-points."""

    CSP = 8
    CSV = 9
    CST = 10


CYCLIC_MODES = {Mode.POSITION: CyclicMode.CSP, Mode.VELOCITY: CyclicMode.CSV, Mode.TORQUE: CyclicMode.CST}

#: 6007h abort connection option code: what the drive does when it no longer hears its master.
ABORT_NO_ACTION, ABORT_FAULT, ABORT_DISABLE_VOLTAGE, ABORT_QUICK_STOP = 0, 1, 2, 3


def state_of(statusword: int) -> State:
    """Raises ValueError for a combination of bits that the profile does not know."""
    for mask, value, state in STATE_MASKS:
        if statusword & mask == value:
            return state
    raise ValueError(f"statusword 0x{statusword:04X} names no state of CiA 402")


def controlword_towards(state: State, enabled: bool) -> int:
    """Next controlword on the way to operation enabled, or to torque off (disable voltage: the power stage
    opens at once).
    """
    if not enabled or state in (State.NOT_READY, State.FAULT, State.FAULT_REACTION_ACTIVE):
        return Control.DISABLE_VOLTAGE
    if state is State.SWITCH_ON_DISABLED:
        return Control.SHUTDOWN
    if state is State.READY_TO_SWITCH_ON:
        return Control.SWITCH_ON
    return Control.ENABLE_OPERATION  # switched on, enabled already, or quick stop active (transition 16)


def transition(state: State, controlword: int, *, reset_edge: bool = False) -> State:
    """Where the controlword takes a drive (transitions 2–12, 15, 16); `reset_edge` is a rising bit 7.

    Automatic transitions (0, 1, 13, 14, and 12 at standstill) belong to the drive.
    """
    disable_voltage = controlword & 0x02 == 0
    quick_stop = controlword & 0x06 == 0x02
    shutdown = controlword & 0x07 == 0x06
    switch_on = controlword & 0x0F == 0x07
    enable = controlword & 0x0F == 0x0F
    match state:
        case State.FAULT:
            return State.SWITCH_ON_DISABLED if reset_edge else state
        case State.SWITCH_ON_DISABLED:
            return State.READY_TO_SWITCH_ON if shutdown else state
        case State.READY_TO_SWITCH_ON:
            if disable_voltage or quick_stop:
                return State.SWITCH_ON_DISABLED
            return State.SWITCHED_ON if switch_on or enable else state
        case State.SWITCHED_ON:
            if disable_voltage or quick_stop:
                return State.SWITCH_ON_DISABLED
            if shutdown:
                return State.READY_TO_SWITCH_ON
            return State.OPERATION_ENABLED if enable else state
        case State.OPERATION_ENABLED:
            if disable_voltage:
                return State.SWITCH_ON_DISABLED
            if quick_stop:
                return State.QUICK_STOP_ACTIVE
            if shutdown:
                return State.READY_TO_SWITCH_ON
            return State.SWITCHED_ON if switch_on else state
        case State.QUICK_STOP_ACTIVE:
            if disable_voltage:
                return State.SWITCH_ON_DISABLED
            return State.OPERATION_ENABLED if enable else state
        case _:
            return state


_DEVICE_STATES = {
    State.NOT_READY: DeviceState.OFF,
    State.SWITCH_ON_DISABLED: DeviceState.OFF,
    State.READY_TO_SWITCH_ON: DeviceState.READY,
    State.SWITCHED_ON: DeviceState.READY,
    State.OPERATION_ENABLED: DeviceState.ENABLED,
    State.QUICK_STOP_ACTIVE: DeviceState.ENABLED,  # torque still flows
    State.FAULT_REACTION_ACTIVE: DeviceState.FAULT,
    State.FAULT: DeviceState.FAULT,
}


def device_state(state: State) -> DeviceState:
    return _DEVICE_STATES[state]
