"""Servos with a CAN protocol of their own as one family: ODrive, CyberGear and RobStride, MIT joint modules, moteus.

They may share a bus: ODrive and MIT use 11-bit identifiers (which must not overlap, see `group`), CyberGear 29-bit ones. A moteus
speaks CAN FD, and its bus carries nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame
from drivers.bus.transport import FrameBus
from drivers.canservo import cybergear, mit, multiplex, odrive
from drivers.canservo.cybergear import Type
from drivers.canservo.cybergear_motor import HOST, CybergearMotor
from drivers.canservo.group import CanServoGroup
from drivers.canservo.mit_joint import MitJoint
from drivers.canservo.model import CybergearModel, MoteusModel, OdriveModel, known_models, load_model
from drivers.canservo.moteus import Register, answer
from drivers.canservo.moteus_drive import MoteusDrive
from drivers.canservo.multiplex import Kind, Read
from drivers.canservo.odrive import Cmd
from drivers.canservo.odrive_axis import OdriveAxis
from drivers.canservo.servo import CanServo
from drivers.device import TransportLost, TransportTimeout
from drivers.family import BusPlan, DevicePlan, Found, ModelInfo, Wire

#: ODrive's heartbeat is due every 0.1 s.
_LISTEN_S = 0.25
#: So long for an answer: of an axis that is known to be there; of whoever may have that address.
_AXIS_S, _ANSWER_S = 0.05, 0.004


class CanServoFamily:
    """See `drivers.family.Family`."""

    name = "canservo"
    wire = Wire.CAN

    def models(self) -> tuple[str, ...]:
        return known_models()

    def describe(self, model: str) -> ModelInfo:
        table = load_model(model)
        return ModelInfo(table.title, table.offered(), table.modes)

    def group(self, plan: BusPlan) -> CanServoGroup:
        return CanServoGroup(
            plan.name,
            [make_servo(device) for device in plan.devices],
            plan.columns,
            uri=plan.uri,
            bitrate=plan.bitrate,
            period_s=plan.period_s,
            watchdog_s=plan.watchdog_s,
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        """ODrives by their heartbeat, then CyberGears one by one, then MIT modules by telling them to be off.

        An identifier on which an ODrive listens is not used for the last: other commands stand there. Where nobody has answered
        and CAN FD can be sent, moteus controllers are asked for: to a classic device a frame of CAN FD is an error.
        """
        bus = open_can(name, uri, bitrate)
        try:
            axes = _heartbeats(bus) | _silent_axis(bus)
            found = [_axis(bus, node) for node in sorted(axes)]
            found += [f for motor in range(1, cybergear.LAST_ID + 1) if (f := _motor(bus, motor)) is not None]
            taken = {odrive.can_id(node, command) for node in axes for command in range(32)}
            modules = [m for m in range(1, mit.LAST_ID + 1) if m not in taken]
            found += [f for module in modules if (f := _module(bus, module)) is not None]
            return found or _controllers(bus)
        finally:
            bus.close()


def make_servo(device: DevicePlan) -> CanServo[Any]:
    """The driver of a device, by the dialect of its model. Raises KeyError, ValueError."""
    model = load_model(device.model)
    if isinstance(model, OdriveModel):
        return OdriveAxis(device.name, device.address, model, device.serial, limits=device.limits)
    if isinstance(model, CybergearModel):
        return CybergearMotor(device.name, device.address, model, device.serial, limits=device.limits)
    if isinstance(model, MoteusModel):
        return MoteusDrive(device.name, device.address, model, device.serial, limits=device.limits)
    return MitJoint(device.name, device.address, model, device.serial, limits=device.limits)


def _heard(bus: FrameBus, for_s: float) -> Iterator[Frame]:
    """What arrives within so long."""
    until = clock.now() + for_s
    with contextlib.suppress(TransportTimeout):
        while True:
            yield bus.recv(until)


def _heartbeats(bus: FrameBus) -> set[int]:
    nodes: set[int] = set()
    for frame in _heard(bus, _LISTEN_S):
        node, command = odrive.split_id(frame.can_id)
        if not frame.extended and command == Cmd.HEARTBEAT and len(frame.data) == 8:
            nodes.add(node)
    return nodes


def _silent_axis(bus: FrameBus) -> set[int]:
    """Node 0 when it answers, the address of a new ODrive: its commands are the identifiers of MIT modules 1 to 31, so it
    must not be overlooked because it sends no heartbeat.
    """
    questions = (Cmd.GET_VERSION, Cmd.ENCODER_ESTIMATES)
    for command in questions:
        bus.send(odrive.query(0, command))
    for frame in _heard(bus, _AXIS_S):
        if not frame.extended and odrive.split_id(frame.can_id) in [(0, command) for command in questions]:
            return {0}
    return set()


def _axis(bus: FrameBus, node: int) -> Found:
    bus.send(odrive.query(node, Cmd.GET_VERSION))
    for frame in _heard(bus, _AXIS_S):
        answer = not frame.extended and frame.can_id == odrive.can_id(node, Cmd.GET_VERSION)
        if answer and len(frame.data) == 8:
            version = str(odrive.parse_version(frame.data))
            return Found(node, _of_firmware(version), f"ODrive axis, firmware {version}")
    return Found(node, _of_firmware(""), "ODrive axis, CANSimple of firmware 0.5 (tells no version)")


def _of_firmware(version: str) -> str:
    """The only table for it; several differ in what cannot be read over CAN, the motor."""
    fits = [
        m for m in known_models() if isinstance(t := load_model(m), OdriveModel) and t.firmware == version
    ]
    return fits[0] if len(fits) == 1 else ""


def _motor(bus: FrameBus, motor: int) -> Found | None:
    bus.send(cybergear.get_id(HOST, motor))
    for frame in _heard(bus, _ANSWER_S):
        if frame.extended and len(frame.data) == 8:
            kind, data16, target = cybergear.split_id(frame.can_id)
            if (kind, data16 & 0xFF, target) == (Type.GET_ID, motor, cybergear.EVERYBODY):
                what = f"CyberGear or RobStride motor, processor {frame.data.hex().upper()}"
                return Found(motor, "", what)
    return None


def _module(bus: FrameBus, module: int) -> Found | None:
    bus.send(mit.frame(module, mit.EXIT))
    for frame in _heard(bus, _ANSWER_S):
        if frame.extended or odrive.split_id(frame.can_id)[1] == Cmd.HEARTBEAT:
            continue
        if len(frame.data) in (6, 8) and frame.data[0] == module:
            what = f"MIT joint module, replies with {len(frame.data)} bytes to id {frame.can_id:X}h"
            return Found(module, "", what)
    return None


def _controllers(bus: FrameBus) -> list[Found]:
    found = []
    for device in range(1, multiplex.LAST_ID + 1):
        try:
            bus.send(multiplex.request(device, [Read(Register.FIRMWARE, Kind.INT32, 2)]))
        except TransportLost:  # opened for classic frames only
            return []
        if (controller := _controller(bus, device)) is not None:
            found.append(controller)
    return found


def _controller(bus: FrameBus, device: int) -> Found | None:
    for frame in _heard(bus, _ANSWER_S):
        if frame.can_id != multiplex.can_id(device, multiplex.HOST):
            continue
        try:
            found = answer(frame.data, {Register.FIRMWARE: Kind.INT32, Register.REGISTER_MAP: Kind.INT32})
        except ValueError:
            continue
        version = ".".join(str(int(found[Register.FIRMWARE]) >> shift & 0xFF) for shift in (16, 8, 0))
        fits = _of_register_map(int(found[Register.REGISTER_MAP]))
        return Found(device, fits, f"moteus controller, firmware {version}")
    return None


def _of_register_map(number: int) -> str:
    """The only table for it, as with ODrive."""
    fits = [
        m for m in known_models() if isinstance(t := load_model(m), MoteusModel) and t.register_map == number
    ]
    return fits[0] if len(fits) == 1 else ""


CANSERVO = CanServoFamily()
