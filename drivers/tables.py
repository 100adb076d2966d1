"""A device model is a data table, ``models/NAME.toml`` in the folder of its family: a new model is a new file and no code."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def table_names(folder: Path) -> tuple[str, ...]:
    """Names of the tables in a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def read_table(folder: Path, name: str) -> dict[str, Any]:
    """Raises KeyError for a name without a table."""
    if name not in table_names(folder):
        raise KeyError(name)
    return tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
