"""The vectors of the ROBOTIS e-manual (docs/en/dxl/protocol2), and what must hold for any packet."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.dynamixel import codec
from drivers.dynamixel.codec import Instruction, Packet, Status
from drivers.dynamixel.framing import Splitter

ALL = codec.BROADCAST


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


#: What the e-manual prints, and what our codec makes of the same meaning: every request.
REQUESTS = {
    "ping id 1": ("FF FF FD 00 01 03 00 01 19 4E", codec.ping(1)),
    "ping to all": ("FF FF FD 00 FE 03 00 01 31 42", codec.ping(ALL)),
    "read present position": ("FF FF FD 00 01 07 00 02 84 00 04 00 1D 15", codec.read(1, 132, 4)),
    "write goal position 512": (
        "FF FF FD 00 01 09 00 03 74 00 00 02 00 00 CA 89",
        codec.write(1, 116, number(512)),
    ),
    "reg write goal velocity 200": (
        "FF FF FD 00 01 09 00 04 68 00 C8 00 00 00 AE 8E",
        codec.reg_write(1, 104, number(200)),
    ),
    "action": ("FF FF FD 00 01 03 00 05 02 CE", codec.pack(1, Instruction.ACTION)),
    "factory reset but for the id": (
        "FF FF FD 00 01 04 00 06 01 A1 E6",
        codec.pack(1, Instruction.FACTORY_RESET, b"\x01"),
    ),
    "reboot": ("FF FF FD 00 01 03 00 08 2F 4E", codec.pack(1, Instruction.REBOOT)),
    "clear turns": (
        "FF FF FD 00 01 08 00 10 01 44 58 4C 22 B1 DC",
        codec.pack(1, Instruction.CLEAR, codec.CLEAR_TURNS),
    ),
    "sync read": (
        "FF FF FD 00 FE 09 00 82 84 00 04 00 01 02 CE FA",
        codec.sync_read(132, 4, [1, 2]),
    ),
    "sync write": (
        "FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87",
        codec.sync_write(116, 4, {1: number(150), 2: number(170)}),
    ),
    "bulk read": (
        "FF FF FD 00 FE 0D 00 92 01 90 00 02 00 02 92 00 01 00 1A 05",
        codec.bulk_read([(1, 144, 2), (2, 146, 1)]),
    ),
    "bulk write": (
        "FF FF FD 00 FE 10 00 93 01 20 00 02 00 A0 00 02 1F 00 01 00 50 B7 68",
        codec.bulk_write({1: (32, number(160, 2)), 2: (31, b"\x50")}),
    ),
    "fast sync read": (
        "FF FF FD 00 FE 0A 00 8A 84 00 04 00 03 07 04 20 F2",
        codec.sync_read(132, 4, [3, 7, 4], fast=True),
    ),
    "fast bulk read, with the right CRC": (
        "FF FF FD 00 FE 12 00 9A 03 84 00 04 00 07 7C 00 02 00 04 92 00 01 00 DA 2D",
        codec.bulk_read([(3, 132, 4), (7, 124, 2), (4, 146, 1)], fast=True),
    ),
}
#: Every status.
STATUSES = {
    "ping id 1: model 1030, firmware 38": (
        "FF FF FD 00 01 07 00 55 00 06 04 26 65 5D",
        Status(1, 0, number(1030, 2) + b"\x26"),
    ),
    "ping to all, id 1": (
        "FF FF FD 00 01 07 00 55 00 06 04 26 65 5D",
        Status(1, 0, number(1030, 2) + b"\x26"),
    ),
    "ping to all, id 2": (
        "FF FF FD 00 02 07 00 55 00 06 04 26 6F 6D",
        Status(2, 0, number(1030, 2) + b"\x26"),
    ),
    "read: 166": ("FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0", Status(1, 0, number(166))),
    "write, reg write, action, reset, reboot, clear": (
        "FF FF FD 00 01 04 00 55 00 A1 0C",
        Status(1, 0),
    ),
    "sync read, id 1: 166": ("FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0", Status(1, 0, number(166))),
    "sync read, id 2: 2079": ("FF FF FD 00 02 08 00 55 00 1F 08 00 00 BA BE", Status(2, 0, number(2079))),
    "bulk read, id 1: 119": ("FF FF FD 00 01 06 00 55 00 77 00 C3 69", Status(1, 0, number(119, 2))),
    "bulk read, id 2: 36": ("FF FF FD 00 02 05 00 55 00 24 8B A9", Status(2, 0, b"\x24")),
}
#: Fast answers: bytes as printed, what each device says. The CRCs of the parts are vectors as well.
FAST = {
    "fast sync read": (
        "FF FF FD 00 FE 19 00 55 00 03 A6 00 00 00 84 08 00 07 1F 08 00 00 16 CA 00 04 FF 03 00 00 D1 9E",
        [Status(3, 0, number(166)), Status(7, 0, number(2079)), Status(4, 0, number(1023))],
    ),
    "fast bulk read": (
        "FF FF FD 00 FE 14 00 55 00 03 A6 00 00 00 67 A4 00 07 A5 01 24 74 00 04 1F D9 C1",
        [Status(3, 0, number(166)), Status(7, 0, number(421, 2)), Status(4, 0, b"\x1f")],
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name: str) -> None:
    printed, made = REQUESTS[name]
    assert made == bytes.fromhex(printed)
    packet = codec.unpack(made)
    assert codec.pack(packet.id, packet.instruction, packet.parameters) == made


@pytest.mark.parametrize("name", STATUSES)
def test_status(name: str) -> None:
    printed, status = STATUSES[name]
    assert codec.unpack_status(bytes.fromhex(printed)) == status
    assert codec.pack_status(status.id, status.error, status.data) == bytes.fromhex(printed)


@pytest.mark.parametrize("name", FAST)
def test_fast_answer(name: str) -> None:
    printed, statuses = FAST[name]
    raw, wanted = bytes.fromhex(printed), [(s.id, len(s.data)) for s in statuses]
    assert codec.unpack_fast(raw, wanted) == statuses
    assert b"".join(codec.fast_segments(statuses, [size for _, size in wanted])) == raw
    assert codec.unpack(raw).id == ALL, "the last CRC of a part is that of the packet"


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("name", FAST)
def test_the_crc_of_every_part_of_a_fast_answer(name: str, part: int) -> None:
    """CRCs go on from the beginning: what is whole before an end too early, or before a wrong CRC, counts."""
    printed, statuses = FAST[name]
    raw, wanted = bytes.fromhex(printed), [(s.id, len(s.data)) for s in statuses]
    end = codec.fast_bytes(size for _, size in wanted[: part + 1])
    assert codec.unpack_fast(raw[:end], wanted) == statuses[: part + 1]
    assert codec.unpack_fast(raw[: end - 1], wanted) == statuses[:part]
    broken = bytearray(raw)
    broken[end - 1] ^= 0x01
    assert codec.unpack_fast(bytes(broken), wanted) == statuses[:part]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", FAST)
def test_a_fast_answer_in_pieces(name: str, count: int) -> None:
    statuses = FAST[name][1][:count]
    wanted = tuple((s.id, len(s.data)) for s in statuses)
    raw = b"".join(codec.fast_segments(statuses, [size for _, size in wanted]))
    found, crc = list[Status](), 0
    for piece in codec.fast_pieces(wanted):
        assert raw[piece.begin - 2 - piece.wanted[0][1] - 1] == piece.wanted[0][0], "the id of its first part"
        part, raw = raw[: piece.size], raw[piece.size :]
        assert codec.unpack_fast(part, piece.wanted, piece.head, crc ^ 1) == []
        found += codec.unpack_fast(part, piece.wanted, piece.head, crc)
        crc = codec.crc_behind(int.from_bytes(part[-2:], "little"))
    assert (found, raw) == (statuses, b"")


def test_the_wrong_crc_that_the_e_manual_prints_is_refused() -> None:
    """Its fast bulk read request carries the CRC of the fast sync read above it."""
    printed = "FF FF FD 00 FE 12 00 9A 03 84 00 04 00 07 7C 00 02 00 04 92 00 01 00 20 F2"
    with pytest.raises(ValueError, match="CRC"):
        codec.unpack(bytes.fromhex(printed))
    splitter = Splitter(1024)
    splitter.feed(bytes.fromhex(printed))
    assert splitter.next(final=True) is None


def test_all_vectors_are_there() -> None:
    """28 packets are printed with a CRC (six parts of fast answers among them); one of these CRCs is wrong.

    The status of ping and of sync read id 1 are printed twice.
    """
    assert len(REQUESTS) + len(STATUSES) - 2 + sum(len(statuses) for _, statuses in FAST.values()) == 28


def test_crc_check_value() -> None:
    assert codec.crc16(b"123456789") == 0xFEE8
    assert codec.crc16(b"6789", codec.crc16(b"12345")) == 0xFEE8


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 0xFFFF))
def test_crc_is_that_of_the_bit_by_bit_definition(data: bytes, start: int) -> None:
    crc = start
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    assert codec.crc16(data, start) == crc


def test_what_looks_like_a_header_is_stuffed() -> None:
    packet = codec.write(1, 224, b"\xff\xff\xfd")
    assert packet == bytes.fromhex("FF FF FD 00 01 09 00 03 E0 00 FF FF FD FD") + packet[-2:]
    assert codec.unpack(packet) == Packet(1, Instruction.WRITE, b"\xe0\x00\xff\xff\xfd")


#: Bytes in which headers and their beginnings are frequent.
AWKWARD = st.lists(st.sampled_from([0xFF, 0xFD, 0x00, 0x01, 0x55]) | st.integers(0, 255), max_size=60).map(
    bytes
)
DEVICES = st.integers(0, codec.HIGHEST_ID)


@settings(deadline=None)
@given(DEVICES, st.sampled_from(list(Instruction)), AWKWARD)
def test_a_packet_is_what_was_packed(device: int, instruction: Instruction, parameters: bytes) -> None:
    raw = codec.pack(device, instruction, parameters)
    assert codec.unpack(raw) == Packet(device, instruction, parameters)
    assert codec.HEADER[:3] not in raw[7:-2].replace(b"\xff\xff\xfd\xfd", b""), "no header within"


@settings(deadline=None)
@given(DEVICES, st.integers(0, 255), AWKWARD)
def test_a_status_is_what_was_packed(device: int, error: int, data: bytes) -> None:
    assert codec.unpack_status(codec.pack_status(device, error, data)) == Status(device, error, data)


@settings(deadline=None)
@given(DEVICES, st.integers(0, 255), AWKWARD, st.data())
def test_a_status_that_is_waited_for_is_recognised_in_one_go(
    device: int, error: int, data: bytes, draw: st.DataObject
) -> None:
    """As `unpack_status` does, or not at all: what is stuffed, of another device or length, or damaged."""
    raw = codec.pack_status(device, error, data)
    stuffed = len(raw) > codec.STATUS_BYTES + len(data)
    assert codec.plain_status(raw, device, len(data)) == (None if stuffed else codec.unpack_status(raw))
    assert codec.plain_status(raw, device ^ 1, len(data)) is None
    assert codec.plain_status(raw, device, len(data) + 1) is None
    assert codec.plain_status(raw + b"\0", device, len(data)) is None
    damaged = bytearray(raw)
    damaged[draw.draw(st.integers(0, len(raw) - 1))] ^= draw.draw(st.integers(1, 255))
    assert codec.plain_status(bytes(damaged), device, len(data)) is None


def test_what_is_stuffed_is_not_recognised_by_its_length_alone() -> None:
    """A packet as long as the one that is waited for, but with a stuffed byte in it: a byte of data less."""
    raw = codec.pack_status(1, 0, b"\xff\xff\xfd\x05")
    assert len(raw) == codec.STATUS_BYTES + 5
    assert codec.plain_status(raw, 1, 5) is None


@settings(deadline=None)
@given(st.lists(st.tuples(DEVICES, st.integers(0, 255), AWKWARD), min_size=1, max_size=6))
def test_a_fast_answer_is_what_was_packed(parts: list[tuple[int, int, bytes]]) -> None:
    statuses = [Status(*part) for part in parts]
    wanted = [(s.id, len(s.data)) for s in statuses]
    raw = b"".join(codec.fast_segments(statuses, [size for _, size in wanted]))
    assert codec.unpack_fast(raw, wanted) == statuses


@settings(deadline=None)
@given(DEVICES, st.integers(0, 255), AWKWARD, st.data())
def test_any_flipped_bits_within_two_bytes_are_noticed(
    device: int, error: int, data: bytes, draw: st.DataObject
) -> None:
    raw = bytearray(codec.pack_status(device, error, data))
    at = draw.draw(st.integers(0, len(raw) - 2))
    first, second = draw.draw(st.integers(0, 255)), draw.draw(st.integers(0, 255))
    raw[at] ^= first
    raw[at + 1] ^= second
    if first or second:
        with pytest.raises(ValueError):
            codec.unpack_status(bytes(raw))


@settings(deadline=None)
@given(st.lists(st.tuples(AWKWARD, DEVICES, AWKWARD), max_size=6), st.data())
def test_packets_are_found_whatever_stands_between_them(
    parts: list[tuple[bytes, int, bytes]], draw: st.DataObject
) -> None:
    """Noise that is no header costs nothing; the stream may come in pieces of any length."""
    stream, sent = b"", []
    for noise, device, data in parts:
        packet = codec.pack_status(device, 0, data)
        stream += noise.replace(codec.HEADER[:3], b"").rstrip(b"\xff\xfd") + packet
        sent.append(packet)
    splitter, found = Splitter(1024), []
    while stream:
        count = draw.draw(st.integers(1, len(stream)))
        splitter.feed(stream[:count])
        stream = stream[count:]
        while (raw := splitter.next()) is not None:
            found.append(raw)
    assert found == sent


@settings(deadline=None)
@given(AWKWARD, DEVICES, AWKWARD)
def test_a_header_in_noise_hides_nothing_for_good(noise: bytes, device: int, data: bytes) -> None:
    """A false header waits for bytes that never come; once that is said, what follows is found."""
    packet = codec.pack_status(device, 0, data)
    splitter = Splitter(1024)
    splitter.feed(noise + codec.HEADER + b"\x01\x40\x00\x55" + packet)
    found = []
    while (raw := splitter.next(final=True)) is not None:
        found.append(raw)
    assert packet in found


@pytest.mark.parametrize("device", [253, 255, 256, -1])
def test_impossible_ids_are_refused(device: int) -> None:
    with pytest.raises(ValueError, match="id"):
        codec.ping(device)


@pytest.mark.parametrize(
    "raw", ["", "FF FF FD 00 01 03 00 01 19", "FF FF FD 01 01 03 00 01 19 4E", "00" * 10]
)
def test_what_is_no_packet_is_refused(raw: str) -> None:
    with pytest.raises(ValueError):
        codec.unpack(bytes.fromhex(raw))
