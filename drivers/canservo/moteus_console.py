"""The text console of a moteus: settings by name.

Source: mjbots/moteus, docs/protocol/diagnostic.md (``conf get``, ``conf set``, ``tel stop``); how text travels: mjbots/mjlib,
mjlib/multiplex/format.h, "Tunneled Stream". Text that was lost on its way is gone, and nothing tells it from text that is still to
come: a dialogue that does not go as it must is given up, never repeated.
"""

from __future__ import annotations

from typing import Any

from drivers import clock
from drivers.bus.frame import Frame
from drivers.canservo.device import CanServoDevice
from drivers.canservo.multiplex import (
    CONSOLE,
    HOST,
    MOST_TEXT,
    FromDevice,
    Poll,
    ToDevice,
    can_id,
    parse,
    request,
)
from drivers.device import DriverError, TransportTimeout

#: A line is complete within this time.
_LINE_S = 0.1
#: Between two questions for text that is not there yet.
_PAUSE_S = 0.001
#: What a poll asks for: with its head it stays below what the firmware puts into one frame.
_MOST_POLLED = 40


class Console:
    """Of one device that is attached to an open bus."""

    def __init__(self, device: CanServoDevice[Any]) -> None:
        self._device = device
        self._answers = can_id(device.address, HOST)
        self._text = b""

    def clear(self) -> None:
        """Nothing is told unasked any more, and what was under way is dropped. Raises DriverError."""
        self._tell("tel stop")
        until = clock.now() + _LINE_S
        while self._poll():
            if clock.now() > until:
                raise DriverError(
                    self._device.name, "its console does not fall silent", "close other programs"
                )
        self._text = b""

    def get(self, name: str) -> str:
        """A setting as the device prints it. Raises DriverError."""
        self._tell(f"conf get {name}")
        line = self._line()
        if not line or line.startswith(("ERR", "OK")):
            raise DriverError(self._device.name, f"setting {name} cannot be read ({line!r})")
        return line

    def set(self, name: str, value: str) -> None:
        """Volatile. Raises DriverError."""
        self._tell(f"conf set {name} {value}")
        line = self._line()
        if line != "OK":
            raise DriverError(self._device.name, f"setting {name} cannot be written ({line!r})")

    def _tell(self, line: str) -> None:
        data = line.encode("ascii") + b"\n"
        for start in range(0, len(data), MOST_TEXT):
            part = ToDevice(CONSOLE, data[start : start + MOST_TEXT])
            self._device.bus.send(request(self._device.address, [part], reply=False))

    def _line(self) -> str:
        until = clock.now() + _LINE_S
        while b"\n" not in self._text:
            text = self._poll()
            self._text += text
            if clock.now() > until:
                raise TransportTimeout(self._device.name, "its console does not answer")
            if not text:
                self._device.listen(lambda _: None, _PAUSE_S)
        line, _, self._text = self._text.partition(b"\n")
        return line.decode("ascii", "replace").strip()

    def _poll(self) -> bytes:
        return self._device.ask(
            request(self._device.address, [Poll(CONSOLE, _MOST_POLLED)]), self._heard
        ).data

    def _heard(self, frame: Frame) -> FromDevice | None:
        if frame.can_id != self._answers:
            return None
        try:
            subframes = parse(frame.data)
        except ValueError:
            return None
        found = subframes[0] if len(subframes) == 1 else None
        return found if isinstance(found, FromDevice) and found.channel == CONSOLE else None
