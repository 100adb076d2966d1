"""`pilotbench report` and `pilotbench verify`: the document, and the proof that it tells what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .errors import ExitCode
from .view import console


def register(app: typer.Typer) -> None:
    app.command("report")(report)
    app.command("verify")(verify)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders of one order.")],
    lang: Annotated[str, typer.Option(help="Languages of the report, e.g. zh,en.")] = "zh,en",
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default RUN/report.")] = None,
    lab: Annotated[
        Path | None, typer.Option(help="lab.toml: name, address and site of the laboratory.")
    ] = None,
) -> None:
    """Write the test report: PDF with the JSON attached."""
    from reports import build_report  # typst and matplotlib load only when a report is asked for

    files = build_report(runs, out or runs[0] / "report", lang=lang, lab=lab)
    console.print(f"report    {files.pdf}", soft_wrap=True, highlight=False)
    console.print(f"data      {files.json}", soft_wrap=True, highlight=False)


def verify(
    document: Annotated[Path, typer.Argument(metavar="REPORT", help="The PDF of a report.")],
    recording: Annotated[
        Path | None, typer.Option(help="Folder with the run or its recordings; default: beside the report.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check seal and attachment of a report, and recompute every number in it from the recording."""
    from reports import verify_report

    outcome = verify_report(document, recording)
    if as_json:
        findings = [{"state": f.state, "place": f.place, "what": f.what} for f in outcome.findings]
        advice = {"zh": outcome.advice.zh, "en": outcome.advice.en} if outcome.advice else None
        told = {"ok": outcome.ok, "findings": findings, "advice": advice}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        for finding in outcome.findings:
            mark, style = _MARKS[finding.state]
            console.print(Text(mark, style) + Text(f" {finding.place}: {finding.what}"), soft_wrap=True)
        verdict, style = _OVERALL[(outcome.ok, bool(outcome.failures))]
        console.print(Text(verdict, style))
        if outcome.advice:
            for text in (outcome.advice.zh, outcome.advice.en):
                console.print(f"\n{text}", soft_wrap=True, highlight=False, markup=False)
    if outcome.failures:
        raise typer.Exit(ExitCode.FAIL)
    raise typer.Exit(ExitCode.OK if outcome.ok else ExitCode.INVALID)


_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "bold red"), "unchecked": ("?", "yellow")}
#: (everything checked and true, something false) → what is said.
_OVERALL = {
    (True, False): ("verified 验证通过", "bold green"),
    (False, True): ("does not verify 验证不通过", "bold red"),
    (False, False): ("not fully checked 未能完全核验", "yellow"),
}
