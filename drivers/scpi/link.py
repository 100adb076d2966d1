"""Messages of a SCPI instrument over a byte stream: one query, one answer, with deadlines.

SCPI numbers nothing, so a late answer looks like that of the next query. After a missed one, `resynchronise` throws away
what has come, asks ``*IDN?`` and reads on until the identity stands there: instruments answer in the order in which
they are asked, so whatever came before it belongs to the past. That also says that it is still the same instrument.
"""

from __future__ import annotations

import contextlib

from drivers import clock
from drivers.bus.transport import ByteStream
from drivers.device import ProtocolViolation, TransportTimeout
from drivers.scpi.codec import block_bytes

BITS_PER_BYTE = 10.0  # 8N1
#: Longest answer; more without an end is no instrument's.
_LONGEST = 65_536


class ScpiLink:
    """Owns `stream` for reading and writing; `latency_s` is what an adapter or the network may add."""

    def __init__(
        self, name: str, stream: ByteStream, terminator: bytes, *, serial: bool, latency_s: float = 0.02
    ) -> None:
        self.name, self.latency_s = name, latency_s
        self.counters = {"timeout": 0, "garbled": 0, "nak": 0, "late": 0, "stray": 0}
        self.busy_s = 0.0
        self._stream, self._terminator = stream, terminator
        self._byte_s = BITS_PER_BYTE / stream.baudrate if serial else 0.0
        self._part = bytearray()  # of an answer that has not come to its end

    def send(self, message: str) -> None:
        self._stream.write(message.encode("ascii") + self._terminator)

    def ask(self, query: str, answer_bytes: int, timeout_s: float) -> bytes:
        """The answer without its terminator. Raises TransportTimeout, ProtocolViolation, TransportLost."""
        self.drain()
        begin = clock.now()
        self.send(query)
        try:
            return self._read(begin + self.wire_s(len(query) + answer_bytes) + timeout_s + self.latency_s)
        finally:
            self.busy_s += clock.now() - begin

    def resynchronise(self, identity: str, timeout_s: float) -> None:
        """Come to know where in the sequence of answers we are. Raises TransportTimeout when the identity does not
        come, TransportLost.
        """
        self.drain()
        begin = clock.now()
        self.send("*IDN?")
        deadline = begin + self.wire_s(6 + len(identity)) + timeout_s + self.latency_s
        try:
            while self._answer(deadline).decode("latin-1").strip() != identity:
                self.counters["late"] += 1
        finally:
            self.busy_s += clock.now() - begin

    def drain(self) -> None:
        """Throw away what nobody has asked for."""
        self.counters["stray"] += self._stream.drain() + len(self._part)
        self._part.clear()

    def wire_s(self, count: int) -> float:
        """Time that `count` bytes take on the line; over a network none."""
        return count * self._byte_s

    def _read(self, deadline_s: float) -> bytes:
        try:
            return self._answer(deadline_s)
        except TransportTimeout:
            if self._part:
                raise self._garbled("answer is cut short", "check cable, baud rate and handshake") from None
            self.counters["timeout"] += 1
            raise TransportTimeout(
                self.name, "does not answer", "check power, cable and that its remote interface is on"
            ) from None

    def _garbled(self, what: str, hint: str) -> ProtocolViolation:
        self._part.clear()
        self.counters["garbled"] += 1
        return ProtocolViolation(self.name, what, hint)

    def _answer(self, deadline_s: float) -> bytes:
        """One answer up to its terminator; what is incomplete stays in `_part`."""
        part = self._part
        while (missing := self._missing()) > 0:
            if len(part) > _LONGEST:
                raise self._garbled("answer does not end", "check its terminator setting")
            try:
                part += self._stream.read_exactly(missing, deadline_s)
            except TransportTimeout:
                self._take_rest()
                raise
        whole = bytes(part)
        answer = whole.removesuffix(self._terminator) if whole.endswith(self._terminator) else whole[:-1]
        part.clear()
        return answer

    def _take_rest(self) -> None:
        """The bytes of an incomplete block, so that an answer that is cut short is told from none."""
        with contextlib.suppress(TransportTimeout):
            while True:
                self._part += self._stream.read_exactly(1, 0.0)

    def _missing(self) -> int:
        """How many bytes the answer needs at least; 0 when it is complete.

        Blocks of binary data come first in an answer, and may contain the terminator.
        """
        part, at = self._part, 0
        while at < len(part) and part[at] in b"#;":
            if part[at] == 0x3B:  # between two answers of one message
                at += 1
                continue
            size = self._block_bytes(at)
            if size is None:
                return 1
            at += size
            if at > len(part):
                return at - len(part)
        return 0 if len(part) > at and part[-1] == self._terminator[-1] else 1

    def _block_bytes(self, start: int) -> int | None:
        try:
            size = block_bytes(bytes(self._part[start : start + 12]))
        except ValueError as error:
            raise self._garbled(str(error), "check its data format setting") from error
        if size is not None and size > _LONGEST:
            raise self._garbled(f"a block of {size} bytes is none", "check its data format setting")
        return size
