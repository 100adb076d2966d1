"""Which software produced a number (ISO/IEC 17025 7.11.2): version and commit, Python and numpy."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def software() -> Mapping[str, str]:
    """``name``, ``version``, ``commit`` (empty outside a checkout; ``+`` when changed since), ``python``,
    ``numpy``."""
    try:
        version = metadata.version("pilotbench")
    except metadata.PackageNotFoundError:
        version = ""
    return {
        "name": "pilotbench",
        "version": version,
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _commit() -> str:
    if not (_ROOT / ".git").exists():
        return ""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()
