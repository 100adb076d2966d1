"""`pilotbench bench lock`, `unlock`, `keys`: who is in the cell.

They work on the file of keys itself (`bench.lockout`), with or without a running graph: its interlock looks there
fifty times a second. To be called on the computer on which the interlock runs; from elsewhere its services
``interlock/lock_out`` and ``interlock/give_back`` do the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verification_platform.bench.description import load_bench
from verification_platform.bench.lockout import Lockout, LockoutError

from .errors import CommandError, ExitCode

_File = Annotated[Path, typer.Argument(metavar="BENCH", help="Bench description, bench.toml.")]
_Who = Annotated[str, typer.Option(help="Name of the person who goes into the cell.")]


def register(app: typer.Typer) -> None:
    app.command("lock")(lock)
    app.command("unlock")(unlock)
    app.command("keys")(keys)


def lock(
    bench: _File,
    who: _Who,
    why: Annotated[str, typer.Option(help="What for; others will read it.")] = "",
) -> None:
    """Take a key before going into the cell: nothing starts while it is held, a running bench trips. Prints its PIN."""
    lockout = _lockout(bench)
    try:
        pin = lockout.take(who, why)
    except LockoutError as error:
        raise CommandError(str(error)) from None
    typer.echo(f"locked out by {who}; the PIN that gives this key back: {pin}")
    others = [key.who for key in lockout.held() if key.who != " ".join(who.split())]
    if others:
        typer.echo(f"keys are also held by {', '.join(others)}")


def unlock(
    bench: _File,
    who: _Who,
    pin: Annotated[str, typer.Option(help="PIN that `lock` printed.", prompt=True, hide_input=True)],
) -> None:
    """Give a key back after leaving the cell. Starts nothing."""
    lockout = _lockout(bench)
    try:
        lockout.give_back(who, pin)
    except LockoutError as error:
        raise CommandError(str(error)) from None
    typer.echo(lockout.refusal() or "every key is back; the bench may be reset and started")


def keys(bench: _File) -> None:
    """Who holds a key. Exit code 4 while somebody does."""
    held = _lockout(bench).held()
    for key in held:
        typer.echo(key.line())
    raise typer.Exit(ExitCode.ABORTED if held else ExitCode.OK)


def _lockout(bench: Path) -> Lockout:
    return Lockout.of(load_bench(bench).bench.id)
