"""SCPI text and blocks: numbers, blocks of definite length, error queue, headers in both forms."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.scpi.codec import (
    ScpiError,
    block,
    block_bytes,
    header_matches,
    nr3,
    pack_block,
    parse_error,
    parse_identity,
    parse_number,
    parse_values,
    same_setting,
)
from drivers.scpi.model import known_models, load_model

_FINITE = st.floats(min_value=-(2.0**99), max_value=2.0**99, allow_nan=False, width=32)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1.0),
        (b"-0.25", -0.25),
        (b"+1.25E+01", 12.5),
        (b" .5e-3 ", 5e-4),
        (b"9.9E37", math.inf),
        (b"-9.9E37", -math.inf),
    ],
)
def test_numbers_of_every_form(text: bytes, value: float) -> None:
    assert parse_number(text) == value


def test_what_scpi_calls_not_a_number_is_none() -> None:
    assert math.isnan(parse_number(b"9.91E37"))
    assert math.isnan(parse_values(pack_block([math.nan], "block_float32"), "block_float32")[0])


@pytest.mark.parametrize(
    "text", [b"", b"nan", b"inf", b"1_000", b"0x10", b"1.2.3", b"--1", b"1e", b"1 2", b"12V", b"\xb2"]
)
def test_what_python_would_read_but_is_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="is no number"):
        parse_number(text)


@given(st.lists(_FINITE, min_size=1, max_size=40))
def test_numbers_survive_as_text(values: list[float]) -> None:
    text = ",".join(nr3(value, 9) for value in values).encode()
    assert parse_values(text, "ascii") == pytest.approx(values, rel=1e-9)


@given(st.lists(_FINITE, min_size=1, max_size=40), st.sampled_from(["block_float32", "block_float64"]))
def test_numbers_survive_as_a_block(values: list[float], form: str) -> None:
    data = pack_block(values, form)
    assert block_bytes(data) == len(data)
    assert parse_values(data, form) == values


@given(st.binary(max_size=1200))
def test_the_length_of_a_block_is_known_from_its_head(data: bytes) -> None:
    whole = block(data)
    assert block_bytes(whole[:12]) == len(whole)
    assert block_bytes(whole[:1]) is None


def test_a_block_as_the_standard_prints_it() -> None:
    assert block(b"0123456789") == b"#2100123456789"
    assert parse_values(b"#14" + struct.pack(">f", 1.5) + b";3", "block_float32") == [1.5, 3.0]


@pytest.mark.parametrize("head", [b"#0abc", b"#:12", b"#2a1", b"x12"])
def test_a_broken_head_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError):
        block_bytes(head)


@pytest.mark.parametrize("answer", [b"#15abcde", b"#14abc", b"#13abc"])
def test_a_block_that_is_no_floats_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError):
        parse_values(answer, "block_float32")


@given(st.binary(max_size=60), st.sampled_from(["ascii", "block_float32"]))
def test_garbage_is_refused_or_is_numbers_and_never_anything_else(data: bytes, form: str) -> None:
    try:
        values = parse_values(data, form)
    except ValueError:
        return
    assert all(isinstance(value, float) for value in values)


def test_the_error_queue() -> None:
    assert parse_error('0,"No error"') == ScpiError(0, "No error")
    assert parse_error('-222,"Data out of range; say ""MAX"""') == ScpiError(
        -222, 'Data out of range; say "MAX"'
    )
    with pytest.raises(ValueError):
        parse_error("No error")


def test_identity() -> None:
    found = parse_identity("YOKOGAWA,WT5000,C3UJ01,F2.01")
    assert (found.manufacturer, found.model, found.serial, found.firmware) == (
        "YOKOGAWA",
        "WT5000",
        "C3UJ01",
        "F2.01",
    )
    for wrong in ("", "1.5,2.5", ",,,", "A,B,C"):
        with pytest.raises(ValueError):
            parse_identity(wrong)


def test_headers_in_short_and_long_form_and_no_other() -> None:
    for header in (":INPUT:VOLTAGE:RANGE?", "inp:volt:rang?", "INPut:VOLT:RANGE?"):
        assert header_matches(":INPut:VOLTage:RANGe?", header)
    for header in ("INP:VOLTA:RANG?", "INP:VOLT?", "INP:VOLT:RANG", ""):
        assert not header_matches(":INPut:VOLTage:RANGe?", header)


def test_settings_are_compared_as_numbers_or_words() -> None:
    assert same_setting("0.05", "5.00000E-02")
    assert same_setting("ASCii", "ASC")
    assert same_setting("OFF", '"off"')
    assert not same_setting("0.05", "0.1")
    assert not same_setting("ASCii", "FLO")
    assert not same_setting("60", "")


@pytest.mark.parametrize("name", known_models())
def test_scpi_table(name: str) -> None:
    model = load_model(name)
    units = {
        "voltage": "V",
        "current": "A",
        "power": "W",
        "power_factor": "1",
        "frequency": "Hz",
        "efficiency": "1",
    }
    for signal in model.offered():
        assert signal.unit == units[signal.name.rstrip("_0123456789")]
        assert 0 < signal.resolution < 0.1
    assert model.max_age_s >= 2 * max(model.period_s, model.update_s), "one answer may fail"
    assert model.timeout_s > model.turnaround_s > 0
    assert len({q.field for q in model.quantities.values()}) == len(model.quantities)
    for setting in model.settings:
        assert setting.value in setting.allowed
    for quantity in model.quantities.values():
        assert set(quantity.ratio_of or ()) <= set(model.quantities)


def test_an_unknown_model_has_no_table() -> None:
    with pytest.raises(KeyError):
        load_model("no_such_model")
