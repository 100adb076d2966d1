"""The interlock: gives the permission for torque, and takes it away when anything is silent, wrong or beyond a limit.

Pure logic on a clock that is handed in; `interlock_node` puts it into a process of its own and gives it ears and a
voice. It works the other way round from an alarm: torque needs a *permission* that is renewed all the time, and silence of
anyone involved is a trip (docs/decisions/0004).

Life::

    DISARMED ──arm()──▶ self-test ──▶ ARMED ──disarm()──▶ DISARMED
                                        │
                                        └──silence, error, limit, stop, key──▶ TRIPPED ──reset()──▶ DISARMED

A trip latches, with its first cause, and cannot be reset while that persists. Every arming tests the way by which torque is taken
away, the whole of it: a permission on trial is given, under which the device processes switch their drives on with nothing to do; it
is taken back as by a trip, and the time is measured until every device process has confirmed that its drives themselves say
"off" (docs/decisions/0009). Only then is the permission given that counts. IEC 60204-1, 9.2.3.4.2 (reset must not start
anything) is kept: after `reset` the bench stays disarmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, IntEnum

from drivers.device import Block, Quality
from drivers.realtime import AwakeClock

from .description import TripLimit
from .estop import EmergencyStops
from .limits import LimitWatch, tightening
from .peers import NodeState as NodeState
from .peers import Peers
from .streams import Streams
from .trip import Trip as Trip

#: A device process has so many silence limits to answer in the self-test, and so many tests to answer within one.
_LONGEST_PHASE, _TESTS = 5.0, 3


class InterlockState(IntEnum):
    """What the interlock says; numbers as in InterlockState.msg."""

    DISARMED = 0
    ARMED = 1
    TRIPPED = 2


class InterlockError(Exception):
    """Arming was refused; the message is one clear line."""


class _Phase(Enum):
    NONE = "none"
    GRANT = "grant"  # a permission on trial is given; waiting until every device process has it
    REVOKE = "revoke"  # it was taken back as by a trip; waiting until every device process has let go
    FINAL = "final"  # the permission that counts is given


class Interlock:
    """Watches processes by their heartbeats and channels by their samples.

    `devices` are the processes that hold torque, `others` everyone else who must be alive while the bench is armed.
    `channels` maps every channel that must keep arriving to its group. `limits` are those of the bench; arming may only
    tighten them. `estops` are channels of contacts that are 1 while nobody presses and no wire is broken.
    `torque_off_s` is how long the self-test may take. All times are seconds of one monotonic clock.
    """

    def __init__(
        self,
        devices: Sequence[str],
        others: Sequence[str],
        channels: Mapping[str, str],
        limits: Sequence[TripLimit],
        silence_s: float,
        *,
        estops: Sequence[str] = (),
        torque_off_s: float = math.inf,
    ) -> None:
        self._devices = tuple(devices)
        self._peers = Peers((*devices, *others), silence_s)
        self._streams, self._silence_s = Streams(channels, silence_s), silence_s
        self._torque_off_s = min(torque_off_s, silence_s)
        self._bench_limits = tuple(LimitWatch(limit) for limit in limits)
        self._limits = self._bench_limits
        self._tripped_limit: LimitWatch | None = None
        self._lets_go = False  # the trip is by a limit that does not latch, and nothing else has come since
        self._stops = EmergencyStops(estops, silence_s)
        self._state = InterlockState.DISARMED
        self._phase = _Phase.NONE
        self._phase_s = 0.0
        #: Silence of others counts only while this process itself ran (see `silence`).
        self._clock: AwakeClock | None = None
        self._last_permission = self._tests = 0
        self._locked = ""
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

    @property
    def on_trial(self) -> bool:
        """The self-test is on: under its permission drives are switched on, and nobody moves."""
        return self._phase in (_Phase.GRANT, _Phase.REVOKE)

    @property
    def latched(self) -> Trip | None:
        """The trip that only a person takes away, and no restart; None without one."""
        passing = self.on_trial or self._lets_go
        return self.trip if self._state is InterlockState.TRIPPED and not passing else None

    # ------------------------------------------------------------------ what it hears

    def introduce(self, node: str, pid: int, machine: str) -> None:
        """Which process `node` is, so that its death need not be guessed from silence."""
        if node in self._peers:
            self._peers[node].process.introduce(pid, machine)

    def heard(self, node: str, now_s: float, state: NodeState, detail: str = "", permission: int = 0) -> None:
        """A heartbeat of `node` arrived. Unknown nodes are ignored: they hold no torque."""
        if node not in self._peers:
            return
        now_s, peer = self._awake(now_s), self._peers[node]
        peer.heard_s, peer.state, peer.detail, peer.permission = now_s, state, detail, permission
        if self._state is InterlockState.ARMED and state in (NodeState.ERROR, NodeState.LOST):
            cause = "error" if state is NodeState.ERROR else "lost"
            self._trip(cause, node, f"{node}: {detail or 'reports an error'}", now_s)
        self._advance(now_s)

    def block(self, block: Block, now_s: float) -> None:
        """Samples arrived: their GOOD values are compared with the limits."""
        now_s = self._awake(now_s)
        pressed = self._stops.take(block, now_s)
        if pressed is not None:  # whatever the state: it must not be armed over
            self._trip("estop", *pressed, now_s)
        good = block.quality == Quality.GOOD
        self._streams.take(block, good, now_s)
        for watch in self._limits:
            if watch.limit.channel in block.channels:
                column = block.channels.index(watch.limit.channel)
                use = good[:, column]
                crossed = watch.update(block.stamps_s[use], block.values[use, column])
                if crossed and self._state is InterlockState.ARMED:
                    self._trip("limit", watch.limit.channel, crossed, now_s)
                    self._tripped_limit, self._lets_go = watch, not watch.limit.latched

    def tick(self, now_s: float) -> None:
        """Time has passed: whoever is silent too long trips. To be called at least four times within the silence limit."""
        now_s = self._awake(now_s)
        if self._state is not InterlockState.ARMED:
            self._come_back()
            self._advance(now_s)
            return
        found = self._peers.silent(now_s) or self._streamless(now_s)
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
                f"the interlock has tripped ({self.trip.reason}); find the cause, then reset it "
                "(pilotbench bench reset)"
            )
        if self._state is InterlockState.ARMED or self.arming:
            raise InterlockError("the interlock is armed already; disarm it first")
        self._limits = (*self._bench_limits, *tightening(limits, self._bench_limits))
        missing = self._locked or self._not_ready(now_s)
        if missing:
            raise InterlockError(missing)
        for watch in self._limits:
            watch.restart()
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

    def lock_out(self, refusal: str, now_s: float) -> None:
        """Somebody is in the cell, `refusal` says who; empty when everybody is out. An armed bench trips."""
        now_s, self._locked = self._awake(now_s), refusal
        if refusal and (self._state is InterlockState.ARMED or self.arming):
            self._trip("lockout", "lockout", refusal, now_s)

    def restore(self, trip: Trip) -> None:
        """Begin tripped: by what was latched when the interlock last ended. To be called before anything else.

        Of a limit only that of the bench is known again; one that was tightened for a run does not hold up a reset.
        """
        self._state, self.trip = InterlockState.TRIPPED, trip
        of_channel = (watch for watch in self._bench_limits if watch.limit.channel == trip.subject)
        self._tripped_limit = next(of_channel, None) if trip.cause == "limit" else None

    def reset(self, now_s: float) -> None:
        """Forget the trip. Starts nothing: the bench is disarmed afterwards. Raises InterlockError while its cause persists."""
        now_s = self._awake(now_s)
        persists = self._persists(now_s)
        if persists:
            raise InterlockError(f"reset refused: {persists}")
        self._forget()

    # ------------------------------------------------------------------ inside

    def _forget(self) -> None:
        self._state, self.trip, self._phase, self.permission = InterlockState.DISARMED, None, _Phase.NONE, 0
        self._limits, self._tripped_limit, self._lets_go = self._bench_limits, None, False

    def _persists(self, now_s: float) -> str:
        """Why the trip that is latched must stay; empty when its cause is gone."""
        if self.trip is None:
            return ""
        pressed = self._stops.open()
        if pressed:
            return f"{pressed} is still pressed, or its wire broken; unlock it first"
        subject = self.trip.subject
        match self.trip.cause:
            case "lockout":
                return self._locked
            case "estop" if subject in self._stops:
                unheard = self._stops.unheard(now_s)
                return "" if unheard is None else unheard[1]
            case "death" | "silence" | "error" | "lost" if subject in self._peers:
                return self._peers.unfit(subject, now_s)
            case "limit" if self._tripped_limit is not None:
                if self._streams.late(subject, now_s):
                    return f"{subject} is no longer measured, so nobody knows whether it is back"
                return self._tripped_limit.standing()
            case "stream" if subject in self._streams:
                return f"{subject} still delivers nothing" if self._streams.late(subject, now_s) else ""
            case _:
                return ""

    def _come_back(self) -> None:
        """A limit that does not latch lets go by itself, as far as "disarmed"."""
        watch = self._tripped_limit
        if watch is not None and self._lets_go and not watch.standing():
            self._forget()

    def _awake(self, now_s: float) -> float:
        """The time on which everything in here is counted."""
        if self._clock is None:
            self._clock = AwakeClock(self._silence_s / 4.0, now_s)
        return self._clock.tick(now_s)

    def _trip(self, cause: str, subject: str, reason: str, now_s: float) -> None:
        self.permission, self._lets_go = 0, False
        if self._state is not InterlockState.TRIPPED or self._phase is _Phase.REVOKE:
            # else the first cause stays
            self._state, self.trip = InterlockState.TRIPPED, Trip(cause, subject, reason, now_s)
        if self.arming:
            self.refusal = reason
        self._phase = _Phase.NONE

    def _streamless(self, now_s: float) -> tuple[str, str, str] | None:
        unheard = self._stops.unheard(now_s)
        if unheard is not None:
            return "estop", *unheard
        return self._streams.silent({watch.limit.channel for watch in self._limits}, now_s)

    def _not_ready(self, now_s: float) -> str:
        """Why the bench cannot be armed now; empty when it can."""
        for name in self._peers:
            unfit = self._peers.unfit(name, now_s)
            if unfit:
                return unfit
            if self._peers[name].permission:
                return f"{name} still holds an old permission"
        pressed = self._stops.open()
        if pressed:
            return f"{pressed} is pressed, or its wire broken; unlock it first"
        found = self._streamless(now_s)
        if found:
            return found[2]
        standing = (watch.standing() for watch in self._bench_limits if watch.limit.channel in self._streams)
        return next((line for line in standing if line), "")

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
            too_slow = latency_s > self._torque_off_s
            if too_slow and self._tests >= _TESTS:
                took = f"it took {latency_s * 1e3:.0f} ms until every drive was off"
                self._self_test_failed(
                    "", f"{took}, at most {self._torque_off_s * 1e3:.0f} ms are allowed", now_s
                )
                return
            self.self_test_latency_s, self.trip = latency_s, None
            # Too slow once may be the machine's fault; it must be fast before anything moves.
            self._grant(_Phase.GRANT if too_slow else _Phase.FINAL, now_s)
        else:
            self._phase = _Phase.NONE
