"""What went over a wire, as text: written while the bus runs, read back by the replayer.

A CAN bus is written in candump's log format, so that ``canplayer``, ``log2asc`` and python-can read it; T at the end of
a line is a frame that we sent, R one that we received (as ``candump -x`` has it); behind ## a digit of flags and a CAN FD frame::

    (1764316800.123456) can0 601#4018100100000000 T
    (1764316800.123871) can0 581#4318100192010200 R
    (1764316800.127310) can1 00008001##11100110F T

A byte stream is written alike, bytes in hexadecimal behind the direction::

    (1764316800.123456) rs485 T 010300000004440A
    (1764316800.127310) rs485 R 0103080501000000

Stamps are UTC, to the microsecond; their differences are those of the bench's clock. An existing file is appended to.
The cycle thread only puts lines into a queue; the disk is written by a thread of its own, and a disk that is full ends
the log with one line of warning, never the cycle.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from drivers import clock
from drivers.bus.frame import ERROR_FLAG, EXTENDED_MASK, FD_LENGTHS, FdFrame, Frame
from drivers.device import TransportLost

log = logging.getLogger(__name__)

_LINE = re.compile(r"\((?P<stamp>\d+\.\d+)\) (?P<bus>\S+) (?P<rest>.+)$")
_FRAME = re.compile(
    r"(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#(?P<remote>R)?(?P<data>(?:[0-9A-Fa-f]{2}){0,8})(?: (?P<way>[TR]))?$"
)
_FD_FRAME = re.compile(
    r"(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})##[0-9A-Fa-f](?P<data>(?:[0-9A-Fa-f]{2}){0,64})(?: (?P<way>[TR]))?$"
)
_BYTES = re.compile(r"(?P<way>[TR]) (?P<data>(?:[0-9A-Fa-f]{2})+)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `sent` by us or received, a frame or bytes, at `stamp_s` (UTC seconds)."""

    stamp_s: float
    sent: bool
    payload: Frame | bytes


def format_payload(sent: bool, payload: Frame | bytes) -> str:
    """What stands in a line behind stamp and bus."""
    way = "T" if sent else "R"
    if isinstance(payload, bytes):
        return f"{way} {payload.hex().upper()}"
    wide = payload.extended or payload.error
    number = payload.can_id | (ERROR_FLAG if payload.error else 0)
    text = f"{number:08X}" if wide else f"{number:03X}"
    if payload.fd:
        return f"{text}##1{payload.data.hex().upper()} {way}"  # 1: with a faster data phase
    return f"{text}#{'R' if payload.remote else payload.data.hex().upper()} {way}"


def parse_payload(text: str) -> tuple[bool, Frame | bytes]:
    """Inverse of `format_payload`; a frame without direction was received. Raises ValueError."""
    found = _BYTES.match(text)
    if found is not None:
        return found["way"] == "T", bytes.fromhex(found["data"])
    found = _FD_FRAME.match(text)
    if found is not None and len(data := bytes.fromhex(found["data"])) in FD_LENGTHS:
        number, wide = int(found["id"], 16), len(found["id"]) == 8
        return found["way"] == "T", FdFrame(number & EXTENDED_MASK, data, wide)
    found = _FRAME.match(text)
    if found is None:
        raise ValueError(f"{text!r} is neither a frame nor bytes")
    number = int(found["id"], 16)
    error = len(found["id"]) == 8 and bool(number & ERROR_FLAG)
    extended = len(found["id"]) == 8 and not error
    frame = Frame(
        number & EXTENDED_MASK, bytes.fromhex(found["data"]), extended, found["remote"] is not None, error
    )
    return found["way"] == "T", frame


def read_log(path: Path) -> Iterator[Entry]:
    """The lines of a log; comments and empty lines are skipped. Raises OSError, ValueError with the line's number."""
    with path.open(encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            found = _LINE.match(text)
            try:
                if found is None:
                    raise ValueError(f"{text!r} has no stamp")
                sent, payload = parse_payload(found["rest"])
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
            yield Entry(float(found["stamp"]), sent, payload)


class WireLog:
    """Appends to `path`. `put` may be called from a cycle; `close` waits until all is written.

    Raises TransportLost when the file cannot be opened, because a recording that is asked for must not be missing
    unnoticed.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name = re.sub(r"\s", "_", name)
        self._path = path
        self._offset_s = time.time() - clock.now()
        try:
            file = path.open("a", encoding="ascii")
        except OSError as error:
            raise TransportLost(
                name, f"cannot record into {path} ({error.strerror})", "check the folder"
            ) from error
        self._lines: queue.SimpleQueue[tuple[float, bool, Frame | bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, args=(file,), name=f"log-{name}", daemon=True)
        self._thread.start()

    def put(self, stamp_s: float, sent: bool, payload: Frame | bytes) -> None:
        """`stamp_s` is of the bench's clock."""
        self._lines.put((stamp_s, sent, payload))

    def close(self) -> None:
        self._lines.put(None)
        self._thread.join(5.0)

    def _write(self, file: TextIO) -> None:
        try:
            with file:
                while (entry := self._lines.get()) is not None:
                    stamp_s, sent, payload = entry
                    file.write(
                        f"({stamp_s + self._offset_s:.6f}) {self._name} {format_payload(sent, payload)}\n"
                    )
                    if self._lines.empty():
                        file.flush()
        except OSError as error:
            log.warning("%s: the recording %s has ended (%s)", self._name, self._path, error)
