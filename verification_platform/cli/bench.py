"""`pilotbench bench check`: is this bench fit for work, and what must be mended if it is not.

Every bus is opened with the real drivers, every device identified and read for a second; no torque is switched on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from drivers import clock
from drivers.device import Block, DriverError, Quality
from drivers.runner import BusRunner
from verification_platform.bench.description import BenchDescription, BenchError, load_bench
from verification_platform.bench.devices import EMULATED, check_devices, group_for, with_uris
from verification_platform.metrology.units import to_display

from .demo import DEMO_DUT
from .errors import ExitCode
from .view import LIVE_UNITS, console

app = typer.Typer(help="Benches: check what is connected.", no_args_is_help=True)
_READ_S = 1.0
_START_S = 15.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check: what was looked at, whether it is in order, what was seen, how to mend it."""

    item: str
    ok: bool
    seen: str
    mend: str = ""


@app.callback()
def _group() -> None:
    """Benches: check what is connected."""


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bench description, bench.toml.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Open every device, read it, check calibrations; a table of what is wrong and how to mend it. No torque."""
    bench = load_bench(file)
    check_devices(bench)
    findings = list(_calibrations(bench))
    with _wires(bench, file) as connected:
        for bus in connected.bus:
            findings += _bus(connected, bus)
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in findings], ensure_ascii=False, indent=1))
    else:
        table = Table(
            title=f"{bench.bench.id}  {bench.bench.title.zh}  {bench.bench.title.en}",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        for column in ("", "item", "seen", "how to mend it"):
            table.add_column(column)
        for f in findings:
            table.add_row("[green]✓[/]" if f.ok else "[bold red]✗[/]", f.item, f.seen, f.mend)
        console.print(table)
    raise typer.Exit(ExitCode.OK if all(f.ok for f in findings) else ExitCode.INVALID)


def _calibrations(bench: BenchDescription) -> Iterator[Finding]:
    today = dt.datetime.now(dt.UTC).date()
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


def _bus(bench: BenchDescription, bus: str) -> Iterator[Finding]:
    """Open one bus, read it for a second, and say what was seen."""
    blocks: list[Block] = []
    enough = threading.Event()

    def collect(block: Block) -> None:
        blocks.append(block)
        if block.stamps_s[-1] - blocks[0].stamps_s[0] > _READ_S:
            enough.set()

    record = bench.bus[bus]
    runner = BusRunner(
        group_for(bench, bus), collect, block_rows=max(1, round(0.1 / record.cycle)), lease_s=1.0
    )
    try:
        identities = runner.start()
        enough.wait(5 * _READ_S)
    except DriverError as error:
        yield Finding(
            f"bus {bus}",
            False,
            f"{error.device}: {error.what}",
            error.hint or "check power, wiring, address and bit rate",
        )
        return
    finally:
        runner.stop()
    statistics = runner.statistics()
    late = statistics.missed / max(1, statistics.cycles + statistics.missed)
    yield Finding(
        f"bus {bus}", late <= 0.001 and runner.failure is None,
        f"{record.uri}: {1 / record.cycle:.0f} Hz, {statistics.missed} of {statistics.cycles} cycles missed, "
        f"late p99 {1e6 * statistics.lateness_p99_s:.0f} µs, load {100 * statistics.bus_load:.0f} %",
        "" if late <= 0.001 else "free the computer of other work",
    )  # fmt: skip
    yield Finding(
        f"real time {bus}", True if statistics.realtime else bench.bench.kind != "hardware",
        "SCHED_FIFO granted" if statistics.realtime else "SCHED_FIFO refused",
        "" if statistics.realtime else "allow it: ulimit -r 50, or rtprio in /etc/security/limits.d",
    )  # fmt: skip
    for identity in identities:
        yield Finding(
            f"device {identity.device}",
            True,
            f"{identity.model}, serial {identity.serial}, firmware {identity.firmware}",
        )
    for channel, record_ in bench.channels_on(bus).items():
        values = np.concatenate([b.column(channel) for b in blocks]) if blocks else np.empty(0)
        quality = (
            np.concatenate([b.quality[:, b.channels.index(channel)] for b in blocks])
            if blocks
            else np.empty(0)
        )
        good = bool(len(values)) and bool(np.all(quality == Quality.GOOD))
        unit = LIVE_UNITS.get(record_.unit, record_.unit)
        seen = (
            f"{to_display(float(values[-1]), unit):.6g} {unit}, {len(values)} samples"
            if len(values)
            else "no sample"
        )
        yield Finding(
            f"channel {channel}",
            good,
            seen,
            ""
            if good
            else f"{int(np.sum(quality != Quality.GOOD))} samples not good: check {record_.device}",
        )


@contextlib.contextmanager
def _wires(bench: BenchDescription, file: Path) -> Iterator[BenchDescription]:
    """The bench with wires that exist: emulated devices are started where the description asks for them."""
    if all(record.uri != EMULATED for record in bench.bus.values()):
        yield bench
        return
    with tempfile.TemporaryDirectory(prefix="pilotbench-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "verification_platform.bench.emulated", "--bench", str(file), "--dut", str(DEMO_DUT),
             "--seed", str(bench.plant.get("seed", 0)), "--run-dir", folder],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("{"):
                raise BenchError(f"{file}: the emulated devices did not start")
            ready = json.loads(line)
            bench = with_uris(bench, ready["bus"], ready["clock"])
            clock.join(bench.bench.clock)
            yield bench
        finally:
            process.terminate()
            process.wait(_START_S)
            process.stdout.close()  # type: ignore[union-attr]
