"""Dynamixel protocol 2.0 as a family: smart servos on RS-485 or TTL, read and commanded together."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.bus.byte_streams import open_stream
from drivers.device import Mode
from drivers.dynamixel import codec
from drivers.dynamixel.codec import BROADCAST, HIGHEST_ID, STATUS_BYTES
from drivers.dynamixel.group import DynamixelGroup
from drivers.dynamixel.master import DynamixelMaster, adapter_latency_s
from drivers.dynamixel.model import known_models, load_model, model_by_number
from drivers.dynamixel.servo import DynamixelServo
from drivers.family import BusPlan, DevicePlan, Found, ModelInfo, Wire

#: What a servo may wait before its turn in answer to a ping to all, beside its bytes.
_TURN_S = 0.003


class Dynamixel:
    """See `drivers.family.Family`."""

    name = "dynamixel"
    wire = Wire.STREAM

    def models(self) -> tuple[str, ...]:
        return known_models()

    def describe(self, model: str) -> ModelInfo:
        table = load_model(model)
        return ModelInfo(table.title, table.offered(), tuple(Mode(mode) for mode in table.targets))

    def group(self, plan: BusPlan) -> DynamixelGroup:
        signals = {column.signal for column in plan.columns}
        return DynamixelGroup(
            plan.name,
            [_servo(device, signals) for device in plan.devices],
            plan.columns,
            uri=plan.uri,
            baudrate=plan.bitrate,
            period_s=plan.period_s,
            watchdog_s=plan.watchdog_s,
            honest_wire=plan.uri.rpartition("|")[2].startswith("serial:"),
        )

    def scan(self, name: str, uri: str, bitrate: int) -> Sequence[Found]:
        """One ping to all; a stretch that cannot be read speaks for two servos with one id."""
        stream = open_stream(name, uri, bitrate)
        try:
            master = DynamixelMaster(stream, latency_s=adapter_latency_s(uri))
            window_s = (HIGHEST_ID + 1) * (master.wire_s(STATUS_BYTES + 3) + _TURN_S) + master.latency_s
            statuses, stray = master.broadcast_ping(codec.ping(BROADCAST), window_s)
        finally:
            stream.close()
        found = []
        for status in sorted(statuses, key=lambda s: s.id):
            number, firmware = int.from_bytes(status.data[:2], "little"), status.data[2]
            table = model_by_number(number)
            title = table.title if table is not None else f"unknown model number {number}"
            alert = ", reports a hardware error" if status.alert else ""
            found.append(
                Found(
                    status.id, table.name if table is not None else "", f"{title}, firmware {firmware}{alert}"
                )
            )
        if stray:
            found.append(
                Found(
                    BROADCAST, "", f"{stray} bytes could not be read: two servos with one id, or bad wiring"
                )
            )
        return found


def _servo(device: DevicePlan, signals: set[str]) -> DynamixelServo:
    model = load_model(device.model)
    if device.serial is not None:
        raise ValueError(
            f"{device.name}: Dynamixel servos tell no serial number; remove it from the description"
        )
    return DynamixelServo(
        device.name, device.address, model, limits=device.limits, signals=signals & set(model.readings)
    )


DYNAMIXEL = Dynamixel()
