"""`pilotbench import`, `export` and `analyze`: data measured elsewhere in, data out, results recomputed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from test_protocols import get
from verification_platform.bench.dut import load_dut
from verification_platform.engine.evaluation import evaluate_recording, result_to_json
from verification_platform.engine.run_folder import RunFolder
from verification_platform.records.cluster import DaskMapper
from verification_platform.records.exporter import export_csv
from verification_platform.records.importer import import_files
from verification_platform.records.mapper import Mapper, MapperError, ProcessMapper, SerialMapper
from verification_platform.records.reader import open_recording

from .errors import CommandError, exit_code
from .parameters import parse_settings, protocol_parameters
from .view import console, print_evaluation


def register(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command("export")(export)
    app.command("analyze")(analyze)


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="CSV files (.csv, .csv.gz), in order of time.")
    ],
    mapping: Annotated[
        Path,
        typer.Option("--map", help="Mapping TOML: which column is which channel, in which unit and rate."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the recording.")],
) -> None:
    """Turn data measured elsewhere into a sealed recording."""
    folder = import_files(files, mapping, out)
    recording = open_recording(folder)
    rows = recording.integrity().rows
    console.print(
        f"recording   {folder}  ({rows} rows; channels {', '.join(recording.channels)})",
        soft_wrap=True,
        highlight=False,
    )


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or recording.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default RUN/export.")] = None,
    format_: Annotated[str, typer.Option("--format", help="csv")] = "csv",
) -> None:
    """Write a recording in a format that other programs read."""
    if format_ != "csv":
        raise CommandError(f"--format {format_}: only csv is written so far")
    for path in export_csv(run, out or run / "export"):
        console.print(str(path), soft_wrap=True, highlight=False)


def analyze(
    protocol_id: Annotated[str, typer.Argument(metavar="ID", help="Protocol, e.g. RED-TE.")],
    recording: Annotated[list[Path], typer.Option(help="Run folder, recording folder or MCAP files.")],
    dut: Annotated[Path | None, typer.Option(help="dut.toml; default: the one frozen in the run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Parameter, with unit.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler, e.g. tcp://host:8786.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Recompute the results of a protocol from a recording."""
    protocol = get(protocol_id)
    frozen = RunFolder.load(recording[0]) if (recording[0] / "run.json").exists() else None
    if dut is None and frozen is None:
        raise CommandError(f"{recording[0]} is no run folder; name the component under test with --dut FILE")
    order = load_dut(dut) if dut is not None else frozen.order  # type: ignore[union-attr]
    base = dict(frozen.parameters) if frozen is not None and frozen.protocol_id == protocol.id else {}
    parameters = protocol_parameters(protocol, base | parse_settings(settings or []))
    opened = open_recording(recording)
    with _mapper(jobs, cluster) as mapper:
        try:
            evaluated = evaluate_recording(protocol, opened, parameters, order, mapper=mapper)
        except MapperError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps([result_to_json(r) for r in evaluated.results], ensure_ascii=False, indent=1))
    else:
        print_evaluation(protocol.id, evaluated)
    raise typer.Exit(exit_code(evaluated.status, evaluated.verdict))


@contextmanager
def _mapper(jobs: int, cluster: str | None) -> Iterator[Mapper]:
    """Who does the work. The results do not depend on it."""
    if cluster is not None:
        if jobs != 1:
            raise CommandError("--jobs and --cluster exclude each other; the cluster has its own workers")
        try:
            connected = DaskMapper(cluster)
        except MapperError as error:
            raise CommandError(f"--cluster: {error}") from None
        with connected:
            yield connected
    elif jobs > 1:
        with ProcessMapper(jobs) as pool:
            yield pool
    else:
        yield SerialMapper()
