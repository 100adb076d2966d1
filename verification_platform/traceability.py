"""What files state of a channel's calibration and of the fixture: the same tables in ``bench.toml`` and in the mapping
file of an import, and the records that evaluation reads them as."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from verification_platform.metrology.records import ChannelRecord, FixtureRecord
from verification_platform.metrology.units import parse
from verification_platform.tables import Angle, Compliance, Duration, Ratio, Table, Torque, Viscous


class Calibration(Table):
    """U (k) of the channel: an absolute part in the channel's unit and a part relative to the reading."""

    certificate: str
    laboratory: str
    date: dt.date
    due: dt.date
    U: float = 0.0
    U_relative: Ratio = 0.0
    k: float = Field(2.0, gt=0)


class Fixture(Table):
    """What the bench itself adds, measured with a dummy, and how well that is known (U with k = 2)."""

    compliance: Compliance = 0.0
    compliance_U: Compliance = 0.0
    drag_coulomb: Torque = 0.0
    drag_viscous: Viscous = 0.0
    drag_U: Torque = 0.0
    sync_skew_U: Duration = 0.0
    mounting_U: Angle = 0.0

    def record(self) -> FixtureRecord:
        """The same as a recording keeps it."""
        return FixtureRecord(**self.model_dump())


def channel_to_si(table: Mapping[str, Any], si: str) -> dict[str, Any]:
    """The table of a channel whose unit is `si`, with its quantities in SI. Raises UnitError.

    `range` is a reading, `resolution` and `calibration.U` are widths.
    """
    found = dict(table)
    if found.get("range") is not None:
        found["range"] = parse(found["range"], si)
    if "resolution" in found:
        found["resolution"] = _width(found["resolution"], si)
    calibration = found.get("calibration")
    if isinstance(calibration, dict) and "U" in calibration:
        found["calibration"] = {**calibration, "U": _width(calibration["U"], si)}
    return found


def _width(text: Any, si: str) -> float:
    """0.3 °C of uncertainty is 0.3 K: the scale's offset must not be added."""
    value = parse(text, si)
    if si == "K" and isinstance(text, str) and text.strip().endswith("C"):
        value -= parse("0 °C", "K")
    return value


def channel_record(
    name: str,
    unit: str,
    rate_hz: float,
    *,
    sensor: str,
    resolution: float,
    range: float | None,
    calibration: Calibration | None,
) -> ChannelRecord:
    """What a recording knows of a channel; all in SI."""
    plain = ChannelRecord(name, unit, rate_hz, sensor, resolution, range)
    if calibration is None:
        return plain
    return replace(
        plain,
        certificate=calibration.certificate,
        laboratory=calibration.laboratory,
        calibrated=calibration.date,
        due=calibration.due,
        U=calibration.U,
        U_relative=calibration.U_relative,
        k=calibration.k,
    )
