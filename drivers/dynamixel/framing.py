"""Packets out of a stream of bytes: finds the header again after whatever does not belong there.

A header may also stand in noise, with a length that waits for bytes that never come; whoever has waited long enough says
so (`final`), and the search goes on behind it.
"""

from __future__ import annotations

from drivers.dynamixel.codec import HEADER, PREFIX_BYTES, crc16

_SHORTEST = 10


class Splitter:
    """`feed` bytes, take `next` packets. `skipped` bytes belonged to none."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.skipped = 0
        self._garbled: list[int] = []
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self, *, final: bool = False) -> bytes | None:
        """The next packet with a right CRC, stuffing and all; None while there is none."""
        buffer = self._buffer
        while buffer:
            size = self._size()
            if size is None:
                return None
            whole = len(buffer) >= size
            if size <= self.longest and not whole and not final:
                return None
            if _SHORTEST <= size <= self.longest and whole:
                packet = bytes(buffer[:size])
                if crc16(packet[:-2]) == int.from_bytes(packet[-2:], "little"):
                    del buffer[:size]
                    return packet
            if whole:
                self._garbled.append(buffer[4])
            self._skip(1)
        return None

    def missing(self, expected: int) -> int:
        """How many more bytes a packet needs that is `expected` long unless its length says otherwise."""
        if not self._buffer:
            return expected
        size = self._size() or expected
        return max(min(size, self.longest) - len(self._buffer), 1)

    def take_garbled(self) -> list[int]:
        """Ids of the whole packets with a wrong CRC since the last call, as far as they can be trusted."""
        found, self._garbled = self._garbled, []
        return found

    @property
    def pending(self) -> bytes:
        return bytes(self._buffer)

    def clear(self) -> int:
        """Throw away what is pending; how many bytes that were."""
        count = len(self._buffer)
        self._skip(count)
        return count

    def _size(self) -> int | None:
        """Length of the packet whose header stands first, once that can be said; whatever is before it is skipped."""
        buffer = self._buffer
        at = 0 if buffer.startswith(HEADER) else buffer.find(HEADER)
        if at < 0:  # its beginning may stand at the end
            at = next((len(buffer) - n for n in (3, 2, 1) if buffer.endswith(HEADER[:n])), len(buffer))
            self._skip(at)
            return None
        if at > 0:
            self._skip(at)
        return PREFIX_BYTES + int.from_bytes(buffer[5:7], "little") if len(buffer) >= PREFIX_BYTES else None

    def _skip(self, count: int) -> None:
        del self._buffer[:count]
        self.skipped += count
