"""What can go wrong between a run folder and a finished report; every message is one clear line."""

from __future__ import annotations


class ReportError(ValueError):
    """A report cannot be built: what is missing or wrong, where, and what to do."""


class MissingGlyphError(ReportError):
    """A character that no font of the report can draw. It is refused: a dropped character would change the
    text."""


class DocumentError(ReportError):
    """A file given as a report cannot be read as one."""
