"""`pilotbench demo`: the main job end to end, as a newcomer sees it first."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import CommandError, ExitCode
from .run import Job, prepare, run_jobs, summary
from .view import console

_ROOT = Path(__file__).resolve().parents[2]
DEMO_ORDER = _ROOT / "examples" / "demo" / "order.toml"
#: Bench descriptions by simulation; None for the order's own.
SIMULATIONS: dict[str, Path | None] = {"built-in": None, "gazebo": _ROOT / "benches" / "gazebo.toml"}
DEMO_DUT = _ROOT / "duts" / "harmonic-25-100.toml"


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default runs/demo-DATE.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the emulated bench's sensors; default from the bench description."),
    ] = None,
    sim: Annotated[
        str, typer.Option(help="Who turns the shafts: built-in, or gazebo (see `make gazebo`).")
    ] = "built-in",
) -> None:
    """Verify a harmonic reducer on the emulated bench through ROS 2, and write its report."""
    if sim not in SIMULATIONS:
        raise CommandError(f"--sim {sim}: choose {' or '.join(SIMULATIONS)}")
    from reports import build_report

    started = time.monotonic()
    order = _load(DEMO_ORDER)
    folder = out or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    base = DEMO_ORDER.parent
    jobs = [
        Job(
            run["protocol"],
            SIMULATIONS[sim] or (base / order["bench"]).resolve(),
            (base / order["dut"]).resolve(),
            run.get("set", {}),
        )
        for run in order["run"]
    ]
    console.print(
        "[bold]Pilotbench demo[/] — a harmonic reducer, ratio 100, on the emulated bench, through ROS 2"
        + (", turned by Gazebo" if sim == "gazebo" else "")
    )
    console.print(
        f"  {', '.join(job.protocol_id for job in jobs)}; stimuli shortened as in {DEMO_ORDER.relative_to(_ROOT)}, "
        "each shortening is a declared deviation",
        style="dim",
        highlight=False,
    )
    prepared = [
        prepare(job, folder / job.protocol_id, seed=seed, clock="real", transport="ros") for job in jobs
    ]
    done = run_jobs(prepared)
    code = summary(done)
    if code in (ExitCode.INVALID, ExitCode.ABORTED):
        raise typer.Exit(code)
    files = build_report([item.folder.path for item in done], folder / "report", lang="zh,en", lab=None)
    console.print(f"recordings  {folder}/*/samples", soft_wrap=True, highlight=False)
    console.print(f"results     {folder}/*/results.json", soft_wrap=True, highlight=False)
    console.print(f"report      [bold]{files.pdf}[/]", soft_wrap=True, highlight=False)
    console.print(f"check it    pilotbench verify {files.pdf}", soft_wrap=True, highlight=False)
    console.print(f"done in {time.monotonic() - started:.0f} s", style="dim", highlight=False)
    raise typer.Exit(code)


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; the demo needs the checkout it came with") from None
