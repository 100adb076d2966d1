"""All CAN servos of one bus, whatever dialect each of them speaks: a row a cycle.

A cycle: drain what is left over → check every set-point → send what every device is to be told and asked → collect until
all have answered or the time is up. Readings of a row are taken within the cycle, one device after the other (the skew
is the time of their frames, about 0.3 ms each at 1 Mbit/s); the row's stamp is the middle between sending and the last
answer. What a device sends by itself (ODrive 0.5) counts by its age. Everything on the wire comes from the one thread
that calls `cycle`: most of these devices' watchdogs are fed by any frame, so nobody else may send one.

A device that does not answer costs the bus the rest of one cycle's time until it is lost; then it is not asked any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame, fd_wire_bits, wire_bits
from drivers.bus.transport import FrameBus
from drivers.canservo.cybergear import split_id
from drivers.canservo.mit_joint import MitJoint
from drivers.canservo.model import MoteusModel, WatchdogBy
from drivers.canservo.servo import CanServo
from drivers.device import (
    Command,
    DriverError,
    Identity,
    Row,
    TransportTimeout,
)
from drivers.family import Column
from drivers.group import CanGroup, ServosOnly, age_s
from drivers.realtime import AwakeClock

LARGEST_LOAD = 0.6
_COLLECT = 0.75
_STOP_CYCLES = 20


class CanServoGroup(ServosOnly[CanServo[Any]], CanGroup[CanServo[Any]]):
    """Implements `drivers.device.Group`. Raises ValueError when the bus could not carry the cycle, or two devices'
    identifiers overlap.
    """

    def __init__(
        self,
        name: str,
        servos: Sequence[CanServo[Any]],
        columns: Sequence[Column],
        *,
        uri: str,
        bitrate: int,
        period_s: float,
        watchdog_s: float = 0.1,
        open_bus: Callable[[str, str, int], FrameBus] = open_can,
    ) -> None:
        super().__init__(
            name, servos, columns, uri=uri, bitrate=bitrate, period_s=period_s, open_bus=open_bus
        )
        self._watchdog_s = watchdog_s
        for servo in servos:
            servo.cycle_s = period_s
        self._standard: dict[int, CanServo[Any]] = {}
        self._extended: dict[int, CanServo[Any]] = {}
        self._replies: dict[tuple[int, int], MitJoint] = {}
        self._reply_ids: frozenset[int] = frozenset()
        self._map_identifiers(servos)
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: the cycle would load the bus to {load:.0%}, at most {LARGEST_LOAD:.0%} is sound"
            )
        self._slice_s = max(5.0 * period_s, 0.01)
        self._clock = AwakeClock(self._slice_s, clock.now())

    def _map_identifiers(self, servos: Sequence[CanServo[Any]]) -> None:
        on_fd = [servo for servo in servos if isinstance(servo.model, MoteusModel)]
        classic = [servo for servo in servos if servo not in on_fd]
        if on_fd and classic:
            raise ValueError(
                f"{self._name}: {on_fd[0].name} speaks CAN FD, whose frames {classic[0].name}'s controller would destroy: "
                "give it a bus of its own"
            )
        owners: dict[tuple[bool, int], str] = {}
        for servo in servos:
            for key in servo.identifiers():
                if key in owners:
                    raise ValueError(
                        f"{self._name}: {owners[key]} and {servo.name} both use CAN identifier {key[1]:X}h"
                    )
                owners[key] = servo.name
                (self._extended if key[0] else self._standard)[key[1]] = servo
            if isinstance(servo, MitJoint):
                self._replies[servo.model.reply_id, servo.address] = servo
        self._reply_ids = frozenset(reply for reply, _ in self._replies)
        for reply in self._reply_ids:
            if (False, reply) in owners:
                raise ValueError(
                    f"{self._name}: {owners[False, reply]} uses CAN identifier {reply:X}h, to which MIT modules reply"
                )

    # ── Group ──

    def planned_load(self) -> float:
        """Share of the bus time that one cycle takes in the worst case."""
        return sum(s.cycle_bits() for s in self._members.values()) / (self._period_s * self._bitrate)

    def open(self) -> list[Identity]:
        """Open, identify, prepare, arm. Raises the DriverError of the first device that is not in order."""
        self._connect()
        try:
            return self._start()
        except BaseException:
            self.hush()
            raise

    def _start(self) -> list[Identity]:
        bus, servos = self._opened(), tuple(self._members.values())
        for servo in servos:
            servo.attach(bus, self._count, self._period_s)
        self._drain()
        identities = [servo.identify() for servo in servos]
        for servo in servos:
            servo.prepare()
        # Whose watchdog has to be seen to expire is silent for long; those that are set come last, and then the cycles.
        for servo in sorted(servos, key=lambda s: s.model.watchdog.by is not WatchdogBy.BEHAVIOUR):
            servo.arm_watchdog(self._watchdog_s)
        self._drain()
        for servo in servos:
            servo.warm_up()
        self._clock = AwakeClock(self._slice_s, clock.now())
        return identities

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """One cycle. Raises DeviceFault once for each new fault, CommandRefused, TransportLost, BusOff."""
        for device in commands:
            self._member(device)
        self._drain()
        row = self._exchange(commands)
        first = None
        for servo in self._members.values():
            first = first or servo.take_fault()
        if first is not None:
            raise first
        return row

    def _exchange(self, commands: Mapping[str, Command]) -> Row:
        bus, servos = self._opened(), self._members.values()
        begin = clock.now()
        awake = self._clock.tick(begin)
        # All set-points are checked before the first frame is sent.
        checked = [(servo, servo.checked(commands.get(servo.name))) for servo in servos]
        frames = [f for servo, command in checked for f in servo.begin_cycle(command, awake)]
        for frame in frames:
            self._send(frame)
        deadline = begin + _COLLECT * self._period_s
        last = begin
        with contextlib.suppress(TransportTimeout):
            while any(servo.waiting for servo in servos):
                frame = bus.recv(deadline)
                last = frame.stamp_s
                self._handle(frame)
        now = self._clock.tick(clock.now())
        for servo in servos:
            servo.end_cycle(now)
        values = [servo.values[signal] for servo, signal in self._columns]
        quality = [int(servo.quality(signal, now)) for servo, signal in self._columns]
        stamp = 0.5 * (begin + max(last, begin))
        instant = now - (clock.now() - stamp)  # the same on the clock of the samples
        ages = [
            0.0 if signal in servo.fresh and not servo.lost else age_s(instant, servo.sampled_s[signal])
            for servo, signal in self._columns
        ]
        return Row(stamp, values, quality, ages)

    def safe_stop(self) -> None:
        """Torque off until every device has confirmed it, bounded in time. Never raises."""
        for servo in self._members.values():
            servo.disable()
        if self._bus is None:
            return
        until = clock.now() + max(_STOP_CYCLES * self._period_s, 0.3)
        with contextlib.suppress(DriverError):
            for frame in [f for s in self._members.values() if not s.lost for f in s.torque_off()]:
                self._send(frame)
            while clock.now() < until:
                begin = clock.now()
                self._drain()
                self._exchange({})
                if not any(servo.torque_may_flow for servo in self._members.values()):
                    return
                with contextlib.suppress(
                    TransportTimeout
                ):  # a state that is told by heartbeat takes its time
                    while True:
                        self._handle(self._opened().recv(begin + self._period_s))

    def close(self) -> None:
        """Torque off, watchdogs disarmed, bus closed. Never raises."""
        if self._bus is None:
            return
        self.safe_stop()
        for servo in self._members.values():
            if not servo.lost:
                with contextlib.suppress(DriverError):
                    servo.disarm_watchdog()
        self.hush()

    def hush(self) -> None:
        """See `CanGroup.hush`."""
        super().hush()
        for servo in self._members.values():
            servo.detach()

    # ── frames ──

    def _owner(self, frame: Frame) -> CanServo[Any] | None:
        if frame.extended:
            return self._extended.get(split_id(frame.can_id)[1] & 0xFF)
        if frame.can_id in self._reply_ids and frame.data:
            return self._replies.get((frame.can_id, frame.data[0]))
        found = self._standard.get(frame.can_id)
        return None if isinstance(found, MitJoint) else found  # a module sends from the master's id only

    def _send(self, frame: Frame) -> None:
        super()._send(frame)
        self._recount(frame)

    def _recount(self, frame: Frame) -> None:
        """`CanGroup` takes every frame for a classic one."""
        if frame.fd:
            classic = wire_bits(len(frame.data), frame.extended, frame.remote)
            self._bits += fd_wire_bits(len(frame.data), frame.extended) - classic

    def _handle(self, frame: Frame) -> None:
        self._count(frame)
        self._recount(frame)
        servo = self._owner(frame)
        if servo is None or frame.remote:
            self._foreign += 1
        else:
            servo.accept(frame, self._clock.time_s)

    def _drain(self) -> None:
        bus = self._opened()
        while (frame := bus.poll()) is not None:
            self._handle(frame)
