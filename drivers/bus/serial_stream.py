"""A serial line by URI, with deadlines: ``serial:/dev/serial/by-id/usb-FTDI_…[@115200,8N1]``.

pyserial opens and configures the port (exclusively: two readers would steal each other's bytes); reading is
done on the file descriptor (`descriptor_stream`), because pyserial re-configures the port whenever its time-out
is changed. A pulled adapter shows itself as SerialException, OSError or termios.error depending on the call: all
become one `TransportLost`. POSIX only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

import serial

from drivers import clock
from drivers.bus.descriptor_stream import GONE, DescriptorStream
from drivers.device import TransportLost, TransportTimeout

log = logging.getLogger(__name__)

_URI = re.compile(
    r"serial:(?P<path>[^@]+)(?:@(?P<baud>\d+)(?:,(?P<bits>[78])(?P<parity>[NEO])(?P<stop>[12]))?)?$"
)
_GONE = (serial.SerialException, *GONE)


class SerialStream(DescriptorStream):
    """`ByteStream` over an open serial port."""

    def __init__(self, name: str, port: serial.Serial) -> None:
        super().__init__(name, port.fileno(), "serial line", "check the adapter, then reopen the bench")
        self._port = port
        self._request = clock.request(f"serial:{port.name}")

    @property
    def baudrate(self) -> int:
        return int(self._port.baudrate)

    @property
    def bits_per_byte(self) -> float:
        parity = 0 if self._port.parity == serial.PARITY_NONE else 1
        return float(1 + self._port.bytesize + parity + self._port.stopbits)

    def write(self, data: bytes) -> None:
        try:
            with self._request:
                sent = self._send(data)
                if sent < len(data):  # the transmit buffer is full: pyserial waits for it
                    self._port.write(data[sent:])
        except serial.SerialTimeoutException as error:
            raise TransportTimeout(self.name, "transmit buffer stays full", "check the adapter") from error
        except _GONE as error:
            raise self._lost(error) from error

    def _send(self, data: bytes) -> int:
        """What goes out at once; almost always all of it, and without the calls that pyserial makes for its time-outs."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        with contextlib.suppress(*_GONE):  # the adapter may already be gone
            self._port.close()


def latency_warning(path: str, sysfs: Path = Path("/sys/class/tty")) -> str | None:
    """What to tell the technician when a USB adapter (FTDI) holds bytes back; None when it does not, or is none."""
    timer = sysfs / Path(path).resolve().name / "device" / "latency_timer"
    try:
        milliseconds = int(timer.read_text())
    except (OSError, ValueError):
        return None
    if milliseconds <= 1:
        return None
    return f"{path} holds answers back for up to {milliseconds} ms; set it to 1 ms: echo 1 | sudo tee {timer}"


def open_serial(name: str, uri: str, baudrate: int) -> SerialStream:
    """Open `uri`; `baudrate` holds unless the URI names one. Raises TransportLost when it cannot be
    opened.
    """
    match = _URI.match(uri)
    if match is None:
        raise TransportLost(
            name, f"unknown serial transport {uri!r}", "write serial:/dev/serial/by-id/NAME[@BAUD,8N1]"
        )
    try:
        port = serial.Serial(
            match["path"],
            int(match["baud"] or baudrate),
            bytesize=int(match["bits"] or 8),
            parity=match["parity"] or serial.PARITY_NONE,
            stopbits=int(match["stop"] or 1),
            timeout=0,
            write_timeout=0.5,
            exclusive=True,
        )
    except (*_GONE, ValueError) as error:
        hint = "check the cable, the permissions (group dialout) and that no other program has the port open"
        raise TransportLost(name, f"cannot open {uri} ({error})", hint) from error
    warning = latency_warning(match["path"])
    if warning is not None:
        log.warning("%s: %s", name, warning)
    return SerialStream(name, port)
