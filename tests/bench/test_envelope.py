"""The safety envelope refuses, with one clear line, and never changes a set-point."""

from __future__ import annotations

import math

import pytest

from drivers.device import CommandRefused, Mode, Setpoint
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.bench.envelope import EnvelopeError, SafetyEnvelope
from verification_platform.metrology.units import RPM


@pytest.fixture
def envelope(bench: BenchDescription, order: Order) -> SafetyEnvelope:
    return SafetyEnvelope.from_bench(bench, order)


@pytest.mark.parametrize(
    ("role", "setpoint"),
    [
        ("drive", Setpoint(Mode.VELOCITY, 3500 * RPM, 100.0)),
        ("drive", Setpoint(Mode.VELOCITY, -1.05 * 3500 * RPM, 500.0)),
        ("drive", Setpoint(Mode.POSITION, 1e4, 10.0)),
        ("drive", Setpoint(Mode.TORQUE, 1.4, 0.01)),
        ("load", Setpoint(Mode.TORQUE, -140.0, 60.0)),
        ("load", Setpoint(Mode.VELOCITY, 35 * RPM, 5.0)),
        ("load", Setpoint(Mode.POSITION, -2.0, 10 * RPM)),
    ],
)
def test_allows_what_bench_and_dut_allow(envelope: SafetyEnvelope, role: str, setpoint: Setpoint) -> None:
    envelope.check(role, setpoint)


@pytest.mark.parametrize(
    ("role", "setpoint", "says"),
    [
        ("drive", Setpoint(Mode.VELOCITY, 3700 * RPM, 100.0), "DUT"),  # the bench itself would reach 4000
        ("drive", Setpoint(Mode.VELOCITY, -3700 * RPM, 100.0), "DUT"),
        ("drive", Setpoint(Mode.VELOCITY, 10.0, 600.0), "rate of velocity"),
        ("drive", Setpoint(Mode.POSITION, 1.0, 3900 * RPM), "rate of position"),
        ("drive", Setpoint(Mode.TORQUE, 1.5, 0.1), "T_max/i"),  # would be 150 N·m at a locked output
        ("load", Setpoint(Mode.TORQUE, 141.0, 1.0), "DUT"),  # the bench itself would give 150
        ("load", Setpoint(Mode.TORQUE, -141.0, 1.0), "DUT"),
        ("load", Setpoint(Mode.TORQUE, 10.0, 61.0), "rate of torque"),
        ("load", Setpoint(Mode.VELOCITY, 37 * RPM, 1.0), "n_max/i"),
        ("load", Setpoint(Mode.POSITION, 0.0, 11 * RPM), "actuator load"),
        ("load", Setpoint(Mode.TORQUE, math.nan, 1.0), "finite"),
        ("load", Setpoint(Mode.TORQUE, 1.0, math.nan), "rate"),
        ("load", Setpoint(Mode.TORQUE, 1.0, math.inf), "rate"),
        ("load", Setpoint(Mode.TORQUE, 1.0, 0.0), "rate"),
        ("load", Setpoint(Mode.TORQUE, 1.0, -5.0), "rate"),
        ("side", Setpoint(Mode.TORQUE, 1.0, 1.0), "no such actuator"),
    ],
)
def test_refuses_what_either_forbids(
    envelope: SafetyEnvelope, role: str, setpoint: Setpoint, says: str
) -> None:
    with pytest.raises(EnvelopeError, match=says) as caught:
        envelope.check(role, setpoint)
    assert isinstance(caught.value, CommandRefused)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(role)


def test_the_weaker_bench_limits(bench: BenchDescription, order: Order) -> None:
    weak = bench.actuator["load"].model_copy(update={"max_torque": 60.0})
    envelope = SafetyEnvelope.from_bench(
        bench.model_copy(update={"actuator": {**bench.actuator, "load": weak}}), order
    )
    envelope.check("load", Setpoint(Mode.TORQUE, 60.0, 1.0))
    with pytest.raises(EnvelopeError, match="actuator load"):
        envelope.check("load", Setpoint(Mode.TORQUE, 61.0, 1.0))


def test_interlock_is_tightened_by_the_dut(bench: BenchDescription, order: Order) -> None:
    fragile = order.model_copy(update={"dut": order.dut.model_copy(update={"housing_limit": 333.15})})
    limits = {limit.channel: limit for limit in SafetyEnvelope.from_bench(bench, fragile).trip_limits()}
    assert limits["output_torque"].high == pytest.approx(1.05 * 140.0)  # bench: 160
    assert limits["output_torque"].low == pytest.approx(-1.05 * 140.0)
    assert limits["input_speed"].high == pytest.approx(1.05 * 3500 * RPM)  # bench: 4200
    assert limits["housing_temperature"].high == pytest.approx(333.15)  # bench: 75 °C
    assert limits["housing_temperature"].low is None
    assert limits["input_torque"].high == 5.0  # the bench's own stays


def test_interlock_is_never_loosened(bench: BenchDescription, order: Order) -> None:
    strong = order.dut.model_copy(update={"max_torque": 1000.0, "max_speed": 1e4, "housing_limit": 500.0})
    limits = SafetyEnvelope.from_bench(bench, order.model_copy(update={"dut": strong})).trip_limits()
    assert {limit.channel: limit for limit in limits} == {
        limit.channel: limit for limit in bench.interlock.limits
    }


def test_interlock_watches_the_dut_even_where_the_bench_names_no_limit(
    bench: BenchDescription, order: Order
) -> None:
    bare = bench.model_copy(update={"interlock": bench.interlock.model_copy(update={"limits": ()})})
    watched = {limit.channel for limit in SafetyEnvelope.from_bench(bare, order).trip_limits()}
    assert watched == {"output_torque", "input_speed", "housing_temperature"}
