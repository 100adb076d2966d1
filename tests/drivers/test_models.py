"""Every model table obeys the contract that drivers and emulators rely on."""

from __future__ import annotations

import math
import tomllib

import pytest

from drivers.canopen import model as canopen
from drivers.device import MODE_UNITS, Mode
from drivers.families import models
from drivers.modbus import model as modbus
from drivers.modbus.actuation import read_actuation
from verification_platform.bench.description import signal_unit


@pytest.mark.parametrize("name", sorted(models()))
def test_every_table_of_every_family_offers_signals_a_bench_can_name(name: str) -> None:
    info = models()[name].describe(name)
    assert info.title
    for signal in info.signals:
        assert signal.unit == signal_unit(signal.name)
        assert signal.resolution >= 0


@pytest.mark.parametrize("name", canopen.known_models())
def test_canopen_table(name: str) -> None:
    model = canopen.load_model(name)
    for signal in model.offered():
        assert (
            signal.resolution == 1
            if model.signals[signal.name].bit is not None
            else 0 < signal.resolution < 1
        )
        tpdos = model.reading([signal.name]).tpdos
        assert any(model.signals[signal.name].object.name in names for names in tpdos), (
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
        assert signal.resolution > 0
    assert model.slowest_s > model.timeout_s > model.turnaround_s > 0
    assert model.period_s == 0 or model.max_age_s >= model.period_s


@pytest.mark.parametrize("name", [n for n in modbus.known_models() if modbus.load_model(n).actuation])
def test_modbus_table_of_what_gives_torque(name: str) -> None:
    model = modbus.load_model(name)
    table = model.actuation
    assert table is not None
    assert model.period_s == 0, "every cycle carries a set-point"
    assert model.slowest_s <= 0.04, "one lost answer must not cost a usual watchdog of 120 ms"
    assert set(table.targets) - {Mode.POSITION} <= set(table.limits), "every torque and speed has a limit"
    assert table.watchdog.fault in table.fault_texts
    assert table.steps[-1].until == table.enabled
    assert not table.enabled.shown_by(table.ready.value)
    for mode, target in table.targets.items():
        for sign in (1.0,) if table.unipolar else (1.0, -1.0):
            target.number.pack(sign * table.limits.get(mode, 1.0) / target.scale)


def test_a_modbus_table_that_cannot_work_is_refused() -> None:
    text = (modbus._MODELS / "modbus_servo_3kw.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    for section, key, value, words in (
        ("control", "function", 6, "does not write 4 registers"),
        ("control", "function", 3, "does not write 4 registers"),
        ("control", "count", 3, "outside the control block"),
        ("control", "steps", [], "no step leads to torque"),
        ("watchdog", None, None, "has a .watchdog."),
    ):
        wrong = {name: dict(part) if isinstance(part, dict) else part for name, part in table.items()}
        if key is None:
            del wrong[section]
        else:
            wrong[section][key] = value
        with pytest.raises(ValueError, match=words):
            read_actuation("x", wrong)


def test_resolution_of_the_angles() -> None:
    ax1, en2 = canopen.load_model("cia402_servo_ax1"), canopen.load_model("cia406_encoder_27bit")
    assert ax1.signals["position"].digit == 2 * math.pi / 2**23
    assert en2.signals["position"].digit == 2 * math.pi / 2**27
    assert ax1.targets[Mode.TORQUE].digit == pytest.approx(4.0 / 1000)


def test_unknown_model() -> None:
    for family in (canopen, modbus):
        with pytest.raises(KeyError):
            family.load_model("no_such_model")


def test_no_two_modbus_tables_claim_the_same_device() -> None:
    """A scan tells models apart by where their number stands and what it is."""
    tables = [modbus.load_model(name) for name in modbus.known_models()]
    claimed = {(table.identity_address, table.model_number) for table in tables}
    assert len(claimed) == len(tables)
