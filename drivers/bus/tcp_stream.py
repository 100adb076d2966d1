"""Bytes over TCP: ``tcp:HOST:PORT`` (``tcp:[::1]:5025`` for IPv6), for SCPI sockets and serial-device servers.

A serial-device server (Moxa NPort and the like, in "TCP server" mode) hands bytes through unchanged; baud rate and
parity are set on its own pages, and the bench file's `bitrate` must say the same, because time-outs follow from it. A
pulled network cable closes no connection, so the kernel is told to ask: after 1 s of silence, once a second, three
times; and to give up on what is not acknowledged for 3 s. Either shows as `TransportLost` like a pulled adapter.
Nagle's algorithm is off: a request is one segment, at once.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time

from drivers import clock
from drivers.bus.descriptor_stream import DescriptorStream
from drivers.device import TransportLost, TransportTimeout

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})$")
_CONNECT_S, _WRITE_S = 3.0, 0.5
#: Seconds of silence before the first probe, between probes, and how many go unanswered.
_PROBES = (1, 1, 3)
_UNACKNOWLEDGED_MS = 3000


class TcpStream(DescriptorStream):
    """`ByteStream` over a connected socket. `baudrate` is that of the line behind it, for time-outs."""

    def __init__(self, name: str, connection: socket.socket, baudrate: int) -> None:
        super().__init__(
            name,
            connection.fileno(),
            "connection",
            "check the network cable and the device, then reopen the bench",
        )
        self._socket, self._baudrate = connection, baudrate
        host, port = connection.getpeername()[:2]
        self._request = clock.request(f"tcp:{host}:{port}")
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        for option, value in zip(names, (*_PROBES, _UNACKNOWLEDGED_MS), strict=True):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)

    @property
    def baudrate(self) -> int:
        return self._baudrate

    def write(self, data: bytes) -> None:
        """Raises TransportTimeout when the peer does not take it, TransportLost."""
        try:
            with self._request:
                self._send(memoryview(data), time.monotonic() + _WRITE_S)
        except OSError as error:
            raise self._lost(error) from error

    def _send(self, rest: memoryview, until_s: float) -> None:
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
                continue
            left = until_s - time.monotonic()
            if left <= 0 or not select.select((), (self._socket,), (), left)[1]:
                raise TransportTimeout(self.name, "transmit buffer stays full", "check the device")

    def close(self) -> None:
        self._socket.close()


def open_tcp(name: str, uri: str, baudrate: int) -> TcpStream:
    """Connect to ``tcp:HOST:PORT``. Raises TransportLost when nobody listens there."""
    match = _ADDRESS.fullmatch(uri.removeprefix("tcp:"))
    if match is None or not 0 < int(match["port"]) < 65536:
        raise TransportLost(name, f"unknown TCP transport {uri!r}", "write tcp:HOST:PORT")
    host = match["v6"] or match["host"]
    try:
        connection = socket.create_connection((host, int(match["port"])), _CONNECT_S)
    except OSError as error:
        hint = "check the network cable, the address and that no other program is connected"
        raise TransportLost(name, f"cannot connect to {uri} ({error})", hint) from error
    try:
        return TcpStream(name, connection, baudrate)
    except BaseException:
        connection.close()
        raise
