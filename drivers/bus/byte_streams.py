"""A byte stream by URI: the one way in which every family opens its serial line or socket.

==============================================  =============================================================
``serial:/dev/serial/by-id/NAME[@BAUD,8N1]``    a serial port, exclusively (`serial_stream`)
``tcp:HOST:PORT``                               a SCPI socket or a serial-device server (`tcp_stream`)
``record:FILE|URI``                             as URI, and every byte into FILE (`wire_log`, `recorder`)
``replay:FILE``                                 no wire: a recorded session answers (`replayer`)
==============================================  =============================================================

To record a bus of the bench, put ``record:/var/log/rs485.log|`` in front of its `uri` in bench.toml.
"""

from __future__ import annotations

from collections.abc import Callable

from drivers.bus.recorder import RecordingStream, recorded_uri
from drivers.bus.replayer import ReplayStream, replayed_file
from drivers.bus.serial_stream import open_serial
from drivers.bus.tcp_stream import open_tcp
from drivers.bus.transport import ByteStream
from drivers.bus.wire_log import WireLog
from drivers.device import TransportLost

#: (bus, whole URI, baud rate) → open stream. Raises TransportLost.
Opener = Callable[[str, str, int], ByteStream]


def open_stream(name: str, uri: str, baudrate: int) -> ByteStream:
    """Open `uri` for the bus `name`; `baudrate` holds unless the URI names one. Raises TransportLost."""
    opener = SCHEMES.get(uri.partition(":")[0])
    if opener is None:
        hint = f"write one of {', '.join(f'{scheme}:…' for scheme in SCHEMES)}"
        raise TransportLost(name, f"unknown transport {uri!r}", hint)
    return opener(name, uri, baudrate)


def _record(name: str, uri: str, baudrate: int) -> ByteStream:
    path, inner = recorded_uri(name, uri)
    stream = open_stream(name, inner, baudrate)
    try:
        return RecordingStream(stream, WireLog(name, path))
    except BaseException:
        stream.close()
        raise


def _replay(name: str, uri: str, baudrate: int) -> ByteStream:
    return ReplayStream(name, replayed_file(uri), baudrate)


#: By scheme; a test adds its own.
SCHEMES: dict[str, Opener] = {
    "serial": open_serial,
    "tcp": open_tcp,
    "record": _record,
    "replay": _replay,
}
