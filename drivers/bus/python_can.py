"""A CAN bus over any python-can interface, with a receive loop of its own.

python-can's `Notifier` is not used: one garbled frame kills its thread for good and nobody is told; and
`bus.state` is not used because most interfaces answer ACTIVE whatever happened: a controller that left the
bus shows up as an error frame.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
from typing import Any

import can
from can.interfaces.slcan import slcanBus

from drivers import clock
from drivers.bus.frame import ERROR_BUS_OFF, FdFrame, Frame
from drivers.bus.transport import OneByOne
from drivers.device import BusOff, DriverError, TransportLost, TransportTimeout

#: So many garbled lines in a row are no disturbance any more: wrong bit rate, or not a CAN adapter.
_MOST_GARBLED = 50
#: Of a LAWICEL adapter: an extended frame with time stamp and end has 31 bytes.
_LONGEST_LINE = 64


class CanBus(OneByOne):
    """`FrameBus` over an open python-can bus. `name` is the bus of the bench description, for messages; `fd`: it was opened
    for CAN FD.
    """

    def __init__(
        self, name: str, bus: can.BusABC, lock: io.FileIO | None = None, *, fd: bool = False
    ) -> None:
        self.name, self._fd = name, fd
        self._bus, self._lock = bus, lock
        self.counters = {"rx": 0, "tx": 0, "error_frames": 0, "garbled": 0, "tx_full": 0}

    def send(self, frame: Frame) -> None:
        """Raises TransportTimeout when the transmit queue is full (nobody acknowledges), TransportLost,
        BusOff.
        """
        if frame.fd and not self._fd:
            hint = "use an adapter with CAN FD and write `,fd=true` behind its address (never slcan:)"
            raise TransportLost(self.name, "this bus was opened for classic CAN frames only", hint)
        message = can.Message(
            arbitration_id=frame.can_id,
            data=frame.data,
            is_extended_id=frame.extended,
            is_remote_frame=frame.remote,
            is_fd=frame.fd,
            bitrate_switch=frame.fd,
            check=False,
        )
        try:
            self._bus.send(message, timeout=0.0)
        except (can.CanError, OSError, ValueError) as error:
            code = getattr(error, "error_code", None) or getattr(error, "errno", None)
            if code in (errno.ENOBUFS, errno.EAGAIN):
                self.counters["tx_full"] += 1
                hint = "check bit rate, termination and that at least one other node is powered"
                raise TransportTimeout(
                    self.name, "transmit queue is full, nobody acknowledges", hint
                ) from error
            raise self._lost(error) from error
        self.counters["tx"] += 1

    def poll(self) -> Frame | None:
        return self._receive(0.0)

    def recv(self, deadline_s: float) -> Frame:
        while True:
            left = clock.wait_s(deadline_s)
            frame = self._receive(left)
            if frame is not None:
                return frame
            if left <= 0:
                raise TransportTimeout(self.name, "no frame before the deadline")

    def close(self) -> None:
        with contextlib.suppress(can.CanError, OSError):  # the adapter may already be gone
            self._bus.shutdown()
        if self._lock is not None:
            self._lock.close()

    def _receive(self, timeout_s: float) -> Frame | None:
        garbled = 0
        while True:
            try:
                message = self._bus.recv(timeout_s)
                if message is not None and message.is_fd and not self._fd:
                    raise ValueError("a CAN FD frame on a classic bus")
            except (can.CanError, OSError) as error:
                raise self._lost(error) from error
            except (ValueError, IndexError) as error:  # slcan: a garbled line, or one cut short
                self.counters["garbled"] += 1
                garbled += 1
                if garbled > _MOST_GARBLED:
                    raise self._lost(error) from error
                continue
            if message is None:
                return None
            stamp = clock.now()
            if not message.is_error_frame:
                break
            self.counters["error_frames"] += 1
            if message.arbitration_id & ERROR_BUS_OFF:
                raise BusOff(
                    self.name,
                    "the CAN controller has left the bus",
                    "check wiring and bit rate, then reopen the bench",
                )
            timeout_s = 0.0  # an error frame is no answer, but a frame may already wait behind it
        self.counters["rx"] += 1
        kind = FdFrame if message.is_fd else Frame
        return kind(
            message.arbitration_id,
            bytes(message.data),
            message.is_extended_id,
            message.is_remote_frame,
            False,
            stamp,
        )

    def _lost(self, error: Exception) -> DriverError:
        return TransportLost(
            self.name, f"CAN adapter is gone ({error})", "check the adapter, then reopen the bench"
        )


def open_adapter(name: str, uri: str, bitrate: int) -> CanBus:
    """Open ``socketcan:…``, ``slcan:…`` or ``python-can:…``. Raises OSError, ValueError, TypeError, ImportError, TransportLost."""
    scheme, _, rest = uri.partition(":")
    try:
        if scheme == "slcan":
            return _slcan(name, rest, bitrate)
        if scheme == "socketcan":
            channel, _, option = rest.partition(",")
            if option not in ("", "fd=true"):
                raise ValueError(f"{option!r} is not fd=true")
            fd = option != ""
            return CanBus(name, can.Bus(interface="socketcan", channel=channel, fd=fd), fd=fd)
        options = _options(rest, bitrate)
        return CanBus(name, can.Bus(**options), fd=options.get("fd") is True)
    except can.CanError as error:
        raise OSError(str(error)) from error


class _Slcan(slcanBus):
    """python-can's adapter, which keeps a byte that is no text in its buffer and fails with it for ever."""

    def _read(self, timeout: float | None) -> str | None:
        """Raises ValueError for a garbled line, which is gone then."""
        try:
            line: str | None = super()._read(timeout)
        except can.CanError as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise
            self._buffer.clear()
            raise ValueError("a line that is not ASCII") from error
        if len(self._buffer) > _LONGEST_LINE:
            self._buffer.clear()
            raise ValueError("a line without an end")
        return line


def _slcan(name: str, path: str, bitrate: int) -> CanBus:
    """Exclusively, which python-can does not see to: two readers would steal each other's bytes."""
    lock = io.FileIO(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), "rb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as pyserial does it
        return CanBus(name, _Slcan(channel=path, bitrate=bitrate), lock)
    except BlockingIOError as error:
        lock.close()
        raise TransportLost(
            name, f"slcan:{path} is in use by another program", "close that program, or name another adapter"
        ) from error
    except BaseException:
        lock.close()
        raise


_FLAGS: dict[str, Any] = {"true": True, "false": False}


def _options(text: str, bitrate: int) -> dict[str, Any]:
    options: dict[str, Any] = {"bitrate": bitrate}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is not key=value")
        key, text = key.strip(), value.strip()
        options[key] = int(text) if text.isdigit() and key != "channel" else _FLAGS.get(text, text)
    return options
