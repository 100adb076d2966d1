"""`pilotbench bench reset`: take a latched trip away while no graph runs.

While one runs, its interlock is asked (service ``interlock/reset``): it alone knows whether the cause persists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verification_platform.bench.description import load_bench
from verification_platform.bench.latch import LatchError, TripLatch

from .errors import CommandError, ExitCode


def register(app: typer.Typer) -> None:
    app.command("reset")(reset)


def reset(
    bench: Annotated[Path, typer.Argument(metavar="BENCH", help="Bench description, bench.toml.")],
) -> None:
    """After a trip, when its cause is found: let the bench be started again. Starts nothing."""
    described = load_bench(bench)
    if described.bench.kind == "emulated":
        typer.echo("there was no trip: an emulated machine begins anew with its graph")
        return
    latch = TripLatch.of(described, bench)
    try:
        latch.claim()
    except LatchError as error:
        raise CommandError(
            f"{error}; ask its interlock: ros2 service call /interlock/reset std_srvs/srv/Trigger",
            ExitCode.INVALID,
        ) from None
    kept = latch.read()
    try:
        latch.clear()
    except OSError as error:
        raise CommandError(f"{latch.path}: {error.strerror}; the trip was not reset") from None
    finally:
        latch.release()
    typer.echo(f"was: {kept.line()}" if kept is not None else "there was no trip")
