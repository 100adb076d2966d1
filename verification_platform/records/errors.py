"""The one error of this layer."""

from __future__ import annotations


class RecordingError(ValueError):
    """A recording, or data to be imported, cannot be used. One clear line: what, where, what to do."""
