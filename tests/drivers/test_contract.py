"""Every driver obeys the contract of its capabilities, and says so in the types that plans ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.bus.serial_stream import latency_warning
from drivers.canopen.drive import Cia402Drive
from drivers.canopen.encoder import Cia406Encoder
from drivers.canopen.model import load_model as canopen_model
from drivers.device import Actuator, DeviceState, DriverError, Identify, ReadSignals
from drivers.modbus.device import ModbusDevice
from drivers.modbus.model import load_model as modbus_model
from drivers.realtime import AwakeClock

DRIVE = Cia402Drive("AX1", 1, canopen_model("cia402_servo_ax1"))
ENCODER = Cia406Encoder("EN2", 3, canopen_model("cia406_encoder_27bit"))
SENSOR = ModbusDevice("TQ1", 1, modbus_model("modbus_torque_5nm"))


@pytest.mark.parametrize("device", [DRIVE, ENCODER, SENSOR], ids=lambda d: d.name)
def test_everything_on_a_wire_says_who_it_is_and_reads(device: object) -> None:
    assert isinstance(device, Identify)
    assert isinstance(device, ReadSignals)
    assert all(signal.resolution > 0 for signal in device.signals)


def test_only_a_drive_moves() -> None:
    assert isinstance(DRIVE, Actuator)
    assert not isinstance(ENCODER, Actuator)
    assert not isinstance(SENSOR, Actuator)
    assert DRIVE.state is DeviceState.LOST, "nothing is known before it was opened"


@pytest.mark.parametrize("device", [DRIVE, ENCODER, SENSOR], ids=lambda d: d.name)
def test_without_a_bus_it_says_so(device: Identify) -> None:
    with pytest.raises(DriverError, match="not open"):
        device.identify()


@pytest.mark.parametrize("address", [0, 127, 300])
def test_impossible_addresses_are_refused(address: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Cia406Encoder("EN2", address, canopen_model("cia406_encoder_27bit"))
    with pytest.raises(ValueError, match="outside"):
        ModbusDevice("TQ1", address if address != 127 else 248, modbus_model("modbus_torque_5nm"))


def test_a_slow_usb_adapter_is_told_with_its_cure(tmp_path: Path) -> None:
    timer = tmp_path / "ttyUSB0" / "device" / "latency_timer"
    timer.parent.mkdir(parents=True)
    timer.write_text("16\n")
    assert "16 ms" in str(latency_warning("/dev/ttyUSB0", tmp_path))
    assert str(timer) in str(latency_warning("/dev/ttyUSB0", tmp_path))
    timer.write_text("1\n")
    assert latency_warning("/dev/ttyUSB0", tmp_path) is None
    assert latency_warning("/dev/ttyACM0", tmp_path) is None


def test_the_awake_clock_does_not_count_what_was_slept_through() -> None:
    clock = AwakeClock(longest_gap_s=0.01, now_s=100.0)
    for n in range(1, 11):
        clock.tick(100.0 + 0.002 * n)
    assert clock.time_s == pytest.approx(0.02)
    clock.tick(105.0)
    assert clock.time_s == pytest.approx(0.03)
