"""What must hold while torque flows on a bus: nothing has tripped it, the guard has nothing against it, somebody renews the lease."""

from __future__ import annotations

from collections.abc import Callable

from drivers.device import CommandRefused
from drivers.realtime import AwakeClock


class Permit:
    """Reasons against torque; what is done about one is the runner's.

    `guard` returns a reason, or None; it must not block. The lease lasts `lease_s` from when it was last renewed, on the
    awake clock: the machine's own absence, beyond `longest_gap_s` at a time, is nobody's silence.
    """

    def __init__(
        self, guard: Callable[[], str | None] | None, lease_s: float, longest_gap_s: float, now_s: float
    ) -> None:
        if lease_s <= 0:
            raise ValueError("the lease must be positive")
        self._guard, self.lease_s, self._left_s = guard, lease_s, 0.0
        self._clock = AwakeClock(longest_gap_s, now_s)
        #: Why everything is off for good.
        self.tripped: str | None = None

    # ── any thread ──

    def trip(self, reason: str) -> None:
        """Latched; the first reason is kept."""
        if self.tripped is None:
            self.tripped = reason

    def renew(self) -> None:
        self._left_s = self.lease_s

    # ── the bus thread ──

    def tick(self, now_s: float) -> None:
        """Called in every cycle."""
        before_s = self._clock.time_s
        self._left_s -= self._clock.tick(now_s) - before_s

    def objection(self) -> str | None:
        """What the guard has against torque."""
        return None if self._guard is None else self._guard()

    @property
    def lapsed(self) -> bool:
        """The lease has not been renewed in time."""
        return self._left_s < 0

    def check(self, device: str) -> None:
        """Raises CommandRefused when a device may not be given torque."""
        if self.tripped is not None:
            raise CommandRefused(device, f"the bus has tripped ({self.tripped})", "restart the run")
        reason = self.objection()
        if reason is not None:
            raise CommandRefused(device, f"torque is not allowed: {reason}")
