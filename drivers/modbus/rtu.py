"""Modbus RTU master over a serial line.

One request at a time; the time it may take follows from the baud rate, the lengths and the device's answer
time, never from a constant of seconds. Modbus RTU carries no transaction number, so the only protection
against a late answer being taken for a new one is time: input is thrown away before every request, an answer
that is complete sooner than the wire could carry it is refused, and a unit that missed its answer is not
asked again before it is certain to stay silent (`ModbusDevice.slowest_s`, kept by the group).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from drivers import clock
from drivers.bus.transport import ByteStream
from drivers.device import DriverError, ProtocolViolation, TransportTimeout
from drivers.modbus.codec import (
    EXCEPTION_BYTES,
    EXCEPTION_TEXTS,
    READS,
    echo,
    pack_adu,
    response_bytes,
    silence_s,
    unpack_adu,
)
from drivers.realtime import AwakeClock

BITS_PER_BYTE = 10.0  # 8N1
_SLICE_S = 0.005


class ModbusException(DriverError):
    """The device understood and refused; `code` says why."""

    def __init__(self, device: str, function: int, code: int) -> None:
        self.code = code
        why = EXCEPTION_TEXTS.get(code, "unknown reason")
        super().__init__(device, f"refuses function {function:#04x} — {why} (exception {code})")


@dataclass(frozen=True, slots=True)
class Answer:
    """Response PDU and the host time at which the device began to send it."""

    pdu: bytes
    begun_s: float


@dataclass(frozen=True, slots=True)
class _Frame:
    """A request on the wire, and what its answer is known to be."""

    adu: bytes
    expected: int  # bytes of the answer
    echo: bytes  # its beginning


def _frame(unit: int, request: bytes) -> _Frame:
    return _Frame(pack_adu(unit, request), response_bytes(request), echo(request))


_framed = lru_cache(maxsize=1024)(_frame)  # of requests that come again in every cycle


class RtuMaster:
    """Owns `stream`. `latency_s` is what the adapter may add (FTDI: 16 ms unless its latency timer is set to
    1 ms).

    `honest_wire=False` is for links that carry bytes faster than their baud rate says (plain ptys, serial
    over TCP).
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        latency_s: float = 0.02,
        gap_s: float | None = None,
        honest_wire: bool = True,
    ) -> None:
        self._honest_wire = honest_wire
        self.latency_s = latency_s
        self.gap_s = silence_s(stream.baudrate) if gap_s is None else gap_s
        self.busy_s = 0.0  # time the line was in use
        self._stream = stream
        self._byte_s = BITS_PER_BYTE / stream.baudrate
        self._quiet_from_s = 0.0

    def wire_s(self, count: int) -> float:
        """Time that `count` bytes take on the line."""
        return count * self._byte_s

    def ask(
        self,
        device: str,
        unit: int,
        request: bytes,
        timeout_s: float,
        counters: dict[str, int],
        retries: int = 0,
    ) -> Answer:
        """One transaction. `retries` (at most 2) repeat reads only: a write may have been carried out
        already.

        Raises TransportTimeout, ProtocolViolation (garbled answer), ModbusException, TransportLost.
        """
        attempts = 1 + (min(retries, 2) if request[0] in READS else 0)
        while True:
            attempts -= 1
            try:
                return self._transact(device, unit, request, timeout_s, counters)
            except (TransportTimeout, ProtocolViolation):
                if attempts == 0:
                    raise

    def _transact(
        self, device: str, unit: int, request: bytes, timeout_s: float, counters: dict[str, int]
    ) -> Answer:
        frame = _framed(unit, request) if request[0] in READS else _frame(unit, request)
        clock.meet(self._quiet_from_s + self.gap_s)  # the silence that separates two frames
        stray = self._stream.drain()
        begin = heard = clock.now()
        self._stream.write(frame.adu)
        # All else while the device is at work.
        counters["stray"] += stray
        deadline = begin + self.wire_s(len(frame.adu) + frame.expected) + timeout_s + self.latency_s
        sent = begin + self.wire_s(len(frame.adu)) if self._honest_wire else -math.inf
        search = _Search(unit, frame.echo, frame.expected, sent, self._byte_s)
        awake: AwakeClock | None = None  # counts from the first slice in which nothing came
        try:
            while (pdu := search.found(heard)) is None:
                now = clock.now()
                try:
                    search.buffer += self._stream.read_exactly(search.missing(), now + _SLICE_S)
                except TransportTimeout:
                    heard = clock.now()
                    awake = awake or AwakeClock(_SLICE_S, now)
                    if begin + awake.tick(heard) >= deadline:
                        raise self._failed(device, unit, search, counters) from None
                else:
                    heard = clock.now()
                    if awake is not None:
                        awake.tick(heard)
        finally:
            self._quiet_from_s = heard
            self.busy_s += heard - begin + self.gap_s
        counters["stray"] += search.skipped
        if pdu[0] & 0x80:
            counters["nak"] += 1
            raise ModbusException(device, request[0], pdu[1])
        return Answer(pdu, self._quiet_from_s - self.wire_s(len(pdu) + 3))

    def _failed(self, device: str, unit: int, search: _Search, counters: dict[str, int]) -> DriverError:
        left = self._stream.drain()
        if search.early:
            counters["crc"] += 1
            return ProtocolViolation(
                device, "answered sooner than the line can carry it", "check the baud rate in the bench file"
            )
        if search.skipped or search.buffer or left:
            counters["crc"] += 1
            return ProtocolViolation(device, "answer is garbled", "check wiring, termination and baud rate")
        counters["timeout"] += 1
        return TransportTimeout(device, f"unit {unit} does not answer", "check power, address and wiring")


class _Search:
    """Looks for the answer in what the line delivers; anything else is skipped byte by byte
    (resynchronisation).
    """

    __slots__ = (
        "_byte_s",
        "_echo",
        "_expected",
        "_function",
        "_sent_s",
        "_unit",
        "buffer",
        "early",
        "skipped",
    )

    def __init__(self, unit: int, echo: bytes, expected: int, sent_s: float, byte_s: float) -> None:
        self._unit, self._echo, self._function, self._expected = unit, echo, echo[0], expected
        self._sent_s, self._byte_s = sent_s, byte_s
        self.buffer = bytearray()
        self.skipped = self.early = 0

    def missing(self) -> int:
        """How many more bytes are needed at least."""
        return max(self._size() - len(self.buffer), 1)

    def found(self, heard_s: float) -> bytes | None:
        """The answer's PDU as soon as it is complete; the last bytes were there at `heard_s`."""
        while True:
            buffer = self.buffer
            while len(buffer) >= 2 and not (buffer[0] == self._unit and buffer[1] & 0x7F == self._function):
                self._skip(1)
            size = self._size()
            if len(buffer) < size:
                return None
            try:
                _, pdu = unpack_adu(bytes(buffer[:size]))
            except ValueError:
                self._skip(1)
                continue
            if not pdu[0] & 0x80 and not pdu.startswith(self._echo):  # of another length, or another write
                self._skip(1)
            elif heard_s < self._sent_s + 0.95 * size * self._byte_s:  # the answer to an earlier request
                self.early += 1
                self._skip(size)
            else:
                del buffer[:size]
                self.skipped += len(buffer)
                return pdu

    def _size(self) -> int:
        exception = len(self.buffer) >= 2 and self.buffer[1] & 0x80
        return EXCEPTION_BYTES if exception or len(self.buffer) < 2 else self._expected

    def _skip(self, count: int) -> None:
        del self.buffer[:count]
        self.skipped += count
