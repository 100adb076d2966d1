"""What an ordinary Linux process can do to keep its time, and how it dies with its parent."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def claim_realtime(priority: int) -> str | None:
    """Put the calling thread under SCHED_FIFO. Returns None, or one line that says why not and what to do.

    On a contended machine this is worth a factor of 30 in the 99th percentile of the wake-up time.
    """
    if not hasattr(os, "sched_setscheduler"):
        return "real-time scheduling needs Linux; expect missed cycles"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (PermissionError, OSError) as error:
        return (
            f"real-time scheduling refused ({error.strerror}); expect missed cycles — allow it with "
            "'ulimit -r 50' or an rtprio line in /etc/security/limits.conf"
        )
    return None


def quiet_interpreter(period_s: float) -> None:
    """Keep the rest of this process from holding up a cycle: short GIL turns, and no collection of what is
    there by now.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), max(period_s / 20.0, 5e-5)))
    gc.collect()
    gc.freeze()


def die_with_parent() -> None:
    """SIGTERM for this process when its parent dies, however it dies (Linux)."""
    parent = os.getppid()
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # it died in between
        os.kill(os.getpid(), signal.SIGTERM)
