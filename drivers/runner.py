"""The one thread that owns a bus: absolute deadlines, ramps, lease, trip.

Its life::

    runner = BusRunner(group, on_block, block_rows=10, lease_s=0.08, guard=interlock_says)
    runner.start()                        # opens the group; raises what is not in order
    runner.command("AX1", Setpoint(Mode.VELOCITY, 3.0, 10.0), acceleration=500.0)
    while …: runner.renew_lease()         # whoever commands must keep saying so
    runner.stop()                         # torque off, bus closed

Before anything moves, `rehearse` switches the drives on with nothing to do, and what would be a trip ends the rehearsal by
the same way: so the interlock measures how long it takes until the drives themselves say "off".

Safety, in the order in which it acts: `guard` is asked in every cycle and a reason means torque off at once;
a lease that is not renewed while torque is on means torque off and then silence, so that the drives' own
watchdogs act as well; a device fault or a refused set-point means torque off; a lost wire means that nothing
can be sent, and the drives' watchdogs do it. The first reason is kept in `failure`. After a trip without loss
of the wire the cycles go on without torque, so that the recording shows the machine coming to rest.

A cycle that is late begins late or is skipped, as `drivers.schedule` says, and is never made up for by a burst: the stamps
show it and `missed` counts what was skipped, which stretches a ramp and never makes a step (`drivers.axes`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from enum import Enum

from drivers import clock
from drivers.axes import Axes
from drivers.delivery import Delivery
from drivers.device import (
    Block,
    BusOff,
    Command,
    CommandRefused,
    CycleStatistics,
    DeviceState,
    DriverError,
    Group,
    Identity,
    Mode,
    Row,
    Setpoint,
    TransportLost,
)
from drivers.enabling import check_setpoint
from drivers.permit import Permit
from drivers.requests import Requests
from drivers.timekeeper import Timekeeper

log = logging.getLogger(__name__)

PRIORITY = 40


class RunnerState(Enum):
    NEW = "new"
    RUNNING = "running"
    TRIPPED = "tripped"  # torque off, still reading
    LOST = "lost"  # the wire is gone, or the runner fell silent on purpose
    STOPPED = "stopped"


class BusRunner:
    """Runs `group` at its period and hands blocks of `block_rows` rows to `on_block` (on a thread of its
    own).

    `lease_s`: torque stays on only while `renew_lease` (or `command`) is called at least so often.
    `guard`: called in every cycle from the bus thread; returns a reason to trip, or None. Must not block.
    `on_change`: called from the bus thread when there is a failure, or a rehearsal has come to where it waits. Must not
    block. `urgent`: asked for every row, whether its block is to be handed on at once. Must not block either.
    `priority`, `processor`: of the bus thread (`drivers.realtime.keep_time`).
    """

    def __init__(
        self,
        group: Group,
        on_block: Callable[[Block], None],
        *,
        block_rows: int,
        lease_s: float,
        guard: Callable[[], str | None] | None = None,
        on_change: Callable[[], None] = lambda: None,
        urgent: Callable[[Row], bool] = lambda _: False,
        priority: int = PRIORITY,
        processor: int | None = None,
    ) -> None:
        if block_rows < 1:
            raise ValueError("block_rows must be at least 1")
        self.group = group
        self.identities: Sequence[Identity] = ()
        self.state = RunnerState.NEW
        self.failure: str | None = None
        #: The failure is that the wire, or a device on it, is gone: what was measured has a hole.
        self.lost = False
        self.warning: str | None = None
        self._on_change = on_change
        self._rehearsing = False
        #: Every device of the rehearsal is on.
        self.rehearsed = False
        self._permit = Permit(guard, lease_s, max(5.0 * group.period_s, 0.01), clock.now())
        self._priority, self._processor = priority, processor
        self._axes = Axes()
        self._powered: set[str] = set()  # whatever has been asked to switch on
        self._requests = Requests(group.name)
        self._stopping = threading.Event()
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, name=f"bus-{group.name}", daemon=True)
        self._delivery = Delivery(
            group.name, group.channels, block_rows, on_block, urgent=urgent, trip=self.trip
        )
        self._time = Timekeeper(group.name, group.period_s)

    # ── any thread ──

    def start(self, timeout_s: float = 30.0) -> Sequence[Identity]:
        """Open the group and begin to cycle. Raises the DriverError that `open` met."""
        self._delivery.thread.start()
        self._thread.start()
        self._opened.result(timeout_s)
        return self.identities

    def stop(self, timeout_s: float = 5.0) -> None:
        """Torque off, orderly end, last block delivered. Idempotent."""
        self._stopping.set()
        for thread in (self._thread, self._delivery.thread):
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(timeout_s)
        if self.state in (RunnerState.NEW, RunnerState.RUNNING, RunnerState.TRIPPED):
            self.state = RunnerState.STOPPED

    def command(self, device: str, setpoint: Setpoint, acceleration: float, timeout_s: float = 1.0) -> None:
        """Go to `setpoint`, enabling the device first if need be; replaces what it was doing, without a bump.

        Returns once the bus thread has accepted it. Raises CommandRefused, WatchdogRefused.
        """
        self.renew_lease()
        self._ask(lambda: self._accept(device, setpoint, acceleration), timeout_s)

    def rest(self, device: str, timeout_s: float = 1.0) -> None:
        """Torque off on one device."""
        self._ask(lambda: self._rest(device), timeout_s)

    def rehearse(self, setpoints: Mapping[str, Setpoint], acceleration: float) -> None:
        """Switch devices on with set-points that move nothing; `rehearsed` says when all are. Ended by the guard.

        Returns at once; what the devices refuse becomes the failure.
        """
        self.renew_lease()
        self._requests.leave(lambda: self._begin_rehearsal(setpoints, acceleration))

    @property
    def torque(self) -> bool:
        """Whether torque may flow: something is commanded, or a device says that it is on. False when nobody can tell."""
        if self.state not in (RunnerState.RUNNING, RunnerState.TRIPPED):
            return False
        return bool(self._axes) or any(
            self.group.state(device) is DeviceState.ENABLED for device in tuple(self._powered)
        )

    def renew_lease(self) -> None:
        self._permit.renew()

    def trip(self, reason: str) -> None:
        """Torque off on every device with the next cycle; latched. The first reason is kept."""
        self._permit.trip(reason)

    def commanded(self, device: str) -> Command | None:
        """The set-point last sent to a device; None while it has none."""
        return self._axes.commanded(device)

    def moving(self, device: str) -> bool:
        """Whether a device's set-point has not reached its target yet. Ramps count cycles, so the clock cannot tell."""
        return self._axes.moving(device)

    def device_state(self, device: str) -> DeviceState:
        return self.group.state(device)

    def measured(self, device: str, mode: Mode) -> float:
        return self.group.measured(device, mode)

    def statistics(self) -> CycleStatistics:
        return replace(
            self._time.statistics(),
            bus_load=self.group.load(),
            warning=self.warning or "",
            counters=self.group.counters(),
        )

    def _ask(self, action: Callable[[], None], timeout_s: float) -> None:
        if self.state not in (RunnerState.RUNNING, RunnerState.TRIPPED):
            raise CommandRefused(
                self.group.name, f"the bus does not run ({self.failure or self.state.value})"
            )
        self._requests.ask(action, timeout_s)

    # ── the bus thread ──

    def _live(self) -> None:
        with clock.seat():
            self._cycle_until_told()

    def _cycle_until_told(self) -> None:
        try:
            self._begin()
        except BaseException as error:  # noqa: BLE001 - handed to whoever called start()
            self.state, self.failure = RunnerState.LOST, str(error)
            self._delivery.end()
            self._opened.set_exception(error)
            return
        try:
            self._run()
        except (TransportLost, BusOff) as error:
            self.lost = self.failure is None
            self._fail(str(error))
            self.state = RunnerState.LOST
        except Exception as error:
            log.exception("bus %s: the cycle failed", self.group.name)
            self._fail(f"{self.group.name}: internal error {error!r}")
            self.state = RunnerState.LOST
        finally:
            self._end()

    def _begin(self) -> None:
        self.warning = self._time.claim(self._priority, self._processor)
        self.identities = tuple(self.group.open())
        self._time.start()
        self.state = RunnerState.RUNNING
        self._opened.set_result(None)

    def _end(self) -> None:
        """Torque off as far as the wire allows, everybody who waits is answered, the data is delivered."""
        steps = (
            (self.group.safe_stop, self.group.hush) if self.state is RunnerState.LOST else (self.group.close,)
        )
        for step in steps:
            try:
                step()
            except Exception as error:  # they never raise; but a mistake in one must not keep back the rest
                log.exception("bus %s: the end failed", self.group.name)
                self._fail(f"{self.group.name}: internal error {error!r}")
                self.state = RunnerState.LOST
        if self.state is not RunnerState.LOST:
            self.state = RunnerState.STOPPED
        self._axes.clear()
        self._requests.refuse(self.failure or "the bus has stopped")
        self._delivery.end()

    def _run(self) -> None:
        while not self._stopping.is_set():
            now = self._time.await_cycle()
            self._requests.serve()
            self._permit.tick(now)
            self._watch()
            if self.state is RunnerState.LOST:
                return
            self._cycle()

    def _cycle(self) -> None:
        commands = self._axes.advance(self.group)
        try:
            row = self.group.cycle(commands)
        except (TransportLost, BusOff):
            raise
        except DriverError as error:
            self.lost = self.failure is None and self._gone(error.device)
            self._torque_off(str(error))
            return
        self._delivery.store(row)
        if self._rehearsing and not self.rehearsed and len(commands) == len(self._axes):
            self.rehearsed = True
            self._on_change()

    def _gone(self, device: str) -> bool:
        try:
            return self.group.state(device) is DeviceState.LOST
        except DriverError:  # of the bus, not of a device
            return False

    def _watch(self) -> None:
        """Reasons to take the torque off."""
        if self.state is not RunnerState.RUNNING:
            return
        if self._permit.tripped is not None:
            self._torque_off(self._permit.tripped)
        elif self._axes:
            reason = self._permit.objection()
            if reason is not None:
                if self._rehearsing:
                    self._end_rehearsal()
                else:
                    self._torque_off(reason)
            elif self._permit.lapsed:
                lease_s = self._permit.lease_s
                self._torque_off(f"{self.group.name}: set-point lease of {lease_s:g} s not renewed")
                self.state = RunnerState.LOST  # and fall silent: `_end` closes the bus without another word

    def _torque_off(self, reason: str) -> None:
        """First this bus, by its own means, and everybody else told meanwhile."""
        self._axes.clear()
        self._rehearsing = False
        first, self.failure = self.failure is None, self.failure or reason
        self._permit.trip(self.failure)
        self._on_change()
        self.group.safe_stop()
        self.state = RunnerState.TRIPPED
        self._on_change()
        if first:
            log.error("bus %s: %s", self.group.name, reason)

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self._on_change()
            log.error("bus %s: %s", self.group.name, reason)

    def _begin_rehearsal(self, setpoints: Mapping[str, Setpoint], acceleration: float) -> None:
        self.rehearsed = False
        try:
            for device, setpoint in setpoints.items():
                self._accept(device, setpoint, acceleration)
        except DriverError as error:
            self._torque_off(str(error))
        else:
            self._rehearsing = True

    def _end_rehearsal(self) -> None:
        """As a trip does it, but nothing has failed."""
        self._axes.clear()
        self.group.safe_stop()
        self._rehearsing = self.rehearsed = False
        self._on_change()

    def _accept(self, device: str, setpoint: Setpoint, acceleration: float) -> None:
        self._permit.check(device)
        check_setpoint(self.group, device, setpoint, acceleration)
        self._rehearsing = False
        self._powered.add(device)
        self.group.enable(device, setpoint.mode)
        self._axes.tell(device, setpoint, acceleration)

    def _rest(self, device: str) -> None:
        self._axes.pop(device, None)
        self.group.disable(device)
