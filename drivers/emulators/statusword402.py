"""The statusword that an emulated CiA 402 drive shows in each state and operation mode. Pure."""

from __future__ import annotations

from drivers.canopen.cia402 import Operation, State, Status

#: Bits of each state, with "voltage enabled" (bit 4) and "quick stop not active" (bit 5) as drives show them.
_STATES = {
    State.NOT_READY: 0x0000,
    State.SWITCH_ON_DISABLED: 0x0040,
    State.READY_TO_SWITCH_ON: 0x0021,
    State.SWITCHED_ON: 0x0033,
    State.OPERATION_ENABLED: 0x0037,
    State.QUICK_STOP_ACTIVE: 0x0017,
    State.FAULT_REACTION_ACTIVE: 0x001F,
    State.FAULT: 0x0008,
}
_REMOTE = 0x0200


def statusword(
    state: State, operation: int, *, acknowledged: bool, reached: bool, homed: bool, homing_fails: bool
) -> int:
    """`operation` is what 6061h shows; only while operation is enabled do its bits count.

    `acknowledged`: a set-point of PP has been taken up. `reached`: the target of a profile mode.
    """
    word = _STATES[state] | _REMOTE
    if state is not State.OPERATION_ENABLED:
        return word
    match operation:
        case Operation.CSP | Operation.CSV | Operation.CST:
            word |= Status.FOLLOWS_COMMAND
        case Operation.PP:
            word |= Status.SET_POINT_ACKNOWLEDGE if acknowledged else 0
            word |= Status.TARGET_REACHED if reached else 0
        case Operation.PV | Operation.PT:
            word |= Status.TARGET_REACHED if reached else 0
        case Operation.HM:
            word |= Status.HOMING_ATTAINED | Status.TARGET_REACHED if homed else 0
            word |= Status.HOMING_ERROR if homing_fails else 0
        case _:
            pass
    return word
