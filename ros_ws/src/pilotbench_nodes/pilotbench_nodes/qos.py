"""Quality of service of every topic, in one place."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

HEARTBEAT_TOPIC = "heartbeat"
LEASE_TOPIC = "lease"
INTERLOCK_TOPIC = "interlock/state"

#: Sample blocks: nothing may be lost. Deep enough for two seconds of the shortest blocks.
SAMPLES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=256,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
#: Segment marks: few, and each one matters.
MARKS = SAMPLES
#: States that change seldom: whoever comes late still learns the last one.
STATE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def heartbeat(silence_s: float) -> QoSProfile:
    """Heartbeats: a lost one is not repeated, the next says more. `silence_s` is the bench's limit."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=8,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
        deadline=Duration(nanoseconds=round(silence_s * 1e9)),
    )


def samples_topic(group: str) -> str:
    return f"samples/{group}"


MARKS_TOPIC = "marks"
