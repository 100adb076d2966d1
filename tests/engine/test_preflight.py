"""Before anything moves: one clear line for everything that speaks against the run."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from drivers.device import Mode
from test_protocols import get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.engine.preflight import preflight
from verification_platform.engine.protocol import ProtocolError
from verification_platform.engine.steps import Set

DAY = dt.date(2026, 11, 23)


def without(bench: BenchDescription, table: str, name: str) -> BenchDescription:
    left = {key: value for key, value in getattr(bench, table).items() if key != name}
    return bench.model_copy(update={table: left})


def changed(bench: BenchDescription, channel: str, **update: Any) -> BenchDescription:
    record = bench.channel[channel]
    assert record.calibration is not None
    new = record.model_copy(update={"calibration": record.calibration.model_copy(update=update)})
    return bench.model_copy(update={"channel": {**bench.channel, channel: new}})


def refusals(
    protocol_id: str, order: Order, bench: BenchDescription, on: dt.date = DAY, **settings: Any
) -> tuple[str, ...]:
    protocol = get(protocol_id)
    return preflight(protocol, protocol.Parameters(**settings), order, bench, on).refusals


@pytest.mark.parametrize("protocol_id", ["RED-TE", "RED-HYS", "RED-NL"])
def test_the_full_defaults_pass_on_the_emulated_bench(
    protocol_id: str, order: Order, bench_description: BenchDescription
) -> None:
    protocol = get(protocol_id)
    found = preflight(protocol, protocol.Parameters(), order, bench_description, DAY)
    assert found.refusals == ()
    assert found.duration_s > 600
    found.require()


def test_a_missing_actuator_names_role_and_bench(order: Order, bench_description: BenchDescription) -> None:
    (line,) = refusals("RED-HYS", order, without(bench_description, "actuator", "load"))
    assert line == (
        "RED-HYS needs actuator 'load', which bench PB-E1 does not have; add [actuator.load] to its description"
    )


def test_a_missing_channel_names_role_and_bench(order: Order, bench_description: BenchDescription) -> None:
    (line,) = refusals("RED-NL", order, without(bench_description, "channel", "input_torque"))
    assert "channel 'input_torque'" in line
    assert "PB-E1" in line


def test_a_drive_that_cannot_lock_its_shaft_is_refused(
    order: Order, bench_description: BenchDescription
) -> None:
    drive = bench_description.actuator["drive"].model_copy(update={"holds_position": False})
    bench = bench_description.model_copy(update={"actuator": {**bench_description.actuator, "drive": drive}})
    (line,) = refusals("RED-HYS", order, bench)
    assert "lock its shaft" in line
    assert refusals("RED-TE", order, bench) == ()


def test_an_expired_calibration_names_channel_and_due_date(
    order: Order, bench_description: BenchDescription
) -> None:
    (line,) = refusals(
        "RED-HYS", order, changed(bench_description, "output_torque", due=dt.date(2026, 11, 22))
    )
    assert "output_torque expired on 2026-11-22" in line
    assert "EMU-2026-0414" in line
    # on its due date it still holds, and other protocols do not mind
    on_the_day = changed(bench_description, "output_torque", due=DAY)
    assert refusals("RED-HYS", order, on_the_day) == ()
    assert (
        refusals("RED-TE", order, changed(bench_description, "output_torque", due=dt.date(2026, 1, 1))) == ()
    )


def test_a_calibration_from_the_future_is_refused(order: Order, bench_description: BenchDescription) -> None:
    (line,) = refusals("RED-TE", order, changed(bench_description, "output_angle", date=dt.date(2027, 1, 1)))
    assert "dated 2027-01-01, after today" in line


def test_a_channel_without_calibration_is_refused_where_its_uncertainty_counts(
    order: Order, bench_description: BenchDescription
) -> None:
    record = bench_description.channel["output_angle"].model_copy(update={"calibration": None})
    bench = bench_description.model_copy(
        update={"channel": {**bench_description.channel, "output_angle": record}}
    )
    (line,) = refusals("RED-TE", order, bench)
    assert "output_angle has no calibration record" in line
    assert refusals("RED-NL", order, bench) == ()


def test_a_set_point_beyond_the_envelope_is_found_dry(
    order: Order, bench_description: BenchDescription
) -> None:
    lines = refusals("RED-TE", order, bench_description, loads=[1.5])
    assert lines == ("step 0: load: torque 150 N·m is beyond ±140 N·m of the DUT (T_max) — ask for less",)


def test_undersampling_is_refused_before_the_run(order: Order, bench_description: BenchDescription) -> None:
    (line,) = refusals("RED-TE", order, bench_description, output_speed="6 r/min")
    assert line.startswith("undersampled for order 400")
    assert "3.75 r/min" in line
    (line,) = refusals("RED-TE", order, bench_description, mode="static", static_positions=360)
    assert line.startswith("undersampled for order 400: 360 static positions")


def test_too_few_points_in_a_quarter_of_the_loop_are_refused(
    order: Order, bench_description: BenchDescription
) -> None:
    lines = refusals("RED-HYS", order, bench_description, rate="60 %/s", small_rate="4 %/s")
    assert [line.split(":")[0] for line in lines] == ["rate", "small_rate"]


def test_a_torque_range_that_is_hardly_used_is_remarked(
    order: Order, bench_description: BenchDescription
) -> None:
    torque = bench_description.channel["output_torque"].model_copy(update={"range": 1000.0})
    bench = bench_description.model_copy(
        update={"channel": {**bench_description.channel, "output_torque": torque}}
    )
    protocol = get("RED-HYS")
    (remark,) = preflight(protocol, protocol.Parameters(), order, bench, DAY).remarks
    assert "10% of the range of TQ2" in remark.en


def test_refusals_are_raised_as_one_line(rig: Any) -> None:
    rig.protocol.steps = [Set("drive", Mode.VELOCITY, 1e4, 50.0), Set("winch", Mode.TORQUE, 1.0, 1.0)]
    found = preflight(rig.protocol, rig.parameters, rig.order, rig.bench_description, DAY)
    assert len(found.refusals) == 2
    with pytest.raises(ProtocolError, match=r"beyond.*\(and 1 more\)"):
        found.require()
