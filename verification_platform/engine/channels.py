"""From the bench description to what a recording knows of its channels and of the bench's own influence."""

from __future__ import annotations

from collections.abc import Mapping

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.simulated import resolution
from verification_platform.metrology.records import ChannelRecord, FixtureRecord


def channel_records(
    bench: BenchDescription, resolutions: Mapping[str, float] | None = None
) -> dict[str, ChannelRecord]:
    """One record a channel. `resolutions` (one digit, SI) as the open devices state them; else from their
    models."""
    records = {}
    for name, channel in bench.channel.items():
        calibration = channel.calibration
        digit = (resolutions or {}).get(name)
        record = ChannelRecord(
            name,
            channel.unit,
            rate_hz=1 / bench.bus[bench.device[channel.device].bus].cycle,
            sensor=channel.sensor,
            resolution=resolution(bench, name) if digit is None else digit,
            range=channel.range,
        )
        if calibration is not None:
            record = ChannelRecord(
                name,
                record.unit,
                record.rate_hz,
                record.sensor,
                record.resolution,
                record.range,
                calibration.certificate,
                calibration.laboratory,
                calibration.date,
                calibration.due,
                calibration.U,
                calibration.U_relative,
                calibration.k,
            )
        records[name] = record
    return records


def fixture_record(bench: BenchDescription) -> FixtureRecord:
    """What the bench adds to a measurement."""
    return FixtureRecord(**bench.fixture.model_dump())


def groups(bench: BenchDescription) -> dict[str, tuple[str, ...]]:
    """Columns of the rows of every bus that carries channels."""
    return {name: tuple(channels) for name in bench.bus if (channels := bench.channels_on(name))}
