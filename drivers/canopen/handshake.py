"""How a set-point is handed over in profile position mode (CiA 402-2): new set-point ↑, acknowledge, new set-point ↓,
acknowledge gone. The next one handed over is the newest there is.
"""

from __future__ import annotations

import math

from drivers.canopen.cia402 import Control, Status

_ACKNOWLEDGE, _AT_ONCE, _NEW = (
    int(Status.SET_POINT_ACKNOWLEDGE),
    int(Control.CHANGE_SET_IMMEDIATELY),
    int(Control.NEW_SET_POINT),
)


class Handshake:
    """Of one drive; a step a cycle."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The drive has no set-point of ours."""
        self._offers = False  # the new set-point bit is set
        self._digits: int | None = None  # what the drive has, or is offered
        #: Since when an acknowledge is waited for; inf when none is.
        self.offered_s = math.inf

    def step(self, digits: int | None, statusword: int, now_s: float) -> tuple[int, int]:
        """Controlword bits and target of this cycle; `digits` is the newest set-point, None without one."""
        acknowledged = bool(statusword & _ACKNOWLEDGE)
        if self._offers:
            if acknowledged:
                self._offers, self.offered_s = False, math.inf
        elif digits is not None and not acknowledged and digits != self._digits:
            self._offers, self._digits, self.offered_s = True, digits, now_s
        return _AT_ONCE | (_NEW if self._offers else 0), self._digits or 0
