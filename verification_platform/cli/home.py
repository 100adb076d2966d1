"""`pilotbench bench home`: let a drive find its own zero. The one command besides a run that moves something, so it is refused
wherever a run would be: while a key of the cell is held, while an interlock (hence a graph, perhaps a run) has the bench, after a
trip that nobody has reset, on an emergency stop that is pressed or not heard.

How it goes, and what stops it on the way, is in `verification_platform.bench.homing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from drivers.device import Homes
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import check_devices, group_for
from verification_platform.bench.homing import Homing
from verification_platform.bench.latch import LatchError, TripLatch
from verification_platform.bench.lockout import Lockout
from verification_platform.bench.trip import BenchTrip
from verification_platform.bench.wires import connected

from .demo import DEMO_DUT
from .errors import CommandError, ExitCode


def register(app: typer.Typer) -> None:
    app.command("home")(home)


def home(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Name of the drive in the description.")],
    bench: Annotated[Path, typer.Option(help="Bench description, bench.toml.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the shaft moves.")] = False,
) -> None:
    """Home a drive, by the method of its model table: its shaft MOVES. Its position begins anew. Torque is off afterwards."""
    described = load_bench(bench)
    check_devices(described)
    if device not in described.device:
        raise CommandError(
            f"bench {described.bench.id} has no device {device!r}, only {', '.join(described.device)}"
        )
    with _nobody_else(described, bench), connected(described, bench, DEMO_DUT) as wired:
        group = group_for(wired, wired.device[device].bus)
        if not isinstance(group, Homes) or not group.homes(device):
            raise CommandError(f"device {device}: its model {wired.device[device].model} has no homing")
        if not yes:
            typer.confirm(f"The shaft of {device} will move. Is everybody clear of it?", abort=True)
        try:
            position = Homing(wired, group, device).run()
        except BenchTrip as trip:
            raise CommandError(str(trip), ExitCode.ABORTED if trip.safety else ExitCode.INVALID) from None
    typer.echo(f"{device} is homed, at {position:.6g} rad; its torque is off")


@contextlib.contextmanager
def _nobody_else(bench: BenchDescription, file: Path) -> Iterator[None]:
    """The bench for this process alone. Raises CommandError; an emulated one is started for this command, and nobody else's."""
    refusal = Lockout.of(bench.bench.id).refusal()
    if refusal:
        raise CommandError(refusal, ExitCode.ABORTED)
    if bench.bench.kind == "emulated":
        yield
        return
    latch = TripLatch.of(bench, file)
    try:
        latch.claim()
    except LatchError as error:
        raise CommandError(f"no homing: {error}; end the run first", ExitCode.ABORTED) from None
    try:
        kept = latch.read()
        if kept is not None:
            raise CommandError(
                f"no homing: the interlock has tripped: {kept.line()}; find the cause, then: pilotbench bench reset",
                ExitCode.ABORTED,
            )
        yield
    finally:
        latch.release()
