"""A headless Gazebo server as a child process that no other run shares, and that always ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from drivers.realtime import die_with_parent

from .installation import Installation

_TICKS_S = 1.0 / os.sysconf("SC_CLK_TCK")
#: After a polite request; it has nothing to save.
_END_S = 0.3
#: What begins an error in either simulator's log; the rest of it is about screens and loudspeakers.
_ERRORS = ("[Err]", "Error Code", "error while loading", "[error]")


class GazeboServer:
    """Implements `bodies_datagram.Engine`. What it writes, it writes into `folder`."""

    def __init__(
        self, installation: Installation, world: Path, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._name = Path(installation.command[0]).name
        self._log = folder / "server.log"
        self._ended = ""
        home = folder / "home"  # its own log and cache folders, which would lie in the user's home
        home.mkdir(parents=True, exist_ok=True)
        variables = {
            name: value for name, value in os.environ.items() if name not in ("DISPLAY", "PYTHONPATH")
        }
        variables |= {**installation.environment, **environment, "HOME": str(home)}
        if installation.kind == "gazebo11":
            variables["GAZEBO_MASTER_URI"] = f"http://127.0.0.1:{_free_port()}"
        else:
            variables["GZ_PARTITION"] = f"pilotbench-{secrets.token_hex(8)}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*installation.command, str(world)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                cwd=folder,
                process_group=0,  # Ctrl-C in the terminal is the business of whoever started us
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            )
        (folder / "server.pid").write_text(f"{self._process.pid}\n", encoding="ascii")

    @property
    def pid(self) -> int:
        return self._process.pid

    def claim_realtime(self, priority: int) -> None:
        """Its threads under SCHED_FIFO where that is permitted: the bodies turn for whoever waits for them."""
        for thread in _threads(self.pid):
            with contextlib.suppress(OSError, ProcessLookupError):
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(priority))

    def how_it_ended(self) -> str:
        """See `Engine.how_it_ended`."""
        code = self._process.poll()
        if code is None or self._ended:
            return self._ended
        if code < 0:
            return f"{self._name} was killed ({signal.Signals(-code).name})"
        return f"{self._name} ended with exit code {code}{self.last_words()} (log: {self._log})"

    def processor_s(self) -> float:
        """See `Engine.processor_s`."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) * _TICKS_S

    def wants_processor(self) -> bool:
        """See `Engine.wants_processor`."""
        for thread in _threads(self.pid):
            with contextlib.suppress(OSError):
                if (thread / "stat").read_bytes().rpartition(b")")[2].split()[0] in (b"R", b"D"):
                    return True
        return False

    def close(self) -> None:
        """See `Engine.close`."""
        if self._process.returncode is not None:
            return
        self._ended = f"{self._name} was ended"
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
                os.killpg(self.pid, signal.SIGCONT)  # a stopped process could not even end in order
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
                break
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # whoever it has started
            os.killpg(self.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last error it has logged, after a colon; empty when there is none."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        errors = [line for line in lines if any(mark in line for mark in _ERRORS)]
        return f": {errors[-1].strip()}" if errors else ""


def _threads(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _free_port() -> int:
    """A TCP port that nobody listens on. Gazebo 11 cannot be told to choose one itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
