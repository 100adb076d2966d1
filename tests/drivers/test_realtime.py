"""A thread that keeps its time; a process that dies with the one that started it, even if that one was quicker."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers import realtime
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


_KEEPS_TIME = """
import gc, os, sys
from pathlib import Path
from drivers.realtime import keep_time
processor = max(os.sched_getaffinity(0))
print(keep_time(10, 0.002, processor))
print(os.sched_getaffinity(0) == {processor}, os.sched_getscheduler(0) == os.SCHED_FIFO)
print(sys.getswitchinterval() <= 1e-4, gc.get_freeze_count() > 0)
print(Path("/proc/self/status").read_text().split("VmLck:")[1].split()[0])
"""


def kept() -> list[str]:
    """What `_KEEPS_TIME` prints."""
    told = subprocess.run([sys.executable, "-c", _KEEPS_TIME], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()


def test_keeping_time_sets_priority_processor_and_interpreter() -> None:
    warning, where, interpreter, _ = kept()
    pinned, fifo = where.split()
    assert pinned == "True"
    assert (fifo == "True") == (warning == "None")
    assert warning == "None" or "rtprio" in warning
    assert interpreter == "True True"


@pytest.mark.skipif(os.geteuid() != 0, reason="memory is locked where there is no limit, as for root")
def test_memory_is_locked() -> None:
    assert int(kept()[-1]) > 0


def test_memory_is_not_locked_under_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be met in the middle of a run."""
    calls: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mlockall=calls.append))
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "CapEff:\t0000000000000000\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 40, 1 << 40))
    realtime._lock_memory()
    assert calls == []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    realtime._lock_memory()
    assert calls == [7]


def test_only_the_processors_named_are_kept_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "_is_virtual", lambda: True)
    processor = max(os.sched_getaffinity(0))

    def children() -> list[int]:
        return [int(p) for p in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]

    before = children()
    with realtime.processors_awake({processor}):
        (awake,) = set(children()) - set(before)
        deadline = time.monotonic() + 10.0
        while os.sched_getscheduler(awake) != os.SCHED_IDLE:
            assert time.monotonic() < deadline
        assert os.sched_getaffinity(awake) == {processor}
    assert children() == before


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
