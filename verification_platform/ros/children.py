"""Child processes that are watched, and that always end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from drivers.realtime import child_environment


class Child:
    """One process with a name; its standard error, and its output unless it is a pipe, go to ``<name>.log``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        pipe: bool = False,
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else file,
                stderr=file,
                env=child_environment(environment),
                # Ctrl-C in the terminal is the supervisor's business: it ends the run in order.
                process_group=0,
            )
        self.pidfd = os.pidfd_open(self.process.pid)

    @property
    def pid(self) -> int:
        return self.process.pid

    def how_it_ended(self) -> str:
        """One phrase; empty while it lives."""
        code = self.process.poll()
        if code is None:
            return ""
        if code < 0:
            return f"{self.name} was killed ({signal.Signals(-code).name})"
        return f"{self.name} ended with exit code {code}{self._last_words()}"

    def _last_words(self) -> str:
        """Last line of its log, where a process says why it ends."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f": {lines[-1].strip()}" if lines else ""

    def close(self) -> None:
        """Release what is left of a process that has ended."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        os.close(self.pidfd)


def end(children: Iterable[Child], patience_s: float) -> None:
    """SIGTERM for all, and SIGKILL for those that are still there when the patience is over. All have ended afterwards."""
    alive = [child for child in children if child.process.poll() is None]
    for child in alive:
        child.process.send_signal(signal.SIGTERM)
        child.process.send_signal(signal.SIGCONT)  # a stopped process could not even die in order
    deadline_s = time.monotonic() + patience_s
    for child in alive:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(deadline_s - time.monotonic(), 0.01))
    for child in alive:
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait()
