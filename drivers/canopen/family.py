"""CANopen as a family: CiA 402 drives and CiA 406 encoders, latched by SYNC."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame
from drivers.bus.transport import FrameBus
from drivers.canopen.codec import SDO_CLIENT_BASE, SDO_SERVER_BASE
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import known_models, load_model
from drivers.canopen.node import CanopenNode
from drivers.canopen.sdo import SdoClient
from drivers.device import DriverError, TransportTimeout
from drivers.family import BusPlan, Column, DevicePlan, Found, ModelInfo, Wire

_PACE_S, _ANSWER_S = 1e-3, 0.2
#: Upload of 1018h:01, which every CANopen device has (CiA 301, 7.5.2.19).
_WHO = bytes((0x40, 0x18, 0x10, 1)) + bytes(4)


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
            [_node(device, plan.columns) for device in plan.devices],
            plan.columns,
            uri=plan.uri,
            bitrate=plan.bitrate,
            period_s=plan.period_s,
            watchdog_s=plan.watchdog_s,
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        bus = open_can(name, uri, bitrate)
        try:
            return [_identified(SdoClient(bus, name, node, lambda _: None)) for node in _answering(bus)]
        finally:
            bus.close()


def _answering(bus: FrameBus) -> list[int]:
    """Nodes that answer a question put to all of them at once."""
    nodes: set[int] = set()
    for node in range(1, 127):
        bus.send(Frame(SDO_CLIENT_BASE + node, _WHO))
        _collect(bus, nodes, clock.now() + _PACE_S)  # a frame takes 0.13 ms at 1 Mbit/s: queues stay short
    _collect(bus, nodes, clock.now() + _ANSWER_S)
    return sorted(nodes)


def _collect(bus: FrameBus, nodes: set[int], until_s: float) -> None:
    with contextlib.suppress(TransportTimeout):
        while True:
            node = bus.recv(until_s).can_id - SDO_SERVER_BASE
            if 1 <= node <= 126:
                nodes.add(node)


def _node(device: DevicePlan, columns: Sequence[Column]) -> CanopenNode:
    model = load_model(device.model).reading(c.signal for c in columns if c.device == device.name)
    if model.targets:
        return Cia402Drive(device.name, device.address, model, device.serial, limits=device.limits)
    return Cia406Encoder(device.name, device.address, model, device.serial)


def _model_of(vendor: int, product: int) -> str:
    for name in known_models():
        table = load_model(name)
        if (table.vendor, table.product) == (vendor, product):
            return name
    return ""


def _identified(sdo: SdoClient) -> Found:
    title, identity = "CANopen device", [0, 0, 0, 0]
    with contextlib.suppress(DriverError):
        identity = [sdo.read_number(0x1018, n, "u32") for n in (1, 2, 3, 4)]
        title = sdo.read_text(0x1008)
    vendor, product, revision, serial = identity
    text = f"{title}, vendor {vendor:08X}h, product {product:08X}h, revision {revision:08X}h, serial {serial}"
    return Found(sdo.node, _model_of(vendor, product), text)


CANOPEN = Canopen()
