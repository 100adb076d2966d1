"""Files that are on the disk whole or not at all, whoever is killed and whenever the power fails."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes, *, shared: bool = False) -> None:
    """Replace a file, and return when it is on the disk; a power failure leaves the old or the new content, never half.

    `shared`: in a folder that a group shares, the whole group may change it (`open_as`). Raises OSError.
    """
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    if shared:
        open_as(draft, path.parent)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it stays so. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_as(path: Path, folder: Path) -> None:
    """In a folder that a group shares, the whole group may change what lies in it. Raises OSError."""
    shared = folder.stat().st_mode & 0o020
    with contextlib.suppress(PermissionError):  # somebody else's, and open already
        if shared and not path.stat().st_mode & 0o020:
            path.chmod(path.stat().st_mode | 0o020)
