"""CDR against an independent implementation (rosbags), byte for byte."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from drivers.device import Block
from verification_platform.records.cdr import (
    LayoutReader,
    block_layout,
    decode_block,
    decode_mark,
    encode_block,
    encode_mark,
    stamp_ns,
)
from verification_platform.records.errors import RecordingError
from verification_platform.records.marks import SegmentMark
from verification_platform.records.schema import SAMPLE_BLOCK, SEGMENT_MARK

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
FLOATS = st.floats(width=64)


@pytest.fixture(scope="module")
def types() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    for message in (SAMPLE_BLOCK, SEGMENT_MARK):
        store.register(get_types_from_msg(message.definition.split("=" * 80)[0], message.name))
    return store


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    n, k = draw(st.integers(0, 20)), draw(st.integers(0, 5))
    return Block(
        draw(NAMES),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 2**64 - 1)),
        tuple(draw(st.lists(NAMES, min_size=k, max_size=k))),
        draw(hnp.arrays(np.float64, n, elements=FLOATS)),
        draw(hnp.arrays(np.float64, (n, k), elements=FLOATS)),
        draw(hnp.arrays(np.uint8, (n, k))),
        draw(st.none() | hnp.arrays(np.float32, (n, k), elements=st.floats(width=32))),
    )


def ages(block: Block) -> np.ndarray:
    """As they are stored: none when all are 0."""
    none = block.age_s is None or not block.age_s.any()
    return np.empty(0, np.float32) if none else block.age_s.ravel()


@given(block=blocks(), stamp=st.integers(0, 2**31 * 10**9 - 1))
def test_block_is_what_ros_writes(types: Any, block: Block, stamp: int) -> None:
    raw = encode_block(block, stamp)
    time = types.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
    message = types.types[SAMPLE_BLOCK.name](
        time,
        block.group,
        block.sequence,
        block.first_row,
        list(block.channels),
        block.stamps_s,
        block.values.ravel(),
        block.quality.ravel(),
        ages(block),
    )
    assert raw == bytes(types.serialize_cdr(message, SAMPLE_BLOCK.name))[: len(raw)]
    assert stamp_ns(raw) == stamp


@given(block=blocks(), trailing=st.binary(max_size=16))
def test_block_comes_back_bit_for_bit(block: Block, trailing: bytes) -> None:
    back = decode_block(encode_block(block) + trailing)  # rmw_fastrtps leaves bytes behind the message
    assert (back.group, back.sequence, back.first_row, back.channels) == (
        block.group,
        block.sequence,
        block.first_row,
        block.channels,
    )
    assert back.stamps_s.tobytes() == block.stamps_s.tobytes()
    assert back.values.tobytes() == block.values.tobytes()
    assert back.values.shape == block.values.shape
    assert back.quality.tobytes() == block.quality.tobytes()
    stored = ages(block)
    assert (back.age_s is None) == (stored.size == 0)
    assert back.age_s is None or back.age_s.tobytes() == stored.tobytes()


@given(block=blocks(), trailing=st.binary(max_size=16))
def test_a_block_of_before_there_were_ages_is_read_without(block: Block, trailing: bytes) -> None:
    """Whatever lies behind it; only the recording's own definition tells."""
    raw = encode_block(block)
    at = block_layout(raw)
    old = raw[: at.quality_at + block.quality.size] + trailing
    reader = LayoutReader()
    for _ in range(2):
        assert block_layout(old, ages=False) == at._replace(ages_at=0)
        assert reader.read(memoryview(old), ages=False) == at._replace(ages_at=0)


@given(stream=st.lists(blocks(), max_size=6), repeat=st.integers(1, 3))
def test_remembered_layouts_equal_fresh_ones(stream: list[Block], repeat: int) -> None:
    reader = LayoutReader()
    for block in stream * repeat:
        raw = encode_block(block)
        assert reader.read(memoryview(raw)) == block_layout(raw)


def test_layout_reader_sees_through_equal_sizes() -> None:
    """Two blocks of the same size and different channels must not be mixed up."""
    reader = LayoutReader()
    for channels in (("ab", "cd"), ("ab", "ce"), ("a", "cde")):
        raw = encode_block(
            Block("g", 1, 2, channels, np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2), np.uint8))
        )
        assert reader.read(memoryview(raw)).channels == channels


@given(
    index=st.integers(0, 2**32 - 1),
    tag=st.dictionaries(
        NAMES, NAMES | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
    ),
    rows=st.dictionaries(NAMES, st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=4),
)
def test_mark_is_what_ros_writes_and_comes_back(
    types: Any, index: int, tag: dict[str, Any], rows: dict[str, Any]
) -> None:
    mark = SegmentMark(index, tag, rows)
    raw = encode_mark(mark)
    back = decode_mark(raw)
    assert back == mark
    assert [type(value) for value in back.tag.values()] == [type(value) for value in tag.values()]
    message = types.deserialize_cdr(raw, SEGMENT_MARK.name)
    assert message.index == index
    assert list(zip(message.first_rows.tolist(), message.last_rows.tolist(), strict=True)) == list(
        rows.values()
    )
    assert raw == bytes(types.serialize_cdr(message, SEGMENT_MARK.name))[: len(raw)]


@given(block=blocks(), data=st.data())
def test_a_cut_message_is_refused(block: Block, data: st.DataObject) -> None:
    raw = encode_block(block)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(RecordingError):
        decode_block(raw[:cut])


def test_big_endian_is_refused() -> None:
    with pytest.raises(RecordingError, match="little-endian"):
        decode_block(b"\0\0\0\0" + bytes(100))


def test_shapes_must_agree() -> None:
    for values, flags, old in (((2, 1), (3, 1), (3, 1)), ((3, 1), (3, 2), (3, 1)), ((3, 1), (3, 1), (1, 3))):
        arrays = np.zeros(values), np.zeros(flags, np.uint8), np.ones(old, np.float32)
        with pytest.raises(RecordingError, match="block 7 of can0"):
            encode_block(Block("can0", 7, 0, ("a",), np.zeros(3), *arrays))


def test_tags_must_be_finite() -> None:
    with pytest.raises(RecordingError, match="finite"):
        encode_mark(SegmentMark(0, {"load": float("nan")}, {}))


@pytest.mark.parametrize("message", [SAMPLE_BLOCK, SEGMENT_MARK], ids=lambda message: message.name)
def test_definition_and_hash_are_those_of_the_ros_package(types: Any, message: Any) -> None:
    """The definition in every segment is the one that `ros_ws` builds."""
    folder = Path(__file__).parents[2] / "ros_ws/src/pilotbench_interfaces/msg"
    source = folder.joinpath(message.name.rpartition("/")[2] + ".msg").read_text(encoding="utf-8")
    fields = [line for line in (re.sub(r"\s*#.*", "", line) for line in source.splitlines()) if line]
    assert [re.sub(r"\s+", " ", line) for line in fields] == message.definition.split("=" * 80)[0].split(
        "\n"
    )[:-1]
    assert types.hash_rihs01(message.name) == message.type_hash
