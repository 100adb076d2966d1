"""The two message types of a recording, as they stand in every segment.

A recording must be readable without this software: each MCAP segment carries these definitions, so that
``ros2 bag``, Foxglove or any MCAP reader can decode the samples. They are the fields of
``ros_ws/src/pilotbench_interfaces/msg`` (a test compares them).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import RecordingError

PROFILE = "ros2"
SCHEMA_ENCODING = "ros2msg"
MESSAGE_ENCODING = "cdr"
MARKS_TOPIC = "/marks"
SAMPLES_PREFIX = "/samples/"

_TIME = f"{'=' * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"


#: Recordings of before it came have blocks without it; each segment says in its own definitions what it has.
_AGES = "float32[] age"


def has_ages(definition: str) -> bool:
    """Whether blocks that are defined so end with the ages of their values."""
    return _AGES in definition


@dataclass(frozen=True, slots=True)
class MessageType:
    """A ROS 2 message type: name, full definition (ros2msg), and its RIHS01 type hash (REP 2011)."""

    name: str
    definition: str
    type_hash: str


SAMPLE_BLOCK = MessageType(
    "pilotbench_interfaces/msg/SampleBlock",
    "builtin_interfaces/Time stamp\nstring group\nuint64 sequence\nuint64 first_row\nstring[] channels\n"
    f"float64[] stamps\nfloat64[] values\nuint8[] quality\n{_AGES}\n" + _TIME,
    "RIHS01_5f95ada09d482b3754dcc9f03abb64c2620040249e8816e6fa071280f123a779",
)
SEGMENT_MARK = MessageType(
    "pilotbench_interfaces/msg/SegmentMark",
    "uint32 index\nstring tag\nstring[] groups\nuint64[] first_rows\nuint64[] last_rows\n",
    "RIHS01_d7f23f050bc9beebc2b6a38e4e31e9dd5da001a11831cf2038d3fab24abb184f",
)

_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def samples_topic(group: str) -> str:
    """Topic of a group's blocks. Raises RecordingError for a group that cannot name a ROS topic."""
    if not _TOKEN.fullmatch(group):
        raise RecordingError(
            f"group {group!r} cannot name a ROS topic; use letters, digits and '_', beginning with a letter"
        )
    return SAMPLES_PREFIX + group
