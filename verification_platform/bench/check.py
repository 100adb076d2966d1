"""Is a bench fit for work, and what must be mended if it is not.

Every bus is opened with the real drivers, every device identified, its own watchdog set and read back, and read for a
second. No torque is switched on. Each thing that was looked at is a `Finding`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.bus.serial_stream import latency_warning
from drivers.device import Block, CycleStatistics, DriverError, Identity, Quality
from drivers.family import Found
from drivers.runner import BusRunner

from .description import BenchDescription
from .devices import devices_on, family, group_for

_READ_S = 1.0
#: Part of the cycles that may be late before results suffer.
_LATE = 0.001


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is in order, what was seen, how to mend it. `value` is in SI, with its `unit`, for a
    channel."""

    item: str
    ok: bool
    seen: str
    mend: str = ""
    value: float | None = None
    unit: str = ""


def check_calibrations(bench: BenchDescription, today: dt.date) -> Iterator[Finding]:
    """A finding for every calibration record (ISO/IEC 17025, 6.4.13)."""
    for name, channel in bench.channel.items():
        record = channel.calibration
        if record is None:
            continue
        ok = record.date <= today <= record.due
        yield Finding(
            f"calibration {name}",
            ok,
            f"{record.certificate}, due {record.due}",
            "" if ok else "recalibrate, or correct the dates in [channel]",
        )


def check_bus(bench: BenchDescription, bus: str) -> Iterator[Finding]:
    """Open one bus, read it for a second, and say what was seen."""
    yield from _adapter(bench, bus)
    blocks: list[Block] = []
    enough = threading.Event()

    def collect(block: Block) -> None:
        blocks.append(block)
        if block.stamps_s[-1] - blocks[0].stamps_s[0] > _READ_S:
            enough.set()

    rows = max(1, round(0.1 / bench.bus[bus].cycle))
    runner = BusRunner(group_for(bench, bus), collect, block_rows=rows, lease_s=1.0)
    try:
        identities = runner.start()
        enough.wait(5 * _READ_S)
        statistics = runner.statistics()
    except DriverError as error:
        yield _not_opened(bench, bus, error)
        return
    finally:
        runner.stop()
    yield from _cycle(bench, bus, statistics, runner.failure)
    yield from _devices(bench, bus, identities)
    yield from _channels(bench, bus, blocks)


def _adapter(bench: BenchDescription, bus: str) -> Iterator[Finding]:
    scheme, _, rest = bench.bus[bus].uri.partition(":")
    warning = latency_warning(rest.partition("@")[0]) if scheme == "serial" else None
    if warning is not None:
        seen, _, mend = warning.partition("; ")
        yield Finding(f"adapter {bus}", False, seen, mend)


def _not_opened(bench: BenchDescription, bus: str, error: DriverError) -> Finding:
    """What went wrong, and who does answer: a wrong address shows itself that way."""
    found: Sequence[Found] = ()
    record = bench.bus[bus]
    with contextlib.suppress(DriverError):
        found = family(bench, bus).scan(bus, record.uri, record.bitrate)
    there = ", ".join(f"{f.address}: {f.model or f.description}" for f in found) or "nobody"
    mend = error.hint or "check power, wiring, address and bit rate"
    return Finding(f"bus {bus}", False, f"{error.device}: {error.what}; on the bus answers {there}", mend)


def _cycle(
    bench: BenchDescription, bus: str, statistics: CycleStatistics, failure: str | None
) -> Iterator[Finding]:
    record = bench.bus[bus]
    late = statistics.missed / max(1, statistics.cycles + statistics.missed)
    yield Finding(
        f"bus {bus}",
        late <= _LATE and failure is None,
        f"{record.uri}: {1 / record.cycle:.0f} Hz, {statistics.missed} of {statistics.cycles} cycles missed, late p99 "
        f"{1e6 * statistics.lateness_p99_s:.0f} µs, load {100 * statistics.bus_load:.0f} %"
        + (f"; {failure}" if failure else ""),
        "" if late <= _LATE else "free the computer of other work",
    )
    yield Finding(
        f"real time {bus}",
        True if statistics.realtime else bench.bench.kind != "hardware",
        "SCHED_FIFO granted" if statistics.realtime else "SCHED_FIFO refused",
        "" if statistics.realtime else "allow it: ulimit -r 50, or rtprio in /etc/security/limits.d",
    )


def _devices(bench: BenchDescription, bus: str, identities: Sequence[Identity]) -> Iterator[Finding]:
    actuators = {record.device for record in bench.actuators_on(bus).values()}
    milliseconds = round(1e3 * bench.interlock.watchdog)
    for identity in identities:
        watchdog = f"; under its own watchdog ({milliseconds} ms)" if identity.device in actuators else ""
        yield Finding(
            f"device {identity.device}",
            True,
            f"{identity.model}, serial {identity.serial}, firmware {identity.firmware}{watchdog}",
        )
    for name in devices_on(bench, bus).keys() - {identity.device for identity in identities}:
        yield Finding(f"device {name}", False, "did not say who it is", "check power and address")


def _channels(bench: BenchDescription, bus: str, blocks: Sequence[Block]) -> Iterator[Finding]:
    for channel, record in bench.channels_on(bus).items():
        values = np.concatenate([np.empty(0), *(b.column(channel) for b in blocks)])
        quality = np.concatenate([np.empty(0), *(b.quality[:, b.channels.index(channel)] for b in blocks)])
        bad = int(np.sum(quality != Quality.GOOD))
        good = bool(len(values)) and bad == 0
        yield Finding(
            f"channel {channel}",
            good,
            f"{len(values)} samples, {bad} not good" if len(values) else "no sample",
            "" if good else f"check {record.device}",
            float(values[-1]) if len(values) else None,
            record.unit,
        )
