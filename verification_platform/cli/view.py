"""What the command line shows: tables of results, progress of a run. Display units only here."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from reports import texts
from verification_platform.engine.evaluation import Evaluated
from verification_platform.engine.progress import Progress
from verification_platform.metrology.result import LimitType, Result, Verdict
from verification_platform.metrology.rounding import rounded
from verification_platform.metrology.units import to_display

#: On a pipe there is no width to ask for; wide enough that tables keep one line a row.
console = Console(width=None if sys.stdout.isatty() else 150)

#: Verdicts in both languages, and how they look.
VERDICT_TEXT: Mapping[Verdict, tuple[str, str]] = {
    Verdict.NONE: ("–", "dim"),
    Verdict.PASS: ("合格 pass", "bold green"),
    Verdict.CONDITIONAL_PASS: ("有条件合格 conditional pass", "green"),
    Verdict.INCONCLUSIVE: ("不确定 inconclusive", "yellow"),
    Verdict.CONDITIONAL_FAIL: ("有条件不合格 conditional fail", "red"),
    Verdict.FAIL: ("不合格 fail", "bold red"),
}
#: Unit in which a live channel is shown.
LIVE_UNITS = {"rad": "°", "rad/s": "r/min", "N·m": "N·m", "K": "°C"}


def live(value: float, unit: str, digits: int) -> str:
    """A value as live values are shown, with its unit unless that is 1."""
    unit = LIVE_UNITS.get(unit, unit)
    shown = f"{to_display(value, unit):.{digits}g}"
    return shown if unit == "1" else f"{shown} {unit}"


def limit_text(result: Result) -> str:
    """The tolerance limit as a person reads it, in the display unit."""
    unit = result.display_unit or result.unit

    def shown(value: float | None) -> str:
        return "" if value is None else f"{to_display(value, unit):.6g}"

    match result.limit_type:
        case LimitType.MAX:
            return f"≤ {shown(result.TL_high)}"
        case LimitType.MIN:
            return f"≥ {shown(result.TL_low)}"
        case LimitType.TWO_SIDED:
            return f"{shown(result.TL_low)} … {shown(result.TL_high)}"
        case _:
            return ""


def results_table(title: str, results: Sequence[Result]) -> Table:
    """One row a result: value ± U in the display unit, limit, verdict."""
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    table.add_column("量 quantity")
    table.add_column("条件 conditions", style="dim")
    table.add_column("值 value", justify="right")
    table.add_column("U (k)", justify="right")
    table.add_column("单位 unit")
    table.add_column("限值 limit", justify="right")
    table.add_column("判定 verdict")
    for result in results:
        unit = result.display_unit or result.unit
        value, U = rounded(
            to_display(result.value, unit), abs(to_display(result.U, unit) - to_display(0.0, unit))
        )
        text, style = VERDICT_TEXT[result.verdict]
        conditions = ", ".join(text.en for text in texts.conditions(result.conditions))
        table.add_row(
            result.quantity,
            conditions,
            value,
            f"{U} ({result.k:.2f})",
            unit,
            limit_text(result),
            Text(text, style),
        )
    return table


def print_evaluation(protocol_id: str, evaluated: Evaluated) -> None:
    """Status, results and what a reader must know about them."""
    text, style = VERDICT_TEXT[evaluated.verdict]
    console.print()
    console.print(results_table(f"{protocol_id}  {evaluated.status.value}", evaluated.results))
    for finding in evaluated.findings:
        console.print(f"  ! {finding.zh} {finding.en}", style="yellow", markup=False, highlight=False)
    console.print(Text("  overall 总判定: ") + Text(text, style))


def confirm(key: str, zh: str, en: str) -> bool:
    """Ask the technician; on a pipe nobody can answer, so the run goes on only where nothing has to be moved by hand."""
    if not sys.stdin.isatty():
        return False
    return bool(typer.confirm(f"{zh}\n{en}", default=False))


class _Clock(ProgressColumn):
    """Time left, as m:ss."""

    def render(self, task: Task) -> Text:
        left = max(0, round(task.fields.get("remaining_s", 0)))
        return Text(f"{left // 60}:{left % 60:02d} left", style="cyan")


class RunProgress:
    """Progress of a run: phase, bar, time left, live values. On a pipe, one line a phase instead of a moving bar."""

    def __init__(self, label: str, units: Mapping[str, str]) -> None:
        self._label, self._units = label, units
        self._live = sys.stdout.isatty()
        self._phase = ""
        self._started = time.monotonic()
        self._bar = Bars(
            TextColumn("[bold]{task.fields[label]}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            _Clock(),
            TextColumn("{task.fields[phase]}", style="dim"),
            TextColumn("{task.fields[live]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, label=label, phase="", live="", remaining_s=0.0)

    def __enter__(self) -> RunProgress:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Show where the run is."""
        phase = f"{progress.phase.zh} {progress.phase.en}"
        if self._live:
            shown = "  ".join(self._value(name, value) for name, value in list(progress.live.items())[:4])
            self._bar.update(
                self._task,
                completed=progress.fraction,
                phase=phase,
                remaining_s=progress.remaining_s,
                live=shown,
            )
        elif phase != self._phase:
            elapsed = time.monotonic() - self._started
            console.print(f"  {elapsed:6.1f} s  {self._label}  {phase}", highlight=False)
        self._phase = phase

    def _value(self, channel: str, value: float) -> str:
        return f"{channel} {live(value, self._units.get(channel, '1'), 4)}"
