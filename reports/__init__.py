"""Test reports: run folders in, PDF with its data out, and the proof that both say what was measured.

`build_report` and `verify_report` load typst, matplotlib and pikepdf, which takes half a second; they are imported at
first use, so that a command which only needs to know `ReportError` starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import DocumentError, MissingGlyphError, ReportError

if TYPE_CHECKING:
    from .build import ReportFiles, build_report
    from .findings import Finding, Verification
    from .verify import verify_report

_LAZY = {
    "ReportFiles": "build",
    "build_report": "build",
    "Finding": "findings",
    "Verification": "findings",
    "verify_report": "verify",
}

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


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
