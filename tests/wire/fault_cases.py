"""The families of the fault matrix: devices, what their plant does, what moves them, which faults their wire has.

To add a family, add one `Case` to `CASES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivers.bus.faulty import ON_CAN
from drivers.bus.frame import FD_LENGTHS, FdFrame, Frame
from drivers.device import Mode, Setpoint
from drivers.dynamixel.codec import Instruction, unpack
from drivers.dynamixel.framing import Splitter
from drivers.family import Column, DevicePlan

from .fault_matrix import LONGEST_DELAY_S, Case, Truth


def _canopen_motion(frame: Frame) -> object | None:
    """An RPDO whose controlword lets torque flow."""
    if frame.can_id & 0x780 in (0x200, 0x300, 0x400, 0x500) and len(frame.data) >= 2:
        return frame.can_id & 0x7F if frame.data[0] & 0x0F == 0x0F else None
    return None


def _modbus_motion(telegram: bytes) -> object | None:
    """A write; transducers are only read."""
    return telegram[0] if len(telegram) > 1 and telegram[1] in (0x05, 0x06, 0x0F, 0x10) else None


def _actuator_motion(telegram: bytes) -> object | None:
    """A control word that lets torque flow: of AX1 (function 17h), of BR1 (10h)."""
    if len(telegram) > 13 and telegram[1] == 0x17:
        return telegram[0] if telegram[11:13] == b"\0\3" else None
    if len(telegram) > 9 and telegram[1] == 0x10 and telegram[2:4] == b"\0\x10":
        return telegram[0] if telegram[7:9] == b"\0\1" else None
    return None


def _dynamixel_motion(packets: bytes) -> object | None:
    """Set-points of a cycle, or a write that switches torque on; which servos they are for."""
    splitter = Splitter(1024)
    splitter.feed(packets)
    while (raw := splitter.next()) is not None:
        packet = unpack(raw)
        address = int.from_bytes(packet.parameters[:2], "little")
        if packet.instruction == Instruction.SYNC_WRITE and address in _DYNAMIXEL_GOALS:
            return "set-points", bytes(packet.parameters[4 :: packet.parameters[2] + 1])
        if packet.instruction == Instruction.WRITE and address == 64 and packet.parameters[2:] == b"\1":
            return "torque on", packet.id
    return None


def _canservo_motion(frame: Frame) -> object | None:
    """A set-point: Set_Input_Pos, _Vel, _Torque of an ODrive; operation control or a reference of a CyberGear; a command
    of an MIT module that is none of its special ones.
    """
    if frame.remote:
        return None
    if frame.extended:
        kind, target = frame.can_id >> 24, frame.can_id & 0xFF
        reference = kind == 18 and frame.data[:2] in (b"\x06\x70", b"\x0a\x70", b"\x16\x70")
        return target if kind == 1 or reference else None
    if frame.can_id == 9:
        return 9 if not frame.data.startswith(b"\xff" * 7) else None
    return frame.can_id >> 5 if frame.can_id & 0x1F in (0x0C, 0x0D, 0x0E) else None


def _moteus_motion(frame: Frame) -> object | None:
    """A command that begins with position mode."""
    return frame.can_id & 0xFF if frame.data[:3] == b"\x01\x00\x0a" else None


_DYNAMIXEL_GOALS = (102, 104, 116)
_TORQUE_PER_A = 1.783  # of the XM430-W350

CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        Case(
            name="canopen",
            family="canopen",
            devices=(
                DevicePlan("AX1", 1, "cia402_servo_ax1"),
                DevicePlan("AX2", 2, "cia402_servo_ax2"),
                DevicePlan("EN2", 3, "cia406_encoder_27bit"),
            ),
            columns=(
                Column("input_angle", "AX1", "position"),
                Column("input_speed", "AX1", "velocity"),
                Column("load_torque", "AX2", "torque"),
                Column("output_angle", "EN2", "position"),
            ),
            bitrate=1_000_000,
            period_s=0.004,
            truths={
                ("AX1", "position"): Truth(slope=40.0),
                ("AX1", "velocity"): Truth(slope=200.0, range=100.0),
                ("AX2", "torque"): Truth(slope=50.0, range=20.0),
                ("EN2", "position"): Truth(slope=0.4),
            },
            moves={
                "AX1": Setpoint(Mode.VELOCITY, 10.0, 50.0),
                "AX2": Setpoint(Mode.TORQUE, 5.0, 50.0),
            },
            motion=_canopen_motion,
            kinds=ON_CAN,
            rate=0.02,
            node_of=lambda frame: frame.can_id & 0x7F if frame.can_id != 0x080 else 0,
            foreign=lambda draw: Frame(
                draw.choice((0x18F, 0x58F, 0x70F, 0x7E4)), draw.randbytes(draw.randint(0, 8))
            ),
        ),
        Case(
            name="modbus",
            family="modbus",
            devices=(
                DevicePlan("TQ1", 1, "modbus_torque_5nm"),
                DevicePlan("TQ2", 2, "modbus_torque_200nm"),
                DevicePlan("TMP", 3, "modbus_pt100_2ch"),
            ),
            columns=(
                Column("input_torque", "TQ1", "torque"),
                Column("output_torque", "TQ2", "torque"),
                Column("housing_temperature", "TMP", "temperature_1"),
            ),
            bitrate=115_200,
            period_s=0.01,
            truths={
                ("TQ1", "torque"): Truth(slope=2.0, range=4.5),
                ("TQ2", "torque"): Truth(slope=50.0, range=180.0),
                ("TMP", "temperature_1"): Truth(slope=1.0, range=50.0, start=300.0),
                ("TMP", "temperature_2"): Truth(slope=1.0, range=50.0, start=290.0),
            },
            motion=_modbus_motion,
            age_s={"housing_temperature": 3.0},
        ),
        Case(
            name="dynamixel",
            family="dynamixel",
            devices=tuple(DevicePlan(f"DX{n}", n, "dynamixel_xm430_w350") for n in (1, 2, 3)),
            columns=(
                Column("drive_angle", "DX1", "position"),
                Column("drive_speed", "DX1", "velocity"),
                Column("second_angle", "DX2", "position"),
                Column("third_current", "DX3", "current"),
            ),
            bitrate=1_000_000,
            period_s=0.01,
            truths={
                ("DX1", "position"): Truth(slope=40.0),
                ("DX1", "velocity"): Truth(slope=80.0, range=8.0, start=-4.0),
                ("DX2", "position"): Truth(slope=-25.0),
                ("DX3", "torque"): Truth(slope=20.0, range=4.0),
                ("DX3", "current"): Truth(slope=20.0 / _TORQUE_PER_A, range=4.0 / _TORQUE_PER_A),
            },
            moves={"DX1": Setpoint(Mode.VELOCITY, 3.0, 5.0), "DX2": Setpoint(Mode.TORQUE, 1.0, 5.0)},
            motion=_dynamixel_motion,
            rate=0.05,
        ),
        Case(
            name="modbus-actuators",
            family="modbus",
            devices=(
                DevicePlan("AX1", 1, "modbus_servo_750w"),
                DevicePlan("BR1", 2, "modbus_brake_powder_50nm"),
                DevicePlan("TQ1", 3, "modbus_torque_5nm"),
            ),
            columns=(
                Column("input_angle", "AX1", "position"),
                Column("input_speed", "AX1", "velocity"),
                Column("brake_temperature", "BR1", "temperature"),
                Column("input_torque", "TQ1", "torque"),
            ),
            bitrate=115_200,
            period_s=0.02,
            truths={
                ("AX1", "position"): Truth(slope=40.0),
                ("AX1", "velocity"): Truth(slope=200.0, range=100.0),
                ("AX1", "torque"): Truth(slope=5.0, range=4.0),
                ("AX1", "temperature"): Truth(slope=1.0, range=50.0, start=300.0),
                ("BR1", "velocity"): Truth(slope=3.0, range=10.0),
                ("BR1", "temperature"): Truth(slope=5.0, range=50.0, start=300.0),
                ("TQ1", "torque"): Truth(slope=2.0, range=4.5),
            },
            moves={
                "AX1": Setpoint(Mode.VELOCITY, 10.0, 50.0),
                "BR1": Setpoint(Mode.TORQUE, 20.0, 100.0),
            },
            motion=_actuator_motion,
            rate=0.15,
        ),
        Case(
            name="scpi",
            family="scpi",
            rate=0.3,
            devices=(DevicePlan("PM1", 1, "scpi_power_meter_serial"),),
            columns=tuple(Column(name, "PM1", name) for name in ("voltage", "current", "power")),
            bitrate=115_200,
            period_s=0.05,
            truths={
                ("PM1", "voltage"): Truth(slope=20.0, range=50.0),
                ("PM1", "current"): Truth(slope=-8.0, range=25.0),
                ("PM1", "power"): Truth(slope=200.0, range=1500.0),
            },
            age_s=dict.fromkeys(("voltage", "current", "power"), 0.4),
        ),
        Case(
            name="dbc",
            family="dbc",
            devices=(
                DevicePlan("TF", 1, "dbc_torque_flange_500nm"),
                DevicePlan("FT", 1, "dbc_force_torque_6axis"),
            ),
            columns=(
                Column("output_torque", "TF", "torque"),
                Column("pull", "FT", "force_1"),
                Column("twist", "FT", "torque_3"),
            ),
            bitrate=1_000_000,
            period_s=0.01,
            truths={
                ("TF", "torque"): Truth(slope=100.0, range=400.0),
                ("FT", "force_1"): Truth(slope=100.0, range=500.0),
                ("FT", "torque_3"): Truth(slope=5.0, range=25.0),
            },
            # max_age of the table counts from when a frame came; nothing in it says that it was held up before
            age_s={
                "output_torque": 0.006 + LONGEST_DELAY_S,
                "pull": 0.014 + LONGEST_DELAY_S,
                "twist": 0.014 + LONGEST_DELAY_S,
            },
            # and here it counts from when the cycle has taken it
            unseen_s=dict.fromkeys(("output_torque", "pull", "twist"), 0.010 + LONGEST_DELAY_S),
            kinds=ON_CAN,
            rate=0.05,
            foreign=lambda draw: Frame(draw.randint(0x500, 0x7FF), draw.randbytes(draw.randint(0, 8))),
        ),
        Case(
            name="canservo",
            family="canservo",
            devices=(
                DevicePlan("OD", 4, "odrive_s1"),
                DevicePlan("CG", 127, "cybergear"),
                DevicePlan("AK", 9, "ak80_9"),
            ),
            columns=(
                Column("odrive_angle", "OD", "position"),
                Column("odrive_speed", "OD", "velocity"),
                Column("cybergear_angle", "CG", "position"),
                Column("joint_angle", "AK", "position"),
            ),
            bitrate=1_000_000,
            period_s=0.005,
            truths={
                ("OD", "position"): Truth(slope=40.0),
                ("OD", "velocity"): Truth(slope=100.0, range=90.0),
                ("CG", "position"): Truth(slope=10.0, range=10.0, start=-5.0),
                ("AK", "position"): Truth(slope=10.0, range=10.0, start=-5.0),
            },
            # Replies carry no number: a late one may pass for a new one.
            age_s={"joint_angle": LONGEST_DELAY_S},
            unseen_s={"joint_angle": LONGEST_DELAY_S},
            moves={
                "OD": Setpoint(Mode.VELOCITY, 5.0, 20.0),
                "CG": Setpoint(Mode.VELOCITY, 2.0, 10.0),
                "AK": Setpoint(Mode.VELOCITY, 2.0, 10.0),
            },
            motion=_canservo_motion,
            kinds=ON_CAN,
            rate=0.02,
            node_of=lambda frame: frame.can_id & 0xFF if frame.extended else frame.can_id >> 5,
            foreign=lambda draw: Frame(draw.randint(0x600, 0x7FF), draw.randbytes(draw.randint(0, 8))),
        ),
        Case(
            name="moteus",
            family="canservo",
            devices=(DevicePlan("M1", 4, "moteus_r4"), DevicePlan("M2", 33, "moteus_r4")),
            columns=(
                Column("first_angle", "M1", "position"),
                Column("first_speed", "M1", "velocity"),
                Column("second_angle", "M2", "position"),
                Column("second_torque", "M2", "torque"),
            ),
            bitrate=1_000_000,
            period_s=0.005,
            truths={
                ("M1", "position"): Truth(slope=40.0),
                ("M1", "velocity"): Truth(slope=100.0, range=90.0),
                ("M2", "position"): Truth(slope=-25.0),
                ("M2", "torque"): Truth(slope=30.0, range=1.4),
            },
            moves={
                "M1": Setpoint(Mode.VELOCITY, 5.0, 20.0),
                "M2": Setpoint(Mode.TORQUE, 0.5, 5.0),
            },
            motion=_moteus_motion,
            kinds=ON_CAN,
            rate=0.03,
            node_of=lambda frame: frame.can_id >> 8 & 0x7F,
            foreign=lambda draw: FdFrame(
                draw.randint(0x2A00, 0x2BFF), draw.randbytes(draw.choice(FD_LENGTHS)), extended=True
            ),
        ),
    )
}
