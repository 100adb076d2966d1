"""A CAN bus by URI.

==================================  =========================================================================
``unix:/run/pilotbench/can0.sock``  the emulated bus (`drivers.bus.can_hub`)
``socketcan:can0``                  a Linux network interface; the operator sets bit rate and ``restart-ms``
``socketcan:can0,fd=true``          the same for CAN FD; the operator sets both bit rates and ``fd on``
``slcan:/dev/ttyACM0``              a LAWICEL adapter (CANable and others); classic frames only
``python-can:interface=pcan,…``     anything else python-can knows; ``key=value`` are passed on
``record:FILE|URI``                 as URI, and every frame into FILE, in candump's format (`wire_log`)
``replay:FILE``                     no wire: a recorded session answers (`replayer`)
==================================  =========================================================================

python-can is loaded for its adapters only; the emulated bus does without (`unix_bus`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from drivers.bus.recorder import RecordingBus, recorded_uri
from drivers.bus.replayer import ReplayBus, replayed_file
from drivers.bus.transport import FrameBus
from drivers.bus.unix_bus import UnixFrameBus
from drivers.bus.wire_log import WireLog
from drivers.device import TransportLost

#: (bus, whole URI, bit rate) → open bus. Raises OSError, ValueError, TypeError, ImportError or DriverError.
Opener = Callable[[str, str, int], FrameBus]
_ADAPTERS = ("socketcan", "slcan", "python-can")


def open_can(name: str, uri: str, bitrate: int) -> FrameBus:
    """Open the bus `uri` (see the table above). Raises TransportLost when it does not exist or cannot be
    opened.
    """
    opener = SCHEMES.get(uri.partition(":")[0])
    if opener is None:
        known = "unix:PATH, socketcan:IFACE, slcan:DEVICE, python-can:interface=…,channel=…"
        raise TransportLost(name, f"unknown CAN transport {uri!r}", f"write one of {known}")
    try:
        return opener(name, uri, bitrate)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise TransportLost(
            name, f"cannot open {uri} ({error})", "check the cable and the `uri` of this bus"
        ) from error


def prepare(uri: str) -> None:
    """Load what `uri` takes to be opened. Who opens it may have real-time priority, and would hold up other buses with that."""
    if any(f"{scheme}:" in uri for scheme in _ADAPTERS):  # in a record: URI, too
        import_module("drivers.bus.python_can")


def _adapter(name: str, uri: str, bitrate: int) -> FrameBus:
    from drivers.bus.python_can import open_adapter

    return open_adapter(name, uri, bitrate)


def _record(name: str, uri: str, bitrate: int) -> FrameBus:
    path, inner = recorded_uri(name, uri)
    bus = open_can(name, inner, bitrate)
    try:
        return RecordingBus(bus, WireLog(name, path))
    except BaseException:
        bus.close()
        raise


#: By scheme; a test adds its own.
SCHEMES: dict[str, Opener] = {
    "unix": lambda name, uri, _: UnixFrameBus(name, uri.removeprefix("unix:")),
    **dict.fromkeys(_ADAPTERS, _adapter),
    "record": _record,
    "replay": lambda name, uri, _: ReplayBus(name, replayed_file(uri)),
}
