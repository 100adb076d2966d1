"""All DBC sensors of one CAN bus: they send by themselves, a row a cycle says what was heard last.

A row's stamp is the instant at which the queue was emptied; each of its values was heard at most `max_age` of its message
before, or is STALE. Nothing is ever sent. Values are *not* latched together: their skew is up to the period of
their messages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from drivers import clock
from drivers.bus.can_bus import open_can
from drivers.bus.frame import Frame, wire_bits
from drivers.bus.transport import FrameBus
from drivers.dbc.device import DbcSensor
from drivers.dbc.model import SensorMessage
from drivers.device import (
    Command,
    Identity,
    Row,
    TransportTimeout,
)
from drivers.family import Column
from drivers.group import CanGroup, SensorsOnly, age_s
from drivers.realtime import AwakeClock

LARGEST_LOAD = 0.6
#: At start a message is waited for so many of its periods, and never less than this.
_START_PERIODS, _START_S = 3.0, 0.25
_SLICE_S = 0.02


class DbcGroup(SensorsOnly[DbcSensor], CanGroup[DbcSensor]):
    """Implements `drivers.device.Group`. Raises ValueError for identifiers that collide and a bus that is too busy."""

    def __init__(
        self,
        name: str,
        sensors: Sequence[DbcSensor],
        columns: Sequence[Column],
        *,
        uri: str,
        bitrate: int,
        period_s: float,
        open_bus: Callable[[str, str, int], FrameBus] = open_can,
    ) -> None:
        CanGroup.__init__(
            self, name, sensors, columns, uri=uri, bitrate=bitrate, period_s=period_s, open_bus=open_bus
        )
        self._listeners: dict[tuple[int, bool], tuple[DbcSensor, SensorMessage]] = {}
        for sensor in sensors:
            for message in sensor.model.messages:
                key = (sensor.model.identifier(message, sensor.address), message.extended)
                if key in self._listeners:
                    other = self._listeners[key][0].name
                    raise ValueError(f"{name}: {sensor.name} and {other} both send identifier {key[0]:X}h")
                if not 0 <= key[0] <= (0x1FFF_FFFF if message.extended else 0x7FF):
                    raise ValueError(f"{name}: address {sensor.address} of {sensor.name} has no identifiers")
                self._listeners[key] = (sensor, message)
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: its sensors load the bus to {load:.0%}, at most {LARGEST_LOAD:.0%} is sound"
            )

    def planned_load(self) -> float:
        """Share of the bus time that the sensors take in the worst case."""
        bits = sum(wire_bits(m.size, m.extended) / m.period_s for _, m in self._listeners.values())
        return bits / self._bitrate

    def open(self) -> list[Identity]:
        """Open, and wait until everybody was heard. Raises TransportTimeout, IdentityMismatch, TransportLost, BusOff."""
        self._connect()
        try:
            for sensor in self._members.values():
                sensor.attach()
            self._hear_everybody()
            return [sensor.identify() for sensor in self._members.values()]
        except BaseException:
            self.hush()
            raise

    def _hear_everybody(self) -> None:
        """Counts on a clock without the gaps in which this process itself did not run."""
        awake = AwakeClock(_SLICE_S, clock.now())
        while missing := [(s, m) for s in self._members.values() for m in s.missing()]:
            with contextlib.suppress(TransportTimeout):
                self._take(self._opened().recv(clock.now() + _SLICE_S))
            waited = awake.tick(clock.now())
            for sensor, message in missing:
                if waited > max(_START_PERIODS * message.period_s, _START_S):
                    identifier = sensor.model.identifier(message, sensor.address)
                    raise TransportTimeout(
                        sensor.name,
                        f"message {message.name} ({identifier:X}h) was not heard for {waited:.2g} s, it is due "
                        f"every {message.period_s:g} s",
                        "check power, address and bit rate",
                    )

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """What was heard up to now. Raises CommandRefused for any command, TransportLost, BusOff."""
        for commanded in commands:
            self._no_setpoints(commanded)
        bus = self._opened()
        while (frame := bus.poll()) is not None:
            self._take(frame)
        now = clock.now()
        for sensor in self._members.values():
            sensor.watch(now)
        values = [sensor.values[signal] for sensor, signal in self._columns]
        quality = [sensor.quality(signal, now) for sensor, signal in self._columns]
        return Row(now, values, quality, [age_s(now, sensor.heard_s[s]) for sensor, s in self._columns])

    def _take(self, frame: Frame) -> None:
        self._count(frame)
        listener = self._listeners.get((frame.can_id, frame.extended))
        if listener is None:
            self._foreign += 1
        else:
            listener[0].accept(listener[1], frame)

    def close(self) -> None:
        """There is nothing to put in order."""
        self.hush()
