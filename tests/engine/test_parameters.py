"""Parameters as text: in both languages, and from run folders of older versions."""

from __future__ import annotations

from test_protocols import get
from verification_platform.engine.parameters import ParameterUse, deviations, parameter_uses, shown, worded
from verification_platform.engine.protocol import Text


def test_yes_and_no_are_words() -> None:
    assert (shown(True, "1"), shown(False, "")) == ("yes", "no")
    assert (worded("no"), worded("3 r/min")) == (Text("否", "no"), Text("3 r/min", "3 r/min"))


def test_a_switch_that_was_changed_is_told_in_both_languages() -> None:
    protocol = get("RED-NL")
    (told,) = deviations(protocol, protocol.Parameters(uncouple_output=False))
    assert told == Text(
        "参数 uncouple_output：采用 否，缺省值 是", "parameter uncouple_output: no instead of default yes"
    )


def test_uses_survive_the_way_through_a_file() -> None:
    protocol = get("RED-TE")
    for use in parameter_uses(protocol, protocol.Parameters()):
        assert ParameterUse.from_data(use.as_data()) == use


def test_a_run_folder_with_reasons_in_english_alone_is_read() -> None:
    table = {"name": "repeats", "value": "1", "default": "3", "mark": "P", "why": "runs"}
    assert ParameterUse.from_data(table).why == Text("runs", "runs")
