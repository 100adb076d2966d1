"""`pilotbench bench`: check what is connected, find devices, watch live values. No torque is ever switched on here;
`home`, in a module of its own, is the one that moves something.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from drivers.families import FAMILIES
from drivers.family import Found
from verification_platform.bench.check import Finding, check_bus, check_calibrations
from verification_platform.bench.description import BenchError, load_bench
from verification_platform.bench.devices import check_devices, family
from verification_platform.bench.wires import connected

from .demo import DEMO_DUT
from .errors import CommandError, ExitCode
from .monitor import monitor
from .view import console, live

app = typer.Typer(
    help="Benches: check what is connected, find devices, watch live values; lock out, reset, home a drive.",
    no_args_is_help=True,
)
BenchFile = Annotated[Path, typer.Argument(metavar="FILE", help="Bench description, bench.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@app.command("check")
def check(file: BenchFile, as_json: AsJson = False) -> None:
    """Open every device, read it, check calibrations; a table of what is wrong and how to mend it. No torque."""
    bench = load_bench(file)
    check_devices(bench)
    findings = list(check_calibrations(bench, dt.datetime.now(dt.UTC).date()))
    with connected(bench, file, DEMO_DUT) as wired:
        for bus in wired.bus:
            findings += check_bus(wired, bus)
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in findings], ensure_ascii=False, indent=1))
    else:
        title = f"{bench.bench.id}  {bench.bench.title.zh}  {bench.bench.title.en}"
        console.print(_table(title, findings))
        bad = sum(not f.ok for f in findings)
        verdict = (
            f"[bold red]{bad} of {len(findings)} to mend 待处理[/]" if bad else "[green]fit for work 可用[/]"
        )
        console.print(verdict)
    raise typer.Exit(ExitCode.OK if all(f.ok for f in findings) else ExitCode.INVALID)


def _table(title: str, findings: list[Finding]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("", "项目 item", "所见 seen", "处理 how to mend it"):
        table.add_column(column)
    for f in findings:
        table.add_row("[green]✓[/]" if f.ok else "[bold red]✗[/]", f.item, _shown(f), f.mend)
    return table


def _shown(finding: Finding) -> str:
    if finding.value is None:
        return finding.seen
    return f"{live(finding.value, finding.unit, 6)}, {finding.seen}"


@app.command("scan")
def scan(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Bench description whose buses are scanned.")
    ] = None,
    bus: Annotated[str, typer.Option(help="Only this bus of the bench description.")] = "",
    uri: Annotated[
        str, typer.Option(help="A bus that no description names yet: socketcan:can0, serial:…")
    ] = "",
    bitrate: Annotated[int, typer.Option(help="Its bit rate, bit/s.", min=1)] = 1_000_000,
    kind: Annotated[str, typer.Option("--family", help="Which protocol to speak on it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find the devices on a bus. Asks every address who is there, in the bus's own protocol, and switches nothing on.

    A request of one protocol may mean something else in another (a wrong guess could set a drive in motion), so a bus
    without a description wants its --family named.
    """
    if (file is None) == (uri == ""):
        raise CommandError("scan: name a bench description, or a bus by --uri and --family")
    found: dict[str, list[Found]] = {}
    if file is None:
        if kind not in FAMILIES:
            raise CommandError(f"scan: --family {kind!r} is none; known are {', '.join(FAMILIES)}")
        found[uri] = list(FAMILIES[kind].scan(uri, uri, bitrate))
    else:
        bench = load_bench(file)
        if bus and bus not in bench.bus:
            raise BenchError(f"bench {bench.bench.id} has no bus {bus!r}, only {', '.join(bench.bus)}")
        with connected(bench, file, DEMO_DUT) as wired:
            for name, record in wired.bus.items():
                if bus in ("", name):
                    found[name] = list(family(wired, name).scan(name, record.uri, record.bitrate))
    if as_json:
        table = {name: [asdict(f) for f in rows] for name, rows in found.items()}
        typer.echo(json.dumps(table, ensure_ascii=False, indent=1))
        return
    for name, rows in found.items():
        table_ = Table(
            title=f"{name}: {len(rows)} found 找到", title_justify="left", box=None, pad_edge=False
        )
        for column in ("地址 address", "型号 model", "描述 description"):
            table_.add_column(column)
        for row in rows:
            table_.add_row(str(row.address), row.model or "– (no table)", row.description)
        console.print(table_)


@app.command("monitor")
def watch(
    file: BenchFile,
    seconds: Annotated[float, typer.Option(help="End after so long; 0: until Ctrl-C.", min=0)] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a second instead of a table.")
    ] = False,
) -> None:
    """Show live values of every channel, with their validity and age. No torque is switched on."""
    bench = load_bench(file)
    check_devices(bench)
    with connected(bench, file, DEMO_DUT) as wired:
        monitor(wired, seconds, as_json=as_json)
