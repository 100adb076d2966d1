"""Who must be heard for torque to flow, as one thread of a device node knows it."""

from __future__ import annotations

from drivers import clock
from verification_platform.bench.liveness import Peer
from verification_platform.bench.silence import Silence


class Listener:
    """What one thread knows of those without whom there is no torque."""

    def __init__(self, longest_gap_s: float) -> None:
        now_s = clock.now()
        self.interlock, self.protocol = Silence(longest_gap_s, now_s), Silence(longest_gap_s, now_s)

    def missing(self, interlock: Peer, protocol: Peer, silence_s: float) -> str | None:
        """Who has died or is silent too long; None when both are there."""
        now_s = clock.now()
        for name, peer, silence in (
            ("interlock_node", interlock, self.interlock),
            ("protocol_node", protocol, self.protocol),
        ):
            age_s = silence.age_s(now_s)
            if not silence.ever_heard:
                return f"{name} has not been heard yet"
            if age_s > peer.limit_s(silence_s):
                return (
                    f"{name} has died"
                    if peer.alive() is False
                    else f"{name} has not been heard for {age_s * 1e3:.0f} ms"
                )
        return None
