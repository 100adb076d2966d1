"""`pilotbench protocols`: what can be tested, by which standard, with which parameters."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from test_protocols import PROTOCOLS
from verification_platform.engine.parameters import reason, shown
from verification_platform.engine.protocol import Protocol

from .view import console


def register(app: typer.Typer) -> None:
    app.command("protocols")(protocols)


def protocols(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """The catalogue of protocols."""
    if as_json:
        typer.echo(json.dumps([describe(p) for p in PROTOCOLS.values()], ensure_ascii=False, indent=1))
        return
    for protocol in PROTOCOLS.values():
        console.print(f"[bold]{protocol.id}[/]  {protocol.title.zh}  {protocol.title.en}")
        console.print(
            "  " + "; ".join(f"{s.name} cl. {s.clause} [{s.mark}]" for s in protocol.standards),
            style="dim",
            markup=False,
        )
        needs = (*protocol.requires.actuators, *protocol.requires.channels)
        console.print(f"  needs {', '.join(needs)}", style="dim")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
        for column in ("参数 parameter", "缺省值 default", "来源 source", "说明 why"):
            table.add_column(column)
        for row in describe(protocol)["parameters"]:
            table.add_row(row["name"], row["shown"], row["mark"], f"{row['why']['zh']} {row['why']['en']}")
        console.print(table)
        console.print()


def describe(protocol: Protocol) -> dict[str, Any]:
    """One protocol as plain data."""
    rows = []
    for name, field in protocol.Parameters.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        default = getattr(protocol.Parameters(), name)
        rows.append(
            {
                "name": name,
                "default": default,
                "unit": extra.get("unit", "1"),
                "shown": shown(default, str(extra.get("display", ""))),
                "mark": extra.get("mark", ""),
                "why": asdict(reason(extra)),
            }
        )
    return {
        "id": protocol.id,
        "title": {"zh": protocol.title.zh, "en": protocol.title.en},
        "purpose": {"zh": protocol.purpose.zh, "en": protocol.purpose.en},
        "standards": [{"name": s.name, "clause": s.clause, "mark": s.mark} for s in protocol.standards],
        "dut_kinds": list(protocol.dut_kinds),
        "actuators": list(protocol.requires.actuators),
        "channels": list(protocol.requires.channels),
        "parameters": rows,
    }
