"""The hand at the bench: a running graph without a protocol, moved by requests. For tests and benchmarks of the safety chain.

::

    with Graph(bench, order, folder, remappings=PILOT) as graph, Pilot(graph) as pilot:
        pilot.ask(do="arm")
        pilot.ask(do="move", role="drive", mode="velocity", target=50.0, rate=100.0)
        pilot.ask(do="trigger", service="estop")
        pilot.torque_off_s(since_s)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from drivers.clock import Page
from drivers.realtime import child_environment
from verification_platform.bench.emulated import CLOCK, EVENTS

from .graph import PACKAGE, PROTOCOL
from .supervisor import Graph, GraphError

#: Remappings of a graph that a pilot moves: the lease of the idle protocol node is not the one that counts.
PILOT: Mapping[str, Mapping[str, str]] = {PROTOCOL: {"lease": "lease_of_the_idle"}}
#: On the wall's clock, for a machine that gives its processes no processor.
_OFF_S = 30.0


class Pilot:
    """A process in the graph's environment that answers requests; see `pilotbench_nodes.pilot`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.clock = Page(graph.work_dir / CLOCK)
        command = [sys.executable, "-m", f"{PACKAGE}.pilot", "--ros-args"]
        command += ["-p", f"bench:={graph.work_dir / 'bench.toml'}"]
        with (graph.work_dir / "pilot.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=child_environment(graph.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Carry out a request and return its answer. Raises GraphError with the reason when it could not be done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise GraphError(f"the pilot has died; see {self._graph.work_dir / 'pilot.log'}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GraphError(answer["error"])
        return answer

    def fly(self, *, load: bool = True) -> dict[str, Any]:
        """Arm, and torque on both shafts. Returns the answer to arming. Raises GraphError."""
        armed = self.ask(do="arm")
        if not armed["armed"]:
            raise GraphError(armed["reason"])
        self.ask(do="move", role="drive", mode="velocity", target=20.0, rate=400.0)
        if load:
            self.ask(do="move", role="load", mode="torque", target=1.0, rate=50.0)
        self._await_torque(("drive", "load") if load else ("drive",))
        return armed

    def _await_torque(self, roles: Sequence[str]) -> None:
        """Until the drives themselves are on. What the device nodes say of them may still be of before the self-test."""
        wanted = {self._graph.bench.actuator[role].device for role in roles}
        deadline_s = time.monotonic() + _OFF_S
        while time.monotonic() < deadline_s:
            torque = {event["device"]: event["torque"] for event in self._events()}
            if all(torque.get(device) == "on" for device in wanted):
                return
            time.sleep(0.005)
        raise GraphError(f"torque is not on everywhere after {_OFF_S:g} s ({torque})")

    def _events(self) -> list[dict[str, Any]]:
        lines = (self._graph.work_dir / EVENTS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def recover(self) -> None:
        """After a trip whose cause is gone. Raises GraphError."""
        self.ask(do="recover")
        deadline_s = time.monotonic() + 3.0
        while not (answer := self.ask(do="trigger", service="interlock/reset"))["success"]:
            if time.monotonic() > deadline_s:
                raise GraphError(answer["message"])
            time.sleep(0.02)
        self.ask(do="await_disarmed")

    def torque_off(self, since_s: float, device: str | None = None) -> dict[str, Any]:
        """The event with which the last drive that had torque at `since_s` (or `device`) lost it. Raises GraphError."""
        deadline_s = time.monotonic() + _OFF_S
        wanted: set[str] = set()
        last: dict[str, dict[str, Any]] = {}
        while time.monotonic() < deadline_s:
            last = {}
            on: set[str] = set()
            for event in self._events():
                name = event["device"]
                if event["torque"] == "on":
                    on.add(name)
                    continue
                on.discard(name)
                if event["t"] >= since_s:
                    last.setdefault(name, event)
            wanted = {device} if device else set(last) | on
            if wanted and wanted <= set(last):
                return max((last[name] for name in wanted), key=lambda event: float(event["t"]))
            time.sleep(0.005)
        still = ", ".join(sorted(wanted - set(last))) or "no drive had torque"
        raise GraphError(f"after {_OFF_S:g} s torque should have gone since {since_s:.3f} s, but: {still}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self.clock.close()
