"""An emulated CAN servo from a bench description, by the dialect of its model."""

from __future__ import annotations

from drivers.canservo.model import CybergearModel, MoteusModel, OdriveModel, WatchdogBy, load_model
from drivers.emulators.canservo_cybergear import CybergearPlan
from drivers.emulators.canservo_mit import MitPlan
from drivers.emulators.canservo_moteus import MoteusPlan
from drivers.emulators.canservo_odrive import OdrivePlan
from drivers.emulators.host import CanNodePlan
from drivers.family import DevicePlan


def canservo_plan(device: DevicePlan, watchdog_s: float) -> CanNodePlan:
    """`watchdog_s`: what whoever set the bench up has set by hand, where it cannot be set over CAN."""
    model = load_model(device.model)
    serial = 26_000_000 + device.address
    if device.serial is not None:
        serial = int(device.serial, 16)  # all dialects print it in hexadecimal
    if isinstance(model, OdriveModel):
        by_hand = model.watchdog.by is not WatchdogBy.SETTING
        return OdrivePlan(device.name, device.address, model, serial, watchdog_s if by_hand else 0.0)
    if isinstance(model, CybergearModel):
        return CybergearPlan(device.name, device.address, model, serial)
    if isinstance(model, MoteusModel):
        return MoteusPlan(device.name, device.address, model, serial)
    return MitPlan(device.name, device.address, model)
