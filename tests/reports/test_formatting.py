"""Numbers as printed: U to two significant digits, the value to the same place."""

from __future__ import annotations

import dataclasses
import math

import pytest

from reports import formatting as fmt
from reports import statements, texts
from verification_platform.metrology.result import LimitType, Result, Verdict
from verification_platform.metrology.units import ARCMIN, ARCSEC


def made(value: float, U: float, unit: str, display: str = "") -> Result:
    return Result("X", value, unit, U / 2, math.inf, 2.0, U, 3, display_unit=display)


@pytest.mark.parametrize(
    ("value", "U", "unit", "display", "shown"),
    [
        (62.437 * ARCSEC, 1.44 * ARCSEC, "rad", "arcsec", ("62.4", "1.4", "″")),
        (0.44649 * ARCMIN, 0.0221 * ARCMIN, "rad", "arcmin", ("0.446", "0.022", "′")),
        (31023.4, 412.0, "N·m/rad", "", ("31\u2009020", "410", "N⋅m/rad")),
        (9876.0, 96.0, "N·m/rad", "", ("9876", "96", "N⋅m/rad")),
        (0.1008, 0.0026, "N·m", "mN·m", ("100.8", "2.6", "mN⋅m")),
        (-3.14159, 0.0996, "N·m", "", ("−3.14", "0.10", "N⋅m")),
        (1.9e-4, 6e-6, "N·m·s/rad", "", ("1.900×10^−4", "0.060×10^−4", "N⋅m⋅s/rad")),
        (296.17, 0.32, "K", "°C", ("23.02", "0.32", "°C")),  # the offset moves the value, not its U
        (5.0, 0.0, "N·m", "", ("5", "–", "N⋅m")),  # without U no place to round to
        (0.93, 0.01, "1", "%", ("93.0", "1.0", "%")),
    ],
)
def test_value_is_rounded_to_the_place_of_U(
    value: float, U: float, unit: str, display: str, shown: tuple[str, str, str]
) -> None:
    found = fmt.show(made(value, U, unit, display))
    assert (found.value, found.U, found.unit) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.2, 2, "0.20"), (0.0996, 2, "0.10"), (14.3, 2, "14"), (168.0, 3, "168"), (99999.0, 2, "1.0×10^5"),
        (0.00104, 3, "0.00104"), (3.4e-7, 3, "3.40×10^−7"), (31023.0, 3, "31\u2009000"), (0.0, 2, "0"), (math.inf, 2, "–"),
    ],
)  # fmt: skip
def test_significant_digits_keep_their_zeros(value: float, digits: int, shown: str) -> None:
    assert fmt.significant(value, digits) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (1.0, "> 99.99 %"),
        (0.99995, "> 99.99 %"),
        (0.5, "50.00 %"),
        (0.66263, "66.26 %"),
        (0.0, "< 0.01 %"),
        (None, "–"),
    ],
)
def test_a_probability_is_never_rounded_to_certainty(p: float | None, shown: str) -> None:
    assert fmt.probability(p) == shown


def test_limits_are_printed_in_the_display_unit() -> None:
    result = made(40 * ARCSEC, 1 * ARCSEC, "rad", "arcsec")
    upper = dataclasses.replace(result, limit_type=LimitType.MAX, TL_high=1.5 * ARCMIN)
    both = dataclasses.replace(
        result, limit_type=LimitType.TWO_SIDED, TL_low=-10 * ARCSEC, TL_high=10 * ARCSEC
    )
    lower = dataclasses.replace(
        result, unit="N·m/rad", display_unit="", limit_type=LimitType.MIN, TL_low=25000.0
    )
    assert [fmt.limit(r) for r in (upper, both, lower, result)] == ["≤ 90", "−10 … 10", "≥ 25\u2009000", "–"]


def test_every_verdict_has_words_and_its_own_tone() -> None:
    assert {v.name: (t.zh, t.en) for v, t in statements.VERDICTS.items()} == {
        "PASS": ("合格", "Pass"),
        "CONDITIONAL_PASS": ("有条件合格", "Conditional pass"),
        "INCONCLUSIVE": ("无法判定", "Inconclusive"),
        "CONDITIONAL_FAIL": ("有条件不合格", "Conditional fail"),
        "FAIL": ("不合格", "Fail"),
        "NONE": ("仅报告", "Report only"),
    }
    assert set(statements.TONES) == set(statements.SENTENCES) == set(Verdict)
    assert len(set(statements.TONES.values())) == len(Verdict)


def test_symbols_and_names() -> None:
    assert texts.symbol("LM_mid") == texts.Symbol("LM", "mid")
    assert texts.symbol("A_200") == texts.Symbol("A", "200")
    assert texts.symbol("phi_max").base == "φ"
    assert texts.quantity_name("A_200") == texts.QUANTITIES["A"]
    assert texts.quantity_name("K_1") == texts.QUANTITIES["K_1"]
    assert texts.quantity_name("nobody_knows") is None


def test_conditions_read_as_words() -> None:
    assert texts.condition("load", 0.5).en == "load 50 % T_N"
    assert texts.condition("direction", -1).zh == "反向 (−)"
    assert texts.condition("speed", 209.43951023931953).en == "speed 2000 r/min"
    assert texts.condition("unknown_key", 1.5).en == "unknown key 1.5"
