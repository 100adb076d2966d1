"""From the bench description to what a recording knows of its channels."""

from __future__ import annotations

from collections.abc import Mapping

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.simulated import resolution
from verification_platform.metrology.records import ChannelRecord
from verification_platform.traceability import channel_record


def channel_records(
    bench: BenchDescription, resolutions: Mapping[str, float] | None = None
) -> dict[str, ChannelRecord]:
    """One record a channel. `resolutions` (one digit, SI) as the open devices state them; else from their
    models."""
    stated = resolutions or {}
    return {
        name: channel_record(
            name,
            channel.unit,
            1 / bench.bus[bench.device[channel.device].bus].cycle,
            sensor=channel.sensor,
            resolution=stated[name] if name in stated else resolution(bench, name),
            range=channel.range,
            calibration=channel.calibration,
        )
        for name, channel in bench.channel.items()
    }


def groups(bench: BenchDescription) -> dict[str, tuple[str, ...]]:
    """Columns of the rows of every bus that carries channels."""
    return {name: tuple(channels) for name in bench.bus if (channels := bench.channels_on(name))}
