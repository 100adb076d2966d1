"""CANopen as a family: CiA 402 drives and CiA 406 encoders, latched by SYNC."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from drivers.bus.can_bus import open_can
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import known_models, load_model
from drivers.canopen.node import CanopenNode
from drivers.canopen.sdo import SdoClient
from drivers.device import DriverError
from drivers.family import BusPlan, DevicePlan, Found, ModelInfo, Wire

_SCAN_TIMEOUT_S = 0.05


class Canopen:
    """See `drivers.family.Family`."""

    name = "canopen"
    wire = Wire.CAN

    def models(self) -> tuple[str, ...]:
        return known_models()

    def describe(self, model: str) -> ModelInfo:
        table = load_model(model)
        return ModelInfo(table.title, table.offered(), tuple(table.targets))

    def group(self, plan: BusPlan) -> CanopenGroup:
        return CanopenGroup(
            plan.name,
            [_node(device) for device in plan.devices],
            plan.columns,
            uri=plan.uri,
            bitrate=plan.bitrate,
            period_s=plan.period_s,
            watchdog_s=plan.watchdog_s,
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        bus = open_can(name, uri, bitrate)
        try:
            found = []
            for node in range(1, 127):
                sdo = SdoClient(bus, name, node, lambda _: None, _SCAN_TIMEOUT_S)
                with contextlib.suppress(DriverError):
                    identity = tuple(sdo.read_number(0x1018, n, "u32") for n in (1, 2, 3, 4))
                    found.append(Found(node, _model_of(identity), _text(sdo, identity)))
            return found
        finally:
            bus.close()


def _node(device: DevicePlan) -> CanopenNode:
    model = load_model(device.model)
    if model.targets:
        return Cia402Drive(device.name, device.address, model, device.serial, limits=device.limits)
    return Cia406Encoder(device.name, device.address, model, device.serial)


def _model_of(identity: tuple[int, ...]) -> str:
    for name in known_models():
        table = load_model(name)
        if (table.vendor, table.product) == identity[:2]:
            return name
    return ""


def _text(sdo: SdoClient, identity: tuple[int, ...]) -> str:
    title = "CANopen device"
    with contextlib.suppress(DriverError):
        title = sdo.read_text(0x1008)
    vendor, product, revision, serial = identity
    return f"{title}, vendor {vendor:08X}h, product {product:08X}h, revision {revision:08X}h, serial {serial}"


CANOPEN = Canopen()
