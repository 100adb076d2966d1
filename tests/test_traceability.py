"""What a bench and an import say of a channel is read by the same rules."""

from __future__ import annotations

from typing import Any

import pytest

from verification_platform.bench.description import Channel
from verification_platform.records.mapping import ChannelMapping

CALIBRATION = {
    "certificate": "T-1", "laboratory": "L", "date": "2026-06-01", "due": "2027-06-01",
    "U": "0.3 °C", "U_relative": "0.1 %",
}  # fmt: skip


def bench(table: dict[str, Any]) -> Channel:
    return Channel.model_validate({"device": "TMP", "signal": "temperature", **table})


def imported(table: dict[str, Any]) -> ChannelMapping:
    return ChannelMapping.model_validate({"column": "T", "unit": "°C", **table})


@pytest.mark.parametrize("read", [bench, imported])
def test_an_uncertainty_is_a_width_and_a_range_a_reading(read: Any) -> None:
    channel = read({"range": "150 °C", "calibration": CALIBRATION})
    assert channel.range == pytest.approx(423.15)
    stated = channel.calibration.U
    assert stated == pytest.approx(0.3)
    assert channel.calibration.U_relative == pytest.approx(0.001)


def test_a_resolution_is_a_width() -> None:
    assert imported({"resolution": "0.1 °C"}).resolution == pytest.approx(0.1)


@pytest.mark.parametrize("read", [bench, imported])
def test_an_unknown_entry_is_named_beside_the_known_ones(read: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown entry 'calibrated'; known are .*calibration"):
        read({"calibrated": True})
