"""`pilotbench run` and `resume`: from an order to results.

A `Job` is what somebody asked for; `prepare` freezes it into a run folder after preflight; `run_jobs` executes
prepared runs, on the built-in simulator or in one ROS graph; `summary` shows what came out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from test_protocols import get
from verification_platform.bench.description import load_bench
from verification_platform.bench.devices import resolutions
from verification_platform.bench.dut import load_dut
from verification_platform.engine.evaluation import Evaluated, evaluate_run
from verification_platform.engine.local import run_local
from verification_platform.engine.preflight import preflight
from verification_platform.engine.run import Outcome, Progress
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus, Verdict

from .errors import CommandError, ExitCode, exit_code
from .parameters import parse_settings, protocol_parameters
from .view import RunProgress, confirm, console, print_evaluation

Clock = Literal["virtual", "real"]
Transport = Literal["ros", "local"]


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for: a protocol, a bench file, a DUT file and parameters that differ from the defaults."""

    protocol_id: str
    bench: Path
    dut: Path
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """A run that ended: how, and what its recording says (None where there is nothing to evaluate)."""

    folder: RunFolder
    outcome: Outcome
    evaluated: Evaluated


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("resume")(resume)


def run(
    protocol_id: Annotated[str, typer.Argument(metavar="ID", help="Protocol, e.g. RED-TE (see `pilotbench protocols`).")],
    bench: Annotated[Path, typer.Option(help="Bench description, bench.toml.")],
    dut: Annotated[Path, typer.Option(help="Component under test, limits and decision rule, dut.toml.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help='Parameter, with unit: --set output_speed="2 r/min".')] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/ID-DATE.")] = None,
    clock: Annotated[str, typer.Option(help="virtual (simulator only) or real.")] = "real",
    transport: Annotated[str, typer.Option(help="ros (nodes, real drivers) or local (built-in simulator).")] = "ros",
    seed: Annotated[int | None, typer.Option(help="Seed of the simulated sensors; default from the bench description.")] = None,
) -> None:
    """Run a protocol, evaluate it, and leave a run folder."""
    if clock not in ("virtual", "real"):
        raise CommandError(f"--clock {clock}: choose virtual or real")
    if transport not in ("ros", "local"):
        raise CommandError(f"--transport {transport}: choose ros or local")
    if clock == "virtual" and transport == "ros":
        raise CommandError("--clock virtual needs --transport local: wires and nodes run in real time")
    path = out or Path("runs") / f"{protocol_id}-{time.strftime('%Y%m%d-%H%M%S')}"
    job = Job(protocol_id, bench, dut, parse_settings(settings or []))
    folder = prepare(job, path, seed=seed, clock=clock, transport=transport)  # type: ignore[arg-type]
    raise typer.Exit(summary(run_jobs([folder])))


def resume(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of an interrupted run.")]) -> None:
    """Continue an interrupted run at the step it had reached; the gap is stated in its report."""
    raise typer.Exit(summary(run_jobs([RunFolder.load(run)])))


def prepare(job: Job, path: Path, *, seed: int | None, clock: Clock, transport: Transport) -> RunFolder:
    """Check a job against bench and day, and freeze it. Raises the error of whatever forbids it."""
    protocol = get(job.protocol_id)
    bench, order = load_bench(job.bench), load_dut(job.dut)
    if transport == "local" and bench.bench.kind == "hardware":
        raise CommandError(f"{job.bench}: a hardware bench runs through ROS only, where the interlock is a process of its own; use --transport ros")
    parameters = protocol_parameters(protocol, dict(job.settings))
    preflight(protocol, parameters, order, bench).require()
    return RunFolder.create(path, protocol, parameters, order, bench, seed=seed, clock=clock, transport=transport, resolutions=resolutions(bench))


def run_jobs(folders: Sequence[RunFolder]) -> list[Done]:
    """Execute prepared runs one after another, all in one ROS graph where they go through ROS; ends after the first that is not finished."""
    if folders[0].transport == "local":
        return _each(folders, lambda folder, progress: run_local(folder, get(folder.protocol_id), on_progress=progress, on_prompt=confirm))
    from verification_platform.ros import Graph  # needs ROS only here

    first = folders[0]
    with console.status("starting the ROS graph …"):
        graph = Graph(first.bench, first.order, first.path / "graph", seed=first.seed)
        graph.start()
    with graph:
        return _each(folders, lambda folder, progress: graph.run(folder.path, on_progress=progress, confirm=confirm))


def _each(folders: Sequence[RunFolder], execute: Callable[[RunFolder, Callable[[Progress], None]], Outcome]) -> list[Done]:
    done = []
    for folder in folders:
        units = {name: record.unit for name, record in folder.channels.items()}
        with RunProgress(folder.protocol_id, units) as view:
            outcome = execute(folder, lambda p: view.update(f"{p.phase.zh} {p.phase.en}", p.fraction, p.remaining_s, p.live))
        done.append(Done(folder, outcome, evaluate_run(folder.path, get)))
        if not outcome.finished:
            break
    return done


def summary(done: Sequence[Done]) -> ExitCode:
    """Print results and where they lie; one line on what ended a run early. Returns the worst exit code."""
    codes = []
    for item in done:
        evaluated, outcome = item.evaluated, item.outcome
        if not outcome.finished:
            status = outcome.status if outcome.status is not RunStatus.VALID else RunStatus.INVALID
            raise CommandError(f"{item.folder.protocol_id}: {status.value}: {outcome.reason} (journal: {item.folder.journal})", exit_code(status, Verdict.NONE))
        print_evaluation(item.folder.protocol_id, evaluated)
        console.print(f"  recording {item.folder.samples}\n  results   {item.folder.results}", style="dim", highlight=False, soft_wrap=True)
        codes.append(exit_code(evaluated.status, evaluated.verdict))
    return max(codes, key=_SEVERITY.index)


#: From best to worst: a run that could not be judged weighs more than one that failed.
_SEVERITY = [ExitCode.OK, ExitCode.FAIL, ExitCode.INVALID, ExitCode.ABORTED]
