"""Live values of a bench in the terminal: what `pilotbench bench monitor` shows."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import typer
from rich.live import Live
from rich.table import Table

from drivers import clock
from drivers.device import Block, Quality
from drivers.runner import BusRunner
from verification_platform.bench.description import BenchDescription
from verification_platform.bench.devices import group_for
from verification_platform.metrology.units import to_display

from .view import LIVE_UNITS, console

_REFRESH_S = 0.25
_QUALITY = {
    Quality.GOOD: "[green]good 有效[/]",
    Quality.STALE: "[yellow]stale 陈旧[/]",
    Quality.SUBSTITUTED: "[yellow]derived 推算[/]",
    Quality.BAD: "[bold red]bad 无效[/]",
}


class _Latest:
    """The last row of each bus; written by the runners' delivery threads."""

    def __init__(self) -> None:
        self._rows: dict[str, Block] = {}
        self._lock = threading.Lock()

    def take(self, block: Block) -> None:
        with self._lock:
            self._rows[block.group] = block

    def channels(self) -> dict[str, tuple[float, Quality, float]]:
        """channel → (value, quality, age in s). An old value keeps ageing: it is never shown as if it were new."""
        with self._lock:
            blocks = list(self._rows.values())
        now_s = clock.now()
        return {
            channel: (
                float(block.values[-1, column]),
                Quality(int(block.quality[-1, column])),
                max(now_s - float(block.stamps_s[-1]) + float(ages[-1, column]), 0.0),
            )
            for block in blocks
            for ages in (np.zeros_like(block.quality) if block.age_s is None else block.age_s,)
            for column, channel in enumerate(block.channels)
        }


def monitor(bench: BenchDescription, seconds: float, *, as_json: bool) -> None:
    """Show every channel until `seconds` have passed (0: until Ctrl-C). Raises the DriverError of a bus that does not open."""
    latest = _Latest()
    end_s = time.monotonic() + seconds if seconds > 0 else math.inf
    with contextlib.ExitStack() as stack:
        runners = {}
        for bus, record in bench.bus.items():
            rows = max(1, round(0.1 / record.cycle))
            runners[bus] = runner = BusRunner(
                group_for(bench, bus), latest.take, block_rows=rows, lease_s=1.0
            )
            stack.callback(runner.stop)
            runner.start()
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        if as_json or not sys.stdout.isatty():
            _lines(bench, runners, latest, end_s)
        else:
            _screen(bench, runners, latest, end_s)


def _lines(bench: BenchDescription, runners: Mapping[str, BusRunner], latest: _Latest, end_s: float) -> None:
    while time.monotonic() < end_s:
        time.sleep(min(1.0, max(0.0, end_s - time.monotonic())))
        shown: dict[str, Any] = {
            channel: {
                "value": None if math.isnan(value) else value,
                "unit": bench.channel[channel].unit,
                "quality": quality.name,
                "age_s": None if math.isnan(age_s) else round(age_s, 4),
            }
            for channel, (value, quality, age_s) in latest.channels().items()
        }
        failures = {bus: runner.failure for bus, runner in runners.items() if runner.failure}
        typer.echo(json.dumps({"channels": shown, "failures": failures}, ensure_ascii=False))


def _screen(bench: BenchDescription, runners: Mapping[str, BusRunner], latest: _Latest, end_s: float) -> None:
    with Live(console=console, refresh_per_second=1 / _REFRESH_S, screen=False) as live:
        while time.monotonic() < end_s:
            live.update(_table(bench, runners, latest))
            time.sleep(_REFRESH_S)


def _table(bench: BenchDescription, runners: Mapping[str, BusRunner], latest: _Latest) -> Table:
    caption = []
    for bus, runner in runners.items():
        s = runner.statistics()
        caption.append(
            f"{bus}: {1 / s.period_s:.0f} Hz, {s.missed} missed, late p99 {1e6 * s.lateness_p99_s:.0f} µs, "
            f"load {100 * s.bus_load:.0f} %" + (f"  [bold red]{runner.failure}[/]" if runner.failure else "")
        )
    table = Table(
        title=f"{bench.bench.id}  {bench.bench.title.zh}  {bench.bench.title.en}   (Ctrl-C)",
        caption="\n".join(caption),
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("通道 channel")
    table.add_column("值 value", justify="right", min_width=14)
    table.add_column("单位 unit")
    table.add_column("有效性 validity")
    table.add_column("滞后 age", justify="right")
    table.add_column("设备 device", style="dim")
    found = latest.channels()
    for name, channel in bench.channel.items():
        unit = LIVE_UNITS.get(channel.unit, channel.unit)
        value, quality, age_s = found.get(name, (math.nan, Quality.BAD, math.inf))
        text = "–" if math.isnan(value) else f"{to_display(value, unit):.6g}"
        age = "–" if not math.isfinite(age_s) else f"{1e3 * age_s:.0f} ms"
        table.add_row(name, text, unit, _QUALITY[quality], age, f"{channel.device}.{channel.signal}")
    return table
