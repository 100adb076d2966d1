"""Small or large signal: whether a drive came to its torque limit while it followed a step."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from verification_platform.engine.protocol import Text
from verification_platform.records.errors import RecordingError
from verification_platform.records.recording import Recording, Segment

#: The drive's own torque, where the bench has it.
TORQUE = "drive_torque"
#: Of the drive's limit. A torque that touches the limit between two samples is seen this high beside it.
_SATURATED = 0.95


def torque_limit(recording: Recording) -> float | None:
    """Range of the drive's own torque, N·m: where it ends, the drive limits it. None when it was not recorded."""
    record = recording.channels.get(TORQUE)
    return None if record is None else record.range


def torque_share(segments: Sequence[Segment], limit: float | None) -> float | None:
    """Largest drive torque of all `segments` as a fraction of its limit; None when it was not recorded."""
    shares = []
    for segment in segments if limit else ():
        with contextlib.suppress(RecordingError):  # a segment need not have rows of every channel
            shares.append(float(np.max(np.abs(segment.read(TORQUE).values), initial=0.0)) / (limit or 1.0))
    return max(shares, default=None)


def signal(share: float | None) -> dict[str, str | float | int | bool]:
    """The condition of a result: large where the drive has limited its torque; none where that is not known."""
    if share is None:
        return {}
    return {"signal": "large" if share >= _SATURATED else "small"}


def signal_findings(shares: Sequence[float | None]) -> list[Text]:
    """Whether this was the small signal that it is meant to be. A remark: the numbers are right, of what they say they are."""
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return [
            Text(
                "未记录驱动器转矩，无法判断其是否达到限值",
                "the drive's torque was not recorded: whether it reached its limit is not known",
            )
        ]
    largest = max(known, default=0.0)
    if largest < _SATURATED:
        return []
    return [
        Text(
            f"驱动器转矩达到其限值的 {largest * 100:.0f} %：为大信号响应",
            f"the drive's torque came to {largest * 100:.0f} % of its limit: this is the large-signal response",
        )
    ]
