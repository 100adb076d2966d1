"""CAN frames on the socket: struct can_frame, flags, lengths, bit times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bus.frame import (
    ERROR_BUS_OFF,
    FD_FRAME_BYTES,
    FD_LENGTHS,
    FRAME_BYTES,
    FdFrame,
    Frame,
    data_frame,
    fd_length,
    fd_wire_bits,
    wire_bits,
)

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


# ── CAN FD ──

fd_frames = st.builds(
    lambda extended, seed, data, length: FdFrame(
        seed % (0x2000_0000 if extended else 0x800), data[:length], extended
    ),
    st.booleans(),
    st.integers(0, 0x1FFF_FFFF),
    st.binary(min_size=64, max_size=64),
    st.sampled_from(FD_LENGTHS),
)


@given(fd_frames, st.floats(0.0, 1e6))
def test_an_fd_frame_is_unpacked_as_one(frame: FdFrame, stamp_s: float) -> None:
    wire = frame.pack()
    assert len(wire) == FD_FRAME_BYTES
    assert Frame.split(wire, stamp_s) == ([frame._replace(stamp_s=stamp_s)], 0)
    assert Frame.unpack(wire).fd


def test_vectors_of_struct_canfd_frame() -> None:
    wire = FdFrame(0x8001, bytes.fromhex("1100110f"), extended=True).pack()
    assert wire.hex() == "01800080040500001100110f" + "00" * 60  # BRS and FDF
    assert Frame.split(wire[:-1]) == ([], 1)
    assert Frame.split(wire[:4] + b"\x09" + wire[5:]) == ([], 1), "no frame has 9 bytes"
    assert Frame.split(wire[:3] + b"\xa0" + wire[4:]) == ([], 1), "nor is one an error"


@given(fd_frames)
def test_no_classic_frame_equals_an_fd_frame(frame: FdFrame) -> None:
    classic = Frame(*frame)
    assert not classic.fd
    assert frame != classic
    assert classic != frame
    assert len({frame, classic, FdFrame(*frame)}) == 2
    assert frame._replace(data=b"").fd


@pytest.mark.parametrize(
    "frame",
    [
        FdFrame(0x800),
        FdFrame(1, bytes(9)),
        FdFrame(1, bytes(65)),
        FdFrame(1, remote=True),
        FdFrame(1, error=True),
    ],
)
def test_impossible_fd_frames_are_refused(frame: FdFrame) -> None:
    with pytest.raises(ValueError, match="not a CAN FD frame"):
        frame.pack()


def test_lengths_of_can_fd() -> None:
    assert [fd_length(n) for n in (0, 8, 9, 12, 13, 33, 64)] == [0, 8, 12, 12, 16, 48, 64]
    with pytest.raises(ValueError, match="65 bytes"):
        fd_length(65)


def test_bits_of_a_can_fd_frame() -> None:
    """By hand, of 64 bytes with a 29-bit identifier: 36 + 9 stuffed + 13 slow; 5 + 512 + 129 stuffed + 32 fast."""
    assert fd_wire_bits(64, True) == 58 + 136
    assert fd_wire_bits(64, True, 1.0) == 58 + 678
    assert fd_wire_bits(16) == 34 + 33 + 6, "CRC of 17 bits up to 16 bytes: 5 + 128 + 33 + 27 = 193"
