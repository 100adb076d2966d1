"""`pilotbench bench home`: let a drive find its own zero. The one command besides a run that moves something, so it is refused
wherever a run would be: while a key of the cell is held, while an interlock (hence a graph, perhaps a run) has the bench, after a
trip that nobody has reset, on an emergency stop that is pressed.

One thread owns the bus, as in a run; the drive's own watchdog stands, and the torque is off before and after.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from drivers import clock
from drivers.device import DriverError, Group, Homes, Mode, Quality, Row
from drivers.realtime import claim_realtime
from drivers.runner import PRIORITY
from verification_platform.bench.description import BenchDescription, load_bench
from verification_platform.bench.devices import check_devices, group_for
from verification_platform.bench.latch import LatchError, TripLatch
from verification_platform.bench.lockout import Lockout
from verification_platform.bench.wires import connected

from .demo import DEMO_DUT
from .errors import CommandError, ExitCode

_CLOSED = 0.5


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
        position = _Homing(wired, group, device).run()
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


@dataclass(slots=True)
class _Homing:
    """The thread that owns the bus, and why it must stop."""

    bench: BenchDescription
    group: Group
    device: str
    position: float = math.nan
    error: BaseException | None = None
    reason: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> float:
        """Where the shaft then is, rad. Raises CommandError."""
        thread = threading.Thread(target=self._own, name=f"bus-{self.group.name}")
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            self._stopped.set()  # the owner itself takes the torque off
            thread.join()
        if self.error is None:
            return self.position
        if not isinstance(self.error, DriverError):
            raise self.error
        raise CommandError(str(self.error), ExitCode.ABORTED if self.reason else ExitCode.INVALID) from None

    def _own(self) -> None:
        claim_realtime(PRIORITY)
        assert isinstance(self.group, Homes)
        try:
            with clock.seat():
                self.group.open()
                try:
                    self.group.home(self.device, self._forbidden(Lockout.of(self.bench.bench.id)))
                    self.group.cycle({})
                    self.position = self.group.measured(self.device, Mode.POSITION)
                finally:
                    self.group.close()
        except BaseException as error:  # noqa: BLE001 - handed to whoever called `run`
            self.error = error

    def _forbidden(self, lockout: Lockout) -> Callable[[Row], str | None]:
        """Asked in every cycle."""
        columns = {
            name: at for at, name in enumerate(self.group.channels) if name in self.bench.interlock.estop
        }

        def why(row: Row) -> str | None:
            pressed = [
                name
                for name, at in columns.items()
                if row.quality[at] == Quality.GOOD and row.values[at] < _CLOSED
            ]
            if pressed:
                self.reason = f"emergency stop: {pressed[0]} is pressed, or its wire is broken"
            elif self._stopped.is_set():
                self.reason = "stopped by the user"
            else:
                self.reason = lockout.refusal()
            return self.reason or None

        return why
