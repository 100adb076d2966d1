"""The processes that the interlock hears: what each last said of itself, and why one of them cannot do its part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from .liveness import HANG_FACTOR, Peer


class NodeState(IntEnum):
    """What a process says of itself; numbers as in Heartbeat.msg."""

    INACTIVE = 0
    ACTIVE = 1
    ERROR = 2
    LOST = 3  # an error, and of the kind that spoils the data: a wire or a device is gone


@dataclass(slots=True)
class Watched:
    """One process, as of its last heartbeat."""

    process: Peer = field(default_factory=Peer)
    heard_s: float = -math.inf
    state: NodeState = NodeState.INACTIVE
    detail: str = ""
    permission: int = 0


class Peers:
    """By name. Times are those in which the listener itself ran."""

    def __init__(self, names: Iterable[str], silence_s: float) -> None:
        self._watched = {name: Watched() for name in names}
        self._silence_s = silence_s

    def __contains__(self, name: str) -> bool:
        return name in self._watched

    def __iter__(self) -> Iterator[str]:
        return iter(self._watched)

    def __getitem__(self, name: str) -> Watched:
        return self._watched[name]

    def silent(self, now_s: float) -> tuple[str, str, str] | None:
        """Cause, name and one line of a process that has died, or else of the one silent longest, when that is too long."""
        for name, peer in self._watched.items():
            if peer.process.alive() is False:
                return "death", name, f"{name} has died"
        name = min(self._watched, key=lambda name: self._watched[name].heard_s)
        peer = self._watched[name]
        age_s, limit_s = now_s - peer.heard_s, peer.process.limit_s(self._silence_s)
        if age_s <= limit_s:
            return None
        line = f"{name} has not been heard for {age_s * 1e3:.0f} ms (limit {limit_s * 1e3:.0f} ms)"
        return "silence", name, line

    def unfit(self, name: str, now_s: float) -> str:
        """Why a process cannot do its part now; empty when it can."""
        peer = self._watched[name]
        if peer.process.alive() is False or now_s - peer.heard_s > HANG_FACTOR * self._silence_s:
            return f"{name} is not heard; start it first"
        if peer.state in (NodeState.ERROR, NodeState.LOST):
            return f"{name}: {peer.detail or 'reports an error'}"
        return "" if peer.state is NodeState.ACTIVE else f"{name} is not active"
