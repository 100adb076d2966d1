"""Dynamixel master over a serial line: one request at a time, and answers whose time is known.

How long an answer may take follows from baud rate, lengths, the device's return delay and what the adapter adds, never from a
constant; the wait is in the kernel, but for the last moment. Protocol 2.0 has no transaction numbers. Against an earlier answer
that is taken for a new one: input is thrown away before every request, an answer that is complete sooner than the wire
can carry it is refused, and behind both stand the device's own clock (`telemetry`) and a ping after every miss (`group`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from drivers import clock
from drivers.bus.transport import ByteStream
from drivers.device import DriverError, ProtocolViolation, TransportTimeout
from drivers.dynamixel.codec import (
    BROADCAST,
    REFUSAL_TEXTS,
    STATUS_BYTES,
    Instruction,
    Status,
    fast_bytes,
    unpack_fast,
    unpack_status,
)
from drivers.dynamixel.framing import Splitter

BITS_PER_BYTE = 10.0  # 8N1
#: What adapter, kernel and this process may add to an answer when the adapter's latency timer is 1 ms or there is none.
LATENCY_S = 0.002
_LONGEST = 1024
_COMPLETE = 0.95


class Refused(DriverError):
    """The device understood and refused; `number` says why."""

    def __init__(self, device: str, number: int) -> None:
        self.number = number
        super().__init__(device, f"refuses — {REFUSAL_TEXTS.get(number, 'unknown reason')} (error {number})")


def adapter_latency_s(uri: str, sysfs: Path = Path("/sys/class/tty")) -> float:
    """For how long the adapter behind ``serial:PATH`` may hold bytes back (FTDI: 16 ms ex works), and our own part."""
    path = uri.rpartition("|")[2].partition(":")[2].partition("@")[0]  # record:FILE|serial:PATH@BAUD
    timer = sysfs / Path(path).resolve().name / "device" / "latency_timer"
    try:
        return max(1e-3 * int(timer.read_text()) + 1e-3, LATENCY_S)
    except (OSError, ValueError):
        return LATENCY_S


class DynamixelMaster:
    """Owns `stream`. `honest_wire=False` is for links that carry bytes faster than their baud rate says."""

    def __init__(self, stream: ByteStream, *, latency_s: float = LATENCY_S, honest_wire: bool = True) -> None:
        self.latency_s = latency_s
        self.busy_s = 0.0  # time the line was in use
        self.stray = self.early = 0
        self.garbled = False  # in the last transaction something came that was no answer
        self.instant_s = 0.0  # when the last request had arrived at the devices
        self._stream, self._honest_wire = stream, honest_wire
        self._byte_s = BITS_PER_BYTE / stream.baudrate

    def wire_s(self, count: int) -> float:
        return count * self._byte_s

    def send(self, packets: bytes) -> None:
        """Instructions that nobody answers."""
        self._stream.write(packets)
        self.busy_s += self.wire_s(len(packets))

    def ask(
        self, device: str, number: int, request: bytes, size: int, delay_s: float, counters: dict[str, int]
    ) -> Status:
        """One transaction with the device of id `number`, which answers with `size` bytes; never repeated.

        Raises TransportTimeout, ProtocolViolation (garbled answer), Refused, TransportLost.
        """
        found = self.gather(request, [(number, size)], delay_s)
        if number in found:
            status = found[number]
            if status.refusal:
                counters["nak"] += 1
                raise Refused(device, status.refusal)
            return status
        if self.garbled:
            counters["crc"] += 1
            raise ProtocolViolation(
                device,
                "answer is garbled",
                "check wiring, termination, baud rate, and for two devices with one id",
            )
        counters["timeout"] += 1
        raise TransportTimeout(
            device, f"id {number} does not answer", "check power, id, baud rate and wiring"
        )

    def gather(
        self, request: bytes, wanted: Sequence[tuple[int, int]], delay_s: float, *, fast: bool = False
    ) -> dict[int, Status]:
        """Send `request` and collect the statuses of `wanted` (id, data bytes), which answer in this order.

        Ends with the last of them, or when it has been silent for longer than one may be: behind a device that does not
        answer the others are silent. `garbled` says afterwards whether something came that was no answer.
        """
        self.stray += self._stream.drain()
        begin_s = clock.now()
        self._stream.write(request)
        self.instant_s = begin_s + self.wire_s(len(request))
        try:
            return (self._gather_fast if fast else self._gather)(wanted, delay_s)
        finally:
            self.busy_s += clock.now() - begin_s

    def _gather(self, wanted: Sequence[tuple[int, int]], delay_s: float) -> dict[int, Status]:
        splitter, sizes = Splitter(_LONGEST), dict(wanted)
        found: dict[int, Status] = {}
        longest, last = STATUS_BYTES + max(sizes.values()), wanted[-1][0]
        within_s = delay_s + self.wire_s(longest)
        due_s = self._due_s(within_s)
        sent = 0  # bytes that the line must have carried
        while last not in found:
            raw = self._packet(splitter, longest, due_s)
            if raw is None:
                break
            status = _status_of(raw, sizes)
            if status is not None and status.id not in found and not self._early(sent + len(raw)):
                found[status.id] = status
                sent += len(raw)
                due_s = self._due_s(within_s)
                continue
            splitter.skipped += len(raw)
            if clock.now() >= due_s:
                break
        splitter.clear()
        self.stray += splitter.skipped
        self.garbled = splitter.skipped > 0
        return found

    def _early(self, count: int) -> bool:
        """Whether so many bytes of answer have come sooner than the line can carry them: of an earlier request."""
        early = self._honest_wire and clock.now() < self.instant_s + _COMPLETE * self.wire_s(count)
        self.early += early
        return early

    def _due_s(self, within_s: float) -> float:
        return max(self.instant_s, clock.now()) + within_s + self.latency_s

    def _packet(
        self, splitter: Splitter, expected: int, due_s: float, *, partial: bool = False
    ) -> bytes | None:
        """The next packet, or None at `due_s`. With `partial`, what has come of one by then stays in `splitter`."""
        while (raw := splitter.next()) is None:
            over = False
            try:
                splitter.feed(self._stream.read_exactly(splitter.missing(expected), due_s))
            except TransportTimeout:
                over = True
            if over or clock.now() >= due_s:  # somebody may be talking without end
                splitter.feed(self._rest())
                return splitter.next(final=not partial)
        return raw

    def _gather_fast(self, wanted: Sequence[tuple[int, int]], delay_s: float) -> dict[int, Status]:
        total = fast_bytes(size for _, size in wanted)
        due_s = self._due_s(delay_s + self.wire_s(total))
        splitter = Splitter(_LONGEST)
        answer = b""
        try:
            answer = self._stream.read_exactly(total, due_s)
        except TransportTimeout:
            splitter.feed(self._rest())
        statuses = unpack_fast(answer, wanted)
        if len(statuses) < len(wanted):
            splitter.feed(answer)
            answer = self._fast_among_others(splitter, total, due_s)
            statuses = unpack_fast(answer, wanted)
        if self._early(len(answer)):
            statuses = []
        splitter.clear()
        self.stray += splitter.skipped
        self.garbled = len(statuses) < len(wanted) and len(answer) + splitter.skipped > 0
        return {status.id: status for status in statuses}

    def _fast_among_others(self, splitter: Splitter, total: int, due_s: float) -> bytes:
        """A fast answer behind what does not belong to it, or what has come of one."""
        raw = self._packet(splitter, total, due_s, partial=True)
        while raw is not None and raw[4] != BROADCAST and clock.now() < due_s:
            splitter.skipped += len(raw)
            raw = self._packet(splitter, total, due_s, partial=True)
        return splitter.pending if raw is None else raw

    def _rest(self) -> bytes:
        """What has come and is too short for what was waited for."""
        found = bytearray()
        try:
            while len(found) < _LONGEST:
                found += self._stream.read_exactly(1, 0.0)
        except TransportTimeout:
            return bytes(found)
        return bytes(found)

    def broadcast_ping(self, request: bytes, window_s: float) -> tuple[list[Status], int]:
        """Everybody who answers within `window_s`, and how many bytes belonged to no answer."""
        self.stray += self._stream.drain()
        self._stream.write(request)
        until_s, splitter, found = clock.now() + window_s, Splitter(_LONGEST), list[Status]()
        while True:
            try:
                splitter.feed(self._stream.read_exactly(splitter.missing(STATUS_BYTES + 3), until_s))
            except TransportTimeout:
                splitter.feed(self._rest())
            over = clock.now() >= until_s
            while (raw := splitter.next(final=over)) is not None:
                if raw[7] == Instruction.STATUS and len(raw) == STATUS_BYTES + 3:
                    found.append(unpack_status(raw, verified=True))
            if over:
                return found, splitter.skipped + splitter.clear()


def _status_of(raw: bytes, sizes: Mapping[int, int]) -> Status | None:
    """The status when it can be an answer of one of those asked."""
    try:
        status = unpack_status(raw, verified=True)
    except ValueError:
        return None
    if status.id not in sizes or (not status.refusal and len(status.data) != sizes[status.id]):
        return None
    return status
