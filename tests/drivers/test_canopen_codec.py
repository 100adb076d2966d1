"""CANopen bytes (CiA 301): vectors, SDO transfers against the emulated server, PDO layouts, counters without an end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.canopen.codec import (
    SYNC,
    TYPES,
    Emergency,
    MappedObject,
    NmtCommand,
    NmtState,
    PdoLayout,
    SdoAbort,
    SdoTransfer,
    Unwrap,
    heartbeat,
    nmt,
    sdo_abort,
    sdo_download,
    sdo_upload,
    wrap_i32,
)
from drivers.device import ProtocolViolation
from drivers.emulators.object_dictionary import ObjectDictionary, SdoServer


def run(transfer: SdoTransfer, answer: Callable[[bytes], bytes | None]) -> bytes:
    request = next(transfer)
    while True:
        response = answer(request)
        assert response is not None
        try:
            request = transfer.send(response)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        (NmtCommand.START, "000#0105"),
        (NmtCommand.STOP, "000#0205"),
        (NmtCommand.PRE_OPERATIONAL, "000#8005"),
        (NmtCommand.RESET_NODE, "000#8105"),
        (NmtCommand.RESET_COMMUNICATION, "000#8205"),
    ],
)
def test_nmt_vectors(command: NmtCommand, wire: str) -> None:
    assert str(nmt(command, 5)) == wire


def test_heartbeat_and_sync_vectors() -> None:
    assert str(heartbeat(5, NmtState.OPERATIONAL)) == "705#05"
    assert str(heartbeat(5, NmtState.PRE_OPERATIONAL)) == "705#7F"
    assert str(heartbeat(5, NmtState.STOPPED)) == "705#04"
    assert str(heartbeat(5, NmtState.BOOT_UP)) == "705#00"
    assert str(SYNC) == "080#"


def test_sdo_request_vectors() -> None:
    assert next(sdo_upload("x", 0x1000, 0)).hex() == "4000100000000000"
    assert next(sdo_download("x", 0x1017, 0, (100).to_bytes(2, "little"))).hex() == "2b17100064000000"
    assert (
        next(sdo_download("x", 0x1016, 1, (127 << 16 | 100).to_bytes(4, "little"))).hex()
        == "2316100164007f00"
    )
    assert sdo_abort(0x1017, 0, 0x06020000).hex() == "8017100000000206"


@pytest.mark.parametrize(
    ("response", "data"),
    [
        ("4f00100011000000", "11"),
        ("4b00100011220000", "1122"),
        ("4300100092010200", "92010200"),
        ("4200100092010200", "92010200"),
    ],
)
def test_expedited_upload_vectors(response: str, data: str) -> None:
    assert run(sdo_upload("x", 0x1000, 0), lambda _: bytes.fromhex(response)).hex() == data


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x06020000, "object does not exist"),
        (0x06010002, "read-only object"),
        (0x05040000, "SDO protocol timed out"),
        (0x12345678, "unknown reason"),
    ],
)
def test_abort_says_what_and_where(code: int, words: str) -> None:
    with pytest.raises(SdoAbort, match=f"AX1: refuses object 6040h:00 — {words}") as caught:
        run(sdo_upload("AX1", 0x6040, 0), lambda _: sdo_abort(0x6040, 0, code))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "response",
    ["", "4300100100000000", "4301100000000000", "6000100000000000", "ff00100000000000"],
    ids=["empty", "other subindex", "other index", "download response", "unknown command"],
)
def test_an_answer_that_no_standard_allows_is_a_violation(response: str) -> None:
    with pytest.raises(ProtocolViolation):
        run(sdo_upload("x", 0x1000, 0), lambda _: bytes.fromhex(response))


def test_a_toggle_bit_that_stands_still_is_a_violation() -> None:
    answers = iter(["4100100010000000", "0041424344454647", "0041424344454647"])
    with pytest.raises(ProtocolViolation, match="toggle"):
        run(sdo_upload("x", 0x1000, 0), lambda _: bytes.fromhex(next(answers)))


def test_a_transfer_of_another_length_than_announced_is_a_violation() -> None:
    answers = iter(["4100100010000000", "0141424344454647"])
    with pytest.raises(ProtocolViolation, match="announced 16"):
        run(sdo_upload("x", 0x1000, 0), lambda _: bytes.fromhex(next(answers)))


@given(st.binary(max_size=100))
@example(b"")
@example(bytes(7))
@example(bytes(14))
def test_any_text_survives_writing_and_reading(data: bytes) -> None:
    """Expedited up to four bytes, segmented beyond, against the emulated server."""
    objects = ObjectDictionary()
    objects.add(0x2000, 1, "text", "", "rw")
    server = SdoServer(objects)
    run(sdo_download("x", 0x2000, 1, data), server.respond)
    assert run(sdo_upload("x", 0x2000, 1), server.respond) == data


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_any_number_survives_writing_and_reading(kind: str, data: st.DataObject) -> None:
    bits = TYPES[kind].size * 8
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind[0] == "i" else (0, (1 << bits) - 1)
    value = data.draw(st.integers(low, high))
    objects = ObjectDictionary()
    objects.add(0x2000, 0, kind, 0, "rw")
    run(sdo_download("x", 0x2000, 0, TYPES[kind].pack(value)), SdoServer(objects).respond)
    assert objects.get(0x2000) == value


@pytest.mark.parametrize(
    ("index", "subindex", "data", "code"),
    [
        (0x3000, 0, b"\0", 0x06020000),
        (0x2000, 9, b"\0", 0x06090011),
        (0x2001, 0, b"\0", 0x06010002),
        (0x2000, 0, b"\0\0", 0x06070010),
    ],
    ids=["no object", "no subindex", "read-only", "wrong length"],
)
def test_the_server_refuses_with_the_code_of_the_standard(
    index: int, subindex: int, data: bytes, code: int
) -> None:
    objects = ObjectDictionary()
    objects.add(0x2000, 0, "u8", 0, "rw")
    objects.add(0x2001, 0, "u8", 0, "ro")
    with pytest.raises(SdoAbort) as caught:
        run(sdo_download("x", index, subindex, data), SdoServer(objects).respond)
    assert caught.value.code == code


@given(st.binary(min_size=8, max_size=8))
def test_the_server_survives_anything(request_bytes: bytes) -> None:
    objects = ObjectDictionary()
    objects.add(0x2000, 0, "u32", 7, "rw")
    server = SdoServer(objects)
    response = server.respond(request_bytes)
    assert response is None or len(response) == 8


def test_emergency_vector() -> None:
    wire = Emergency(0x8130, 0x11).pack()
    assert wire.hex() == "3081110000000000"
    assert Emergency.unpack(wire) == Emergency(0x8130, 0x11)
    assert Emergency.unpack(wire).text == "life guard or heartbeat error"
    assert Emergency(0x2310, 1).text.startswith("continuous over-current")
    assert Emergency(0x2399, 1).text == "current on device output side", (
        "its class, when the code itself is not known"
    )
    assert Emergency(0xB000, 1).text == "unknown error"
    with pytest.raises(ValueError):
        Emergency.unpack(wire[:7])


def test_pdo_layout() -> None:
    layout = PdoLayout([("statusword", "u16"), ("torque", "i16"), ("velocity", "i32")])
    assert layout.pack(0x1237, -2, 5000).hex() == "3712feff88130000"
    assert layout.unpack(bytes.fromhex("3712feff88130000")) == (0x1237, -2, 5000)
    with pytest.raises(ValueError):
        layout.unpack(bytes(7))
    with pytest.raises(ValueError):
        PdoLayout([("a", "u64"), ("b", "u8")])


def test_mapping_entry_vector() -> None:
    assert MappedObject(0x6064, 0, 32).pack() == 0x60640020
    assert MappedObject.unpack(0x60640020) == MappedObject(0x6064, 0, 32)


@given(st.integers(-(1 << 40), 1 << 40), st.lists(st.integers(-(1 << 31) + 1, (1 << 31) - 1), max_size=30))
def test_a_position_is_followed_beyond_its_counter(start: int, steps: list[int]) -> None:
    unwrap = Unwrap(32)
    first = unwrap(wrap_i32(start))
    position = start
    for step in steps:
        position += step
        assert unwrap(wrap_i32(position)) - first == position - start


def test_the_encoder_counts_on_after_32_turns() -> None:
    unwrap = Unwrap(32)
    turn = 1 << 27
    readings = [unwrap(n * turn // 2 & 0xFFFF_FFFF) for n in range(200)]
    assert readings == [n * turn // 2 for n in range(200)]
