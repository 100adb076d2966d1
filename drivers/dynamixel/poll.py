"""How the servos of a line are read in one instruction, and who is to blame when answers are missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from drivers.dynamixel import codec
from drivers.dynamixel.servo import DynamixelServo


@dataclass(frozen=True, slots=True)
class Poll:
    """How the servos that answer are read: sync read where all blocks lie at one place, else bulk read."""

    servos: Mapping[int, DynamixelServo]  # by id
    request: bytes
    wanted: tuple[tuple[int, int], ...]  # id, bytes
    delay_s: float
    fast: bool

    @classmethod
    def of(cls, servos: Sequence[DynamixelServo], extra: int) -> Poll:
        """`extra` bytes are asked for beyond each block."""
        fast = all(servo.fast for servo in servos)
        blocks = [(s.number, s.layout.address, s.layout.size + extra) for s in servos]
        if len({block[1:] for block in blocks}) == 1:
            request = codec.sync_read(blocks[0][1], blocks[0][2], [block[0] for block in blocks], fast=fast)
        else:
            request = codec.bulk_read(blocks, fast=fast)
        wanted = tuple((number, size) for number, _, size in blocks)
        return cls(
            {servo.number: servo for servo in servos},
            request,
            wanted,
            max(servo.return_delay_s for servo in servos),
            fast,
        )


class Poller:
    """The poll of each cycle. `alternate`: every other cycle asks for one byte more (see `telemetry`)."""

    def __init__(self, *, alternate: bool) -> None:
        self._alternate, self._longer = alternate, False
        self._live: tuple[DynamixelServo, ...] = ()
        self._polls: tuple[Poll, ...] = ()

    def forget(self) -> None:
        """What was known of the servos no longer holds."""
        self._live = ()

    def next(self, live: tuple[DynamixelServo, ...]) -> Poll:
        """Made anew only when somebody has gone or come back."""
        if self._live != live:
            self._live, self._polls = live, tuple(Poll.of(live, extra) for extra in (0, 1))
        self._longer = self._alternate and not self._longer
        return self._polls[self._longer]


def silent(live: Sequence[DynamixelServo], found: Collection[int]) -> list[DynamixelServo]:
    """Who has not answered by its own fault: whoever is behind the first silent one could not, if nobody did."""
    if len(found) == len(live):
        return []
    last = max((n for n, servo in enumerate(live) if servo.number in found), default=-1)
    return [servo for servo in live[: last + 2] if servo.number not in found]
