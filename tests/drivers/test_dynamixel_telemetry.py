"""The block that is read every cycle, and the clock that tells an old one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.device import MODE_UNITS, ProtocolViolation
from drivers.dynamixel.model import DynamixelModel, known_models, load_model, model_by_number
from drivers.dynamixel.telemetry import TOLERANCE_MS, BlockLayout, DeviceClock


def ticks(time_s: float, rate: float = 1.0) -> int:
    return int(time_s * 1000.0 * rate) % 32768


@pytest.mark.parametrize("rate", [0.985, 1.0, 1.015])
def test_samples_in_time_pass_whatever_the_crystal(rate: float) -> None:
    clock = DeviceClock()
    for n in range(10_000):
        t = 5.0 + 0.01 * n
        clock.check("DX1", ticks(t, rate), t)


@pytest.mark.parametrize("period_s", [0.005, 0.01, 0.1])
def test_the_sample_of_an_earlier_cycle_is_refused(period_s: float) -> None:
    clock = DeviceClock()
    for n in range(100):
        clock.check("DX1", ticks(n * period_s), n * period_s)
    with pytest.raises(ProtocolViolation, match="too old"):
        clock.check("DX1", ticks(99 * period_s), 100 * period_s)


def test_an_answer_that_was_held_up_on_its_way_to_the_device_is_no_reason_for_doubt() -> None:
    clock = DeviceClock()
    for n in range(1000):
        t = 0.01 * n
        held_s = 0.02 if n % 7 == 3 else 0.0
        clock.check("DX1", ticks(t + held_s), t)


def test_a_clock_that_begins_anew_is_refused() -> None:
    clock = DeviceClock()
    clock.check("DX1", 20_000, 100.0)
    with pytest.raises(ProtocolViolation):
        clock.check("DX1", 5, 100.01)
    clock.restart()
    clock.check("DX1", 15, 100.02)


@settings(deadline=None)
@given(st.floats(0.0, 1e6), st.floats(TOLERANCE_MS + 2.0, 16_000.0))
def test_any_age_beyond_the_tolerance_is_seen_across_the_end_of_the_count(
    start_s: float, age_ms: float
) -> None:
    clock = DeviceClock()
    clock.check("DX1", ticks(start_s), start_s)
    asked_s = start_s + 0.001 * age_ms
    late = 1000.0 * 0.02 * (asked_s - start_s)  # what clocks may run apart meanwhile
    if age_ms > TOLERANCE_MS + late + 2.0:
        with pytest.raises(ProtocolViolation):
            clock.check("DX1", ticks(start_s), asked_s)


@pytest.fixture(params=known_models())
def model(request: pytest.FixtureRequest) -> DynamixelModel:
    return load_model(request.param)


def test_the_block_carries_state_and_present_values(model: DynamixelModel) -> None:
    layout = BlockLayout(model)
    registers = model.registers
    data = b"".join(
        registers[name].pack(value)
        for name, value in (
            ("realtime_tick", 32767),
            ("torque_enable", 1),
            ("hardware_error", 0x20),
            ("bus_watchdog", -1),
            ("present_current", -100),
            ("present_velocity", 50),
            ("present_position", -4096),
        )
    )
    digits = layout.unpack(data)
    values: dict[str, float] = {}
    layout.values(digits, values)
    assert digits[:4] == (32767, 1, 0x20, -1)
    assert values["position"] == -4096 * model.readings["position"].digit
    assert values["torque"] == -100 * model.readings["torque"].digit
    assert "temperature" not in values
    assert len(layout.pointers) == 2 * layout.size
    assert BlockLayout(model, ("temperature", "voltage")).size == layout.size + 3, "for three models alike"


def test_a_model_is_complete_and_found_by_its_number(model: DynamixelModel) -> None:
    assert model_by_number(model.number) is model
    assert model_by_number(9999) is None
    for mode, target in model.targets.items():
        assert model.readings[mode.value].unit == MODE_UNITS[mode]
        assert target.digit == model.readings[mode.value].digit
        assert model.limits[mode] > 0
        target.register.pack(round(model.limits[mode] / target.digit))
    assert model.error_text(0x24) == "overheated, overload"
    for register in (
        "return_delay",
        "operating_mode",
        "bus_watchdog",
        "torque_enable",
        "status_return_level",
    ):
        assert model.registers[register].writable


def test_an_unknown_model() -> None:
    with pytest.raises(KeyError):
        load_model("dynamixel_no_such")
