"""The trip that only a person takes away, on the disk: a restart of the interlock, or of its computer, is no reset.

Its life::

    latch = TripLatch.of(bench, bench_file)
    latch.claim()             # one interlock a bench; held until its process ends
    latch.read()              # what was latched when the last one ended, or None
    latch.keep(trip, utc_s)   # a trip, once the torque is off
    latch.clear()             # a person has reset it

A file that cannot be read counts as a trip: who cannot tell whether the bench is in order must not start it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from verification_platform.disk import open_as, sync_folder

from .description import BenchDescription
from .state import make_folder, state_of
from .trip import Trip

FILE = "trip.json"


class LatchError(Exception):
    """Somebody else has the latch, or the disk refuses; the message is one clear line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A trip as it was kept: of `at_s`, which was on another clock, only the UTC is left (NaN when that is unknown, too)."""

    trip: Trip
    utc_s: float

    def line(self) -> str:
        when = dt.datetime.fromtimestamp(self.utc_s, dt.UTC) if self.utc_s == self.utc_s else None
        return f"{self.trip.reason} (since {when:%Y-%m-%dT%H:%M:%SZ})" if when else self.trip.reason


class TripLatch:
    """The latched trip of one bench. Methods may be called from any process; `claim` is for the interlock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._claim: TextIO | None = None

    @classmethod
    def of(cls, bench: BenchDescription, bench_file: Path) -> TripLatch:
        """Of a machine that stays, by the id of its bench. An emulated one begins anew with its emulator, so what is true of
        it lies beside the description that this emulator's bench was given.
        """
        emulated = bench.bench.kind == "emulated"
        return cls((bench_file.parent if emulated else state_of(bench.bench.id)) / FILE)

    def claim(self) -> None:
        """Have the bench: be the one who keeps its trip, until this process ends or `release`. Raises LatchError when another
        process is (the interlock of a graph, or somebody who homes a drive).
        """
        if self._claim is not None:
            return
        try:
            make_folder(self.path.parent)
            file = self.path.with_suffix(".lock").open("a")
        except OSError as error:
            raise LatchError(
                f"{self.path.parent}: {error.strerror}; a trip could not be kept there"
            ) from None
        try:
            open_as(self.path.with_suffix(".lock"), self.path.parent)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise LatchError(f"another process has this bench ({self.path.parent})") from None
        self._claim = file

    def release(self) -> None:
        """Let another process keep it."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def read(self) -> Kept | None:
        """The trip that is latched. Never raises."""
        try:
            entry = json.loads(self.path.read_text(encoding="utf-8"))
            trip = Trip(str(entry["cause"]), str(entry["subject"]), str(entry["reason"]), float("nan"))
            return Kept(trip, float(entry["utc"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = f"the record of the last trip cannot be read ({self.path}: {error})"
            return Kept(Trip("record", str(self.path), reason, float("nan")), float("nan"))

    def keep(self, trip: Trip, utc_s: float) -> None:
        """Under its name at once, so that a process that is killed now has kept it; then on the disk. Raises OSError.

        A power failure in between may leave it empty, which counts as a trip, too.
        """
        entry = {"cause": trip.cause, "subject": trip.subject, "reason": trip.reason, "utc": utc_s}
        make_folder(self.path.parent)
        fresh = self.path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False))
            file.flush()
            fresh.replace(self.path)
            os.fsync(file.fileno())
        open_as(self.path, self.path.parent)
        sync_folder(self.path.parent)

    def clear(self) -> None:
        """Raises OSError."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir():
            sync_folder(self.path.parent)
