"""A serial line by URI, with deadlines: ``serial:/dev/serial/by-id/usb-FTDI_…[@115200,8N1]``.

pyserial opens and configures the port (exclusively: two readers would steal each other's bytes); reading is
done on the file descriptor with absolute deadlines, because pyserial re-configures the port whenever its
time-out is changed. A pulled adapter shows itself as SerialException, OSError or termios.error depending on
the call: all become one `TransportLost`. POSIX only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import termios
from pathlib import Path

import serial

from drivers import clock
from drivers.device import TransportLost, TransportTimeout

log = logging.getLogger(__name__)

_URI = re.compile(
    r"serial:(?P<path>[^@]+)(?:@(?P<baud>\d+)(?:,(?P<bits>[78])(?P<parity>[NEO])(?P<stop>[12]))?)?$"
)
_GONE = (serial.SerialException, OSError, termios.error)


class SerialStream:
    """`ByteStream` over an open serial port."""

    def __init__(self, name: str, port: serial.Serial) -> None:
        self.name = name
        self._port = port
        self._fd = port.fileno()
        self._buffer = bytearray()

    @property
    def baudrate(self) -> int:
        return int(self._port.baudrate)

    @property
    def bits_per_byte(self) -> float:
        parity = 0 if self._port.parity == serial.PARITY_NONE else 1
        return float(1 + self._port.bytesize + parity + self._port.stopbits)

    def write(self, data: bytes) -> None:
        try:
            with clock.request():
                self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise TransportTimeout(self.name, "transmit buffer stays full", "check the adapter") from error
        except _GONE as error:
            raise self._lost(error) from error

    def read_exactly(self, count: int, deadline_s: float) -> bytes:
        while len(self._buffer) < count:
            if self._fill(0.0):
                continue
            left = clock.wait_s(deadline_s)
            if not self._fill(left) and left <= 0:
                raise TransportTimeout(self.name, f"{len(self._buffer)} of {count} bytes before the deadline")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def drain(self) -> int:
        while self._fill(0.0):
            pass
        dropped = len(self._buffer)
        self._buffer.clear()
        return dropped

    def close(self) -> None:
        with contextlib.suppress(*_GONE):  # the adapter may already be gone
            self._port.close()

    def _fill(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` and take what is there; False when nothing came."""
        try:
            if not select.select((self._fd,), (), (), timeout_s)[0]:  # poll() would round up to milliseconds
                return False
            chunk = os.read(self._fd, 4096)
            if not chunk:
                raise OSError("hang-up")
            self._buffer += chunk
            return True
        except BlockingIOError:
            return False
        except (ValueError, *_GONE) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> TransportLost:
        return TransportLost(
            self.name, f"serial line is gone ({error})", "check the adapter, then reopen the bench"
        )


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
