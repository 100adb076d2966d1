"""Every model table obeys the contract that drivers and emulators rely on."""

from __future__ import annotations

import math

import pytest

from drivers.canopen import model as canopen
from drivers.device import MODE_UNITS, Mode
from drivers.modbus import model as modbus

SIGNAL_UNITS = {"position": "rad", "velocity": "rad/s", "torque": "N·m", "temperature": "K"}


@pytest.mark.parametrize("name", canopen.known_models())
def test_canopen_table(name: str) -> None:
    model = canopen.load_model(name)
    for signal in model.offered():
        assert signal.unit == SIGNAL_UNITS[signal.name]
        assert 0 < signal.resolution < 1
        assert any(model.signals[signal.name].object.name in names for names in model.tpdos), (
            "every signal is in a TPDO"
        )
    for mode, target in model.targets.items():
        assert target.unit == MODE_UNITS[mode]
        assert target.object.name in model.rpdos[mode]
        assert model.abort_option != 0, "whatever moves has a watchdog"
        assert math.isfinite(model.max_speed_rad_s)
        assert math.isfinite(model.max_torque)
    for names in (*model.tpdos, *model.rpdos.values()):
        assert model.layout(names).size <= 8
        assert all(model.objects[name].mappable for name in names)
    assert set(model.expect) <= set(model.objects)


@pytest.mark.parametrize("name", modbus.known_models())
def test_modbus_table(name: str) -> None:
    model = modbus.load_model(name)
    for signal in model.offered():
        assert signal.unit == SIGNAL_UNITS[signal.name.rstrip("_0123456789")]
        assert signal.resolution > 0
    assert model.slowest_s > model.timeout_s > model.turnaround_s > 0
    assert model.period_s == 0 or model.max_age_s >= model.period_s


def test_resolution_of_the_angles() -> None:
    ax1, en2 = canopen.load_model("cia402_servo_ax1"), canopen.load_model("cia406_encoder_27bit")
    assert ax1.signals["position"].digit == 2 * math.pi / 2**23
    assert en2.signals["position"].digit == 2 * math.pi / 2**27
    assert ax1.targets[Mode.TORQUE].digit == pytest.approx(4.0 / 1000)


def test_unknown_model() -> None:
    for family in (canopen, modbus):
        with pytest.raises(KeyError):
            family.load_model("no_such_model")
