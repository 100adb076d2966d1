"""`--set`: values as a person writes them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from test_protocols import get
from verification_platform.cli.errors import CommandError
from verification_platform.cli.parameters import parse_settings, protocol_parameters


def _set(protocol: str, *settings: str) -> Any:
    return protocol_parameters(get(protocol), parse_settings(settings))


@pytest.mark.parametrize("text", ["0, 0.5", "[0, 0.5]", "0,50 %"])
def test_several_values(text: str) -> None:
    assert _set("RED-TE", f"loads={text}").loads == (0.0, 0.5)


def test_one_value_where_several_are_possible() -> None:
    assert _set("RED-TE", "loads=0").loads == (0.0,)
    (speed,) = _set("RED-NL", "speeds=1000 r/min").speeds
    assert speed == pytest.approx(1000 * math.tau / 60)


@pytest.mark.parametrize("text", ["no", "false"])
def test_a_switch(text: str) -> None:
    assert _set("RED-NL", f"uncouple_output={text}").uncouple_output is False


def test_several_values_where_one_is_possible() -> None:
    with pytest.raises(CommandError, match="repeats"):
        _set("RED-TE", "repeats=1, 2")
