"""SDO client: reads and writes a node's object dictionary, blocking, with a deadline.

For start-up and shut-down only, never inside a cycle. It belongs to the one thread that owns the bus; frames
that are no answer to it (heartbeats, EMCY, other nodes) are handed to `on_other`, so that nothing is lost
while it waits.
"""

from __future__ import annotations

from collections.abc import Callable

from drivers import clock
from drivers.bus.frame import Frame
from drivers.bus.transport import FrameBus
from drivers.canopen.codec import (
    SDO_CLIENT_BASE,
    SDO_SERVER_BASE,
    TYPES,
    SdoTransfer,
    sdo_abort,
    sdo_download,
    sdo_upload,
)
from drivers.canopen.model import ObjectEntry
from drivers.device import ProtocolViolation, TransportTimeout
from drivers.realtime import AwakeClock

TIMED_OUT = 0x05040000
_SLICE_S = 0.02


class SdoClient:
    """Client of one node. `device` is its name in the bench description."""

    def __init__(
        self, bus: FrameBus, device: str, node: int, on_other: Callable[[Frame], None], timeout_s: float = 0.5
    ) -> None:
        self.device, self.node, self.timeout_s = device, node, timeout_s
        self.timeouts = 0
        self._bus, self._on_other = bus, on_other

    def upload(self, index: int, subindex: int = 0) -> bytes:
        """Read an object. Raises SdoAbort, TransportTimeout, ProtocolViolation, TransportLost, BusOff."""
        return self._run(sdo_upload(self.device, index, subindex), index, subindex)

    def download(self, index: int, subindex: int, data: bytes) -> None:
        """Write an object. Raises as `upload`. Never retried: whoever writes decides."""
        self._run(sdo_download(self.device, index, subindex, data), index, subindex)

    def read(self, entry: ObjectEntry) -> int:
        return self.read_number(entry.index, entry.subindex, entry.type)

    def read_number(self, index: int, subindex: int, kind: str) -> int:
        data = self.upload(index, subindex)
        layout = TYPES[kind]
        if len(data) != layout.size:
            raise ProtocolViolation(
                self.device, f"{index:04X}h:{subindex:02X} has {len(data)} bytes, expected {layout.size}"
            )
        return int(layout.unpack(data)[0])

    def write_verified(self, index: int, subindex: int, kind: str, value: int) -> None:
        """Write and read back. Raises ProtocolViolation when the device holds another value afterwards."""
        self.download(index, subindex, TYPES[kind].pack(value))
        found = self.read_number(index, subindex, kind)
        if found != value:
            raise ProtocolViolation(
                self.device, f"{index:04X}h:{subindex:02X} holds {found} after writing {value}"
            )

    def set(self, entry: ObjectEntry, value: int) -> None:
        self.write_verified(entry.index, entry.subindex, entry.type, value)

    def read_text(self, index: int, subindex: int = 0) -> str:
        return self.upload(index, subindex).rstrip(b"\0").decode("ascii", "replace")

    def _run(self, transfer: SdoTransfer, index: int, subindex: int) -> bytes:
        request = next(transfer)
        while True:
            self._bus.send(Frame(SDO_CLIENT_BASE + self.node, request))
            try:
                response = self._response()
            except TransportTimeout:
                self.timeouts += 1
                self._bus.send(Frame(SDO_CLIENT_BASE + self.node, sdo_abort(index, subindex, TIMED_OUT)))
                raise TransportTimeout(
                    self.device,
                    f"node {self.node} does not answer (object {index:04X}h:{subindex:02X})",
                    "check power, node address and bit rate",
                ) from None
            try:
                request = transfer.send(response)
            except StopIteration as done:
                return bytes(done.value)

    def _response(self) -> bytes:
        awake = AwakeClock(_SLICE_S, clock.now())
        while True:
            try:
                frame = self._bus.recv(clock.now() + _SLICE_S)
            except TransportTimeout:
                if awake.tick(clock.now()) >= self.timeout_s:
                    raise
                continue
            awake.tick(clock.now())
            if frame.can_id == SDO_SERVER_BASE + self.node and not frame.extended:
                return frame.data
            self._on_other(frame)
