"""After a wire was lost, the bus is opened anew: nothing is written to a device before it has said who it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame
from drivers.bus.serial_stream import open_serial
from drivers.bus.transport import ByteStream, FrameBus
from drivers.canopen.codec import NmtCommand
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.group import CanopenGroup
from drivers.canopen.model import load_model as canopen_model
from drivers.device import IdentityMismatch, TransportLost
from drivers.family import Column
from drivers.modbus.codec import Function
from drivers.modbus.device import ModbusDevice
from drivers.modbus.group import ModbusGroup
from drivers.modbus.model import load_model as modbus_model

NODE, UNIT = 1, 1
_SDO_REQUEST, _NMT, _IDENTITY = 0x600 + NODE, 0x000, 0x1018


class Overheard:
    """A CAN bus that keeps what the master sent."""

    def __init__(self, bus: FrameBus, sent: list[Frame]) -> None:
        self._bus, self._sent = bus, sent

    def send(self, frame: Frame) -> None:
        self._sent.append(frame)
        self._bus.send(frame)

    def send_all(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self.send(frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


def _writes(sent: Sequence[Frame]) -> list[int]:
    """Positions of everything that changes something at the node: SDO downloads, process data, a start."""
    found = []
    for position, frame in enumerate(sent):
        download = frame.can_id == _SDO_REQUEST and frame.data[0] >> 5 in (
            0,
            1,
        )  # command specifier, CiA 301 7.2.4.3
        process_data = frame.can_id in (0x200 + NODE, 0x300 + NODE, 0x400 + NODE, 0x500 + NODE)
        start = frame.can_id == _NMT and frame.data[:1] == bytes((NmtCommand.START,))
        if download or process_data or start:
            found.append(position)
    return found


def _asks_identity(frame: Frame, subindex: int) -> bool:
    if frame.can_id != _SDO_REQUEST:
        return False
    request = (frame.data[0] >> 5, int.from_bytes(frame.data[1:3], "little"), frame.data[3])
    return request == (2, _IDENTITY, subindex)


def _drive(bench: Any, sent: list[Frame], serial: str | None = None) -> CanopenGroup:
    return CanopenGroup(
        "can0",
        [Cia402Drive("AX1", NODE, canopen_model("cia402_servo_ax1"), serial)],
        [Column("speed", "AX1", "velocity")],
        uri=bench.can_uri,
        bitrate=1_000_000,
        period_s=0.002,
        open_bus=lambda *address: Overheard(open_can(*address), sent),
    )


def test_a_drive_is_asked_who_it_is_before_anything_is_written_to_it(bench: Any) -> None:
    sent: list[Frame] = []
    group = _drive(bench, sent)
    for _ in range(2):  # the second time after the wire was lost
        sent.clear()
        group.open()
        asked = [
            next(n for n, frame in enumerate(sent) if _asks_identity(frame, subindex))
            for subindex in (1, 2, 4)
        ]
        group.cycle({})
        group.hush()
        assert max(asked) < min(_writes(sent))


def test_nothing_is_written_to_a_drive_that_was_exchanged_meanwhile(bench: Any) -> None:
    sent: list[Frame] = []
    group = _drive(bench, sent, serial="101")
    group.open()
    group.hush()
    sent.clear()
    bench.host.racks["can0"].nodes["AX1"].objects.put(0x1018, 4, 999)
    with pytest.raises(IdentityMismatch, match="serial number is 999, the bench names 101"):
        group.open()
    assert _writes(sent) == []


class OverheardLine:
    """A serial line that keeps what the master sent."""

    def __init__(self, line: ByteStream, sent: list[bytes]) -> None:
        self._line, self._sent = line, sent

    def write(self, data: bytes) -> None:
        self._sent.append(data)
        self._line.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


def test_a_transducer_is_asked_who_it_is_before_its_values_are_taken(bench: Any) -> None:
    sent: list[bytes] = []
    model = modbus_model("modbus_torque_5nm")
    group = ModbusGroup(
        "rs485",
        [ModbusDevice("TQ1", UNIT, model)],
        [Column("torque", "TQ1", "torque")],
        uri=bench.serial_uri,
        baudrate=115_200,
        period_s=0.01,
        open_stream=lambda *address: OverheardLine(open_serial(*address), sent),
    )
    identity = model.identity_address.to_bytes(2, "big")
    for _ in range(2):
        sent.clear()
        group.open()
        assert sent[0][1:4] == bytes((Function.READ_HOLDING,)) + identity
        assert all(data[1] not in (Function.WRITE_REGISTER, 16) for data in sent)
        group.hush()
    bench.host.lines["rs485"].close()
    with pytest.raises(TransportLost, match="rs485"):
        group.open()
