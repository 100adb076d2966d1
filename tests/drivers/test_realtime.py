"""A process dies with the one that started it, even if that one was quicker."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

from drivers.realtime import child_environment

_CHILD = """
import os, signal, sys
from drivers.realtime import die_with_parent
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(os.getpid(), flush=True)
sys.stdin.readline()            # until told: by then the parent may be gone
die_with_parent()
print("PILOTBENCH_PARENT" in os.environ, flush=True)
signal.pause()
"""
_PARENT = """
import subprocess, sys
from drivers.realtime import child_environment
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=child_environment(), stdin=0, stdout=1)
child.wait()
"""


def family() -> tuple[subprocess.Popen[str], int]:
    """A parent, and the process id of its child, which waits for a line before it asks for its parent's death."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def let_go(parent: subprocess.Popen[str]) -> None:
    assert parent.stdin is not None
    parent.stdin.write("\n")
    parent.stdin.flush()


def test_a_parent_that_dies_takes_its_child_along() -> None:
    parent, child = family()
    with parent:
        let_go(parent)
        assert parent.stdout is not None
        assert parent.stdout.readline() == "False\n"  # the variable is not for its own children
        watched = os.pidfd_open(child)
        parent.kill()
        _ends(watched)


def test_a_parent_that_died_before_the_child_could_ask_takes_it_along_too() -> None:
    parent, child = family()
    with parent:
        watched = os.pidfd_open(child)
        parent.kill()
        parent.wait()
        let_go(parent)
        _ends(watched)


def test_the_environment_names_this_process_and_leaves_the_rest() -> None:
    assert child_environment({"A": "b"}) == {"A": "b", "PILOTBENCH_PARENT": str(os.getpid())}


def _ends(watched: int) -> None:
    """Within ten seconds, or it is ended here."""
    try:
        ended, _, _ = select.select([watched], [], [], 10.0)
        if not ended:
            signal.pidfd_send_signal(watched, signal.SIGKILL)
        assert ended, "the child outlived its parent"
    finally:
        os.close(watched)
