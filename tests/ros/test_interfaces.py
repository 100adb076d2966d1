"""The messages of ROS and the bytes of the recording are the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers.device import Block
from verification_platform.records.cdr import decode_block, decode_mark, encode_block, encode_mark
from verification_platform.records.marks import SegmentMark
from verification_platform.records.schema import SAMPLE_BLOCK, SEGMENT_MARK, MessageType

MESSAGES = Path(__file__).resolve().parents[2] / "ros_ws" / "src" / "pilotbench_interfaces" / "msg"

BLOCK = Block(
    group="can0",
    sequence=2**40 + 7,
    first_row=12_345,
    channels=("input_angle", "output_angle", "输出"),
    stamps_s=np.array([1.5, 1.502, 1.504]),
    values=np.array([[1.0, -2.0, 3.0], [np.pi, 5e-324, -0.0], [np.nan, np.inf, 7.0]]),
    quality=np.array([[0, 1, 2], [3, 0, 0], [0, 0, 3]], dtype=np.uint8),
    age_s=np.array([[0, 0.02, -0.001], [0, 0, np.nan], [0, 0, 7]], dtype=np.float32),
)


def _fields(text: str) -> list[str]:
    """Type and name of every field, without comments."""
    lines = (re.sub(r"\s*#.*", "", line).strip() for line in text.split("=" * 80)[0].splitlines())
    return [" ".join(line.split()) for line in lines if line]


@pytest.mark.parametrize("message", [SAMPLE_BLOCK, SEGMENT_MARK], ids=lambda message: str(message.name))
def test_the_recording_describes_the_fields_of_the_messages(message: MessageType) -> None:
    file = MESSAGES / f"{message.name.split('/')[-1]}.msg"
    assert _fields(file.read_text(encoding="utf-8")) == _fields(message.definition)


@pytest.mark.ros
@pytest.mark.parametrize("block", [BLOCK, replace(BLOCK, age_s=None)], ids=["ages", "all of their stamp"])
def test_a_sample_block_is_the_same_in_ros_and_in_a_recording(
    in_ros: Callable[[str], str], block: Block
) -> None:
    """Every value bit by bit, non-finite values included; rmw may append unused bytes."""
    ages = b"" if block.age_s is None else block.age_s.tobytes()
    code = f"""
import array
from builtin_interfaces.msg import Time
from pilotbench_interfaces.msg import SampleBlock
from rclpy.serialization import deserialize_message, serialize_message
values = array.array("d", bytes.fromhex("{block.values.tobytes().hex()}"))
ages = array.array("f", bytes.fromhex("{ages.hex()}"))
message = SampleBlock(
    stamp=Time(sec=1795000000, nanosec=123456789), group="can0", sequence={block.sequence}, first_row=12345,
    channels={list(block.channels)!r}, stamps=[1.5, 1.502, 1.504], values=values,
    quality=[0, 1, 2, 3, 0, 0, 0, 0, 3], age=ages)
print(bytes(serialize_message(message)).hex())
back = deserialize_message(bytes.fromhex("{encode_block(block, 1795000000123456789).hex()}"), SampleBlock)
assert back.values.tobytes() == values.tobytes() and back.age.tobytes() == ages.tobytes()
assert (back.group, back.sequence, back.first_row) == ("can0", {block.sequence}, 12345)
assert list(back.channels) == {list(block.channels)!r} and list(back.quality) == [0, 1, 2, 3, 0, 0, 0, 0, 3]
"""
    ours = encode_block(block, 1795000000123456789)
    theirs = bytes.fromhex(in_ros(code).strip())
    assert len(ours) <= len(theirs) < len(ours) + 8
    # The bytes between two fields say nothing, and rmw leaves in them what was there before.
    assert encode_block(decode_block(theirs), 1795000000123456789) == ours
    assert theirs[:16] == ours[:16]


@pytest.mark.ros
def test_a_segment_mark_is_the_same_in_ros_and_in_a_recording(in_ros: Callable[[str], str]) -> None:
    """Either side reads what the other wrote; rmw leaves in the bytes between two fields what was there before."""
    mark = SegmentMark(3, {"direction": -1, "load": 0.1, "text": "载荷"}, {"can0": (10, 20), "rs485": (1, 2)})
    ours = encode_mark(mark)
    code = f"""
from pilotbench_interfaces.msg import SegmentMark
from rclpy.serialization import deserialize_message, serialize_message
message = SegmentMark(index=3, tag='{{"direction":-1,"load":0.1,"text":"载荷"}}', groups=["can0", "rs485"],
                      first_rows=[10, 1], last_rows=[20, 2])
print(bytes(serialize_message(message)).hex())
assert deserialize_message(bytes.fromhex("{ours.hex()}"), SegmentMark) == message
"""
    theirs = bytes.fromhex(in_ros(code).strip())
    assert len(ours) <= len(theirs) < len(ours) + 8
    assert decode_mark(theirs) == mark
    assert encode_mark(decode_mark(theirs)) == ours
