"""Every protocol obeys its contract."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from test_protocols import PROTOCOLS, get
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.dut import Order
from verification_platform.engine.dry_run import Commanded, answered, dry_run
from verification_platform.engine.evaluation import evaluate_recording
from verification_platform.engine.parameters import parameter_uses, reason
from verification_platform.engine.preflight import preflight
from verification_platform.engine.protocol import Protocol, ProtocolError
from verification_platform.engine.steps import Record, Step, body_of
from verification_platform.engine.wording import describe
from verification_platform.metrology.result import RunStatus
from verification_platform.metrology.units import unit

MARKS = {"C", "K", "V", "P", "customer"}

pytestmark = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))


def steps_of(protocol: Protocol, order: Order, **settings: Any) -> list[Step]:
    return list(answered(protocol, protocol.Parameters(**settings), order.dut))


def records(steps: list[Step]) -> list[Record]:
    found = []
    for step in steps:
        found += [step] if isinstance(step, Record) else []
        found += records(list(body_of(step)))
    return found


def test_it_is_registered_under_its_id(protocol: Protocol) -> None:
    assert re.fullmatch(r"[A-Z]{3}-[A-Z0-9]+", protocol.id)
    assert get(protocol.id) is get(protocol.id.lower()) is protocol


def test_it_speaks_both_languages(protocol: Protocol) -> None:
    for text in (protocol.title, protocol.purpose):
        assert re.search(r"[\u4e00-\u9fff]", text.zh)
        assert re.fullmatch(r"[\x20-\x7e]+", text.en)


def test_standards_carry_their_marks(protocol: Protocol) -> None:
    assert protocol.standards
    for standard in protocol.standards:
        assert standard.mark in MARKS
        assert standard.clause
    assert (sys.modules[protocol.__module__].__doc__ or "").startswith(protocol.id)


def test_every_parameter_has_unit_source_and_reason(protocol: Protocol) -> None:
    for name, field in protocol.Parameters.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["mark"] in MARKS, name
        why = reason(extra)
        assert why.en, name
        assert any("\u4e00" <= sign <= "\u9fff" for sign in why.zh), name
        assert unit(str(extra["display"])).si == unit(str(extra["unit"])).si, name


def test_parameters_are_frozen_and_survive_json(protocol: Protocol) -> None:
    parameters = protocol.Parameters()
    assert protocol.Parameters.model_validate(parameters.model_dump(mode="json")) == parameters
    with pytest.raises(ValueError, match="frozen"):
        setattr(parameters, next(iter(protocol.Parameters.model_fields)), 1)
    assert not any(use.changed for use in parameter_uses(protocol, parameters))


def test_an_unknown_parameter_is_refused(protocol: Protocol) -> None:
    with pytest.raises(ValueError, match="colour"):
        protocol.Parameters(colour="red")


def test_the_procedure_is_deterministic(protocol: Protocol, order: Order) -> None:
    assert steps_of(protocol, order) == steps_of(protocol, order)


def test_the_procedure_leaves_everything_at_rest(protocol: Protocol, order: Order) -> None:
    state = Commanded()
    for step in steps_of(protocol, order):
        state.apply(step)
    assert state.in_force == {}


def test_every_segment_has_a_tag_of_its_own(protocol: Protocol, order: Order) -> None:
    tags = [tuple(sorted(record.tag.items())) for record in records(steps_of(protocol, order))]
    assert tags
    assert len(set(tags)) == len(tags)


def test_every_step_can_be_said(protocol: Protocol, order: Order) -> None:
    for step in steps_of(protocol, order):
        assert describe(step).zh
        assert describe(step).en


def test_the_defaults_pass_the_preflight(protocol: Protocol, order: Order, bench: BenchDescription) -> None:
    assert (
        preflight(
            protocol, protocol.Parameters(), order, bench, bench.channel["input_angle"].calibration.date
        ).refusals
        == ()
    )  # type: ignore[union-attr]


def test_only_required_actuators_move_unless_a_parameter_asks(protocol: Protocol, order: Order) -> None:
    settings = {"loads": [0.0]} if "loads" in protocol.Parameters.model_fields else {}
    plan = dry_run(steps_of(protocol, order, **settings), order.dut)
    assert {sent.role for sent in plan.sent} <= set(protocol.requires.actuators)


def test_a_recording_without_its_segments_is_invalid_and_has_no_results(
    protocol: Protocol, order: Order, recording: Any
) -> None:
    found = evaluate_recording(protocol, recording, protocol.Parameters(), order)
    assert found.status is RunStatus.INVALID
    assert found.results == ()
    assert protocol.id in found.findings[0].en


def test_a_recording_without_a_required_channel_names_it(
    protocol: Protocol, order: Order, recording: Any
) -> None:
    missing = protocol.requires.calibrated[0]
    recording.channels = {name: record for name, record in recording.channels.items() if name != missing}
    found = evaluate_recording(protocol, recording, protocol.Parameters(), order)
    assert found.status is RunStatus.INVALID
    assert repr(missing) in found.findings[0].en


def test_near_misses_are_proposed(protocol: Protocol) -> None:
    with pytest.raises(ProtocolError, match=f"did you mean .*{protocol.id}"):
        get(protocol.id + "X")
