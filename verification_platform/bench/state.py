"""What is true of a bench whoever asks lies in files: it outlives the graph, the command line and a power failure."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

FOLDER = "PILOTBENCH_STATE"
#: Where a bench computer with several users keeps it; made by its administrator.
SHARED_FOLDER = Path("/var/lib/pilotbench")


def state_folder() -> Path:
    """Where the state of benches lies on this computer."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    if SHARED_FOLDER.is_dir():
        return SHARED_FOLDER
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pilotbench"


def state_of(bench_id: str) -> Path:
    """The folder of the bench with that id, whichever description file names it. It need not exist yet."""
    return state_folder() / re.sub(r"[^\w.-]", "_", bench_id)


def make_folder(folder: Path) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    open_as(folder, folder.parent)


def write_whole(path: Path, text: str) -> None:
    """Whole or not at all, and on the disk before anybody is told. Raises OSError."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    open_as(fresh, path.parent)
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was renamed or removed in it stays so. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_as(path: Path, folder: Path) -> None:
    """In a folder that a group shares, the whole group may change what lies in it."""
    shared = folder.stat().st_mode & 0o020
    with contextlib.suppress(PermissionError):  # somebody else's, and open already
        if shared and not path.stat().st_mode & 0o020:
            path.chmod(path.stat().st_mode | 0o020)
