"""What a recording says about itself: channel records, fixture and attributes, in every segment.

Each MCAP segment carries one metadata record named ``pilotbench``, so that a single file, copied elsewhere,
still knows the unit, sensor and calibration of every number in it. Beside the segments lies
``metadata.yaml``, which makes the folder a rosbag2 (format version 9, ROS 2 Jazzy); it is derived from the
segments and never read here.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verification_platform.metrology.records import ChannelRecord, FixtureRecord

from .errors import RecordingError
from .schema import MARKS_TOPIC, MESSAGE_ENCODING, SAMPLE_BLOCK, SEGMENT_MARK, MessageType, samples_topic

METADATA_NAME = "pilotbench"
FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Description:
    """Everything a segment knows besides its samples.

    `groups` are the columns of each group. `session` counts how often a writer was opened on the recording (a
    resumed run has more than one; row numbers start again in each). `previous` is the seal link of the
    segment before.
    """

    channels: Mapping[str, ChannelRecord]
    fixture: FixtureRecord
    attributes: Mapping[str, Any]
    groups: Mapping[str, tuple[str, ...]]
    session: int = 0
    segment: int = 0
    previous: str = ""

    def check(self) -> None:
        """Every column has a record, every record a column. Raises RecordingError."""
        columns = [name for group in self.groups.values() for name in group]
        for name in columns:
            if name not in self.channels:
                raise RecordingError(f"channel {name!r} has no channel record; give its unit and calibration")
            if self.channels[name].name != name:
                raise RecordingError(f"channel {name!r} has the record of {self.channels[name].name!r}")
        if len(set(columns)) != len(columns):
            raise RecordingError(f"a channel belongs to two groups: {', '.join(sorted(columns))}")
        for name in self.channels:
            if name not in columns:
                raise RecordingError(
                    f"channel record {name!r} belongs to no group; groups carry {', '.join(columns)}"
                )
        for group in self.groups:
            samples_topic(group)


def _plain(value: object) -> object:
    if isinstance(value, dt.date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def to_metadata(description: Description) -> dict[str, str]:
    """Description → texts of the MCAP metadata record. Raises RecordingError when attributes are not JSON."""
    try:
        return {
            "format": FORMAT,
            "session": str(description.session),
            "segment": str(description.segment),
            "previous": description.previous,
            "groups": _json({name: list(columns) for name, columns in description.groups.items()}),
            "channels": _json(
                {name: dataclasses.asdict(record) for name, record in description.channels.items()}
            ),
            "fixture": _json(dataclasses.asdict(description.fixture)),
            "attributes": _json(dict(description.attributes)),
        }
    except (TypeError, ValueError) as error:
        raise RecordingError(f"attributes of the recording: {error}") from None


def from_metadata(found: Mapping[str, str], where: str) -> Description:
    """The other way. Raises RecordingError naming `where`."""
    if found.get("format") != FORMAT:
        raise RecordingError(
            f"{where}: recording format {found.get('format')!r} is unknown; this version reads {FORMAT!r}"
        )
    try:
        return Description(
            channels={name: _channel(table) for name, table in json.loads(found["channels"]).items()},
            fixture=FixtureRecord(**json.loads(found["fixture"])),
            attributes=json.loads(found["attributes"]),
            groups={name: tuple(columns) for name, columns in json.loads(found["groups"]).items()},
            session=int(found["session"]),
            segment=int(found["segment"]),
            previous=found["previous"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"{where}: channel records cannot be read ({error})") from None


def _channel(table: dict[str, Any]) -> ChannelRecord:
    dates = {
        key: dt.date.fromisoformat(table[key]) for key in ("calibrated", "due") if table.get(key) is not None
    }
    return ChannelRecord(**{**table, **dates})


@dataclass(slots=True)
class FileCount:
    """What ``metadata.yaml`` says about one segment: messages a topic, first and last log time (ns)."""

    file: str
    messages: dict[str, int]
    first_ns: int = 0
    last_ns: int = 0

    def add(self, topic: str, log_time_ns: int) -> None:
        self.first_ns = log_time_ns if not self.total else min(self.first_ns, log_time_ns)
        self.last_ns = max(self.last_ns, log_time_ns)
        self.messages[topic] = self.messages.get(topic, 0) + 1

    @property
    def total(self) -> int:
        return sum(self.messages.values())


def topics(groups: Sequence[str]) -> dict[str, MessageType]:
    """Topics of a recording with these groups."""
    return {**{samples_topic(group): SAMPLE_BLOCK for group in groups}, MARKS_TOPIC: SEGMENT_MARK}


def rosbag2_metadata(groups: Sequence[str], files: Sequence[FileCount]) -> str:
    """Text of ``metadata.yaml``, as ``ros2 bag record`` of ROS 2 Jazzy writes it."""
    filled = [file for file in files if file.total]
    first = min((file.first_ns for file in filled), default=0)
    last = max((file.last_ns for file in filled), default=0)
    lines = [
        "rosbag2_bagfile_information:",
        "  version: 9",
        "  storage_identifier: mcap",
        f"  duration:\n    nanoseconds: {last - first}",
        f"  starting_time:\n    nanoseconds_since_epoch: {first}",
        f"  message_count: {sum(file.total for file in files)}",
        "  topics_with_message_count:",
    ]
    for topic, message in topics(groups).items():
        lines += [
            "    - topic_metadata:",
            f"        name: {topic}",
            f"        type: {message.name}",
            f"        serialization_format: {MESSAGE_ENCODING}",
            "        offered_qos_profiles:\n          []",
            f"        type_description_hash: {message.type_hash}",
            f"      message_count: {sum(file.messages.get(topic, 0) for file in files)}",
        ]
    lines += ['  compression_format: ""', '  compression_mode: ""', "  relative_file_paths:"]
    lines += [f"    - {file.file}" for file in files] or ["    []"]
    lines += ["  files:"]
    for file in files:
        lines += [
            f"    - path: {file.file}",
            f"      starting_time:\n        nanoseconds_since_epoch: {file.first_ns}",
            f"      duration:\n        nanoseconds: {file.last_ns - file.first_ns}",
            f"      message_count: {file.total}",
        ]
    lines += [] if files else ["    []"]
    return "\n".join([*lines, "  custom_data: ~", "  ros_distro: jazzy", ""])
