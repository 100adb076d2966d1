"""The folder that a recording is written into: one writer at a time, and it begins empty or where it was interrupted."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

from verification_platform.disk import write_whole

from .errors import RecordingError
from .metadata import Description, FileCount
from .recovery import recover_recording
from .seal import SEAL_FILE, Seal, read_seal


def lock_folder(folder: Path) -> int:
    """Create the folder and lock it against a second writer; the lock dies with the process.

    Returns the descriptor that holds the lock. Raises RecordingError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RecordingError(
            f"{folder}: cannot be created ({error.strerror}); give a writable folder"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise RecordingError(
            f"{folder}: another process is recording into it; choose another folder"
        ) from None
    return descriptor


def begin(folder: Path, description: Description, resume: bool) -> tuple[Seal, list[FileCount], Description]:
    """Seal, counts and description to start with; recovers what a killed writer left when resuming.

    Raises RecordingError: a recording where none must be, other channels than before, no space.
    """
    if not resume:
        if any(folder.glob("*.mcap")) or (read_seal(folder) or Seal()) != Seal():
            raise RecordingError(
                f"{folder}: already holds a recording; choose another folder, or resume the run"
            )
        try:
            write_whole(folder / SEAL_FILE, Seal().text())
        except OSError as error:
            raise RecordingError(
                f"{folder}: cannot be written ({error.strerror}); give a writable folder with space"
            ) from None
        return Seal(), [], description
    found = recover_recording(folder)
    if found.description is not None and found.description.groups != description.groups:
        raise RecordingError(
            f"{folder}: was recorded with other groups or channels; resume it on the bench it was begun on"
        )
    session = found.seal.entries[-1].session + 1 if found.seal.entries else 0
    return replace(found.seal, closed=False), list(found.counts), replace(description, session=session)
