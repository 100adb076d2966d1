"""Has a peer process died? On the same computer that need not be guessed from silence: the kernel says it at once.

Death and silence are two things. A process that has died is known to be dead within one look at its *pidfd*, whatever the machine
is doing. A process that lives but says nothing may hang, or the machine may stand still; only patience tells. So the
interlock and the device processes act on a death at once, and give a living peer `HANG_FACTOR` times as long as one of which
nothing but its heartbeat is known (another computer). The bar is the same in both cases: after `kill -9` of any process, torque
is off within 200 ms.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

#: A peer that is known to live may be silent for so many silence limits.
HANG_FACTOR = 3.0


def this_machine() -> str:
    """Name of this computer (this boot of it) and of the space in which process ids mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


class Peer:
    """One process that was heard of. `introduce` from one thread, the rest from any; a race between the two errs towards "dead".

    >>> peer = Peer()
    >>> peer.alive(), peer.limit_s(0.1)            # nothing is known
    (None, 0.1)
    >>> peer.introduce(os.getpid(), this_machine())
    >>> peer.alive(), round(peer.limit_s(0.1), 6)  # it lives: be patient
    (True, 0.3)
    """

    _machine = this_machine()
    __slots__ = ("_descriptor", "_pid")

    def __init__(self) -> None:
        self._pid, self._descriptor = 0, -1

    def introduce(self, pid: int, machine: str) -> None:
        """It said who it is; a restarted process introduces itself anew."""
        if pid == self._pid or pid <= 0 or not machine or machine != self._machine:
            return
        self.close()
        try:
            self._descriptor, self._pid = os.pidfd_open(pid), pid
        except (OSError, AttributeError):
            return  # it has gone already, or this kernel cannot: silence will tell

    def alive(self) -> bool | None:
        """None when that cannot be known."""
        if self._descriptor < 0:
            return None
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(0)

    def limit_s(self, silence_s: float) -> float:
        """How long it may be silent: not at all when it is dead, longer when it is known to live."""
        alive = self.alive()
        return silence_s if alive is None else HANG_FACTOR * silence_s if alive else 0.0

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._pid, self._descriptor = 0, -1

    def __del__(self) -> None:
        self.close()
