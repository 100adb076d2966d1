"""A bench whose peers behave; the same, armed; and a process to kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from verification_platform.bench.interlock import (
    InterlockState,
)

from .rig import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def armed(bench: Bench) -> Bench:
    bench.arm()
    assert bench.interlock.state is InterlockState.ARMED
    return bench


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()
