"""Dynamixel master over a serial line: one request at a time, and answers whose time is known.

How long an answer may take follows from baud rate, lengths, the device's return delay and what the adapter adds, never from a
constant; the wait is in the kernel, but for the last moment. Protocol 2.0 has no transaction numbers. Against an earlier answer
that is taken for a new one: input is thrown away before every request, what is complete sooner than the wire can carry it is
refused, and makes doubtful what came before it; behind both stand the device's own clock (`telemetry`) and a ping after every
miss (`group`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drivers import clock
from drivers.bus.transport import ByteStream
from drivers.device import DriverError, ProtocolViolation, TransportTimeout
from drivers.dynamixel.codec import (
    BROADCAST,
    FAST_BYTES,
    REFUSAL_TEXTS,
    STATUS_BYTES,
    Instruction,
    Status,
    crc_behind,
    fast_bytes,
    fast_pieces,
    plain_status,
    unpack_fast,
    unpack_status,
)
from drivers.dynamixel.framing import Splitter

BITS_PER_BYTE = 10.0  # 8N1
#: What adapter, kernel and this process may add to an answer when the adapter's latency timer is 1 ms or there is none.
LATENCY_S = 0.002
#: Id and data bytes of each device asked, in the order in which they answer.
Wanted = tuple[tuple[int, int], ...]
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
        self.instant_s = self._begin_s = (
            0.0  # when the last request had arrived at the devices, and when it was sent
        )
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
        found = list(self.gather(request, [(number, size)], delay_s))
        if found:
            status = found[0]
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
    ) -> Iterator[Status]:
        """Send `request`, and give the statuses of `wanted` (id, data bytes), which answer in this order: each as soon as it is
        there and sound, while those behind it are on the wire.

        Ends with the last of them, or when it has been silent for longer than one may be: behind a device that does not
        answer the others are silent. Afterwards `garbled` says whether something came that was no answer, and `early` has
        counted what came sooner than it can: then what was given may be of an earlier request as well.
        """
        self.stray += self._stream.drain()
        self._begin_s = clock.now()
        self._stream.write(request)
        self.instant_s = self._begin_s + self.wire_s(len(request))
        return (self._parts if fast else self._statuses)(tuple(wanted), delay_s)

    def _over(self, *, garbled: bool) -> None:
        """Nothing more of this transaction is waited for."""
        self.garbled = garbled
        self.busy_s += clock.now() - self._begin_s

    def _statuses(self, wanted: Wanted, delay_s: float) -> Iterator[Status]:
        """One packet from each device: as a rule one behind the other, and nothing else."""
        sent, heard_s = 0, self.instant_s
        for n, (number, size) in enumerate(wanted):
            count = STATUS_BYTES + size
            within_s = delay_s + self.wire_s(count)
            deadline_s = self._deadline_s(heard_s, within_s)
            due_s = self._due_s(heard_s, within_s) if n == len(wanted) - 1 else math.inf
            try:
                raw = self._stream.read_exactly(count, deadline_s, due_s)
            except TransportTimeout:
                raw = self._rest()
                if not raw:
                    break
            heard_s = clock.now()
            status = plain_status(raw, number, size)
            early = status is not None and self._early(sent + count, heard_s)
            if status is None or early:
                splitter = Splitter(_LONGEST)
                splitter.feed(raw)
                if early:
                    splitter.clear()
                yield from self._among_others(splitter, wanted[n:], delay_s, sent, deadline_s)
                return
            sent += count
            yield status
        self._over(garbled=False)

    def _among_others(
        self, splitter: Splitter, wanted: Wanted, delay_s: float, sent: int, deadline_s: float
    ) -> Iterator[Status]:
        """The statuses of `wanted` among what does not belong there; the line has carried `sent` bytes of answer before."""
        missing = dict(wanted)
        longest, last = STATUS_BYTES + max(missing.values()), wanted[-1][0]
        while last in missing:
            raw = self._packet(splitter, longest, deadline_s)
            heard_s = clock.now()
            if raw is None:
                break
            status = _status_of(raw, missing)
            if status is not None and not self._early(sent + len(raw), heard_s):
                del missing[status.id]
                sent += len(raw)
                deadline_s = self._deadline_s(heard_s, delay_s + self.wire_s(longest))
                yield status
                continue
            splitter.skipped += len(raw)
            if heard_s >= deadline_s:
                break
        splitter.clear()
        self.stray += splitter.skipped
        self._over(garbled=splitter.skipped > 0)

    def _early(self, count: int, heard_s: float) -> bool:
        """Whether so many bytes of answer have come sooner than the line can carry them: of an earlier request."""
        early = self._honest_wire and heard_s < self.instant_s + _COMPLETE * self.wire_s(count)
        self.early += early
        return early

    def _deadline_s(self, heard_s: float, within_s: float) -> float:
        return max(self.instant_s, heard_s) + within_s + self.latency_s

    def _due_s(self, heard_s: float, within_s: float) -> float:
        """When the last of the answers will be there, after what was heard before it: the next cycle waits for it."""
        return heard_s + within_s if self._honest_wire else math.inf

    def _packet(
        self, splitter: Splitter, expected: int, deadline_s: float, *, partial: bool = False
    ) -> bytes | None:
        """The next packet, or None at `deadline_s`. With `partial`, what has come of one by then stays in `splitter`."""
        while (raw := splitter.next()) is None:
            over = False
            try:
                splitter.feed(self._stream.read_exactly(splitter.missing(expected), deadline_s))
            except TransportTimeout:
                over = True
            if over or clock.now() >= deadline_s:  # somebody may be talking without end
                splitter.feed(self._rest())
                return splitter.next(final=not partial)
        return raw

    def _parts(self, wanted: Wanted, delay_s: float) -> Iterator[Status]:
        """One packet that all devices write, read in pieces: most of it is worked on while the last of it is on the wire."""
        pieces = fast_pieces(wanted)
        deadline_s = self._deadline_s(
            self.instant_s, delay_s + self.wire_s(sum([piece.size for piece in pieces]))
        )
        crc, sound, received, early = 0, 0, b"", False
        heard_s = self.instant_s + delay_s
        for piece in pieces:
            due_s = self._due_s(heard_s, self.wire_s(piece.size)) if piece is pieces[-1] else math.inf
            early = False
            try:
                if piece.begin < piece.size:  # its first part tells already whether it is of this time
                    received = self._stream.read_exactly(piece.begin, deadline_s)
                    early = received.startswith(piece.head) and self._early(piece.begin, clock.now())
                    if early:
                        break
                received += self._stream.read_exactly(piece.size - len(received), deadline_s, due_s)
            except TransportTimeout:
                break
            heard_s = clock.now()
            statuses = unpack_fast(received, piece.wanted, piece.head, crc)
            early = bool(statuses) and self._early(sound + piece.size, heard_s)
            if early:
                break
            if len(statuses) < len(piece.wanted):
                if statuses:
                    length = len(piece.head) + sum(FAST_BYTES + len(status.data) for status in statuses)
                    sound, received = sound + length, received[length:]
                    yield from statuses
                break
            sound += piece.size
            crc, received = crc_behind(int.from_bytes(received[-2:], "little")), b""
            yield from statuses
        else:
            self._over(garbled=False)
            return
        yield from self._behind(received, wanted, sound, deadline_s, lost=early or sound > 0)

    def _behind(
        self, received: bytes, wanted: Wanted, sound: int, deadline_s: float, *, lost: bool
    ) -> Iterator[Status]:
        """What comes behind the `sound` bytes of a fast answer that are told already, `received` first of all.

        It is `lost` when it belongs to an earlier answer, or stands behind a wrong CRC.
        """
        total = fast_bytes(size for _, size in wanted)
        splitter = Splitter(_LONGEST)
        splitter.feed(received)
        try:
            splitter.feed(self._stream.read_exactly(total - sound - len(received), deadline_s))
        except TransportTimeout:
            splitter.feed(self._rest())
        answer = b"" if lost else self._fast_among_others(splitter, total, deadline_s)
        statuses = unpack_fast(answer, wanted)
        if self._early(len(answer), clock.now()):
            statuses = []
        splitter.clear()
        self.stray += splitter.skipped
        yield from statuses
        short = len(statuses) < len(wanted)
        self._over(garbled=short and sound + len(answer) + splitter.skipped > 0)

    def _fast_among_others(self, splitter: Splitter, total: int, deadline_s: float) -> bytes:
        """A fast answer behind what does not belong to it, or what has come of one."""
        raw = self._packet(splitter, total, deadline_s, partial=True)
        while raw is not None and raw[4] != BROADCAST and clock.now() < deadline_s:
            splitter.skipped += len(raw)
            raw = self._packet(splitter, total, deadline_s, partial=True)
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
