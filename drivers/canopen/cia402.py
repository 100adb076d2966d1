"""The power-stage state machine of a drive (CiA 402-2 / IEC 61800-7-201), pure.

`state_of(statusword)` names the state, `controlword_towards(state, enabled)` says what to send next so that
the drive walks to "operation enabled" or out of it. One step a cycle; nothing here waits.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from functools import lru_cache

from drivers.device import DeviceState, Mode


class State(Enum):
    __hash__ = object.__hash__  # members are singletons, and Enum's own is written in Python

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

#: By statusword & 6Fh, for the hot path.
_STATES = tuple(
    next((state for mask, value, state in STATE_MASKS if word & mask == value), None) for word in range(0x70)
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

    # Bits of the operation mode, or-ed to ENABLE_OPERATION.
    NEW_SET_POINT = 0x10  # PP: rising edge
    CHANGE_SET_IMMEDIATELY = 0x20  # PP: replace the set-point under way
    START_HOMING = 0x10  # HM


class Status(IntEnum):
    """Statusword bits whose meaning depends on the operation mode."""

    TARGET_REACHED = 0x0400
    SET_POINT_ACKNOWLEDGE = 0x1000  # PP
    FOLLOWS_COMMAND = 0x1000  # CSP, CSV, CST
    HOMING_ATTAINED = 0x1000  # HM
    HOMING_ERROR = 0x2000  # HM


class Operation(IntEnum):
    """Modes of operation (6060h)."""

    PP = 1  # profile position
    PV = 3  # profile velocity
    PT = 4  # profile torque
    HM = 6  # homing
    CSP = 8  # cyclic synchronous position
    CSV = 9
    CST = 10

    @property
    def bit(self) -> int:
        """Its bit in the supported drive modes, 6502h."""
        return 1 << (self - 1)


#: What a set-point of a mode may be sent as; a model table names one of them each.
OPERATIONS = {
    Mode.POSITION: (Operation.CSP, Operation.PP),
    Mode.VELOCITY: (Operation.CSV, Operation.PV),
    Mode.TORQUE: (Operation.CST, Operation.PT),
}

#: 6007h abort connection option code: what the drive does when it no longer hears its master.
ABORT_NO_ACTION, ABORT_FAULT, ABORT_DISABLE_VOLTAGE, ABORT_QUICK_STOP = 0, 1, 2, 3


def state_of(statusword: int) -> State:
    """Raises ValueError for a combination of bits that the profile does not know."""
    state = _STATES[statusword & 0x6F]
    if state is None:
        raise ValueError(f"statusword 0x{statusword:04X} names no state of CiA 402")
    return state


_UNWILLING = (State.NOT_READY, State.FAULT, State.FAULT_REACTION_ACTIVE)
_NEXT_CONTROLWORD = {
    state: int(Control.DISABLE_VOLTAGE)
    if state in _UNWILLING
    else int(Control.SHUTDOWN)
    if state is State.SWITCH_ON_DISABLED
    else int(Control.SWITCH_ON)
    if state is State.READY_TO_SWITCH_ON
    else int(Control.ENABLE_OPERATION)  # switched on, enabled already, or quick stop active (transition 16)
    for state in State
}


def controlword_towards(state: State, enabled: bool) -> int:
    """Next controlword on the way to operation enabled, or to torque off (disable voltage: the power stage
    opens at once).
    """
    return _NEXT_CONTROLWORD[state] if enabled else 0x00


@lru_cache(256)
def transition(state: State, controlword: int, *, reset_edge: bool = False) -> State:
    """Where the controlword takes a drive (transitions 2–12, 15, 16); `reset_edge` is a rising bit 7.

    Automatic transitions are in `automatic`; 12 at standstill belongs to the drive.
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


def automatic(state: State | None, *, fault: bool = False) -> State:
    """Where a drive goes by itself: 0 (None is power-up), 1, 13 (`fault`: whatever the state) and 14."""
    if fault:
        return state if state in (State.FAULT, State.FAULT_REACTION_ACTIVE) else State.FAULT_REACTION_ACTIVE
    match state:
        case None:
            return State.NOT_READY
        case State.NOT_READY:
            return State.SWITCH_ON_DISABLED
        case State.FAULT_REACTION_ACTIVE:
            return State.FAULT
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
