"""What a trip is: the interlock's record of it, and the exception by which a bench says that it is no longer under torque."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trip:
    """First cause of a trip, one clear line, and when (time in which the interlock ran).

    `cause` is death, silence, error, lost, limit, stream, estop, lockout, self_test or record (that of the last trip cannot be
    read); `subject` a process, channel or person.
    """

    cause: str
    subject: str
    reason: str
    at_s: float


class BenchTrip(Exception):
    """The bench took the torque off: an interlock, a lost process, a device fault. `reason` is one clear
    line.
    """

    def __init__(self, reason: str, *, safety: bool = True) -> None:
        self.reason, self.safety = reason, safety
        super().__init__(reason)
