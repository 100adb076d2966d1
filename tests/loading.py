"""Python files that belong to no package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_script(path: Path | str, name: str = "") -> ModuleType:
    """The file at `path` (from the root of the repository) as a module of its own, executed anew in each call."""
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(name or file.stem.replace(".", "_"), file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module
