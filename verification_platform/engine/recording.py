"""The recording that belongs to a run folder."""

from __future__ import annotations

from verification_platform.records.writer import RecordingWriter

from .channels import groups
from .preflight import accelerations
from .run_folder import RunFolder


def open_writer(folder: RunFolder, *, resume: bool) -> RecordingWriter:
    """Begin, or continue, the recording of the run frozen in `folder`. Raises RecordingError."""
    return RecordingWriter(
        folder.samples,
        folder.channels,
        folder.fixture,
        {
            "protocol": folder.protocol_id,
            "run": folder.path.name,
            "accelerations": accelerations(folder.bench),  # of position moves by role, rad/s²
        },
        groups(folder.bench),
        resume=resume,
    )
