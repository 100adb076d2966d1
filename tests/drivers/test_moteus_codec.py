"""moteus: the published vector in both directions, round trips, damaged frames, and the maker's own package as an oracle."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bus.frame import FD_LENGTHS
from drivers.canservo import multiplex
from drivers.canservo.model import MoteusModel, load_model
from drivers.canservo.moteus import (
    DIGITS,
    QUANTITIES,
    Quantity,
    Register,
    State,
    answer,
    decode,
    encode,
    saturated,
)
from drivers.canservo.multiplex import (
    FromDevice,
    Kind,
    Poll,
    Read,
    Refused,
    Reply,
    Subframe,
    ToDevice,
    Write,
    pack,
    parse,
)

# ── the vector of mjbots/moteus, docs/protocol/can.md ──

COMMAND = bytes.fromhex("01000a07206000200150ff140400130d")
REPLY = bytes.fromhex("2404000a005000000170ff230d181400")
#: "position = 3.456 degrees, velocity = 25.92 dps, feedforward torque = -1.76 N*m"
SET_POINT = {
    Register.COMMAND_POSITION: 3.456 / 360.0,
    Register.COMMAND_VELOCITY: 25.92 / 360.0,
    Register.FEEDFORWARD_TORQUE: -1.76,
}
MEASURED = {
    Register.MODE: State.POSITION,
    Register.POSITION: 2.88 / 360.0,
    Register.VELOCITY: 23.04 / 360.0,
    Register.TORQUE: -1.44,
    Register.VOLTAGE: 12.0,
    Register.TEMPERATURE: 20.0,
    Register.FAULT: 0.0,
}
WANTED = {r: Kind.INT8 if r >= Register.VOLTAGE else Kind.INT16 for r in MEASURED}


def digits(register: int, kind: Kind, value: float) -> float:
    return encode(QUANTITIES.get(register, Quantity.NUMBER), kind, value)


def test_the_command_of_the_documentation_is_packed() -> None:
    command = [
        Write(Register.MODE, Kind.INT8, (State.POSITION,)),
        Write(
            Register.COMMAND_POSITION,
            Kind.INT16,
            tuple(digits(r, Kind.INT16, v) for r, v in SET_POINT.items()),
        ),
        Read(Register.MODE, Kind.INT16, 4),
        Read(Register.VOLTAGE, Kind.INT8, 3),
    ]
    frame = multiplex.request(1, command)
    assert str(frame) == "8001#01000A07206000200150FF140400130D"
    assert frame.extended
    assert frame.fd


def test_the_command_of_the_documentation_is_read() -> None:
    mode, set_point, *reads = parse(COMMAND)
    assert mode == Write(0x000, Kind.INT8, (10,))
    assert isinstance(set_point, Write)
    assert (set_point.start, set_point.kind, set_point.values) == (0x020, Kind.INT16, (0x60, 0x120, -176))
    for (register, value), raw in zip(SET_POINT.items(), set_point.values, strict=True):
        assert decode(QUANTITIES[register], Kind.INT16, raw) == pytest.approx(value)
    assert reads == [Read(0x000, Kind.INT16, 4), Read(0x00D, Kind.INT8, 3)]


def test_the_reply_of_the_documentation_is_read() -> None:
    assert answer(REPLY, WANTED) == pytest.approx(MEASURED)
    assert multiplex.split_id(0x100) == (1, 0, False, 0)


def test_the_reply_of_the_documentation_is_packed() -> None:
    values = [digits(r, WANTED[r], v) for r, v in MEASURED.items()]
    reply = [Reply(0, Kind.INT16, tuple(values[:4])), Reply(0x00D, Kind.INT8, tuple(values[4:]))]
    frame = multiplex.frame(multiplex.can_id(1, 0), pack(reply))
    assert str(frame) == "100#2404000A005000000170FF230D181400"
    assert not frame.extended


def test_the_frames_of_the_guide() -> None:
    """docs/integration/can-fd.md."""
    assert parse(bytes.fromhex("1100110F")) == [Read(0, Kind.INT8), Read(0xF, Kind.INT8)]
    assert answer(bytes.fromhex("210000210F00"), {0x0: Kind.INT8, 0xF: Kind.INT8}) == {0: 0.0, 0xF: 0.0}
    found = parse(bytes.fromhex("01000a0e200000803f0000004011001f01130d"))
    assert found[:2] == [Write(0, Kind.INT8, (10,)), Write(0x20, Kind.FLOAT, (1.0, 2.0))]
    assert pack(found).hex() == "01000a0e200000803f0000004011001f01130d"


# ── identifiers and lengths ──


@given(st.integers(0, 0x7F), st.integers(0, 0x7F), st.booleans(), st.integers(0, 0x1FFF))
def test_identifiers_come_back(source: int, destination: int, reply: bool, prefix: int) -> None:
    identifier = multiplex.can_id(source, destination, reply=reply, prefix=prefix)
    assert multiplex.split_id(identifier) == (source, destination, reply, prefix)
    assert identifier < 1 << 29
    assert multiplex.frame(identifier, b"").extended is (identifier > 0x7FF)


def test_identifiers_that_do_not_fit_are_refused() -> None:
    for source, destination, prefix in ((128, 1, 0), (0, 128, 0), (0, -1, 0), (0, 1, 0x2000)):
        with pytest.raises(ValueError, match="do not fit"):
            multiplex.can_id(source, destination, prefix=prefix)


@given(st.integers(0, 64))
def test_frames_are_filled_up_with_nop(length: int) -> None:
    frame = multiplex.frame(1, bytes(length))
    assert len(frame.data) in FD_LENGTHS
    assert frame.data == bytes(length) + b"\x50" * (len(frame.data) - length)
    assert len(frame.pack()) == 72


def test_more_than_64_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit into a CAN FD frame"):
        multiplex.frame(1, bytes(65))


# ── round trips ──

_RANGES = {
    Kind.INT8: st.integers(-128, 127),
    Kind.INT16: st.integers(-(1 << 15), (1 << 15) - 1),
    Kind.INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    Kind.FLOAT: st.floats(width=32, allow_nan=False),
}
kinds = st.sampled_from(Kind)
u32 = st.integers(0, 0xFFFF_FFFF)
text = st.binary(max_size=40)


@st.composite
def registers(draw: st.DrawFn, of: type[Write] | type[Reply]) -> Subframe:
    kind = draw(kinds)
    return of(draw(u32), kind, tuple(draw(st.lists(_RANGES[kind], min_size=1, max_size=12))))


subframes = st.one_of(
    registers(Write),
    registers(Reply),
    st.builds(Read, u32, kinds, st.integers(1, 12)),
    st.builds(Refused, st.booleans(), u32, u32),
    st.builds(ToDevice, u32, text),
    st.builds(FromDevice, u32, text),
    st.builds(Poll, u32, u32),
)


@given(st.lists(subframes, max_size=6), st.integers(0, 4))
def test_subframes_come_back(sent: list[Subframe], padding: int) -> None:
    assert parse(pack(sent) + b"\x50" * padding) == sent


@given(st.sampled_from(Quantity), kinds, st.data())
def test_digits_come_back(quantity: Quantity, kind: Kind, data: st.DataObject) -> None:
    raw = data.draw(_RANGES[kind])
    value = decode(quantity, kind, raw)
    if math.isnan(value):
        assert raw == -kind.largest - 1
    if not math.isnan(value) or kind is not Kind.FLOAT:
        assert encode(quantity, kind, value) == raw


@given(st.sampled_from(Quantity), st.sampled_from([Kind.INT8, Kind.INT16, Kind.INT32]), st.floats(-1e3, 1e3))
def test_a_value_comes_back_to_half_a_digit_or_is_refused(
    quantity: Quantity, kind: Kind, value: float
) -> None:
    digit = DIGITS[quantity][kind]
    try:
        raw = encode(quantity, kind, value)
    except ValueError:
        assert abs(value) > digit * kind.largest
        return
    assert decode(quantity, kind, raw) == pytest.approx(value, abs=0.5001 * digit)


@pytest.mark.parametrize(("kind", "raw"), [(Kind.INT8, -128), (Kind.INT16, -32768), (Kind.INT32, -(1 << 31))])
def test_the_most_negative_integer_is_no_value(kind: Kind, raw: int) -> None:
    assert math.isnan(decode(Quantity.POSITION, kind, raw))
    assert encode(Quantity.POSITION, kind, math.nan) == raw
    assert decode(Quantity.NUMBER, kind, raw) == raw, "a code is a number, whatever it is"
    assert saturated(kind, kind.largest)
    assert saturated(kind, -kind.largest)
    assert not saturated(kind, kind.largest - 1)
    assert math.isnan(decode(Quantity.POSITION, Kind.FLOAT, math.nan))


def test_what_a_type_does_not_hold_is_refused_not_clamped() -> None:
    for value in (1.28, -1.28, math.inf):
        with pytest.raises(ValueError, match="beyond what INT8"):
            encode(Quantity.POSITION, Kind.INT8, value)
    for raw in (128, 1.5, math.inf):
        with pytest.raises(ValueError, match="does not fit its type"):
            pack([Write(0, Kind.INT8, (raw,))])
    with pytest.raises(ValueError, match="no registers"):
        pack([Write(0, Kind.INT8, ())])


# ── damage ──

#: A reply as the drive asks for it, and where in it values stand.
_TELEMETRY = {
    Register.MODE: Kind.INT8,
    Register.POSITION: Kind.FLOAT,
    Register.VELOCITY: Kind.FLOAT,
    Register.TORQUE: Kind.FLOAT,
    Register.TEMPERATURE: Kind.INT16,
    Register.FAULT: Kind.INT16,
}
_VALUES = {2, *range(5, 17), *range(19, 23)}


def telemetry(position: float = 0.25) -> bytes:
    return pack(
        [
            Reply(0, Kind.INT8, (10,)),
            Reply(1, Kind.FLOAT, (position, 1.0, -0.5)),
            Reply(0xE, Kind.INT16, (330, 0)),
        ]
    )


@given(st.data())
def test_a_reply_that_was_cut_is_no_answer(data: st.DataObject) -> None:
    """Wherever: within a subframe or between two."""
    for whole, wanted in ((telemetry(), _TELEMETRY), (REPLY, WANTED)):
        answer(whole, wanted)
        with pytest.raises(ValueError):
            answer(whole[: data.draw(st.integers(0, len(whole) - 1))], wanted)


@pytest.mark.parametrize(("whole", "end"), [(REPLY, 11), (REPLY, 0), (telemetry(), 3), (telemetry(), 17)])
def test_a_reply_without_its_last_subframes_is_no_answer(whole: bytes, end: int) -> None:
    with pytest.raises(ValueError, match="registers"):
        answer(whole[:end].ljust(32, b"\x50"), WANTED if whole is REPLY else _TELEMETRY)


@given(st.integers(0, 8 * 32 - 1))
def test_a_bit_that_flips_outside_the_values_is_noticed(bit: int) -> None:
    """Of types, counts, register numbers and padding every bit is checked; values have no redundancy but CAN's own CRC."""
    whole = telemetry().ljust(32, b"\x50")
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    if bit // 8 in _VALUES:
        answer(bytes(damaged), _TELEMETRY)
    else:
        with pytest.raises(ValueError):
            answer(bytes(damaged), _TELEMETRY)


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_value_error(data: bytes) -> None:
    for read in (parse, lambda d: answer(d, WANTED)):
        try:
            read(data)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("30010131", "ends within"),
        ("3001", "ends within a number"),
        ("30220121000a", "does not write register 022h"),
        ("310302", r"does not read register 003h \(2\)"),
        ("210000210000", "twice"),
        ("210100", "unasked"),
        ("2403000000000000", "ends within the values"),
        ("1100", "Read in an answer"),
        ("60", "60h is unknown"),
        ("200000", "of 0 registers"),
        ("", "0 of 1 registers"),
        ("8000", "80h is unknown"),
        ("21ffffffff7f00", "more than 32 bits"),
    ],
)
def test_what_is_no_answer(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        answer(bytes.fromhex(data), {0: Kind.INT8})


# ── the maker's package ──


def theirs() -> Any:
    import moteus

    return moteus


@given(st.lists(st.one_of(registers(Write), registers(Reply)), min_size=1, max_size=4))
def test_the_makers_package_reads_what_we_write(sent: list[Subframe]) -> None:
    mp = theirs().multiplex
    found = list(mp.parse_frame(pack(sent)))
    wanted = [
        (of.start + n, int(of.kind), value)
        for of in sent
        if isinstance(of, Write | Reply)
        for n, value in enumerate(of.values)
    ]
    assert [(s.register, s.resolution, s.value) for s in found] == wanted


@given(st.floats(-3, 3), st.floats(-7, 7), st.floats(-300, 300), st.sampled_from([0, 1, 2, 3]))
def test_we_read_what_the_makers_package_writes(p: float, v: float, t: float, resolution: int) -> None:
    moteus = theirs()
    of = moteus.PositionResolution()
    of.position = of.velocity = of.feedforward_torque = of.watchdog_timeout = resolution
    controller = moteus.Controller(id=1, position_resolution=of, transport=object())
    command = controller.make_position(
        position=p, velocity=v, feedforward_torque=t, watchdog_timeout=0.25, query=True
    )
    kind = Kind(resolution)
    found = {
        s.start + n: decode(QUANTITIES.get(s.start + n, Quantity.NUMBER), s.kind, raw)
        for s in parse(command.data)
        if isinstance(s, Write)
        for n, raw in enumerate(s.values)
    }
    assert found[Register.MODE] == State.POSITION
    for register, value in ((0x20, p), (0x21, v), (0x22, t), (0x27, 0.25)):
        if kind is Kind.FLOAT:
            assert found[register] == struct.unpack("<f", struct.pack("<f", value))[0]
            continue
        digit = DIGITS[QUANTITIES[register]][kind]
        held = max(-digit * kind.largest, min(digit * kind.largest, value))  # they clamp
        assert found[register] == pytest.approx(held, abs=1.001 * digit), "they truncate"


def test_numbers_are_those_of_the_makers_package() -> None:
    moteus = theirs()
    for register in Register:
        if register is Register.SERIAL_NUMBER:
            assert register == moteus.Register.SERIAL_NUMBER1
            continue
        name = _THEIR_NAMES.get(register.name, register.name)
        assert register == getattr(moteus.Register, name), name
    for state, name in _THEIR_MODES.items():
        assert state == getattr(moteus.Mode, name)


_THEIR_NAMES = {
    "FEEDFORWARD_TORQUE": "COMMAND_FEEDFORWARD_TORQUE",
    "KP_SCALE": "COMMAND_KP_SCALE",
    "KD_SCALE": "COMMAND_KD_SCALE",
    "MAXIMUM_TORQUE": "COMMAND_POSITION_MAX_TORQUE",
    "STOP_POSITION": "COMMAND_STOP_POSITION",
    "WATCHDOG_TIMEOUT": "COMMAND_TIMEOUT",
    "VELOCITY_LIMIT": "COMMAND_VELOCITY_LIMIT",
    "ACCELERATION_LIMIT": "COMMAND_ACCEL_LIMIT",
    "KI_LIMIT_SCALE": "COMMAND_ILIMIT_SCALE",
    "STAY_WITHIN_LOWER": "COMMAND_WITHIN_LOWER_BOUND",
    "FIRMWARE": "FIRMWARE_VERSION",
    "REGISTER_MAP": "REGISTER_MAP_VERSION",
}
_THEIR_MODES = {
    State.STOPPED: "STOPPED",
    State.FAULT: "FAULT",
    State.POSITION: "POSITION",
    State.TIMEOUT: "TIMEOUT",
    State.ZERO_VELOCITY: "ZERO_VELOCITY",
    State.BRAKE: "BRAKE",
}


def test_the_fault_codes_of_the_table_are_those_of_the_documentation() -> None:
    model = load_model("moteus_r4")
    assert isinstance(model, MoteusModel)
    assert set(model.faults) == set(range(32, 51)), "docs/protocol/registers.md, 0x00f"
