"""The SCPI instrument of one serial line or TCP connection: a row a cycle.

SCPI has no addresses, so a bus carries one instrument, with address 1. It is asked when it has something new
(`period` of its table), at most once a cycle; in between its values are GOOD up to `max_age`, then STALE. The row's
stamp is the instant of the question: the values are those of the instrument's last update, up to `update` old.

After an answer that is missing or makes no sense the next cycle resynchronises (`drivers.scpi.link`); after three the
instrument is lost and asked who it is once a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from drivers import clock
from drivers.bus.byte_streams import open_stream
from drivers.bus.transport import ByteStream
from drivers.device import (
    Command,
    DriverError,
    Identity,
    Row,
    TransportLost,
)
from drivers.family import Column
from drivers.group import SensorsOnly, age_s
from drivers.scpi.device import ScpiDevice
from drivers.scpi.link import BITS_PER_BYTE, ScpiLink

LARGEST_LOAD = 0.8


class ScpiGroup(SensorsOnly[ScpiDevice]):
    """Implements `drivers.device.Group`. Raises ValueError when the line could not carry the queries."""

    def __init__(
        self,
        name: str,
        device: ScpiDevice,
        columns: Sequence[Column],
        *,
        uri: str,
        baudrate: int,
        period_s: float,
        open_stream: Callable[[str, str, int], ByteStream] = open_stream,
    ) -> None:
        super().__init__(name, (device,), columns, period_s)
        self._device = device
        self._uri, self._baudrate, self._open_stream = uri, baudrate, open_stream
        self._serial = "tcp:" not in uri
        device.ask_twice(self._serial)
        self._stream: ByteStream | None = None
        self._link: ScpiLink | None = None
        self._since_s = 0.0
        load = self.planned_load()
        if load > LARGEST_LOAD:
            raise ValueError(
                f"{name}: the query takes {load:.0%} of its time, at most {LARGEST_LOAD:.0%} is sound"
            )

    def planned_load(self) -> float:
        """Share of the time between two queries that one of them takes."""
        model = self._device.model
        spent = model.turnaround_s
        if self._serial:
            sent, received = len(self._device.query()), self._device.answer_bytes()
            spent += (sent + received) * BITS_PER_BYTE / self._baudrate
        return spent / max(model.period_s, self._period_s)

    def open(self) -> list[Identity]:
        """Open, identify, write the settings and read them back. Raises DriverError."""
        stream = self._stream = self._open_stream(self._name, self._uri, self._baudrate)
        try:
            device = self._device
            link = ScpiLink(device.name, stream, device.model.terminator, serial=self._serial)
            self._link, self._since_s = link, clock.now()
            device.attach(link)
            identity = device.identify()
            device.prepare()
            return [identity]
        except BaseException:
            self.hush()
            raise

    def cycle(self, commands: Mapping[str, Command]) -> Row:
        """Ask when there is something new. Raises CommandRefused for any command, TransportLost."""
        for commanded in commands:
            self._no_setpoints(commanded)
        if self._link is None:
            raise TransportLost(self._name, "the line is not open")
        device, begin = self._device, clock.now()
        stamp = device.poll(begin) if begin >= device.next_poll_s else None
        now = clock.now()
        signals = [signal for _, signal in self._columns]
        stamp = 0.5 * (begin + now) if stamp is None else stamp
        return Row(
            stamp,
            [device.values[signal] for signal in signals],
            [device.quality(signal, now) for signal in signals],
            [age_s(stamp, device.sampled_s)] * len(signals),
        )

    def close(self) -> None:
        if self._link is not None:
            self._device.local()
        self.hush()

    def hush(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(DriverError):
                self._stream.close()
        self._device.detach()
        self._stream = self._link = None

    def load(self) -> float:
        elapsed = clock.now() - self._since_s
        return self._link.busy_s / elapsed if self._link is not None and elapsed > 0 else 0.0
