"""Test reports: run folders in, PDF with its data out, and the proof that both say what was measured."""

from .build import ReportFiles, build_report
from .errors import DocumentError, MissingGlyphError, ReportError
from .verify import Finding, Verification, verify_report

__all__ = [
    "DocumentError",
    "Finding",
    "MissingGlyphError",
    "ReportError",
    "ReportFiles",
    "Verification",
    "build_report",
    "verify_report",
]
