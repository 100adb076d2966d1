"""`pilotbench run` and `resume`: from an order to results.

A `Job` is what somebody asked for; `prepare` freezes it into a run folder after preflight; `run_jobs` executes
prepared runs, on the built-in simulator or in one ROS graph; `summary` shows what came out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

import typer

from test_protocols import get
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import resolutions
from verification_platform.bench.dut import load_dut
from verification_platform.bench.lockout import Lockout
from verification_platform.engine.evaluation import Evaluated, evaluate_run
from verification_platform.engine.journal import JournalError
from verification_platform.engine.local import run_local
from verification_platform.engine.preflight import preflight
from verification_platform.engine.progress import Progress
from verification_platform.engine.protocol import ProtocolError
from verification_platform.engine.run_folder import RunFolder
from verification_platform.metrology.result import RunStatus, Verdict
from verification_platform.records.errors import RecordingError

from .errors import CommandError, ExitCode, exit_code
from .parameters import parse_settings, protocol_parameters
from .view import RunProgress, confirm, console, print_evaluation


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for: a protocol, a bench file, a DUT file and parameters that differ from the defaults."""

    protocol_id: str
    bench: Path
    dut: Path
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """A run that ended: how, why, and what its recording says (None where nothing can be evaluated)."""

    folder: RunFolder
    status: RunStatus
    reason: str
    evaluated: Evaluated | None


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("resume")(resume)


def run(
    protocol_id: Annotated[
        str, typer.Argument(metavar="ID", help="Protocol, e.g. RED-TE (see `pilotbench protocols`).")
    ],
    bench: Annotated[Path, typer.Option(help="Bench description, bench.toml.")],
    dut: Annotated[Path, typer.Option(help="Component under test, limits and decision rule, dut.toml.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help='Parameter, with unit: --set output_speed="2 r/min".'
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/ID-DATE.")] = None,
    clock: Annotated[str, typer.Option(help="virtual (simulator only) or real.")] = "real",
    transport: Annotated[
        str, typer.Option(help="ros (nodes, real drivers) or local (built-in simulator).")
    ] = "ros",
    seed: Annotated[
        int | None, typer.Option(help="Seed of the simulated sensors; default from the bench description.")
    ] = None,
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
    folder = prepare(job, path, seed=seed, clock=clock, transport=transport)
    raise typer.Exit(summary(run_jobs([folder])))


def resume(run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of an interrupted run.")]) -> None:
    """Continue an interrupted run at the step it had reached; the gap is stated in its report."""
    raise typer.Exit(summary(run_jobs([RunFolder.load(run)])))


def prepare(job: Job, path: Path, *, seed: int | None, clock: str, transport: str) -> RunFolder:
    """Check a job against bench and day, and freeze it. Raises the error of whatever forbids it."""
    protocol = get(job.protocol_id)
    bench, order = load_bench(job.bench), load_dut(job.dut)
    if transport == "local" and bench.bench.kind == "hardware":
        raise CommandError(
            f"{job.bench}: a hardware bench runs through ROS only, where the interlock is a process of its own; "
            "use --transport ros"
        )
    if transport == "ros":
        _nobody_is_in_the_cell(bench)
    parameters = protocol_parameters(protocol, dict(job.settings))
    preflight(protocol, parameters, order, bench).require()
    return RunFolder.create(
        path, protocol, parameters, order, bench,
        seed=seed, clock=clock, transport=transport, resolutions=resolutions(bench),
    )  # fmt: skip


def run_jobs(folders: Sequence[RunFolder]) -> list[Done]:
    """Execute prepared runs in turn, all in one ROS graph where they go through ROS.

    Ends after the first run that does not come to its end.
    """
    first = folders[0]
    if first.transport == "local":
        return _each(
            folders,
            lambda folder, show: run_local(
                folder, get(folder.protocol_id), on_progress=show, on_prompt=confirm
            ),
        )
    _nobody_is_in_the_cell(first.bench)
    from verification_platform.ros import Graph  # only a run through ROS needs it

    graph = Graph(first.bench, first.order, first.path / "graph", seed=first.seed)
    with contextlib.ExitStack() as stack:
        with console.status("starting the ROS graph …"):
            stack.enter_context(graph)
        return _each(
            folders,
            lambda folder, show: graph.run(folder.path, on_progress=show, confirm=confirm),
        )


def _nobody_is_in_the_cell(bench: BenchDescription) -> None:
    """Raises CommandError while somebody holds a key of the bench; its interlock would refuse later, and not start either."""
    refusal = Lockout.of(bench.bench.id).refusal()
    if refusal:
        raise CommandError(refusal, ExitCode.ABORTED)


class _Outcome(Protocol):
    """What every way of executing a run tells of its end."""

    @property
    def status(self) -> RunStatus: ...
    @property
    def reason(self) -> str: ...


def _each(
    folders: Sequence[RunFolder], execute: Callable[[RunFolder, Callable[[Progress], None]], _Outcome]
) -> list[Done]:
    done = []
    for folder in folders:
        units = {name: record.unit for name, record in folder.channels.items()}
        with RunProgress(folder.protocol_id, units) as view:
            outcome = execute(folder, view.update)
        evaluated = None
        if outcome.status is RunStatus.VALID:
            evaluated = evaluate_run(folder.path, get)
        else:  # the recording may have died with its process
            with contextlib.suppress(ProtocolError, RecordingError, JournalError):
                evaluated = evaluate_run(folder.path, get)
        done.append(Done(folder, outcome.status, outcome.reason, evaluated))
        if outcome.status is not RunStatus.VALID:
            break
    return done


def summary(done: Sequence[Done]) -> ExitCode:
    """Print results and where they lie. Returns the worst exit code; raises CommandError for a run that did not end well."""
    codes = []
    for item in done:
        if item.status is not RunStatus.VALID or item.evaluated is None:
            raise CommandError(
                f"{item.folder.protocol_id}: {item.status.value}: {item.reason} (journal: {item.folder.journal})",
                exit_code(item.status, Verdict.NONE),
            )
        print_evaluation(item.folder.protocol_id, item.evaluated)
        for what, where in (("recording", item.folder.samples), ("results", item.folder.results)):
            console.print(f"  {what:<10}{where}", style="dim", highlight=False, soft_wrap=True)
        codes.append(exit_code(item.evaluated.status, item.evaluated.verdict))
    return max(codes, key=_SEVERITY.index)


#: From best to worst: a run that could not be judged weighs more than one that failed.
_SEVERITY = [ExitCode.OK, ExitCode.FAIL, ExitCode.INVALID, ExitCode.ABORTED]
