"""Modbus RTU bytes: published vectors, round trips, formats in registers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import (
    Function,
    Number,
    crc16,
    echo,
    exception,
    pack_adu,
    read_request,
    read_response,
    read_write_registers,
    request_bytes,
    response_bytes,
    silence_s,
    unpack_adu,
    write_register,
    write_registers,
)


def test_crc_check_value() -> None:
    assert crc16(b"123456789") == 0x4B37


@pytest.mark.parametrize(
    "wire",
    [
        "02 07 41 12",
        "11 03 00 6B 00 03 76 87",
        "11 03 06 AE 41 56 52 43 40 49 AD",
        "01 03 00 00 00 0A C5 CD",
        "01 04 02 FF FF B8 80",
        "11 05 00 AC FF 00 4E 8B",
        "11 06 00 01 00 03 9A 9B",
        "0A 01 04 56 00 01 1D 91",
    ],
)
def test_vectors(wire: str) -> None:
    adu = bytes.fromhex(wire)
    unit, pdu = unpack_adu(adu)
    assert unit == adu[0]
    assert pack_adu(unit, pdu) == adu


def test_requests_and_responses_are_those_of_the_vectors() -> None:
    assert pack_adu(0x11, read_request(Function.READ_HOLDING, 0x6B, 3)) == bytes.fromhex("1103006B00037687")
    registers = bytes.fromhex("AE4156524340")
    assert pack_adu(0x11, read_response(Function.READ_HOLDING, registers)) == bytes.fromhex(
        "110306AE415652434049AD"
    )
    assert pack_adu(0x11, write_register(1, 3)) == bytes.fromhex("1106000100039A9B")
    assert exception(3, 2) == b"\x83\x02"


@pytest.mark.parametrize(
    ("request_pdu", "length"),
    [
        (read_request(Function.READ_HOLDING, 0, 3), 11),
        (read_request(Function.READ_INPUT, 0, 125), 255),
        (read_request(Function.READ_COILS, 0, 9), 7),
        (write_register(1, 3), 8),
        (write_registers(1, bytes(6)), 8),
        (read_write_registers(0, 6, 0x20, bytes(8)), 17),
    ],
)
def test_length_of_the_answer_is_known_beforehand(request_pdu: bytes, length: int) -> None:
    assert response_bytes(request_pdu) == length


@pytest.mark.parametrize(
    ("start", "length"),
    [
        ("11", None),
        ("1103", 8),
        ("1106", 8),
        ("11100001000306", 15),
        ("111000010003", None),
        ("111700030006000e00030600ff", 19),
        ("111700030006000e0003", None),
    ],
)
def test_length_of_a_request_is_known_from_its_beginning(start: str, length: int | None) -> None:
    assert request_bytes(bytes.fromhex(start)) == length


def test_read_and_write_in_one() -> None:
    """The example of the application protocol V1.1b3, 6.17."""
    request = read_write_registers(3, 6, 0x0E, bytes.fromhex("00FF00FF00FF"))
    assert request == bytes.fromhex("170003000600 0E00030600FF00FF00FF".replace(" ", ""))
    assert request_bytes(b"\x01" + request) == len(request) + 3
    assert response_bytes(request) == 5 + 12
    assert echo(request) == b"\x17\x0c"


def test_a_write_is_confirmed_in_its_own_words() -> None:
    assert echo(write_register(1, 3)) == write_register(1, 3)
    assert echo(write_registers(1, bytes(6))) == bytes.fromhex("1000010003")
    assert echo(read_request(Function.READ_COILS, 0, 9)) == b"\x01\x02"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("uint16", -1),
        ("uint16", 65536),
        ("int16", 32768),
        ("int32", 2.0**31),
        ("int32", math.inf),
        ("float32", 1e39),
    ],
)
def test_a_number_that_does_not_fit_is_refused(number: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"does not fit|NaN"):
        Number(number).pack(value)


@given(st.integers(0, 247), st.binary(min_size=1, max_size=253))
def test_what_is_packed_is_unpacked(unit: int, pdu: bytes) -> None:
    assert unpack_adu(pack_adu(unit, pdu)) == (unit, pdu)


@given(st.integers(0, 247), st.binary(min_size=1, max_size=50), st.data())
def test_one_flipped_bit_is_noticed(unit: int, pdu: bytes, data: st.DataObject) -> None:
    adu = bytearray(pack_adu(unit, pdu))
    bit = data.draw(st.integers(0, 8 * len(adu) - 1))
    adu[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError):
        unpack_adu(bytes(adu))


@given(st.floats(width=32, allow_nan=False), st.sampled_from(["AB", "BA"]))
def test_floats_survive(value: float, order: str) -> None:
    number = Number("float32", order)
    assert number.unpack(number.pack(value)) == value


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.sampled_from(["AB", "BA"]))
def test_integers_survive(value: int, order: str) -> None:
    number = Number("int32", order)
    assert number.unpack(number.pack(value)) == value


def test_word_order() -> None:
    assert Number("float32", "AB").pack(1.5).hex() == "3fc00000"
    assert Number("float32", "BA").pack(1.5).hex() == "00003fc0"
    assert Number("int16").unpack(b"\xff\xfe") == -2
    with pytest.raises(ValueError):
        Number("float64")


def test_silence_between_frames() -> None:
    assert math.isclose(silence_s(9600), 3.5 * 11 / 9600)
    assert silence_s(115_200) == 1.75e-3
