"""What is true of a bench whoever asks lies in files: it outlives the graph, the command line and a power failure."""

from __future__ import annotations

import os
import re
from pathlib import Path

from verification_platform.disk import open_as

FOLDER = "PILOTBENCH_STATE"
#: Where a bench computer with several users keeps it; made by its administrator.
SHARED_FOLDER = Path("/var/lib/pilotbench")


def state_folder() -> Path:
    """Where the state of benches lies on this computer."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    if SHARED_FOLDER.is_dir():
        return SHARED_FOLDER
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pilotbench"


def state_of(bench_id: str) -> Path:
    """The folder of the bench with that id, whichever description file names it. It need not exist yet."""
    return state_folder() / re.sub(r"[^\w.-]", "_", bench_id)


def make_folder(folder: Path) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    open_as(folder, folder.parent)
