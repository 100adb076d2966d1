"""What an ordinary Linux process can do to keep its time, and how it dies with its parent.

The thread that owns a bus calls `keep_time` before its first cycle. On a bench computer with processors to spare it is
given one of them; keep everything else off it by the kernel's ``isolcpus=``, or by a cpuset partition.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PARENT = "PILOTBENCH_PARENT"
_PM_QOS = "/dev/cpu_dma_latency"
#: Linux (mman.h): what is there, what will be there, and only what has been used.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14
#: The request lasts while the file is open: until this process ends.
_pm_qos: int | None = None


def keep_time(priority: int, period_s: float, processor: int | None = None) -> str | None:
    """Set up the calling thread, and its process, for a cycle of `period_s`. Returns None, or why it may miss cycles.

    SCHED_FIFO at `priority`, on `processor` alone if one is named; the process's memory is kept from being swapped out
    where that is permitted; the interpreter gives short turns to the other threads and does not look through what is there
    by now again. Raises OSError when there is no such processor.
    """
    if processor is not None:
        os.sched_setaffinity(0, {processor})
    warning = claim_realtime(priority)
    _lock_memory()
    quiet_interpreter(period_s)
    return warning


def _lock_memory() -> None:
    """What has been used stays in memory. Not under a limit: it would be met in the middle of a run, by whoever asks for more."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        capabilities = int(status.split("CapEff:", 1)[1].split(None, 1)[0], 16)
        unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
        if unlimited or capabilities >> _CAP_IPC_LOCK & 1:
            ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    except (OSError, IndexError, ValueError, AttributeError):
        return  # not Linux: the machine may swap


def claim_realtime(priority: int) -> str | None:
    """Put the calling thread under SCHED_FIFO. Returns None, or one line that says why not and what to do.

    On a contended machine this is worth a factor of 30 in the 99th percentile of the wake-up time. Where it may, the
    process also keeps the processors out of sleep states, which take time to leave (PM QoS; cyclictest does the same).
    """
    _wake_quickly()
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


def _wake_quickly() -> None:
    global _pm_qos
    if _pm_qos is None:
        with contextlib.suppress(OSError):  # not permitted, or not Linux: the machine merely wakes up later
            _pm_qos = os.open(_PM_QOS, os.O_WRONLY | os.O_CLOEXEC)
            os.write(_pm_qos, bytes(4))  # int32, µs


def quiet_interpreter(period_s: float) -> None:
    """Keep the rest of this process from holding up a cycle: short GIL turns, and no collection of what is
    there by now.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), max(period_s / 20.0, 5e-5)))
    gc.collect()
    gc.freeze()


class AwakeClock:
    """Monotonic time without the gaps in which this process itself did not run.

    A machine may be frozen for tenths of a second (a virtual machine that has used up its share, a suspended
    laptop). Whoever then counts the silence of others by the clock accuses them of its own absence. Time-outs on
    the behaviour of others therefore count on this clock, which is ticked more often than `longest_gap_s`; a
    longer gap counts as that much. The devices' own watchdogs do not depend on it.

    >>> clock = AwakeClock(longest_gap_s=0.01, now_s=5.0)
    >>> clock.tick(5.004), clock.tick(6.0)
    (0.004, 0.014)
    """

    __slots__ = ("_last_s", "_time_ns", "longest_gap_s", "time_s")

    def __init__(self, longest_gap_s: float, now_s: float) -> None:
        self.longest_gap_s, self.time_s, self._last_s = longest_gap_s, 0.0, now_s
        self._time_ns = 0

    def tick(self, now_s: float) -> float:
        """Awake time at monotonic time `now_s`, rounded to nanoseconds."""
        self._time_ns += int(1e9 * min(now_s - self._last_s, self.longest_gap_s) + 0.5)
        self.time_s = self._time_ns / 1e9
        self._last_s = now_s
        return self.time_s


@contextlib.contextmanager
def processors_awake(processors: Collection[int] | None = None) -> Iterator[None]:
    """On a virtual machine, give `processors` something to do at idle priority, at the longest until this process dies.

    All that this process may use, unless named. Name them where it is known which one matters: a hypervisor may also take a
    processor away because the machine has used up its share.

    A hypervisor that is short of processors takes away those that halt, and a process that sleeps for a fraction of a
    millisecond then wakes up tens of milliseconds later. Measured on such a machine with an emulated bench running: 75 %
    stolen without, 2 to 5 % with this, and four times the progress. To be called before any thread is started.
    """
    processes = []
    if processors is None:
        processors = os.sched_getaffinity(0)
    for processor in processors if _is_virtual() else ():
        process = os.fork()
        if process == 0:
            die_with_parent(signal.SIGKILL)
            os.closerange(0, 64)
            _give_way(processor)
        processes.append(process)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(OSError):  # somebody else has ended it
                os.sched_setscheduler(
                    process, os.SCHED_OTHER, os.sched_param(0)
                )  # dying takes a processor, too
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def _is_virtual() -> bool:
    try:
        processors = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return " hypervisor" in processors and hasattr(os, "SCHED_IDLE")


def _give_way(processor: int) -> NoReturn:
    """Turn on `processor` for ever, behind everybody else.

    Idle priority counts only among the processes of one session where the kernel groups them (sched_autogroup), and each
    group has its equal share: half of a processor, measured. So: a session of its own, the least weight for it, and
    the processor offered to others all the time; what is left to them then is 97 to 98 %.
    """
    os.setsid()
    with contextlib.suppress(OSError):  # a kernel without such groups
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        os.sched_yield()


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environment` for a child that will call `die_with_parent`: it tells whose death that is.

    A child needs a second until it can ask to be told of its parent's death. If the parent dies in that second, the child
    finds another process in its place, and would outlive it for ever.
    """
    return {**environment, _PARENT: str(os.getpid())}


def die_with_parent(with_signal: signal.Signals = signal.SIGTERM) -> None:
    """A signal for this process when its parent dies, however it dies (Linux); at once when it has died already."""
    parent = int(os.environ.pop(_PARENT, os.getppid()))  # not for the children of this process
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, with_signal)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os.kill(os.getpid(), with_signal)
