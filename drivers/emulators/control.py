"""Accidents on request: a socket through which tests and benchmarks break an emulated bench from outside.

One JSON object a datagram, on the UNIX socket whose path the emulator prints as ``control``::

    {"do": "press", "device": "DI1"}            the contact opens: emergency stop, or its wire is broken
    {"do": "release", "device": "DI1"}
    {"do": "fault", "device": "AX1", "code": 8976}    the drive has a fault of its own
    {"do": "unplug", "device": "AX1"}           the connector of one device on a CAN bus is pulled
    {"do": "unplug_bus", "bus": "can0"}         those of all devices on it: the bus is silent
    {"do": "unplug_lines"}                      the adapters of all serial lines are pulled

Who sends must not expect an answer: as with a real accident, what comes of it is seen on the wires.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.emulators.contacts import Contacts
from drivers.emulators.host import EmulatorHost

log = logging.getLogger(__name__)

_LONGEST = 65_536


class Control:
    """Serves the socket at `path` on the event loop of `host`."""

    def __init__(self, path: Path, host: EmulatorHost, contacts: Contacts) -> None:
        self._path, self._host, self._contacts = path, host, contacts
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        host.loop.watch(self._socket, self._serve)

    def close(self) -> None:
        self._host.loop.unwatch(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self, now_s: float) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._socket.recv(_LONGEST)
                try:
                    self._do(json.loads(data), now_s)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    log.warning("request %r was not understood: %r", data, error)

    def _do(self, request: Mapping[str, Any], now_s: float) -> None:
        host = self._host
        match request["do"]:
            case "press" | "release" as what:
                self._contacts.open(request["device"], what == "press")
            case "fault":
                rack, node = self._node(request["device"])
                node.fail(request["code"], now_s)
                rack.settle(now_s)
            case "unplug":
                self._node(request["device"])[0].unplug(request["device"])
            case "unplug_bus":
                rack = host.racks[request["bus"]]
                for name in rack.nodes:
                    rack.unplug(name)
            case "unplug_lines":
                host.unplug_lines()
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _node(self, device: str) -> tuple[Any, Any]:
        for rack in self._host.racks.values():
            if device in rack.nodes:
                return rack, rack.nodes[device]
        raise KeyError(device)


def ask(path: Path, **request: Any) -> None:
    """Send one request to the emulator that listens at `path`. Raises OSError when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(json.dumps(request).encode(), str(path))
