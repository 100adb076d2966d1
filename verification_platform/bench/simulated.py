"""The built-in simulator: the whole bench in one process, on virtual time.

It keeps the timing of the real bench (one group a bus, rows on the bus's cycle, set-points ramped by the
same `Trajectory` once a cycle, blocks of the same length) and its rules (envelope, interlock), so a
procedure cannot tell it from hardware; but time passes only in `poll`, as fast as the processor can
integrate, or paced to real time on request. It implements `engine.port.BenchPort` structurally and knows
nothing of the engine.

Life: ``start`` → ``command`` / ``poll`` … → ``stop``. An interlock trip takes all torque off in the same
cycle; the rows up to it are delivered, and the next call raises BenchTrip. A trip latches.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from drivers.device import Block, Command, Mode, Quality, Setpoint
from drivers.trajectory import Trajectory

from .bodies import make_bodies
from .description import BenchDescription, BenchError, TripLimit
from .dut import Order
from .envelope import SafetyEnvelope
from .plant import BodiesLost, HarmonicBenchPlant, RigidBodies, make_plant
from .trip import BenchTrip

#: Blocks are this long, the same for every group, so that groups arrive together.
BLOCK_S = 0.1

_SIGNAL_OF_MODE = {Mode.POSITION: "position", Mode.VELOCITY: "velocity", Mode.TORQUE: "torque"}


def resolution(bench: BenchDescription, channel: str) -> float:
    """One digit of a channel as an emulated device would deliver it, SI (never 0).

    27 bits a turn for a bench encoder, 20 for a motor encoder; 20 000 digits a side for torque.
    """
    record = bench.channel[channel]
    if record.signal == "position":
        return float(2 * np.pi / 2 ** (27 if "27bit" in bench.device[record.device].model else 20))
    if record.signal == "velocity":
        return 1e-3
    if record.signal == "torque":
        return record.range / 20_000 if record.range else 0.01
    return 0.01


class _Group:
    """Rows of one bus, gathered into blocks."""

    __slots__ = (
        "_digits",
        "_first_row",
        "_readers",
        "_rows",
        "_sequence",
        "_watches",
        "channels",
        "cycle_steps",
        "name",
    )

    def __init__(
        self,
        name: str,
        cycle_steps: int,
        readers: Mapping[str, Callable[[], float]],
        digits: Sequence[float],
        limits: Sequence[TripLimit],
    ) -> None:
        self.name, self.cycle_steps = name, cycle_steps
        self.channels = tuple(readers)
        self._readers, self._digits = tuple(readers.values()), tuple(digits)
        self._watches = [
            (self.channels.index(limit.channel), limit) for limit in limits if limit.channel in readers
        ]
        self._rows: list[tuple[float, list[float]]] = []
        self._sequence = self._first_row = 0

    def cycle(self, stamp_s: float) -> str:
        """Latch one row; returns the reason for a trip, or an empty string."""
        row = [round(read() / digit) * digit for read, digit in zip(self._readers, self._digits, strict=True)]
        self._rows.append((stamp_s, row))
        for column, limit in self._watches:
            value = row[column]
            if (limit.high is not None and value > limit.high) or (
                limit.low is not None and value < limit.low
            ):
                bound = limit.high if limit.high is not None and value > limit.high else limit.low
                return (
                    f"interlock: {limit.channel} {value:.6g} is beyond its limit {bound:.6g} — torque is off"
                )
        return ""

    def take_block(self) -> Block | None:
        """All rows since the last block, or None."""
        rows, self._rows = self._rows, []
        if not rows:
            return None
        block = Block(
            group=self.name,
            sequence=self._sequence,
            first_row=self._first_row,
            channels=self.channels,
            stamps_s=np.array([stamp for stamp, _ in rows]),
            values=np.array([values for _, values in rows]),
            quality=np.full((len(rows), len(self.channels)), Quality.GOOD, dtype=np.uint8),
        )
        self._sequence += 1
        self._first_row += len(rows)
        return block


class SimulatedBench:
    """`engine.port.BenchPort` on the built-in plant.

    `clock` "virtual" runs as fast as it can from `start_s` on (a resumed run goes on in time); "real" paces
    to the host's monotonic clock and stamps with it. `on_mark` and `on_prompt` receive what goes to the
    recording and to the technician; an unanswered prompt is confirmed, because there is nobody to move
    anything. Raises BenchError for a bench the plant cannot stand in for.
    """

    def __init__(
        self,
        bench: BenchDescription,
        order: Order,
        seed: int,
        clock: Literal["virtual", "real"] = "virtual",
        *,
        start_s: float = 0.0,
        on_mark: Callable[[Any], None] | None = None,
        on_prompt: Callable[[str, str, str], bool] | None = None,
    ) -> None:
        self.bench, self.order = bench, order
        self.envelope = SafetyEnvelope.from_bench(bench, order)
        self._resources = contextlib.ExitStack()
        self.plant: HarmonicBenchPlant = make_plant(bench, order, seed, self._bodies())
        self._real = clock == "real"
        self._on_mark, self._on_prompt = on_mark, on_prompt
        self._trajectories: dict[str, Trajectory] = {}
        self._tick = 0
        self._t0_s = start_s
        self._reason = ""
        self._open = False
        cycles = {
            name: bus.cycle
            for name, bus in bench.bus.items()
            if bench.channels_on(name) or bench.actuators_on(name)
        }
        self._tick_s = min(cycles.values())
        self._groups = []
        for name, cycle in cycles.items():
            every = round(cycle / self._tick_s)
            if abs(every * self._tick_s - cycle) > 1e-9:
                raise BenchError(
                    f"bench {bench.bench.id}: cycle of bus {name} must be a multiple of {self._tick_s} s"
                )
            channels = bench.channels_on(name)
            readers = {
                channel: self.plant.reader(record.device, record.signal)
                for channel, record in channels.items()
            }
            digits = [resolution(bench, channel) for channel in channels]
            self._groups.append(_Group(name, every, readers, digits, self.envelope.trip_limits()))
        self._block_ticks = max(1, round(BLOCK_S / self._tick_s))
        self._command_ticks = {
            role: round(bench.bus[bench.device[record.device].bus].cycle / self._tick_s)
            for role, record in bench.actuator.items()
        }

    def now_s(self) -> float:
        """Bench time: virtual seconds, or the host's monotonic clock."""
        return self._t0_s + self._tick * self._tick_s

    def start(self) -> None:
        """Arm; the torque is off. The interlock is part of this object, so there is no other to test.

        Raises BenchTrip after a trip, which only a new bench forgets.
        """
        self._raise_if_tripped()
        if self._real and not self._open:
            self._t0_s = time.monotonic() - self._tick * self._tick_s
        self._open = True

    def command(self, role: str, setpoint: Setpoint) -> None:
        """Send `role` towards `setpoint`. Raises EnvelopeError (a CommandRefused) and BenchTrip."""
        self._raise_unless_running()
        self.envelope.check(role, setpoint)
        record = self.bench.actuator[role]
        before = self._trajectories.get(role)
        if before is not None and before.mode is setpoint.mode:
            start = before.value(self.now_s())
        else:  # from rest or from another mode: from where the shaft is now
            start = self.plant.read(record.device, _SIGNAL_OF_MODE[setpoint.mode])
        self._trajectories[role] = Trajectory(start, setpoint, self.now_s(), record.max_rate.velocity)

    def rest(self, role: str) -> None:
        """Torque off on `role`."""
        self._trajectories.pop(role, None)
        self.plant.command(self.bench.actuator[role].device, None)

    def position(self, role: str) -> float:
        """Commanded position while `role` is position controlled, else the measured one, rad."""
        trajectory = self._trajectories.get(role)
        if trajectory is not None and trajectory.mode is Mode.POSITION:
            return trajectory.value(self.now_s())
        return self.plant.read(self.bench.actuator[role].device, "position")

    def moving(self, role: str) -> bool:
        """Whether the set-point of `role` is still on its way; what is left within one cycle does not count."""
        trajectory = self._trajectories.get(role)
        return trajectory is not None and not trajectory.finished(self.now_s() + self._tick_s)

    def poll(self, timeout_s: float) -> Sequence[Block]:
        """Let at most `timeout_s` pass (but one cycle at least), less when blocks arrive.

        Raises BenchTrip after a trip.
        """
        self._raise_unless_running()
        last = self._tick + max(1, int(timeout_s / self._tick_s + 1e-6))
        while self._tick < last:
            self._advance_one_tick()
            if self._reason or self._tick % self._block_ticks == 0:
                break
        if self._real:
            delay = self.now_s() - time.monotonic()
            if delay > 0:
                time.sleep(delay)
        if self._reason or self._tick % self._block_ticks == 0:
            return [block for group in self._groups if (block := group.take_block()) is not None]
        return []

    def mark(self, mark: Any) -> None:
        """Pass a segment mark to the recording."""
        if self._on_mark is not None:
            self._on_mark(mark)

    def prompt(self, key: str, zh: str, en: str) -> None:
        """Ask the technician. Raises BenchTrip when refused."""
        if self._on_prompt is not None and not self._on_prompt(key, zh, en):
            raise BenchTrip(f"the technician refused {key!r}: {en}", safety=False)

    def stop(self) -> None:
        """Torque off everywhere. Idempotent; never raises."""
        self._torque_off()
        self._open = False

    def close(self) -> None:
        """Let go of the plant, and of the engine that turns its bodies. Idempotent."""
        self._resources.close()

    #
    def _bodies(self) -> RigidBodies | None:
        if self.bench.bodies.engine == "built-in":
            return None
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="pilotbench-"))
        try:
            bodies = make_bodies(self.bench, Path(folder))
        except BenchError:
            self.close()
            raise
        if bodies is not None:
            self._resources.callback(bodies.close)
        return bodies

    def _raise_if_tripped(self) -> None:
        if self._reason:
            raise BenchTrip(self._reason)

    def _raise_unless_running(self) -> None:
        self._raise_if_tripped()
        if not self._open:
            raise BenchTrip("the simulated bench is not started; call start first", safety=False)

    def _torque_off(self) -> None:
        for role in self.bench.actuator:
            self.rest(role)

    def _advance_one_tick(self) -> None:
        """One cycle of the fastest bus: latch what is due, then send the set-points for the time to come."""
        tick = self._tick = self._tick + 1
        try:
            self.plant.advance(tick * self._tick_s)
        except BodiesLost as error:
            self._reason = f"the bench's bodies are gone: {error}"
            raise BenchTrip(self._reason, safety=False) from None
        stamp = self.now_s()
        for group in self._groups:
            if tick % group.cycle_steps == 0:
                reason = group.cycle(stamp)
                if reason and not self._reason:
                    self._reason = reason
                    self._torque_off()
        for role, trajectory in self._trajectories.items():
            if tick % self._command_ticks[role] == 0:
                self.plant.command(
                    self.bench.actuator[role].device, Command(trajectory.mode, trajectory.value(stamp))
                )
