"""Starts the graph of a bench, runs protocols in it, and ends it, whatever happens to its parts.

::

    with Graph(bench, order, work_dir) as graph:
        outcome = graph.run(run_folder, on_progress=show, confirm=ask)

The same nodes with the same parameters as `launch/bench.launch.py` (both read `graph.nodes_for`), as child
processes of this one. The death of any of them ends the run with one clear line. Whoever is left takes the
torque off by itself: the supervisor is no part of the safety chain. All children end with the graph, within
five seconds, and with this process when it is killed. Use a graph from the thread that made it: on Linux
children die with the thread that started them.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from verification_platform.bench.description import BenchDescription
from verification_platform.bench.devices import EMULATED, with_uris
from verification_platform.bench.dut import Order
from verification_platform.bench.write import write_bench, write_dut
from verification_platform.engine.progress import Progress
from verification_platform.engine.protocol import Text
from verification_platform.engine.run import Outcome
from verification_platform.metrology.result import RunStatus

from .children import Child, end
from .environment import own_domain, ros_environment
from .graph import PACKAGE, NodeSpec, nodes_for
from .watch import Watch

CLIENT, EMULATOR = "client", "emulator"
_EMULATOR_S, _ENGINE_S, _UP_S = 20.0, 60.0, 60.0
#: An orderly end of all nodes; then SIGTERM; then SIGKILL. Together below five seconds.
_DOWN_S, _TERM_S, _EMULATOR_TERM_S = 1.5, 1.5, 0.8
#: After a process has died, so long for the others to end the run in order and say why.
_LAST_WORDS_S = 2.0
#: After Ctrl-C, so long for the run to end in order: its recording must be sealed.
_ABORT_S = 30.0


class GraphError(Exception):
    """The graph could not be started, or is no longer whole; one clear line."""


class Graph:
    """All processes of one bench, as a context manager. Entering raises GraphError, BenchError or RosMissing.

    `seed` is that of the emulated bench (default: the bench description's). `work_dir` gets the logs and the
    emulator's events. `remappings` (node → {topic: other topic}) is for tests that put something between two
    nodes.
    """

    def __init__(
        self,
        bench: BenchDescription,
        order: Order,
        work_dir: Path,
        *,
        seed: int | None = None,
        remappings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.bench, self._order, self.work_dir = bench, order, work_dir
        self._seed = seed if seed is not None else int(bench.plant.get("seed", 0))
        self._remappings = remappings or {}
        self.children: dict[str, Child] = {}
        self.environment: dict[str, str] = {}
        #: Where the emulator, if there is one, listens for accidents on request (`drivers.emulators.control`).
        self.control: Path | None = None
        self._stack = contextlib.ExitStack()
        self._watch = Watch()
        self._bench_lost = False

    # ------------------------------------------------------------------ start

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start every process and bring the nodes up; does nothing when that has been done."""
        if self.children:
            return
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        domain = self._stack.enter_context(own_domain())
        self.environment = ros_environment(domain)
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.environment["ROS_LOG_DIR"] = str(self.work_dir / "ros_log")
        bench = write_bench(self._resolved(), self.work_dir / "bench.toml")
        for spec in nodes_for(self.bench, bench):
            self._spawn(spec.name, self._node_command(spec))
        client = [sys.executable, "-m", "verification_platform.ros.client", str(bench)]
        self._spawn(CLIENT, client, pipe=True)
        self._expect("up", _UP_S)

    def _resolved(self) -> BenchDescription:
        """The description that the nodes read: as given, or with the wires of an emulator started here."""
        if all(bus.uri != EMULATED for bus in self.bench.bus.values()):
            return self.bench
        bench = write_bench(self.bench, self.work_dir / "emulated_bench.toml")
        dut = write_dut(self._order, self.work_dir / "emulated_dut.toml")
        command = [sys.executable, "-m", "verification_platform.bench.emulated", "--bench", str(bench)]
        command += ["--dut", str(dut), "--seed", str(self._seed), "--run-dir", str(self.work_dir)]
        self._spawn(EMULATOR, command, pipe=True)
        engine_s = 0.0 if self.bench.bodies.engine == "built-in" else _ENGINE_S
        ready = self._expect("ready", _EMULATOR_S + engine_s)
        self.control = Path(ready["control"])
        return with_uris(self.bench, ready["bus"], ready["clock"])

    def _node_command(self, spec: NodeSpec) -> list[str]:
        command = [sys.executable, "-m", f"{PACKAGE}.{spec.executable}"]
        command += ["--ros-args", "-r", f"__node:={spec.name}"]
        for name, value in spec.parameters.items():
            command += ["-p", f"{name}:={value}"]
        for topic, other in self._remappings.get(spec.name, {}).items():
            command += ["-r", f"{topic}:={other}"]
        return command

    def _spawn(self, name: str, command: list[str], *, pipe: bool = False) -> None:
        child = Child(name, command, self.environment, self.work_dir / f"{name}.log", pipe=pipe)
        self.children[name] = child
        self._watch.add(child)

    # ------------------------------------------------------------------ run

    def run(
        self,
        run_folder: Path,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        confirm: Callable[[str, str, str], bool] | None = None,
    ) -> Outcome:
        """Run, or continue, the run frozen in `run_folder`; returns when it has ended and is sealed.

        `confirm(key, zh, en)` asks the technician; without it every prompt is confirmed. Ctrl-C aborts the
        run in order, a second one does not wait for that. Never raises for what happens to the bench.
        """
        if self._watch.ended != "":  # and may be any moment from here on
            return Outcome(RunStatus.INVALID, self._broken())
        begun_s, give_up_s, aborted = time.monotonic(), math.inf, False
        self._request(do="run", folder=str(run_folder.resolve()))
        while time.monotonic() < give_up_s:
            try:
                event = self._next_event(0.2)
                if event is not None and event.get("event") == "result":
                    return self._outcome(event)
                if event is not None and event.get("event") == "feedback":
                    self._feedback(event, on_progress, confirm)
            except KeyboardInterrupt:
                if aborted:
                    break
                aborted, give_up_s = True, time.monotonic() + _ABORT_S
                self._request(do="cancel")
            if self._watch.ended:
                give_up_s = min(give_up_s, self._watch.ended_s + _LAST_WORDS_S)
        duration_s = time.monotonic() - begun_s
        if self._watch.ended:
            status = self._status(RunStatus.ABORTED_SAFETY)
            return Outcome(status, self._watch.ended, duration_s=duration_s)
        return Outcome(RunStatus.INVALID, "interrupted by the operator (Ctrl-C)", duration_s=duration_s)

    def _outcome(self, event: Mapping[str, Any]) -> Outcome:
        reason = self._with_cause(event["reason"]) if event["reason"] else ""
        return Outcome(
            self._status(RunStatus(event["status"])),
            reason,
            finished=event["finished"],
            segments=event["segments"],
            duration_s=event["duration_s"],
            resumed_at=event["resumed_at"] if event["resumed_at"] >= 0 else None,
        )

    def _status(self, status: RunStatus) -> RunStatus:
        """What the nodes see of a bench that is no more is a lost wire; but nothing has moved that could have been unsafe."""
        lost = self._bench_lost or self._watch.ended.startswith(f"{EMULATOR} ")
        return RunStatus.INVALID if lost and status is RunStatus.ABORTED_SAFETY else status

    def _feedback(
        self,
        event: Mapping[str, Any],
        on_progress: Callable[[Progress], None] | None,
        confirm: Callable[[str, str, str], bool] | None,
    ) -> None:
        prompt = event["prompt"]
        if prompt is not None:
            accept = confirm is None or confirm(prompt["key"], prompt["zh"], prompt["en"])
            self._request(do="confirm", key=prompt["key"], accept=accept)
        elif on_progress is not None:
            phase = Text(event["zh"], event["en"])
            on_progress(Progress(phase, event["fraction"], event["remaining_s"], event["live"]))

    def reset(self) -> None:
        """After a trip whose cause is gone: reset the interlock, open the devices anew. Raises GraphError."""
        if self._watch.ended:
            raise GraphError(self._broken())
        self._request(do="reset")
        self._expect("reset", _UP_S)

    def _broken(self) -> str:
        return f"the ROS graph is no longer whole ({self._watch.ended}); start it again"

    def _with_cause(self, reason: str) -> str:
        """What the nodes saw, led by the process whose death was the cause: known here, not there."""
        while not self._watch.ended and self._next_event(0.0) is not None:
            pass
        ended = self._watch.ended
        if not ended:
            return reason
        return ended if reason.endswith("has died") else f"{ended}; {reason}"

    # ------------------------------------------------------------------ events

    def _next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """As `Watch.next_event`. An emulator whose bench is gone says so before its wires go dead: that is the cause."""
        event = self._watch.next_event(timeout_s)
        if event is not None and event.get("event") == "lost":
            self._bench_lost = True
            self._watch.ended = self._watch.ended or event["reason"]
            self._watch.ended_s = time.monotonic()
        return event

    def _request(self, **request: Any) -> None:
        stdin = self.children[CLIENT].process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            self._watch.note_death(self.children[CLIENT])

    def _expect(self, kind: str, timeout_s: float) -> dict[str, Any]:
        """The next event of this kind. Raises GraphError with the reason when it does not come."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            event = self._next_event(0.2)
            if event is not None and (event.get("event") == kind or kind in event):
                return event
            if event is not None and event.get("event") == "failed":
                raise GraphError(self._with_cause(event["reason"]))
            if self._watch.ended:
                raise GraphError(f"{self._watch.ended} (logs in {self.work_dir})")
            if time.monotonic() > deadline_s:
                raise GraphError(
                    f"no {kind!r} from the ROS graph within {timeout_s:g} s (logs in {self.work_dir})"
                )

    # ------------------------------------------------------------------ end

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process, in order where that is possible, within five seconds. Idempotent."""
        if not self._watch.ended and CLIENT in self.children:
            self._request(do="down")
            with contextlib.suppress(GraphError):
                self._expect("down", _DOWN_S)
        # The devices outlive their masters, as in life.
        end([child for name, child in self.children.items() if name != EMULATOR], _TERM_S)
        end(self.children.values(), _EMULATOR_TERM_S)
        for child in self.children.values():
            child.close()
        self.children.clear()
        self._watch.ended = self._watch.ended or "it was closed"
        self._watch.close()
        self._stack.close()
