"""How long a peer has been silent, counted only while the listener listened.

A machine may stand still for tenths of a second (a virtual machine that has used up its share). A listener that counts such
a gap accuses everyone else of its own absence; its peers' messages lie in its mailbox, unread. So silence is counted
in the time during which the listener ran, as `drivers.realtime.AwakeClock` does it. A peer that dies is found out as fast as
before; and when the whole machine stands still, nobody on it could act anyway: that is what the drives' own watchdogs are for.
"""

from __future__ import annotations

from drivers.realtime import AwakeClock


class Silence:
    """Silence of one peer. `heard` may be called from any thread, `age_s` from one, more often than every `longest_gap_s`.

    >>> silence = Silence(longest_gap_s=0.02, now_s=0.0)
    >>> silence.age_s(0.01), silence.age_s(0.5)  # 0.49 s without asking: the listener was away
    (0.01, 0.03)
    >>> silence.heard(); silence.age_s(0.51)
    0.0
    """

    __slots__ = ("_clock", "_count", "_heard_s", "_seen")

    def __init__(self, longest_gap_s: float, now_s: float) -> None:
        self._clock = AwakeClock(longest_gap_s, now_s)
        self._count = self._seen = 0
        self._heard_s = 0.0

    def heard(self) -> None:
        self._count += 1

    @property
    def ever_heard(self) -> bool:
        return self._count > 0

    def age_s(self, now_s: float) -> float:
        """Awake seconds since the peer was heard (since the beginning, before the first time)."""
        awake_s, count = self._clock.tick(now_s), self._count
        if count != self._seen:
            self._seen, self._heard_s = count, awake_s
        return awake_s - self._heard_s
