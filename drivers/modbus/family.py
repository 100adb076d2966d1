"""Modbus RTU as a family: servo drives, brakes, transducers and temperature modules, asked one after another."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.bus.byte_streams import open_stream
from drivers.device import ProtocolViolation, TransportTimeout
from drivers.family import BusPlan, DevicePlan, Found, ModelInfo, Wire
from drivers.modbus.actuator import ModbusActuator
from drivers.modbus.codec import Function, read_request
from drivers.modbus.device import ModbusDevice
from drivers.modbus.group import ModbusGroup
from drivers.modbus.model import known_models, load_model
from drivers.modbus.rtu import ModbusException, RtuMaster

_SCAN_TIMEOUT_S = 0.02


class Modbus:
    """See `drivers.family.Family`."""

    name = "modbus"
    wire = Wire.STREAM

    def models(self) -> tuple[str, ...]:
        return known_models()

    def describe(self, model: str) -> ModelInfo:
        table = load_model(model)
        modes = () if table.actuation is None else tuple(table.actuation.targets)
        return ModelInfo(table.title, table.offered(), modes)

    def group(self, plan: BusPlan) -> ModbusGroup:
        return ModbusGroup(
            plan.name,
            [_device(device, plan.period_s) for device in plan.devices],
            plan.columns,
            uri=plan.uri,
            baudrate=plan.bitrate,
            period_s=plan.period_s,
            watchdog_s=plan.watchdog_s,
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        stream = open_stream(name, uri, bitrate)
        try:
            master = RtuMaster(stream)
            return [found for unit in range(1, 248) if (found := _ask(master, unit)) is not None]
        finally:
            stream.close()


def _device(plan: DevicePlan, cycle_s: float) -> ModbusDevice:
    model = load_model(plan.model)
    if model.actuation is None:
        return ModbusDevice(plan.name, plan.address, model, plan.serial)
    return ModbusActuator(plan.name, plan.address, model, plan.serial, limits=plan.limits, cycle_s=cycle_s)


def _ask(master: RtuMaster, unit: int) -> Found | None:
    """Who is at `unit`: the model number decides between the tables that keep it at the same address."""
    counters = dict.fromkeys(("crc", "timeout", "nak", "stray"), 0)
    tables = [load_model(model) for model in known_models()]
    seen = None
    for address in sorted({table.identity_address for table in tables}):
        request = read_request(Function.READ_HOLDING, address, 1)
        try:
            pdu = master.ask(f"unit {unit}", unit, request, _SCAN_TIMEOUT_S, counters).pdu
        except TransportTimeout:
            return None
        except (ModbusException, ProtocolViolation) as error:
            seen = seen or Found(unit, "", error.what)
            continue
        number = int.from_bytes(pdu[2:4], "big")
        for table in tables:
            if (table.identity_address, table.model_number) == (address, number):
                return Found(unit, table.name, table.title)
        seen = Found(unit, "", f"register {address:04X}h holds {number:04X}h, which is no known model")
    return seen


MODBUS = Modbus()
