"""The one exception that says the bench is no longer under torque; it lives here so that benches can raise
it.
"""

from __future__ import annotations


class BenchTrip(Exception):
    """The bench took the torque off: an interlock, a lost process, a device fault. `reason` is one clear
    line.
    """

    def __init__(self, reason: str, *, safety: bool = True) -> None:
        self.reason, self.safety = reason, safety
        super().__init__(reason)
