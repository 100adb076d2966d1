"""The interlock: gives the permission for torque, and takes it away when anything is silent, wrong or beyond a limit.

Pure logic on a clock that is handed in; `interlock_node` puts it into a process of its own and gives it ears and a
voice. It works the other way round from an alarm: torque needs a *permission* that is renewed all the time, and silence of
anyone involved is a trip (docs/decisions/0004).

Life::

    DISARMED ──arm()──▶ self-test ──▶ ARMED ──disarm()──▶ DISARMED
                                        │
                                        └──silence, error, limit, emergency stop──▶ TRIPPED ──reset()──▶ DISARMED

A trip latches, with its first cause. Every arming tests the way by which torque is taken away: a permission is given,
taken back as by a trip, and the time is measured until every device process has confirmed that it permits no torque.
Only then is the permission given that counts. IEC 60204-1, 9.2.3.4.2 (reset must not start anything) is kept: after `reset` the
bench stays disarmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np

from drivers.device import Block, Quality
from drivers.realtime import AwakeClock

from .description import TripLimit
from .liveness import HANG_FACTOR, Peer

#: A bus that delivers nothing for so many silence limits is a trip: blocks gather several rows first.
_STREAM_FACTOR = 4.0
#: A watched channel without a valid sample for so many: a slave that missed answers is asked again after a pause.
_VALID_FACTOR = 10.0
#: A device process has so many silence limits to answer in the self-test, and so many tests to answer within one.
_LONGEST_PHASE, _TESTS = 5.0, 3


class InterlockState(IntEnum):
    """What the interlock says; numbers as in InterlockState.msg."""

    DISARMED = 0
    ARMED = 1
    TRIPPED = 2


class NodeState(IntEnum):
    """What a process says of itself; numbers as in Heartbeat.msg."""

    INACTIVE = 0
    ACTIVE = 1
    ERROR = 2


class InterlockError(Exception):
    """Arming was refused; the message is one clear line."""


@dataclass(frozen=True, slots=True)
class Trip:
    """First cause of a trip: `cause` (death, silence, error, limit, stream, estop, self_test), `subject` (process or channel), one clear line."""

    cause: str
    subject: str
    reason: str
    at_s: float


class _Phase(Enum):
    NONE = "none"
    GRANT = "grant"  # a permission on trial is given; waiting until every device process has it
    REVOKE = "revoke"  # it was taken back as by a trip; waiting until every device process has let go
    FINAL = "final"  # the permission that counts is given


@dataclass(slots=True)
class _Watched:
    process: Peer = field(default_factory=Peer)
    heard_s: float = -math.inf
    state: NodeState = NodeState.INACTIVE
    detail: str = ""
    permission: int = 0


class Interlock:
    """Watches processes by their heartbeats and channels by their samples.

    `devices` are the processes that hold torque, `others` everyone else who must be alive while the bench is armed.
    `channels` maps every channel that must keep arriving to its group. `limits` are those of the bench; arming may only
    tighten them. All times are seconds of one monotonic clock.
    """

    def __init__(
        self,
        devices: Sequence[str],
        others: Sequence[str],
        channels: Mapping[str, str],
        limits: Sequence[TripLimit],
        silence_s: float,
    ) -> None:
        self._devices = tuple(devices)
        self._peers = {name: _Watched() for name in (*devices, *others)}
        self._channels, self._bench_limits, self._silence_s = dict(channels), tuple(limits), silence_s
        self._limits = _bounds(limits)
        self._groups = dict.fromkeys(channels.values(), -math.inf)
        self._good_s = dict.fromkeys(channels, -math.inf)
        self._state = InterlockState.DISARMED
        self._phase = _Phase.NONE
        self._phase_s = 0.0
        #: Silence of others counts only while this process itself ran (see `silence`).
        self._clock: AwakeClock | None = None
        self._last_permission = self._tests = 0
        self.permission = 0
        self.trip: Trip | None = None
        self.refusal = ""
        self.self_test_latency_s = math.nan

    # ------------------------------------------------------------------ what it says

    @property
    def state(self) -> InterlockState:
        return self._state

    @property
    def arming(self) -> bool:
        """An arming has begun and is neither done nor refused."""
        return self._phase is not _Phase.NONE

    # ------------------------------------------------------------------ what it hears

    def introduce(self, node: str, pid: int, machine: str) -> None:
        """Which process `node` is, so that its death need not be guessed from silence."""
        if node in self._peers:
            self._peers[node].process.introduce(pid, machine)

    def heard(self, node: str, now_s: float, state: NodeState, detail: str = "", permission: int = 0) -> None:
        """A heartbeat of `node` arrived. Unknown nodes are ignored: they hold no torque."""
        peer = self._peers.get(node)
        if peer is None:
            return
        now_s = self._awake(now_s)
        peer.heard_s, peer.state, peer.detail, peer.permission = now_s, state, detail, permission
        if self._state is InterlockState.ARMED and state is NodeState.ERROR:
            self._trip("error", node, f"{node}: {detail or 'reports an error'}", now_s)
        self._advance(now_s)

    def block(self, block: Block, now_s: float) -> None:
        """Samples arrived: their GOOD values are compared with the limits."""
        now_s = self._awake(now_s)
        if block.group in self._groups:
            self._groups[block.group] = now_s
        good = block.quality == Quality.GOOD
        for column, channel in enumerate(block.channels):
            if not good[:, column].any():
                continue
            self._good_s[channel] = now_s
            bounds = self._limits.get(channel)
            if bounds is None or self._state is not InterlockState.ARMED:
                continue
            values = block.values[good[:, column], column]
            low, high = float(np.min(values)), float(np.max(values))
            if low < bounds[0] or high > bounds[1]:
                value, bound = (low, bounds[0]) if low < bounds[0] else (high, bounds[1])
                self._trip("limit", channel, f"{channel} {value:.6g} is beyond its limit {bound:.6g}", now_s)

    def tick(self, now_s: float) -> None:
        """Time has passed: whoever is silent too long trips. To be called at least four times within the silence limit."""
        now_s = self._awake(now_s)
        if self._state is not InterlockState.ARMED:
            self._advance(now_s)
            return
        found = self._silent(now_s) or self._streamless(now_s)
        if found is not None:
            cause, subject, reason = found
            self._trip(cause, subject, reason, now_s)
        self._advance(now_s)

    # ------------------------------------------------------------------ what it is told

    def arm(self, now_s: float, limits: Iterable[TripLimit] = ()) -> None:
        """Begin to arm. Raises InterlockError when that cannot be; otherwise `arming` is True until it is done.

        Limits may only tighten those of the bench. When `arming` is over, `state` is ARMED or `refusal` says why not.
        """
        now_s, self.refusal = self._awake(now_s), ""
        if self._state is InterlockState.TRIPPED:
            assert self.trip is not None
            raise InterlockError(
                f"the interlock has tripped ({self.trip.reason}); find the cause, then reset it"
            )
        if self._state is InterlockState.ARMED or self.arming:
            raise InterlockError("the interlock is armed already; disarm it first")
        self._limits = _bounds((*self._bench_limits, *limits))
        missing = self._not_ready(now_s)
        if missing:
            raise InterlockError(missing)
        self._tests = 0
        self._grant(_Phase.GRANT, now_s)

    def disarm(self) -> None:
        """Take the permission back. A trip stays latched."""
        if self.arming:
            self.refusal = "disarmed during the self-test"
            self._state, self.trip = InterlockState.DISARMED, None
        self._phase, self.permission = _Phase.NONE, 0
        if self._state is InterlockState.ARMED:
            self._state = InterlockState.DISARMED

    def emergency_stop(self, now_s: float, who: str) -> None:
        """Trip now, whatever the state; latches like every other trip."""
        self._trip("estop", who, f"emergency stop by {who}", self._awake(now_s))

    def reset(self) -> None:
        """Forget the trip. Starts nothing: the bench is disarmed afterwards."""
        self._state, self.trip, self._phase, self.permission = InterlockState.DISARMED, None, _Phase.NONE, 0

    # ------------------------------------------------------------------ inside

    def _awake(self, now_s: float) -> float:
        """The time on which everything in here is counted."""
        if self._clock is None:
            self._clock = AwakeClock(self._silence_s / 4.0, now_s)
        return self._clock.tick(now_s)

    def _trip(self, cause: str, subject: str, reason: str, now_s: float) -> None:
        self.permission = 0
        if (
            self._state is not InterlockState.TRIPPED or self._phase is _Phase.REVOKE
        ):  # else the first cause stays
            self._state, self.trip = InterlockState.TRIPPED, Trip(cause, subject, reason, now_s)
        if self.arming:
            self.refusal = reason
        self._phase = _Phase.NONE

    def _silent(self, now_s: float) -> tuple[str, str, str] | None:
        """A process that has died, or else the one that has been silent longest, when that is too long."""
        for name, peer in self._peers.items():
            if peer.process.alive() is False:
                return "death", name, f"{name} has died"
        name = min(self._peers, key=lambda peer: self._peers[peer].heard_s)
        age_s, limit_s = now_s - self._peers[name].heard_s, self._peers[name].process.limit_s(self._silence_s)
        if age_s <= limit_s:
            return None
        return (
            "silence",
            name,
            f"{name} has not been heard for {age_s * 1e3:.0f} ms (limit {limit_s * 1e3:.0f} ms)",
        )

    def _streamless(self, now_s: float) -> tuple[str, str, str] | None:
        limit_s = _STREAM_FACTOR * self._silence_s
        for group, arrived_s in self._groups.items():
            if now_s - arrived_s > limit_s:
                return "stream", group, f"{group}: no samples for {(now_s - arrived_s) * 1e3:.0f} ms"
        for channel in self._limits:
            age_s = now_s - self._good_s.get(channel, now_s)
            if age_s > _VALID_FACTOR * self._silence_s:
                return (
                    "stream",
                    channel,
                    f"{channel}: no valid sample for {age_s * 1e3:.0f} ms, and its limits must be watched",
                )
        return None

    def _not_ready(self, now_s: float) -> str:
        """Why the bench cannot be armed now; empty when it can."""
        for name, peer in self._peers.items():
            if peer.process.alive() is False or now_s - peer.heard_s > HANG_FACTOR * self._silence_s:
                return f"{name} is not heard; start it first"
            if peer.state is NodeState.ERROR:
                return f"{name}: {peer.detail or 'reports an error'}"
            if peer.state is not NodeState.ACTIVE:
                return f"{name} is not active"
            if peer.permission:
                return f"{name} still holds an old permission"
        found = self._streamless(now_s)
        return found[2] if found else ""

    def _grant(self, phase: _Phase, now_s: float) -> None:
        self._last_permission += 1
        self.permission = self._last_permission
        self._state, self._phase, self._phase_s = InterlockState.ARMED, phase, now_s

    def _advance(self, now_s: float) -> None:
        """Go on with an arming: every device process must confirm each phase in time."""
        if self._phase is _Phase.NONE:
            return
        if all(self._peers[name].permission == self.permission for name in self._devices):
            self._confirmed(now_s)
        elif now_s - self._phase_s > _LONGEST_PHASE * self._silence_s:
            slow = ", ".join(
                name for name in self._devices if self._peers[name].permission != self.permission
            )
            verb = "did not let go of" if self._phase is _Phase.REVOKE else "did not take"
            self._self_test_failed(
                slow, f"{slow} {verb} the permission within {(now_s - self._phase_s) * 1e3:.0f} ms", now_s
            )

    def _self_test_failed(self, who: str, what: str, now_s: float) -> None:
        self.refusal = f"self-test: {what}"
        self._trip("self_test", who, self.refusal, now_s)

    def _confirmed(self, now_s: float) -> None:
        if self._phase is _Phase.GRANT:
            self.permission, self._state = 0, InterlockState.TRIPPED
            self.trip = Trip("self_test", "interlock_node", "self-test of the interlock", now_s)
            self._phase, self._phase_s = _Phase.REVOKE, now_s
        elif self._phase is _Phase.REVOKE:
            latency_s = now_s - self._phase_s
            self._tests += 1
            if latency_s > self._silence_s and self._tests >= _TESTS:
                self._self_test_failed("", f"taking the permission away took {latency_s * 1e3:.0f} ms", now_s)
                return
            self.self_test_latency_s, self.trip = latency_s, None
            # Too slow once may be the machine's fault; it must be fast before anything moves.
            self._grant(_Phase.GRANT if latency_s > self._silence_s else _Phase.FINAL, now_s)
        else:
            self._phase = _Phase.NONE


def _bounds(limits: Iterable[TripLimit]) -> dict[str, tuple[float, float]]:
    """The tightest [low, high] of each channel."""
    found: dict[str, tuple[float, float]] = {}
    for limit in limits:
        low, high = found.get(limit.channel, (-math.inf, math.inf))
        found[limit.channel] = (
            max(low, -math.inf if limit.low is None else limit.low),
            min(high, math.inf if limit.high is None else limit.high),
        )
    return found
