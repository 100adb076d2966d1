"""The journal of a run: what was begun and what was finished, on disk before and after it happened.

``journal.jsonl`` is append-only; every line is one JSON object with a sequence number, both clocks, and the
SHA-256 of the line before it, and is synced to the disk before the engine goes on. Whoever kills the process
at any instant leaves at most one torn last line, which the reader drops. A line that was changed or removed
afterwards breaks the chain and is an error that names the line."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_GENESIS = "0" * 64


class JournalError(ValueError):
    """The journal on disk is damaged in a way that a power cut cannot explain; one clear line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `event` with its data, when (monotonic and UTC), and its place in the chain."""

    sequence: int
    monotonic_s: float
    utc: str
    event: str
    data: Mapping[str, Any]
    digest: str


def read_journal(path: Path) -> list[Entry]:
    """All complete entries; a torn last line is dropped, a missing file is an empty journal.

    Raises JournalError when a line other than the last is unreadable, or the chain is broken.
    """
    return _parse(path)[0]


class Journal:
    """Appends to the journal at `path`, continuing it when it exists."""

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self.path = path
        entries, intact_bytes = _parse(path)
        self._sequence = entries[-1].sequence + 1 if entries else 0
        self._digest = entries[-1].digest if entries else _GENESIS
        self._sync = sync
        self._file = path.open("ab")
        if self._file.tell() != intact_bytes:  # a torn line must not be glued to the next one
            self._file.truncate(intact_bytes)
            self._file.seek(intact_bytes)

    def append(self, event: str, **data: Any) -> Entry:
        """Write one entry and wait until it is on the disk."""
        body = {
            "sequence": self._sequence,
            "monotonic_s": time.monotonic(),
            "utc": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "data": data,
        }
        digest = _digest(self._digest, body)
        line = json.dumps({**body, "sha256": digest}, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        if self._sync:
            os.fsync(self._file.fileno())
        self._sequence, self._digest = self._sequence + 1, digest
        return Entry(**body, digest=digest)  # type: ignore[arg-type]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _digest(previous: str, body: Mapping[str, Any]) -> str:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(f"{previous}{text}".encode()).hexdigest()


def _parse(path: Path) -> tuple[list[Entry], int]:
    """Entries, and the number of bytes they take."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    entries: list[Entry] = []
    previous, end = _GENESIS, 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            table = json.loads(line)
            digest = table.pop("sha256")
            entry = Entry(**table, digest=digest)
        except (ValueError, KeyError, TypeError, AttributeError):
            if number == len(lines) - 1:  # torn by a power cut that kept the file's length
                return entries, end
            raise JournalError(f"{path}:{number}: not a journal line; restore the file from a copy") from None
        if entry.sequence != len(entries) or digest != _digest(previous, table):
            raise JournalError(
                f"{path}:{number}: the hash chain is broken here; the journal was changed after the run"
            )
        entries.append(entry)
        previous, end = digest, end + len(line) + 1
    return entries, end
