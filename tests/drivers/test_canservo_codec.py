"""The three CAN servo dialects: published and derived byte vectors, round trips, and programs that others wrote."""

from __future__ import annotations

import importlib
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bus.frame import Frame
from drivers.canservo import cybergear, mit, odrive
from drivers.canservo.model import CybergearModel, MitModel, known_models, load_model
from drivers.canservo.ranges import Range, Ranges, symmetric
from drivers.device import MODE_UNITS

f32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
NODES = st.integers(0, 63)
#: Of the vectors: position ±12.5 rad, velocity ±65 rad/s, torque ±18 N·m.
VECTOR_MIT = Ranges(
    symmetric(12.5), symmetric(65.0, 12), Range(0, 500, 12), Range(0, 5, 12), symmetric(18.0, 12)
)


def cybergear_model(name: str = "cybergear") -> CybergearModel:
    model = load_model(name)
    assert isinstance(model, CybergearModel)
    return model


# ── ODrive ──


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (odrive.set_axis_state(1, 8), "027#08000000"),
        (odrive.set_controller_mode(1, 2), "02B#0200000001000000"),
        (odrive.set_input_vel(1, 2.5, 0.25), "02D#000020400000803E"),
        (odrive.set_input_pos(1, 1.5, 0.5, -0.1), "02C#0000C03FF4019CFF"),
        (odrive.query(1, odrive.Cmd.ENCODER_ESTIMATES), "029#R"),
        (odrive.set_axis_state(0, 1), "007#01000000"),
    ],
    ids=["closed loop", "velocity mode", "velocity", "position", "query", "idle"],
)
def test_cansimple_vectors(frame: Frame, expected: str) -> None:
    assert str(frame) == expected


def test_the_identifier_of_the_documentation() -> None:
    assert odrive.can_id(0x01, 0x0C) == 0x02C
    assert odrive.split_id(0x02C) == (1, 0x0C)
    for node, command in ((64, 1), (-1, 1), (1, 32)):
        with pytest.raises(ValueError, match="do not fit"):
            odrive.can_id(node, command)


def test_the_heartbeats_of_the_two_firmwares_differ() -> None:
    old = odrive.parse_heartbeat(bytes.fromhex("0008000008000080"), 5)
    assert (old.error, old.state, old.trajectory_done) == (0x800, 8, True)
    new = odrive.parse_heartbeat(bytes.fromhex("0000000108030100"), 6)
    assert (new.error, new.state, new.detail, new.trajectory_done) == (0x0100_0000, 8, 3, True)
    assert not odrive.parse_heartbeat(bytes.fromhex("0000000008000100"), 5).trajectory_done
    assert not odrive.parse_heartbeat(bytes.fromhex("0000000008000080"), 6).trajectory_done


@pytest.mark.parametrize("length", [0, 4, 7])
def test_short_frames_are_refused(length: int) -> None:
    for parse in (odrive.parse_floats, odrive.parse_version, odrive.parse_serial, odrive.parse_endpoint):
        with pytest.raises(ValueError, match="bytes where CANSimple has"):
            parse(bytes(length))


def test_feed_forward_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"32\.767"):
        odrive.set_input_pos(1, 0.0, 33.0)


@given(NODES, f32, f32)
def test_pairs_of_floats_come_back(node: int, first: float, second: float) -> None:
    frame = odrive.set_input_vel(node, first, second)
    assert odrive.parse_floats(frame.data) == (first, second)
    assert odrive.split_id(frame.can_id) == (node, odrive.Cmd.SET_INPUT_VEL)


@given(st.integers(0, 0xFFFF), st.binary(min_size=4, max_size=4))
def test_endpoint_values_come_back(endpoint: int, value: bytes) -> None:
    assert odrive.parse_endpoint(odrive.write_endpoint(3, endpoint, value).data) == (endpoint, value)


@given(st.binary(max_size=8))
def test_no_bytes_raise_anything_but_value_error(data: bytes) -> None:
    for parse in (
        odrive.parse_floats,
        odrive.parse_version,
        odrive.parse_serial,
        odrive.parse_endpoint,
        lambda d: odrive.parse_heartbeat(d, 5),
        lambda d: mit.parse_reply(VECTOR_MIT, d, 6),
        cybergear.parse_fault,
    ):
        try:
            parse(data)
        except ValueError:
            assert len(data) != 8 or parse.__name__ == "<lambda>"


def dbc(version: str) -> Any:
    from odrive_can import get_dbc

    return get_dbc(f"odrive-cansimple-{version}")


@pytest.mark.parametrize("version", ["0.5.6", "0.6.10"])
def test_the_dbc_files_of_others_read_what_we_write(version: str) -> None:
    database = dbc(version)

    def decoded(frame: Frame) -> Any:
        frame = odrive.padded(frame)
        return database.get_message_by_frame_id(frame.can_id).decode(frame.data)

    found = decoded(odrive.set_input_pos(1, 1.5, 0.5, -0.1))
    assert (found["Input_Pos"], found["Vel_FF"], found["Torque_FF"]) == pytest.approx((1.5, 0.5, -0.1))
    assert decoded(odrive.set_input_vel(1, 2.5, 0.25)) == pytest.approx(
        {"Input_Vel": 2.5, "Input_Torque_FF": 0.25}
    )
    assert decoded(odrive.set_input_torque(1, -0.75))["Input_Torque"] == -0.75
    assert str(decoded(odrive.set_axis_state(1, 8))["Axis_Requested_State"]) == "CLOSED_LOOP_CONTROL"
    mode = decoded(odrive.set_controller_mode(1, odrive.ControlMode.POSITION))
    assert (str(mode["Control_Mode"]), str(mode["Input_Mode"])) == ("POSITION_CONTROL", "PASSTHROUGH")
    assert decoded(odrive.set_limits(1, 10.0, 20.0)) == pytest.approx(
        {"Velocity_Limit": 10.0, "Current_Limit": 20.0}
    )


def test_we_read_what_the_dbc_file_of_0_6_writes() -> None:
    database = dbc("0.6.10")
    beat = database.get_message_by_name("Axis1_Heartbeat").encode(
        {"Axis_Error": 0x2000, "Axis_State": 8, "Procedure_Result": 3, "Trajectory_Done_Flag": 1}
    )
    assert odrive.parse_heartbeat(beat, 6) == odrive.Heartbeat(0x2000, 8, 3, True)
    fields = ("Protocol_Version", "Hw_Version_Major", "Hw_Version_Minor", "Hw_Version_Variant")
    fields += ("Fw_Version_Major", "Fw_Version_Minor", "Fw_Version_Revision", "Fw_Version_Unreleased")
    version = database.get_message_by_name("Axis1_Get_Version").encode(
        dict(zip(fields, (2, 5, 2, 0, 0, 6, 10, 0), strict=True))
    )
    assert odrive.parse_version(version) == odrive.Version(2, (5, 2, 0), (0, 6, 10))
    address = database.get_message_by_name("Axis1_Address").encode(
        {"Serial_Number": 0x3972394F3331, "Node_ID": 1}
    )
    assert odrive.parse_serial(address) == "3972394F3331"
    sdo = {"Opcode": 1, "Endpoint_ID": 200, "Reserved": 0, "Value": 0x3E800000}
    message = next(m for m in database.messages if m.name == "Axis1_RxSdo")
    names = {s.name for s in message.signals}
    if "Value" in names:
        ours = odrive.write_endpoint(1, 200, struct.pack("<f", 0.25)).data
        assert int.from_bytes(ours[4:], "little") == sdo["Value"]
        assert ours[:4] == bytes((1, 200, 0, 0))


def test_the_fault_bits_of_the_tables_are_those_of_the_dbc_files() -> None:
    for name, version in (("odrive_s1", "0.6.10"), ("odrive_v36", "0.5.6")):
        message = dbc(version).get_message_by_name("Axis0_Heartbeat")
        signal = next(s for s in message.signals if s.name == "Axis_Error")
        assert signal.choices is not None
        assert set(load_model(name).faults) == set(signal.choices) - {0}


# ── CyberGear and RobStride ──


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (cybergear.enable(0xFD, 0x7F), "300FD7F#"),
        (cybergear.stop(0xFD, 0x7F), "400FD7F#0000000000000000"),
        (cybergear.stop(0xFD, 0x7F, clear_fault=True), "400FD7F#0100000000000000"),
        (cybergear.write_parameter(0xFD, 0x7F, 0x7005, b"\x02"), "1200FD7F#0570000002000000"),
        (cybergear.write_parameter(0xFD, 0x7F, 0x700A, struct.pack("<f", 5.0)), "1200FD7F#0A7000000000A040"),
        (cybergear.read_parameter(0xFD, 0x7F, 0x701C), "1100FD7F#1C70000000000000"),
        (cybergear.operation(cybergear_model().ranges, 0x7F, 0, 0, 0, 0, 0), "17FFF7F#7FFF7FFF00000000"),
    ],
    ids=["enable", "stop", "clear", "run mode 2", "speed 5", "read VBUS", "operation zero"],
)
def test_cybergear_vectors(frame: Frame, expected: str) -> None:
    assert frame.extended
    assert str(frame) == expected


def test_the_manuals_table_and_its_sample_code_disagree_on_the_range() -> None:
    assert symmetric(4 * math.pi).pack(1.0) == 0x8A2F
    assert symmetric(12.5).pack(1.0) == 0x8A3C


def test_ranges_are_data_of_the_product() -> None:
    assert (
        cybergear_model("cybergear").ranges.velocity.high
        != cybergear_model("robstride_01").ranges.velocity.high
    )
    assert cybergear_model("robstride_03").ranges.torque.high == 60.0
    ak, cheetah = load_model("ak80_9"), load_model("mini_cheetah")
    assert isinstance(ak, MitModel)
    assert isinstance(cheetah, MitModel)
    assert ak.ranges.velocity.high != cheetah.ranges.velocity.high


def test_a_feedback_of_the_manual() -> None:
    identifier = 2 << 24 | (2 << 14 | 0b010100 << 8 | 0x7F) << 8 | 0xFD
    frame = Frame(identifier, bytes.fromhex("8A2F7FFFFFFF014A"), extended=True)
    found = cybergear.parse_feedback(frame, cybergear_model().ranges)
    assert (found.motor, found.run, found.faults) == (0x7F, cybergear.Run.RUN, 0b010100)
    assert found.position == pytest.approx(1.0, abs=4e-4)
    assert found.velocity == pytest.approx(0.0, abs=1e-3)
    assert found.torque == 12.0
    assert found.saturated
    assert found.temperature_K == pytest.approx(273.15 + 33.0)


def test_a_parameter_answer_of_the_manual() -> None:
    frame = Frame(0x11007FFD, bytes.fromhex("1E7000000000F041"), extended=True)
    assert cybergear.parse_parameter(frame) == (0x7F, 0x701E, struct.pack("<f", 30.0), True)
    refused = Frame(0x11017FFD, frame.data, extended=True)
    assert not cybergear.parse_parameter(refused)[3]


@given(st.integers(0, 31), st.integers(0, 0xFFFF), st.integers(0, 0xFF))
def test_29_bit_identifiers_come_back(kind: int, data16: int, target: int) -> None:
    assert cybergear.split_id(cybergear.can_id(kind, data16, target)) == (kind, data16, target)


def theirs(module: str) -> Any:
    return importlib.import_module(module)


def test_pycybergear_packs_the_same_to_one_digit() -> None:
    motor = object.__new__(theirs("cybergear").Motor)
    for value in (-12.5, -3.3, 0.0, 1.0, 12.5):
        assert abs(motor.float_to_uint(value, -12.5, 12.5, 16) - symmetric(12.5).pack(value)) <= 1


def test_robstride_reads_our_layout_of_a_feedback() -> None:
    client_module = theirs("robstride.client")
    client = client_module.Client(bus=None, host_can_id=0xFD)
    identifier = 2 << 24 | (0b000100 << 8 | 3) << 8 | 0xFD
    data = bytes.fromhex("8A2F9000A0000140")
    other = client._parse_feedback_resp(
        theirs("can").Message(arbitration_id=identifier, data=data, is_extended_id=True), 3, 1
    )
    ours = cybergear.parse_feedback(
        Frame(identifier, data, extended=True), cybergear_model("robstride_01").ranges
    )
    assert other.angle == pytest.approx(ours.position, abs=symmetric(4 * math.pi).digit)
    assert other.velocity == pytest.approx(ours.velocity, abs=88 / 65535)
    assert other.torque == pytest.approx(ours.torque, abs=34 / 65535)
    assert other.temp + 273.15 == pytest.approx(ours.temperature_K)
    assert [e.name for e in other.errors] == ["Overtemp"]
    assert cybergear_model("robstride_01").faults[ours.faults] == "too hot"


class Wire:
    """Stands where another program's CAN bus would be."""

    def __init__(self, answer: Any = None) -> None:
        self.sent: list[Any] = []
        self.answer = answer

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def recv(self, timeout: Any = None) -> Any:
        return self.answer


def test_robstride_dynamics_sends_the_frames_that_we_send() -> None:
    module = theirs("robstride_dynamics.bus")
    protocol = theirs("robstride_dynamics.protocol")
    bus = object.__new__(module.RobstrideBus)
    bus.channel_handler, bus.host_id = Wire(), 0xFD
    kind = protocol.CommunicationType
    bus.transmit(kind.READ_PARAMETER, 0xFD, 3, struct.pack("<HHL", protocol.ParameterType.VBUS[0], 0, 0))
    bus.transmit(kind.DISABLE, 0xFD, 3)
    bus.transmit(kind.GET_DEVICE_ID, 0xFD, 3)
    ours = (cybergear.read_parameter(0xFD, 3, 0x701C), cybergear.stop(0xFD, 3), cybergear.get_id(0xFD, 3))
    for message, frame in zip(bus.channel_handler.sent, ours, strict=True):
        assert (message.arbitration_id, bytes(message.data)) == (frame.can_id, frame.data)
    bus.channel_handler = None  # its destructor would close it
    model = cybergear_model("robstride_03")
    assert model.watchdog.index == protocol.ParameterType.CAN_TIMEOUT[0]
    for name, entry in (("run_mode", "MODE"), ("spd_ref", "VELOCITY_TARGET"), ("loc_ref", "POSITION_TARGET")):
        assert model.parameters[name] == getattr(protocol.ParameterType, entry)[0]
    table = theirs("robstride_dynamics.table")
    assert model.ranges.torque.high == table.MODEL_MIT_TORQUE_TABLE["rs-03"]
    assert model.ranges.kp.high == table.MODEL_MIT_KP_TABLE["rs-03"]
    assert cybergear_model("robstride_01").ranges.velocity.high == table.MODEL_MIT_VELOCITY_TABLE["rs-01"]


# ── MIT ──


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (mit.Command(0, 0, 0, 0, 0), "7F FF 7F F0 00 00 07 FF"),
        (mit.Command(1, 2, 50, 1, 3), "8A 3C 83 E1 99 33 39 54"),
    ],
    ids=["zeros", "p1 v2 kp50 kd1 t3"],
)
def test_mit_vectors(command: mit.Command, expected: str) -> None:
    ours, published = mit.pack_command(VECTOR_MIT, command), bytes.fromhex(expected)
    assert ours == published


def test_mit_special_codes() -> None:
    assert (mit.ENTER[7], mit.EXIT[7], mit.ZERO[7]) == (0xFC, 0xFD, 0xFE)
    assert all(code[:7] == b"\xff" * 7 for code in mit.SPECIAL)
    full = mit.unpack_command(VECTOR_MIT, mit.ENTER)
    nearly = mit.Command(12.5, 65.0, 500.0, 5.0, VECTOR_MIT.torque.unpack(0xFFC) + 1e-6)
    assert full.position == 12.5
    with pytest.raises(ValueError, match="special command"):
        mit.pack_command(VECTOR_MIT, nearly)


def test_mit_replies_of_both_lengths() -> None:
    short = bytes.fromhex("098A3C83E954")
    found = mit.parse_reply(VECTOR_MIT, short, 6)
    assert (found.motor, found.temperature_K, found.error) == (9, None, None)
    assert found.position == pytest.approx(1.0, abs=4e-4)
    assert found.velocity == pytest.approx(2.0, abs=0.04)
    assert found.torque == pytest.approx(3.0, abs=0.01)
    long = mit.parse_reply(VECTOR_MIT, short + bytes((30, 2)), 8)
    assert (long.temperature_K, long.error) == (303.15, 2)
    with pytest.raises(ValueError, match="bytes where this model"):
        mit.parse_reply(VECTOR_MIT, short, 8)


@given(
    st.floats(-12.5, 12.5),
    st.floats(-65, 65),
    st.floats(0, 500),
    st.floats(0, 5),
    st.floats(-18, 17.9),
)
def test_mit_commands_come_back_within_one_digit(p: float, v: float, kp: float, kd: float, t: float) -> None:
    ranges = VECTOR_MIT
    found = mit.unpack_command(ranges, mit.pack_command(ranges, mit.Command(p, v, kp, kd, t)))
    for scale, sent, got in (
        (ranges.position, p, found.position),
        (ranges.velocity, v, found.velocity),
        (ranges.kp, kp, found.kp),
        (ranges.kd, kd, found.kd),
        (ranges.torque, t, found.torque),
    ):
        assert got <= sent + 1e-9, "truncated"
        assert sent - got <= scale.digit * (1 + 1e-9)


@given(st.sampled_from([12, 16]), st.floats(0.1, 1000), st.integers(0, 0xFFFF))
def test_digits_come_back_to_one(bits: int, most: float, digits: int) -> None:
    scale = symmetric(most, bits)
    digits &= scale.most
    assert abs(scale.pack(min(most, scale.unpack(digits))) - digits) <= 1


@pytest.mark.parametrize("value", [12.51, -12.51, math.nan, math.inf])
def test_nothing_outside_a_range_is_packed(value: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        symmetric(12.5).pack(value)


# ── tables ──


@pytest.mark.parametrize("name", known_models())
def test_model_table(name: str) -> None:
    model = load_model(name)
    assert {s.unit for s in model.offered()} <= {"rad", "rad/s", "N·m", "K"}
    assert all(0 < s.resolution <= 1 for s in model.offered())
    assert set(model.modes) <= set(MODE_UNITS)
    assert 0 < model.max_torque < 1000
    assert 0 < model.max_speed_rad_s < 1000
    if isinstance(model, CybergearModel | MitModel):
        assert model.max_torque <= model.ranges.torque.high
        assert model.max_speed_rad_s <= model.ranges.velocity.high


def test_a_model_without_a_table_and_an_override_without_a_name() -> None:
    with pytest.raises(KeyError):
        load_model("no_such_model")
