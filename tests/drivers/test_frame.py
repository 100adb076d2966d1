"""CAN frames on the socket: struct can_frame, flags, lengths, bit times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bus.frame import ERROR_BUS_OFF, FRAME_BYTES, Frame, data_frame, wire_bits

frames = st.builds(
    lambda extended, seed, data, remote: Frame(
        seed % (0x2000_0000 if extended else 0x800), data, extended, remote
    ),
    st.booleans(),
    st.integers(0, 0x1FFF_FFFF),
    st.binary(max_size=8),
    st.booleans(),
)


@given(frames)
def test_what_is_packed_is_unpacked(frame: Frame) -> None:
    wire = frame.pack()
    assert len(wire) == FRAME_BYTES
    assert Frame.unpack(wire) == frame


def test_vectors_of_struct_can_frame() -> None:
    assert Frame(0x601, bytes.fromhex("4000100000000000")).pack().hex() == "01060000080000004000100000000000"
    assert Frame(0x12345678, b"\x01", extended=True).pack()[:4].hex() == "78563492"
    assert Frame(ERROR_BUS_OFF, bytes(8), error=True).pack()[:4].hex() == "40000020"  # 0x20000040


@pytest.mark.parametrize(
    "frame", [Frame(0x800), Frame(1, bytes(9)), Frame(0x2000_0000, extended=True), Frame(-1)]
)
def test_impossible_frames_are_refused(frame: Frame) -> None:
    with pytest.raises(ValueError):
        frame.pack()
    with pytest.raises(ValueError):
        Frame.join([Frame(1), frame])


@pytest.mark.parametrize("wire", [b"", bytes(15), bytes(17), bytes(4) + b"\x09" + bytes(11)])
def test_impossible_bytes_are_refused(wire: bytes) -> None:
    with pytest.raises(ValueError):
        Frame.unpack(wire)


def test_worst_case_bits_of_davis() -> None:
    """Davis et al. 2007: 55 + 10·s bits with an 11-bit identifier, 80 + 10·s with 29 bits."""
    for length in range(9):
        assert wire_bits(length) == 55 + 10 * length
        assert wire_bits(length, extended=True) == 80 + 10 * length


@given(st.lists(frames, max_size=8), st.floats(0.0, 1e6))
def test_a_message_carries_frames_in_their_order(sent: list[Frame], stamp_s: float) -> None:
    message = Frame.join(sent)
    assert message == b"".join(frame.pack() for frame in sent)
    found, garbled = Frame.split(message, stamp_s)
    assert found == [frame._replace(stamp_s=stamp_s) for frame in sent]
    assert garbled == 0


def test_what_is_no_frame_is_left_out_of_a_message() -> None:
    good = Frame(0x181, b"\x01")
    found, garbled = Frame.split(good.pack() + bytes(4) + b"\x09" + bytes(11) + good.pack())
    assert (found, garbled) == ([good, good], 1)
    assert Frame.split(good.pack() + b"\x00") == ([], 1)


@given(st.integers(0, 0x7FF), st.binary(max_size=8))
def test_a_data_frame_is_a_frame_with_nothing_else(can_id: int, data: bytes) -> None:
    frame = data_frame(can_id, data)
    assert isinstance(frame, Frame)
    assert frame == Frame(can_id, data)
